//! Connection IDs that a holder of the key knows at sight.

use std::{
    hash::Hasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use noq_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use pinhole_proto::key::{CONNECTION_ID_BYTES, Marks};
use siphasher::sip::SipHasher24;

/// Makes connection IDs: a random half and its mark. Clones never make the same one.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionIds {
    marks: Marks,
    seed: [u8; 16],
    count: Arc<AtomicU64>,
}

impl ConnectionIds {
    /// Makes them from a seed that is used for nothing else. To whoever does not know it, the halves look random.
    pub(crate) fn new(marks: Marks, seed: [u8; 16]) -> Self {
        Self { marks, seed, count: Arc::default() }
    }

    /// Makes the next one.
    pub(crate) fn next(&self) -> ConnectionId {
        let mut hasher = SipHasher24::new_with_key(&self.seed);
        hasher.write_u64(self.count.fetch_add(1, Ordering::Relaxed));
        let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
        ConnectionId::new(&self.marks.mark([a, b, c, d]))
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.next()
    }

    /// Takes every ID for a foreign one. The library asks about those that it has no connection for, and would answer
    /// one of its own with a stateless reset: whoever had copied such an ID would get an answer.
    fn validate(&self, _id: ConnectionId) -> Result<(), InvalidCid> {
        Err(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}
