//! A coalesced read of the socket: any bytes in segments of any length, each kept or taken out.

#![no_main]

use libfuzzer_sys::{arbitrary, fuzz_target};
use pinhole_proto::probe::{Class, classify};

use self::segments::retain;

// The file, not the crate: `pinhole` brings QUIC, TLS and an assembler along.
#[path = "../../src/hub/segments.rs"]
mod segments;

#[derive(Debug, arbitrary::Arbitrary)]
struct Read {
    bytes: Vec<u8>,
    /// What the kernel says; any number, though a true one is within bounds.
    length: usize,
    stride: usize,
}

fuzz_target!(|read: Read| {
    let stride = read.stride.max(1);
    let valid = &read.bytes[..read.length.min(read.bytes.len())];
    for wanted in [Class::Quic, Class::Probe, Class::Other] {
        let (mut seen, mut buffer) = (Vec::new(), read.bytes.clone());
        let kept = retain(&mut buffer, read.length, read.stride, |segment| {
            assert!(!segment.is_empty() && segment.len() <= stride);
            seen.extend_from_slice(segment);
            classify(segment) == wanted
        });
        assert_eq!(seen, valid, "each byte is looked at once");
        let expected: Vec<u8> =
            valid.chunks(stride).filter(|segment| classify(segment) == wanted).flatten().copied().collect();
        assert_eq!(buffer[..kept], expected);
        // The library cuts what is left in the same way.
        assert!(buffer[..kept].chunks(stride).all(|segment| classify(segment) == wanted));
    }
});
