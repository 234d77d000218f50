//! How a client says what it wants: one byte and a number at the head of its connection.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::text::Text;

/// Bytes of a request.
pub(super) const REQUEST_BYTES: usize = 9;

/// Bytes of the head's own reply to a transfer up.
const TALLY_BYTES: usize = 24;

/// Largest read and write of a bulk transfer.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// Bytes that a sender repeats: more than a compressor looks back, less than the processor's cache.
const MATERIAL_BYTES: usize = 4 << 20;

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Every byte back at once.
    Echo,
    /// Bytes are taken until their end; the reply is a [`Tally`] without the first nanoseconds.
    Take { skip: Duration },
    /// Bytes for so long, which nothing compresses.
    Give { time: Duration },
    /// Text for so long.
    Tell { text: Text, time: Duration },
    /// So many bytes and the end, as a web server answers one request.
    Reply { bytes: u64 },
    /// A byte at once; another byte of the client begins the bytes for so long, its end ends it all.
    Wait { time: Duration },
}

impl Wish {
    pub(super) fn to_bytes(self) -> [u8; REQUEST_BYTES] {
        let (kind, number) = match self {
            Wish::Echo => (b'e', 0),
            Wish::Take { skip } => (b't', skip.as_nanos() as u64),
            Wish::Give { time } => (b'g', time.as_nanos() as u64),
            Wish::Tell { text: Text::Prose, time } => (b'x', time.as_nanos() as u64),
            Wish::Tell { text: Text::Sources, time } => (b's', time.as_nanos() as u64),
            Wish::Reply { bytes } => (b'r', bytes),
            Wish::Wait { time } => (b'w', time.as_nanos() as u64),
        };
        let mut bytes = [kind; REQUEST_BYTES];
        bytes[1..].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; REQUEST_BYTES]) -> Option<Wish> {
        let [kind, number @ ..] = bytes;
        let number = u64::from_le_bytes(number);
        match kind {
            b'e' => Some(Wish::Echo),
            b't' => Some(Wish::Take { skip: Duration::from_nanos(number) }),
            b'g' => Some(Wish::Give { time: Duration::from_nanos(number) }),
            b'x' => Some(Wish::Tell { text: Text::Prose, time: Duration::from_nanos(number) }),
            b's' => Some(Wish::Tell { text: Text::Sources, time: Duration::from_nanos(number) }),
            b'r' => Some(Wish::Reply { bytes: number }),
            b'w' => Some(Wish::Wait { time: Duration::from_nanos(number) }),
            _ => None,
        }
    }
}

/// What a receiver has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// All bytes.
    pub(super) total_bytes: u64,
    /// Bytes after the time that does not count.
    pub(super) bytes: u64,
    /// From the end of that time to the last byte.
    pub(super) nanos: u64,
}

impl Tally {
    /// Reads to the end, or for so long; what comes within `skip` of the first byte is not counted.
    pub(super) fn take(mut from: &TcpStream, skip: Duration, time: Option<Duration>) -> io::Result<Tally> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut tally = Tally { total_bytes: from.read(&mut buffer)? as u64, ..Tally::default() };
        let mut since = Instant::now();
        let (counts_from, until) = (since + skip, time.map(|time| since + time));
        let mut is_counting = false;
        loop {
            let count = from.read(&mut buffer)? as u64;
            let now = Instant::now();
            if count == 0 || until.is_some_and(|until| now >= until) {
                return Ok(tally);
            }
            tally.total_bytes += count;
            if is_counting {
                tally.bytes += count;
                tally.nanos = (now - since).as_nanos() as u64;
            } else if now >= counts_from {
                (is_counting, since) = (true, now);
            }
        }
    }

    /// Returns the fields in their order.
    pub(super) fn numbers(self) -> [u64; 3] {
        [self.total_bytes, self.bytes, self.nanos]
    }

    pub(super) fn write(self, mut to: &TcpStream) -> io::Result<()> {
        let mut bytes = [0; TALLY_BYTES];
        for (field, number) in bytes.chunks_exact_mut(8).zip(self.numbers()) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        to.write_all(&bytes)
    }

    pub(super) fn read(mut from: &TcpStream) -> io::Result<Tally> {
        let mut bytes = [0; TALLY_BYTES];
        from.read_exact(&mut bytes)?;
        let number =
            |at: usize| bytes[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(Tally { total_bytes: number(0), bytes: number(8), nanos: number(16) })
    }
}

/// Sends for so long, and then the end of the stream.
pub(super) fn give(mut to: &TcpStream, time: Duration) -> io::Result<()> {
    let material = material();
    let until = Instant::now() + time;
    for chunk in material.chunks(CHUNK_BYTES).cycle() {
        if Instant::now() >= until {
            break;
        }
        to.write_all(chunk)?;
    }
    to.shutdown(std::net::Shutdown::Write)
}

/// Makes bytes that nothing compresses, always the same ones.
pub(super) fn material() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    });
    words.take(MATERIAL_BYTES / 8).flatten().collect()
}

/// Checks that a service reads what a client wants.
pub(super) fn check() {
    let time = Duration::from_millis(1234);
    let wishes = [
        Wish::Echo,
        Wish::Take { skip: time },
        Wish::Give { time },
        Wish::Tell { text: Text::Prose, time },
        Wish::Tell { text: Text::Sources, time },
        Wish::Reply { bytes: 1000 },
        Wish::Wait { time },
    ];
    wishes.into_iter().for_each(|wish| assert_eq!(Wish::from_bytes(wish.to_bytes()), Some(wish)));
    assert_eq!(Wish::from_bytes([0; REQUEST_BYTES]), None);
}
