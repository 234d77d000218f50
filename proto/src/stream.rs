//! The head of each tunnelled TCP connection.
//!
//! The open side starts a bidirectional QUIC stream for each TCP connection and sends a [`Request`]; the bytes of
//! the TCP connection follow at once, without waiting. The serve side answers one [`Reply`] byte and, where that
//! is [`Reply::Connected`], the bytes of the service.
//!
//! ```text
//! request   0        1        2        2+n
//!           +--------+--------+--------+      flags bit 0: any service will do if just one is offered
//!           | flags  | n      | name   |      flags bit 2: the client's bytes come in blocks (see `block`)
//!           +--------+--------+--------+      name: UTF-8, 1 to 64 bytes, printable
//! reply     0
//!           +--------+
//!           | code   |
//!           +--------+
//! ```
//!
//! Unknown flags are ignored. An unknown reply code is a refusal.

use strum::VariantArray;

/// Longest name of a service, bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Longest request, bytes.
pub const MAX_REQUEST_BYTES: usize = 2 + MAX_NAME_BYTES;

const FLAG_ANY: u8 = 1;

/// Bit 1 is that of [`CHECK_REQUEST`].
const FLAG_BLOCKS: u8 = 4;

/// The head of the stream by which two checks talk (see [`crate::survey`]): flags bit 1, and no name. Whoever forwards
/// takes it for a malformed request.
pub const CHECK_REQUEST: [u8; 2] = [2, 0];

/// Asks the serve side for one TCP connection to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Name of the service, by default its port number.
    pub service: String,
    /// Whether another service may stand in where the name is unknown and only one is offered.
    pub any: bool,
    /// Whether the client's bytes come in blocks ([`crate::block`]). Then those of the service may as well.
    pub blocks: bool,
}

impl Request {
    /// Writes the request. The name must be one that [`valid_name`] accepts.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let name = self.service.as_bytes();
        let length = u8::try_from(name.len()).expect("a valid name has at most 64 bytes");
        let mut out = Vec::with_capacity(2 + name.len());
        let flags = [(self.any, FLAG_ANY), (self.blocks, FLAG_BLOCKS)];
        out.push(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
        out.push(length);
        out.extend_from_slice(name);
        out
    }

    /// Returns how many bytes of name follow the first two bytes of a request.
    ///
    /// # Errors
    ///
    /// When no name can have that length.
    pub fn name_length(head: [u8; 2]) -> Result<usize, BadRequest> {
        match usize::from(head[1]) {
            0 => Err(BadRequest),
            n if n > MAX_NAME_BYTES => Err(BadRequest),
            n => Ok(n),
        }
    }

    /// Reads a whole request.
    ///
    /// # Errors
    ///
    /// When it is too short or long, or its name is not printable UTF-8.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRequest> {
        let (&head, rest) = bytes.split_first_chunk::<2>().ok_or(BadRequest)?;
        if rest.len() != Self::name_length(head)? {
            return Err(BadRequest);
        }
        let service = std::str::from_utf8(rest).map_err(|_| BadRequest)?;
        if !valid_name(service) {
            return Err(BadRequest);
        }
        let has = |flag| head[0] & flag != 0;
        Ok(Self { service: service.to_owned(), any: has(FLAG_ANY), blocks: has(FLAG_BLOCKS) })
    }
}

/// Returns whether a text can name a service: 1 to 64 bytes without blanks, colons, equal signs, control characters or
/// marks that change the direction of text (UAX #9).
#[must_use]
pub fn valid_name(name: &str) -> bool {
    let is_direction = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !is_direction(c) && c != ':' && c != '=';
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.chars().all(plain)
}

/// A request that breaks the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed stream request")]
pub struct BadRequest;

/// Answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Reply {
    /// The bytes of the service follow.
    Connected,
    /// The same, in blocks ([`crate::block`]); an answer to a client whose bytes come so. From now on the client's may
    /// be packed.
    ConnectedInBlocks,
    /// Nothing of that name is offered.
    NoSuchService,
    /// The service's machine refused the connection: it is down.
    Refused,
    /// The service's machine did not answer, or there is no way to it.
    Unreachable,
    /// The serve side has no room for another connection, or could not read the request.
    Unavailable,
    /// The name of the service's machine does not resolve on the serve side.
    Unresolved,
}

impl Reply {
    /// Returns the byte that stands for this reply.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Connected => 0,
            Self::NoSuchService => 1,
            Self::Refused => 2,
            Self::Unreachable => 3,
            Self::Unavailable => 4,
            Self::ConnectedInBlocks => 5,
            Self::Unresolved => 6,
        }
    }

    /// Reads a reply; what a later version may send counts as [`Reply::Unavailable`].
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::VARIANTS.iter().copied().find(|reply| reply.code() == code).unwrap_or(Self::Unavailable)
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connected | Self::ConnectedInBlocks => "connected",
            Self::NoSuchService => "the peer offers no service of that name",
            Self::Refused => "it refused the connection: is it running?",
            Self::Unreachable => "its machine does not answer, or there is no way to it from the serve side",
            Self::Unresolved => {
                "the name of its machine does not resolve on the serve side: check its spelling there"
            }
            Self::Unavailable => "the peer cannot take another connection now",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_wire() {
        for (service, any, blocks) in [("22", true, false), ("web", false, true), ("größe", true, true)] {
            let request = Request { service: service.into(), any, blocks };
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
    }

    #[test]
    fn malformed_requests_are_refused() {
        let long = [&[0, 65][..], &[b'a'; 65]].concat();
        for bad in [
            &b""[..],
            b"\0",
            b"\0\0",
            b"\0\x02a",
            b"\0\x01ab",
            b"\0\x01\xff",
            b"\0\x01\n",
            b"\0\x03a:b",
            &long,
        ] {
            assert_eq!(Request::decode(bad), Err(BadRequest), "{bad:?}");
        }
    }

    #[test]
    fn a_check_is_no_request_for_a_service() {
        assert_eq!(Request::name_length(CHECK_REQUEST), Err(BadRequest));
        assert_eq!(Request::decode(&CHECK_REQUEST), Err(BadRequest));
    }

    #[test]
    fn unknown_flags_are_ignored_and_unknown_replies_refuse() {
        let request = Request { service: "ab".into(), any: false, blocks: false };
        assert_eq!(Request::decode(b"\xfa\x02ab"), Ok(request));
        assert_eq!(Reply::from_code(77), Reply::Unavailable);
        assert!(Reply::VARIANTS.iter().all(|r| Reply::from_code(r.code()) == *r));
    }
}
