//! What QUIC takes from the shared key: the keys of its first packets, and the marks in its connection IDs. Nonces of
//! probes have such marks as well.
//!
//! QUIC seals its Initial packets with keys that follow from the client's first destination connection ID, which
//! everybody on the way can read (RFC 9001 §5.2). Here they follow from [`InitialKey::connection_id`] in its place:
//! only a holder of the key can open or make an Initial, and only for the two runs of the program that have proven
//! themselves to each other, so a recording of an earlier one does not open either.
//!
//! Connection IDs carry a mark that costs some nanoseconds to check. A datagram without it is thrown away before
//! anything else is done for it; a datagram with it is still no more than a datagram that somebody may have copied.

use std::{fmt, hash::Hasher, sync::Arc};

use hkdf::Hkdf;
use sha2::Sha256;
use siphasher::sip::SipHasher24;
use zeroize::Zeroizing;

use super::Key;

/// Length of every connection ID, bytes: half of them random, half of them the mark.
pub const CONNECTION_ID_BYTES: usize = 8;

/// The runs of the program on both sides, as they have proven themselves to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Instances {
    /// The serve side's.
    pub serve: u64,
    /// The open side's.
    pub open: u64,
}

/// Derives the keys of QUIC's Initial packets. Clones share the one copy of their secret.
#[derive(Clone)]
pub struct InitialKey(Arc<Zeroizing<[u8; 32]>>);

impl InitialKey {
    /// Derives it from the shared key.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        Self(Arc::new(key.quic_initial()))
    }

    /// Returns what takes the place of a client's first destination connection ID in the derivation of Initial keys:
    /// `HKDF-Expand(PRK = label "pinhole v2 quic initial", info = serve side's instance | open side's instance |
    /// connection ID, length = 20)`, integers big-endian. 20 bytes are the most that a connection ID has.
    #[must_use]
    pub fn connection_id(&self, instances: Instances, id: &[u8]) -> [u8; 20] {
        let mut derived = [0; 20];
        let info = [&instances.serve.to_be_bytes()[..], &instances.open.to_be_bytes(), id];
        Hkdf::<Sha256>::from_prk(&**self.0)
            .expect("32 bytes are a whole SHA-256 output")
            .expand_multi_info(&info, &mut derived)
            .expect("20 bytes are within HKDF's limit");
        derived
    }
}

impl fmt::Debug for InitialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InitialKey(secret)")
    }
}

/// Length of a mark, bytes.
const MARK_BYTES: usize = 4;

/// Marks connection IDs, and the nonces of probes, so that a holder of the key knows them at sight.
///
/// The mark of some bytes is the first half of SipHash-2-4 of them, little-endian, under the first 16 bytes of label
/// "pinhole v2 connection id". It follows them. Clones share the one copy of the secret.
#[derive(Clone)]
pub struct Marks(Arc<SipHasher24>);

impl Marks {
    /// Derives them from the shared key.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        let derived = key.connection_ids();
        let (sip, _) = derived.split_first_chunk().expect("32 bytes hold 16");
        Self(Arc::new(SipHasher24::new_with_key(sip)))
    }

    /// Returns the connection ID with that random half.
    #[must_use]
    pub fn mark(&self, random: [u8; 4]) -> [u8; CONNECTION_ID_BYTES] {
        let mut id = [0; CONNECTION_ID_BYTES];
        id[..4].copy_from_slice(&random);
        self.finish(&mut id);
        id
    }

    /// Puts the mark of what comes before them in the place of the last bytes.
    pub fn finish(&self, bytes: &mut [u8]) {
        if let Some((marked, mark)) = bytes.split_last_chunk_mut::<MARK_BYTES>() {
            *mark = self.of(marked);
        }
    }

    /// Returns whether bytes end with the mark of what comes before it.
    #[must_use]
    pub fn are_marked(&self, bytes: &[u8]) -> bool {
        bytes.split_last_chunk().is_some_and(|(marked, mark)| self.of(marked) == *mark)
    }

    fn of(&self, bytes: &[u8]) -> [u8; MARK_BYTES] {
        let mut hasher = *self.0;
        hasher.write(bytes);
        let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
        [a, b, c, d]
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marks(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::of_test as key, *};

    #[test]
    fn an_id_is_marked_for_one_key_alone() {
        let (ours, theirs) = (Marks::new(&key("one")), Marks::new(&key("another")));
        let id = ours.mark([1, 2, 3, 4]);
        assert!(ours.are_marked(&id) && !theirs.are_marked(&id));
        for byte in 0..CONNECTION_ID_BYTES {
            let mut changed = id;
            changed[byte] ^= 1;
            assert!(!ours.are_marked(&changed), "byte {byte}");
        }
    }

    #[test]
    fn initial_keys_follow_from_the_key_the_two_runs_and_the_connection_id() {
        let (one, other) = (InitialKey::new(&key("one")), InitialKey::new(&key("another")));
        let runs = Instances { serve: 1, open: 2 };
        let all = [
            one.connection_id(runs, b"12345678"),
            one.connection_id(runs, b"12345679"),
            one.connection_id(Instances { serve: 3, ..runs }, b"12345678"),
            one.connection_id(Instances { open: 1, ..runs }, b"12345678"),
            other.connection_id(runs, b"12345678"),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }
}
