//! Tells what only a holder of the key can have made from everything else, before anything is done for it.
//!
//! A datagram that passes may still be a copy: the Puncher and QUIC find that out. One that does not pass costs a look
//! at its connection ID or its nonce for each key, or one attempt to open a seal, and is gone, but for a few a second
//! ([`Strays`]) that the Puncher may see: it tells the user of a peer with another key by them.

use std::time::{Duration, Instant};

use pinhole_proto::{
    Key,
    key::{CONNECTION_ID_BYTES, Marks},
    probe::{NONCE_BYTES, OpenError, ProbeSeal},
};
use zeroize::Zeroizing;

/// The only version of QUIC that is spoken (RFC 9000). Version negotiation has number 0.
const QUIC_VERSION: [u8; 4] = 1u32.to_be_bytes();

/// The type of a packet with a long header. The two others are 0-RTT and Retry.
const TYPE: u8 = 0x30;
const INITIAL: u8 = 0x00;
const HANDSHAKE: u8 = 0x20;

/// The place of the nonce in a probe.
const NONCE: std::ops::Range<usize> = 1..1 + NONCE_BYTES;

/// Unopened datagrams that the Puncher sees at once, and how long it takes until it may see the next.
const STRAYS: u32 = 16;
const STRAY_EVERY: Duration = Duration::from_millis(100);

/// Made from the key that is shared with a peer.
pub(crate) struct Filter {
    marks: Marks,
    seal: ProbeSeal,
    tag: Zeroizing<[u8; 32]>,
}

impl Filter {
    /// Makes the filter for what is sealed with that key.
    pub(crate) fn new(key: &Key) -> Self {
        Self { marks: Marks::new(key), seal: ProbeSeal::new(key), tag: key.tag() }
    }

    /// Whether this is the filter of that key.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        key.is_named_by(&self.tag)
    }

    /// Returns the seal of probes: one copy of its secret serves whoever opens them.
    pub(crate) fn seal(&self) -> ProbeSeal {
        self.seal.clone()
    }

    /// Whether a datagram of QUIC's look is one of the version that we speak and leads to a connection ID that a
    /// holder of the key has made.
    pub(super) fn admits_quic(&self, datagram: &[u8]) -> bool {
        destination(datagram).is_some_and(|id| self.marks.are_marked(id))
    }

    /// Whether the key has sealed a datagram of a probe's look, or sealed something that cannot be read.
    pub(super) fn has_sealed(&self, datagram: &[u8]) -> bool {
        self.has_marked(datagram) && !matches!(self.seal.open(datagram), Err(OpenError::Sealed { .. }))
    }

    /// Whether a datagram of a probe's look, or what is quoted of one, has a nonce that a holder of the key has made.
    pub(super) fn has_marked(&self, datagram: &[u8]) -> bool {
        datagram.get(NONCE).is_some_and(|nonce| self.marks.are_marked(nonce))
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filter(secret)")
    }
}

/// Returns the connection ID that a QUIC version 1 packet leads to, if it has as many bytes as ours have and is an Initial, a
/// Handshake packet or one with a short header (RFC 9000 §17.2 and §17.3): nothing else is sent here.
fn destination(datagram: &[u8]) -> Option<&[u8; CONNECTION_ID_BYTES]> {
    let first = datagram.first()?;
    if first & 0x80 == 0 {
        return datagram[1..].first_chunk();
    }
    let is_sent = matches!(first & TYPE, INITIAL | HANDSHAKE);
    let (version, rest) = datagram[1..].split_first_chunk()?;
    let (length, id) = rest.split_first()?;
    (is_sent && *version == QUIC_VERSION && usize::from(*length) == CONNECTION_ID_BYTES)
        .then(|| id.first_chunk())?
}

/// Number of datagrams that nobody has sealed with the key, and that a Puncher may see now.
#[derive(Debug)]
pub(super) struct Strays {
    left: u32,
    /// When one was added last.
    at: Option<Instant>,
}

impl Default for Strays {
    fn default() -> Self {
        Self { left: STRAYS, at: None }
    }
}

impl Strays {
    /// Whether one more may pass.
    pub(super) fn take(&mut self) -> bool {
        let now = Instant::now();
        let at = *self.at.get_or_insert(now);
        let earned = (now.saturating_duration_since(at).as_millis() / STRAY_EVERY.as_millis())
            .min(u128::from(STRAYS)) as u32;
        if earned > 0 {
            (self.left, self.at) = ((self.left + earned).min(STRAYS), Some(now));
        }
        let may_pass = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may_pass
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::LazyLock;

    use pinhole_proto::key::Phrase;

    use super::*;

    pub(in crate::mux) fn key() -> Key {
        static KEY: LazyLock<Key> = LazyLock::new(|| Key::stretch(&Phrase::generate([1; 32])));
        KEY.clone()
    }

    /// Returns a datagram of QUIC's look that passes, of that length.
    pub(in crate::mux) fn marked(first: u8, tag: u8, length: usize) -> Vec<u8> {
        let id = Marks::new(&key()).mark([tag; 4]);
        let mut datagram = vec![first];
        if first & 0x80 != 0 {
            datagram.extend([0, 0, 0, 1, 8]);
        }
        datagram.extend(id);
        datagram.resize(length.max(datagram.len()), tag);
        datagram
    }

    #[test]
    fn quic_passes_with_a_mark_of_this_key_and_in_version_1_alone() {
        let filter = Filter::new(&key());
        for first in [0x40, 0xc0, 0xe3] {
            let good = marked(first, 7, 60);
            assert!(filter.admits_quic(&good));
            for end in 0..good.len().min(9) {
                assert!(!filter.admits_quic(&good[..end]), "{end} bytes of {first:x}");
            }
            assert!(!Filter::new(&Key::stretch(&Phrase::generate([2; 32]))).admits_quic(&good));
        }
        for (offset, value) in
            [(0, 0xd0), (0, 0xf0), (4, 2), (1, 0x1a), (4, 0), (5, 7), (5, 9), (5, 20), (6, 1), (13, 1)]
        {
            let mut bad = marked(0xc0, 7, 60);
            bad[offset] = value;
            assert!(!filter.admits_quic(&bad), "byte {offset} = {value}");
        }
    }

    #[test]
    fn of_many_probes_that_do_not_open_a_few_pass() {
        let filter = Filter::new(&key());
        let mut strays = Strays::default();
        assert!(!filter.has_sealed(&[0x82; 101]));
        let passed = (0..10_000).filter(|_| strays.take()).count();
        assert!((1..200).contains(&passed), "{passed}");
    }
}
