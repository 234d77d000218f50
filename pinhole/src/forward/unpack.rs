//! The unpacker: from blocks to bytes, the receiving side of [`pinhole_proto::block`].
//!
//! The peer may be hostile. What it announces takes no memory before it has come; a packed block is unpacked when all
//! of it is there, into as many bytes as it has announced, 256 KiB at the most; and no second one before those have
//! been passed on. All connections of a tunnel together hold some packed blocks at a time
//! ([`Shares::blocks`](crate::tunnel::Shares)), others wait.

use std::cell::RefCell;

use bytes::Bytes;
use pinhole_proto::block::{BadBlock, Head, MAX_HEAD_BYTES};
use tokio::sync::{Semaphore, SemaphorePermit};
use zstd::bulk::Decompressor;

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Takes blocks apart as they come.
#[derive(Debug)]
pub(super) struct Unpacker<'a> {
    state: State,
    permits: &'a Semaphore,
    /// Held from the head of a packed block until its bytes are passed on.
    permit: Option<SemaphorePermit<'a>>,
}

#[derive(Debug)]
enum State {
    /// Within a head, or between two blocks.
    Head { bytes: [u8; MAX_HEAD_BYTES], count: usize },
    /// Bytes of a plain block that are still to come.
    Plain(usize),
    /// What has come of a packed block.
    Packed { bytes: Vec<u8>, length: usize, unpacked: usize },
}

/// Unpacked bytes, of a part of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// The bytes for whoever reads the connection.
    pub(super) bytes: Bytes,
    /// How many more these are than what came, the head aside.
    pub(super) saved: usize,
}

impl State {
    fn new() -> Self {
        Self::Head { bytes: [0; MAX_HEAD_BYTES], count: 0 }
    }

    fn of(head: Head) -> Self {
        match head {
            Head::Plain(length) => Self::Plain(length),
            Head::Packed { length, unpacked } => Self::Packed { bytes: Vec::new(), length, unpacked },
        }
    }
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(permits: &'a Semaphore) -> Self {
        Self { state: State::new(), permits, permit: None }
    }

    /// Takes a permit for the packed block that has begun, if one has; false if there is none now.
    pub(super) fn may_go_on(&mut self) -> bool {
        if self.needs_permit() {
            self.permit = self.permits.try_acquire().ok();
        }
        !self.needs_permit()
    }

    /// Waits until the packed block that has begun may be taken in, if one has.
    pub(super) async fn wait_for_permit(&mut self) {
        if self.needs_permit() {
            self.permit = self.permits.acquire().await.ok();
        }
    }

    /// Records that all bytes so far are passed on.
    pub(super) fn give_permit_back(&mut self) {
        if !matches!(self.state, State::Packed { .. }) {
            self.permit = None;
        }
    }

    fn needs_permit(&self) -> bool {
        self.permit.is_none() && matches!(self.state, State::Packed { .. })
    }

    /// Returns the next bytes; `None` when all of the input is taken, or a packed block begins and has no permit.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Unpacked>, BadBlock> {
        while !input.is_empty() && !self.needs_permit() {
            match &mut self.state {
                State::Head { bytes, count } => {
                    bytes[*count] = input.split_to(1)[0];
                    *count += 1;
                    if *count == Head::size(bytes[0]) {
                        self.state = State::of(Head::decode(&bytes[..*count])?);
                    }
                }
                State::Plain(left) => {
                    let bytes = input.split_to(input.len().min(*left));
                    *left -= bytes.len();
                    if *left == 0 {
                        self.state = State::new();
                    }
                    return Ok(Some(Unpacked { bytes, saved: 0 }));
                }
                State::Packed { bytes, length, unpacked } => {
                    bytes.extend_from_slice(&input.split_to(input.len().min(*length - bytes.len())));
                    if bytes.len() == *length {
                        let saved = *unpacked - *length;
                        let bytes = unpack(bytes, *unpacked)?;
                        self.state = State::new();
                        return Ok(Some(Unpacked { bytes, saved }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether the input may end here.
    pub(super) fn is_between_blocks(&self) -> bool {
        matches!(self.state, State::Head { count: 0, .. })
    }
}

fn unpack(packed: &[u8], length: usize) -> Result<Bytes, BadBlock> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        if decompressor.is_none() {
            *decompressor = Decompressor::new().ok();
        }
        let mut bytes = Vec::with_capacity(length);
        let decompressor = decompressor.as_mut().ok_or(BadBlock)?;
        match decompressor.decompress_to_buffer(packed, &mut bytes) {
            Ok(written) if written == length => Ok(bytes.into()),
            Ok(_) | Err(_) => Err(BadBlock),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let frame = zstd::bulk::compress(bytes, 3).expect("it compresses");
        [Head::Packed { length: frame.len(), unpacked: bytes.len() }.encode(), frame].concat()
    }

    fn plain(bytes: &[u8]) -> Vec<u8> {
        [Head::Plain(bytes.len()).encode(), bytes.to_vec()].concat()
    }

    fn unpack_all(wire: &[u8], step: usize) -> Result<(Vec<u8>, usize), BadBlock> {
        let permits = Semaphore::new(1);
        let (mut unpacker, mut all, mut saved) = (Unpacker::new(&permits), Vec::new(), 0);
        for part in wire.chunks(step) {
            let mut part = Bytes::copy_from_slice(part);
            while !part.is_empty() {
                assert!(unpacker.may_go_on());
                let Some(unpacked) = unpacker.next(&mut part)? else { continue };
                all.extend_from_slice(&unpacked.bytes);
                saved += unpacked.saved;
            }
        }
        if unpacker.is_between_blocks() { Ok((all, saved)) } else { Err(BadBlock) }
    }

    #[test]
    fn blocks_are_the_same_bytes_however_they_are_cut() {
        let text = "A hole through both NATs. ".repeat(5000).into_bytes();
        let wire = [plain(b"x"), packed(&text), plain(&text[..20_000]), packed(&text[..600])].concat();
        let wanted = [b"x", &text[..], &text[..20_000], &text[..600]].concat();
        for step in [1, 2, 7, 1400, wire.len()] {
            let (all, saved) = unpack_all(&wire, step).expect("whole blocks");
            assert!(all == wanted, "in parts of {step}");
            assert!(saved > text.len() / 2);
        }
        assert_eq!(unpack_all(&wire[..wire.len() - 1], 1400), Err(BadBlock), "cut off");
    }

    #[test]
    fn no_block_becomes_more_than_it_announces() {
        let bomb = zstd::bulk::compress(&vec![0; 200 << 20], 3).expect("it compresses");
        let announced =
            |unpacked| [Head::Packed { length: bomb.len(), unpacked }.encode(), bomb.clone()].concat();
        assert_eq!(unpack_all(&announced(256 << 10), 1400), Err(BadBlock));
        let text = vec![7; 1000];
        let mut wire = packed(&text);
        wire[5] += 1;
        assert_eq!(unpack_all(&wire, 1400), Err(BadBlock), "less than it announces");
        let noise = [Head::Packed { length: 4, unpacked: 100 }.encode(), vec![1, 2, 3, 4]].concat();
        assert_eq!(unpack_all(&noise, 1400), Err(BadBlock));
    }
}
