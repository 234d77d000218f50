//! The blocks of a direction of a tunnelled connection, where both sides let each other compress.
//!
//! The bytes come in blocks, each behind a head. A packed block stands for more bytes than it has, and is complete in
//! itself: nothing of another block is needed to unpack it, so neither side keeps anything between two of them.
//!
//! ```text
//! plain    0                1          2
//!          +----------------+                        00, 6 bits of length        1 to 63
//!          | 0 0 |  length  |
//!          +----------------+----------+
//!          | 0 1 |       length        |             01, 14 bits                 up to 16,383
//!          +----------------+----------+----------+
//!          | 1 0 |            length              |  10, 22 bits                 up to 4,194,303
//!          +----------------+----------+----------+----------+----------+----------+
//! packed   | 1 1 |            length              |            unpacked            |
//!          +----------------+----------+----------+----------+----------+----------+
//! ```
//!
//! Numbers are big-endian. A direction ends between two blocks.

/// Most bytes of a plain block.
pub const MAX_PLAIN_BYTES: usize = (1 << 22) - 1;

/// Most bytes that a packed block stands for.
pub const MAX_UNPACKED_BYTES: usize = 256 << 10;

/// Bytes of the longest head.
pub const MAX_HEAD_BYTES: usize = 6;

const KIND: u8 = 0b1100_0000;
const SHORT: u8 = 0b0000_0000;
const MIDDLE: u8 = 0b0100_0000;
const LONG: u8 = 0b1000_0000;

/// The head of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// That many bytes follow as they are.
    Plain(usize),
    /// A Zstandard frame follows (RFC 8878).
    Packed {
        /// Its size, bytes.
        length: usize,
        /// Bytes that it stands for: more than its size.
        unpacked: usize,
    },
}

impl Head {
    /// Returns the size of a head by its first byte.
    #[must_use]
    pub fn size(first: u8) -> usize {
        match first & KIND {
            SHORT => 1,
            MIDDLE => 2,
            LONG => 3,
            _ => MAX_HEAD_BYTES,
        }
    }

    /// Writes a head. Its numbers must be such as [`Head::decode`] accepts.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Plain(length) => {
                let [_, high, middle, low] = four_bytes(length);
                match length {
                    0..=0x3f => vec![low],
                    0x40..=0x3fff => vec![MIDDLE | middle, low],
                    _ => vec![LONG | high, middle, low],
                }
            }
            Self::Packed { length, unpacked } => {
                let ([_, a, b, c], [_, d, e, f]) = (four_bytes(length), four_bytes(unpacked));
                vec![KIND | a, b, c, d, e, f]
            }
        }
    }

    /// Reads a whole head.
    ///
    /// # Errors
    ///
    /// When it is too short or long, when the block has no bytes, or when a packed one stands for no more than it has
    /// or for too much.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadBlock> {
        let first = *bytes.first().ok_or(BadBlock)?;
        if bytes.len() != Self::size(first) {
            return Err(BadBlock);
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        let mut bytes = bytes.to_vec();
        bytes[0] &= !KIND;
        let head = match bytes.split_at_checked(MAX_HEAD_BYTES / 2) {
            Some((length, unpacked)) if first & KIND == KIND => {
                Self::Packed { length: number(length), unpacked: number(unpacked) }
            }
            Some(_) | None => Self::Plain(number(&bytes)),
        };
        if head.is_valid() { Ok(head) } else { Err(BadBlock) }
    }

    fn is_valid(self) -> bool {
        match self {
            Self::Plain(length) => length > 0,
            Self::Packed { length, unpacked } => {
                length > 0 && length < unpacked && unpacked <= MAX_UNPACKED_BYTES
            }
        }
    }
}

fn four_bytes(number: usize) -> [u8; 4] {
    u32::try_from(number).expect("at most 22 bits").to_be_bytes()
}

/// A block that breaks the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed block of a stream")]
pub struct BadBlock;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_the_wire_and_is_as_short_as_it_can_be() {
        for (length, size) in
            [(1, 1), (63, 1), (64, 2), (16_383, 2), (16_384, 3), (131_072, 3), (MAX_PLAIN_BYTES, 3)]
        {
            let bytes = Head::Plain(length).encode();
            assert_eq!((bytes.len(), Head::size(bytes[0])), (size, size), "{length}");
            assert_eq!(Head::decode(&bytes), Ok(Head::Plain(length)));
        }
        for (length, unpacked) in [(1, 2), (70_000, 70_001), (MAX_UNPACKED_BYTES - 1, MAX_UNPACKED_BYTES)] {
            let head = Head::Packed { length, unpacked };
            let bytes = head.encode();
            assert_eq!((bytes.len(), Head::size(bytes[0])), (MAX_HEAD_BYTES, MAX_HEAD_BYTES));
            assert_eq!(Head::decode(&bytes), Ok(head));
        }
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        let too_much = Head::Packed { length: 100, unpacked: MAX_UNPACKED_BYTES + 1 }.encode();
        for bad in [
            &b""[..],
            b"\0",                 // nothing
            b"\x40\0",             // nothing, in two bytes
            b"\x05\x05",           // too long
            b"\x40",               // too short
            b"\xc0\0\x09\0\0\x09", // no smaller than what it stands for
            b"\xc0\0\0\0\0\x09",   // packed nothing
            &too_much,
        ] {
            assert_eq!(Head::decode(bad), Err(BadBlock), "{bad:?}");
        }
    }
}
