//! What follows the head of a tunnelled connection, in blocks: any bytes, and what our own side would send.
//!
//! A direction ends at the same place with the same bytes however the network cuts it, and takes no more memory than a
//! block may.

#![no_main]

use std::{
    pin::pin,
    task::{Context, Waker},
};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pinhole_proto::block::{BadBlock, Head, MAX_HEAD_BYTES, MAX_UNPACKED_BYTES};
use tokio::sync::Semaphore;

use self::unpack::Unpacker;

// The file, not the crate: `pinhole` brings QUIC, TLS and an assembler along.
#[path = "../../pinhole/src/forward/unpack.rs"]
mod unpack;

fuzz_target!(|bytes: &[u8]| {
    check_head(bytes);
    let whole = unpack_all(bytes, bytes.len().max(1));
    let cut = unpack_all(bytes, 1 + bytes.len() / 7);
    match (&whole, &cut) {
        (Ok((whole, one)), Ok((cut, other))) => {
            assert!(whole == cut && one == other, "it matters how it is cut")
        }
        (Err(_), Err(_)) => {}
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => panic!("it matters how it is cut"),
    }
    check_own(bytes);
});

fn check_head(bytes: &[u8]) {
    let Some(first) = bytes.first() else { return };
    let Some(head) = bytes.get(..Head::size(*first)) else { return };
    assert!(head.len() <= MAX_HEAD_BYTES);
    let Ok(head) = Head::decode(head) else { return };
    assert_eq!(Head::decode(&head.encode()), Ok(head));
}

/// Returns all bytes, and whether the input ends between two blocks.
fn unpack_all(bytes: &[u8], step: usize) -> Result<(Vec<u8>, bool), BadBlock> {
    let permits = Semaphore::new(1);
    let (mut unpacker, mut all) = (Unpacker::new(&permits), Vec::new());
    for part in bytes.chunks(step) {
        let mut part = Bytes::copy_from_slice(part);
        while !part.is_empty() {
            take_permit(&mut unpacker);
            while let Some(unpacked) = unpacker.next(&mut part)? {
                assert!(!unpacked.bytes.is_empty());
                assert!(unpacked.saved == 0 || unpacked.bytes.len() <= MAX_UNPACKED_BYTES);
                assert!(unpacked.saved < unpacked.bytes.len());
                all.extend_from_slice(&unpacked.bytes);
            }
            unpacker.give_permit_back();
        }
    }
    Ok((all, unpacker.is_between_blocks()))
}

/// There is a permit, and nobody else.
fn take_permit(unpacker: &mut Unpacker<'_>) {
    assert!(unpacker.may_go_on(), "a permit is not given back");
    let taken = pin!(unpacker.wait_for_permit()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(taken.is_ready(), "it waits for what it has");
}

/// What is sent arrives.
fn check_own(bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let text = bytes.repeat(1 + 4000 / bytes.len());
    let frame = zstd::bulk::compress(&text, 1).expect("memory is enough");
    let mut wire = [Head::Plain(bytes.len()).encode(), bytes.to_vec()].concat();
    if frame.len() < text.len() {
        wire.extend(Head::Packed { length: frame.len(), unpacked: text.len() }.encode());
        wire.extend(frame);
        assert_eq!(unpack_all(&wire, 1400), Ok(([bytes, &text].concat(), true)));
    } else {
        assert_eq!(unpack_all(&wire, 1400), Ok((bytes.to_vec(), true)));
    }
}
