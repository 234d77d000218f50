//! A coalesced read of the socket: any bytes in segments of any length, each kept for QUIC or taken out, as `Mux::sort`
//! does it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{arbitrary, fuzz_target};
use pinhole_proto::{
    Key,
    key::{Marks, Phrase},
    probe::{Class, classify},
};

use self::{filter::Filter, segments::retain};

// The files, not the crate: `pinhole` brings QUIC, TLS and an assembler along.
#[allow(dead_code, reason = "the program looks at probes, too")]
#[path = "../../pinhole/src/mux/filter.rs"]
mod filter;
#[path = "../../pinhole/src/mux/segments.rs"]
mod segments;

static KEY: LazyLock<Key> = LazyLock::new(|| Key::stretch(&Phrase::generate([7; 32])));
static FILTER: LazyLock<Filter> = LazyLock::new(|| Filter::new(&KEY));
static MARKS: LazyLock<Marks> = LazyLock::new(|| Marks::new(&KEY));

#[derive(Debug, arbitrary::Arbitrary)]
struct Read {
    bytes: Vec<u8>,
    /// What the kernel says; any number, though a true one is within bounds.
    length: usize,
    stride: usize,
    /// Segments that somebody with the key has made, by bits; with a short header.
    marked: u32,
}

fuzz_target!(|read: Read| {
    let stride = read.stride.max(1);
    let mut buffer = read.bytes.clone();
    for (number, segment) in buffer.chunks_mut(stride).take(32).enumerate() {
        if read.marked >> number & 1 == 1 && segment.len() > 8 {
            segment[0] = segment[0] & !0x80 | 0x40;
            let random = [segment[1], segment[2], segment[3], segment[4]];
            segment[1..9].copy_from_slice(&MARKS.mark(random));
            assert!(is_for_quic(segment), "what is marked is not admitted");
        }
    }
    let whole = buffer.clone();
    let valid = &whole[..read.length.min(whole.len())];
    let mut seen = Vec::new();
    let kept = retain(&mut buffer, read.length, read.stride, |segment| {
        assert!(!segment.is_empty() && segment.len() <= stride);
        seen.extend_from_slice(segment);
        is_for_quic(segment)
    });
    assert_eq!(seen, valid, "each byte is looked at once");
    let expected: Vec<u8> =
        valid.chunks(stride).filter(|segment| is_for_quic(segment)).flatten().copied().collect();
    assert_eq!(buffer[..kept], expected);
    // The library cuts what is left in the same way.
    assert!(buffer[..kept].chunks(stride).all(is_for_quic));
});

fn is_for_quic(segment: &[u8]) -> bool {
    classify(segment) == Class::Quic && FILTER.admits_quic(segment)
}
