//! Counts what a forward carries: two relaxed additions for each chunk, and nothing else on the way of the bytes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::Notify;

/// Counts the connections and bytes of one forward.
#[derive(Debug)]
pub(crate) struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
    /// Bytes that packing has saved, of those.
    saved: [AtomicU64; 2],
    open: AtomicU64,
    total: AtomicU64,
    sum: Arc<Sum>,
}

/// Counts that outlive the forwards.
#[derive(Debug, Default)]
pub(super) struct Sum {
    /// Connections of all forwards.
    open: AtomicU64,
    /// Somebody wants to know of the first one.
    first: Notify,
    /// What forwards that are gone have carried.
    gone: [AtomicU64; 5],
}

/// A reading of a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reading {
    pub(super) open: u64,
    pub(super) total: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Bytes of those that packing has saved.
    pub(super) sent_saved: u64,
    pub(super) received_saved: u64,
}

/// A connection that is counted as open until this is dropped.
#[derive(Debug)]
pub(crate) struct Carried(Arc<Meter>);

impl Meter {
    pub(super) fn new(sum: Arc<Sum>) -> Self {
        let (sent, received, saved, open, total) = Default::default();
        Self { sent, received, saved, open, total, sum }
    }

    /// Counts a connection.
    pub(crate) fn connection(self: &Arc<Self>) -> Carried {
        self.total.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        if self.sum.open.fetch_add(1, Relaxed) == 0 {
            self.sum.first.notify_one();
        }
        Carried(self.clone())
    }

    pub(super) fn read(&self) -> Reading {
        Reading {
            open: self.open.load(Relaxed),
            total: self.total.load(Relaxed),
            sent: self.sent.load(Relaxed),
            received: self.received.load(Relaxed),
            sent_saved: self.saved[0].load(Relaxed),
            received_saved: self.saved[1].load(Relaxed),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let Reading { total, sent, received, sent_saved, received_saved, open: _ } = self.read();
        let counts = [total, sent, received, sent_saved, received_saved];
        for (gone, count) in self.sum.gone.iter().zip(counts) {
            gone.fetch_add(count, Relaxed);
        }
    }
}

impl Carried {
    /// Counts bytes toward the peer.
    pub(crate) fn sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts bytes from the peer.
    pub(crate) fn received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts bytes toward the peer that packing has saved.
    pub(crate) fn sent_saved(&self, bytes: usize) {
        self.0.saved[0].fetch_add(bytes as u64, Relaxed);
    }

    /// Counts bytes from the peer that packing has saved.
    pub(crate) fn received_saved(&self, bytes: usize) {
        self.0.saved[1].fetch_add(bytes as u64, Relaxed);
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.sum.open.fetch_sub(1, Relaxed);
    }
}

impl Sum {
    /// Waits until a connection is open.
    pub(super) async fn is_in_use(&self) {
        while self.open.load(Relaxed) == 0 {
            self.first.notified().await;
        }
    }

    /// Whether a connection is open now.
    pub(super) fn is_used_now(&self) -> bool {
        self.open.load(Relaxed) > 0
    }

    /// Adds to these what forwards that are gone have carried.
    pub(super) fn add_gone(&self, now: &mut Reading) {
        let [total, sent, received, sent_saved, received_saved] =
            [0, 1, 2, 3, 4].map(|count: usize| self.gone[count].load(Relaxed));
        now.total += total;
        now.sent += sent;
        now.received += received;
        now.sent_saved += sent_saved;
        now.received_saved += received_saved;
    }
}

impl std::ops::AddAssign for Reading {
    fn add_assign(&mut self, other: Self) {
        self.open += other.open;
        self.total += other.total;
        self.sent += other.sent;
        self.received += other.received;
        self.sent_saved += other.sent_saved;
        self.received_saved += other.received_saved;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_open_until_it_is_dropped_and_stays_counted() {
        let sum = Arc::new(Sum::default());
        let meter = Arc::new(Meter::new(sum.clone()));
        let (one, two) = (meter.connection(), meter.connection());
        one.sent(7);
        one.sent_saved(3);
        two.received(9);
        two.received_saved(5);
        drop(one);
        let carried = Reading { open: 1, total: 2, sent: 7, received: 9, sent_saved: 3, received_saved: 5 };
        assert_eq!(meter.read(), carried);
        drop((two, meter));
        assert!(!sum.is_used_now());
        let mut all = Reading::default();
        sum.add_gone(&mut all);
        assert_eq!(all, Reading { open: 0, ..carried }, "a forward that is gone");
    }
}
