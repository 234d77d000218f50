//! The datagrams: reading them, and writing all but data.

/// Bytes before the data.
pub const HEAD_BYTES: usize = 16;

/// Bytes of the MD5 that are kept.
pub const DIGEST_BYTES: usize = 11;

/// Most data in one datagram, bytes: what UDP over IPv4 holds (65,507) less the head.
pub const MAX_DATA_BYTES: usize = 65_507 - HEAD_BYTES;

/// What the script sends at the most, bytes.
pub const DEFAULT_DATA_BYTES: usize = 40_000;

/// The receiver looks at the first byte only.
pub const HEARTBEAT: [u8; 8] = *b"HELOCLNT";

/// Begins with a type that the script does not know; it ends itself then, and says so to its user.
const GOODBYE: u8 = b'E';

/// In place of a digest, so that no stray datagram is taken for a goodbye.
const GOODBYE_TEXT: [u8; DIGEST_BYTES] = *b"pinholeends";

/// One datagram, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The peer lives.
    Heartbeat,
    /// The peer has that datagram.
    Ack(u16),
    /// The peer has no use for what it got; it expects that number.
    Nack(u16),
    /// A piece of the TCP connection.
    Data(Parcel<'a>),
    /// Data that cannot be right, so that a [`Message::Nack`] comes back: what does the other side expect?
    Question,
    /// The TCP connection there has ended, after all numbers before `next`.
    Goodbye {
        /// The number that the next data would have had.
        next: u16,
    },
}

/// A piece of the TCP connection as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parcel<'a> {
    /// Whether the body is a zlib stream.
    pub is_packed: bool,
    /// Counts the pieces of one direction, modulo 65,536.
    pub number: u16,
    /// Length of the original data, bytes.
    pub length: u16,
    /// The first bytes of the original data's MD5.
    pub digest: [u8; DIGEST_BYTES],
    /// The data, raw or packed.
    pub body: &'a [u8],
}

impl Parcel<'_> {
    /// Writes it as a datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(HEAD_BYTES + self.body.len());
        datagram.push(if self.is_packed { b'C' } else { b'U' });
        datagram.extend_from_slice(&self.number.to_be_bytes());
        datagram.extend_from_slice(&self.length.to_be_bytes());
        datagram.extend_from_slice(&self.digest);
        datagram.extend_from_slice(self.body);
        datagram
    }
}

/// Reads a datagram; `None` if it is of no known kind or too short. Bytes behind an ack are ignored, as the script
/// does.
#[must_use]
pub fn parse(datagram: &[u8]) -> Option<Message<'_>> {
    let (&kind, rest) = datagram.split_first()?;
    match kind {
        b'H' => Some(Message::Heartbeat),
        b'A' | b'N' => {
            let number = u16::from_be_bytes(*rest.first_chunk()?);
            Some(if kind == b'A' { Message::Ack(number) } else { Message::Nack(number) })
        }
        b'U' | b'C' | GOODBYE => {
            let (number, rest) = rest.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let (digest, body) = rest.split_first_chunk()?;
            let (number, length) = (u16::from_be_bytes(*number), u16::from_be_bytes(*length));
            let parcel = Parcel { is_packed: kind == b'C', number, length, digest: *digest, body };
            if parcel == QUESTION {
                return Some(Message::Question);
            }
            if kind != GOODBYE {
                return Some(Message::Data(parcel));
            }
            let is_meant = length == 0 && *digest == GOODBYE_TEXT && body.is_empty();
            is_meant.then_some(Message::Goodbye { next: number })
        }
        _ => None,
    }
}

/// Says that a datagram has arrived.
#[must_use]
pub fn ack(number: u16) -> Vec<u8> {
    answer(b'A', number)
}

/// Says which datagram is expected instead.
#[must_use]
pub fn nack(expected: u16) -> Vec<u8> {
    answer(b'N', expected)
}

/// Asks what the peer expects.
///
/// No receiver can take it for data: the length is wrong, whatever number it expects. And to the script, which compares
/// numbers without regard to their wrap, none is higher, so it is never taken for an old one.
#[must_use]
pub fn question() -> Vec<u8> {
    QUESTION.encode()
}

/// Says that the TCP connection has ended here.
#[must_use]
pub fn goodbye(next: u16) -> Vec<u8> {
    let mut datagram =
        Parcel { is_packed: false, number: next, length: 0, digest: GOODBYE_TEXT, body: &[] }.encode();
    datagram[0] = GOODBYE;
    datagram
}

const QUESTION: Parcel<'static> =
    Parcel { is_packed: false, number: u16::MAX, length: 1, digest: [0; DIGEST_BYTES], body: &[] };

fn answer(kind: u8, number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    vec![kind, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_description() {
        let digest = *b"01234567890";
        let parcel = Parcel { is_packed: true, number: 0x0102, length: 0x0304, digest, body: b"zlib" };
        assert_eq!(parcel.encode(), b"C\x01\x02\x03\x0401234567890zlib");
        assert_eq!(Parcel { is_packed: false, ..parcel }.encode()[0], b'U');
        assert_eq!(ack(0xfffe), b"A\xff\xfe");
        assert_eq!(nack(1), b"N\x00\x01");
        assert_eq!(question(), b"U\xff\xff\x00\x01\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(goodbye(7), b"E\x00\x07\x00\x00pinholeends");
    }

    #[test]
    fn what_is_written_is_read() {
        let parcel = Parcel { is_packed: false, number: 9, length: 2, digest: [7; 11], body: b"ab" };
        assert_eq!(parse(&parcel.encode()), Some(Message::Data(parcel)));
        assert_eq!(parse(&ack(65_535)), Some(Message::Ack(65_535)));
        assert_eq!(parse(&nack(0)), Some(Message::Nack(0)));
        assert_eq!(parse(&question()), Some(Message::Question));
        assert_eq!(parse(&goodbye(3)), Some(Message::Goodbye { next: 3 }));
        assert_eq!(parse(&HEARTBEAT), Some(Message::Heartbeat));
    }

    #[test]
    fn a_heartbeat_is_known_by_its_first_byte_and_what_is_short_or_unknown_is_nothing() {
        assert_eq!(parse(b"HELOSRVR"), Some(Message::Heartbeat));
        assert_eq!(parse(b"H"), Some(Message::Heartbeat));
        assert_eq!(parse(b"A\x00\x01 and more"), Some(Message::Ack(1)));
        for bad in
            [&b""[..], b"A", b"N\x00", b"U", b"C\0\0\0\x01short", b"E", b"E\0\0\0\0pinholeendz", b"\x81"]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
