//! The QUIC library's assembler, which is patched (vendor/README.md), against a model: frames at any place, of any size,
//! again and again, and ordered reads between them.

#![no_main]

extern crate alloc;

use bytes::Bytes;
use libfuzzer_sys::{arbitrary, fuzz_target};

use self::assembler::{Assembler, MAX_CHUNKS};

// The files, not the crate: what is patched is private there.
#[allow(dead_code, missing_docs, reason = "the library uses more of it")]
#[rustfmt::skip]
#[path = "../../vendor/noq-proto/src/connection/assembler.rs"]
mod assembler;
#[path = "../../vendor/noq-proto/src/range_set"]
mod range_set {
    #[allow(dead_code, reason = "the library uses more of it")]
    #[rustfmt::skip]
    mod array_range_set;
    pub(crate) use array_range_set::ArrayRangeSet;
}

/// Bytes of a stream that are ever sent.
const STREAM_BYTES: usize = 1 << 18;

/// A run of contiguous bytes is kept in this many chunks more than one, at most: they are of half of 64 KiB at least.
const MORE_CHUNKS: usize = 2 * STREAM_BYTES / (32 << 10);

#[derive(Debug, arbitrary::Arbitrary)]
enum Op {
    /// So many frames of that length, so far apart, each in an allocation that much larger.
    Frames {
        at: u16,
        count: u16,
        length: u8,
        stride: u8,
        slack: u16,
        backwards: bool,
    },
    One {
        at: u16,
        length: u16,
        slack: u16,
    },
    Read {
        most: u16,
    },
    /// What the connection does when all its streams together hold too much.
    Compact,
}

fuzz_target!(|ops: Vec<Op>| {
    let mut stream = Stream::new();
    // The first error ends the connection.
    let _ended = ops.iter().take(16).try_for_each(|op| stream.apply(op));
});

/// The assembler, and what must be true of it.
struct Stream {
    assembler: Assembler,
    has: Vec<bool>,
    read: usize,
}

struct Ended;

impl Stream {
    fn new() -> Self {
        Self { assembler: Assembler::new(), has: vec![false; STREAM_BYTES], read: 0 }
    }

    fn apply(&mut self, op: &Op) -> Result<(), Ended> {
        match *op {
            Op::Frames { at, count, length, stride, slack, backwards } => {
                let (count, length) = (usize::from(count % 9000), usize::from(length % 32));
                (0..count).try_for_each(|index| {
                    let index = if backwards { count - 1 - index } else { index };
                    self.insert(usize::from(at) + index * usize::from(stride % 12), length, slack.into())
                })
            }
            Op::One { at, length, slack } => self.insert(at.into(), usize::from(length % 4096), slack.into()),
            Op::Compact => {
                self.assembler.compact();
                let (chunks, foreign) = self.assembler.chunks();
                assert_eq!(foreign, 0, "a chunk holds an allocation that is not its own");
                assert!(chunks <= self.runs() + MORE_CHUNKS, "{chunks} chunks of {} runs", self.runs());
                Ok(())
            }
            Op::Read { most } => {
                self.read(usize::from(most).max(1));
                Ok(())
            }
        }
    }

    fn insert(&mut self, at: usize, length: usize, slack: usize) -> Result<(), Ended> {
        let bytes: Vec<u8> = (at..at + length).map(byte).collect();
        if self.assembler.insert(at as u64, Bytes::from(bytes), length + slack).is_err() {
            self.has[at..at + length].fill(true);
            assert!(self.runs() + MORE_CHUNKS > MAX_CHUNKS, "a connection ends without {MAX_CHUNKS} gaps");
            return Err(Ended);
        }
        self.has[at..at + length].fill(true);
        let (chunks, foreign) = self.assembler.chunks();
        assert!(foreign <= chunks, "{foreign} of {chunks} chunks");
        Ok(())
    }

    fn read(&mut self, most: usize) {
        let is_there = self.has[self.read];
        let Some(chunk) = self.assembler.read(most, true) else {
            return assert!(!is_there, "bytes that are there are not read");
        };
        assert_eq!(chunk.offset, self.read as u64);
        assert!(!chunk.bytes.is_empty() && chunk.bytes.len() <= most);
        for read in &chunk.bytes {
            assert!(self.has[self.read], "bytes that never came");
            assert_eq!(*read, byte(self.read));
            self.read += 1;
        }
        assert_eq!(self.assembler.bytes_read(), self.read as u64);
    }

    /// Counts runs of contiguous bytes that are not yet read.
    fn runs(&self) -> usize {
        let unread = &self.has[self.read..];
        unread.windows(2).filter(|pair| !pair[0] && pair[1]).count() + usize::from(unread[0])
    }
}

/// The byte at that place of the stream.
fn byte(at: usize) -> u8 {
    ((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}
