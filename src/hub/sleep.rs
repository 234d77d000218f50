//! Noticing that the whole program has slept: stopped, swapped out, or on a machine that was paused.
//!
//! What has waited in the sockets meanwhile is out of date. To acknowledge it would tell the peer a round trip of a
//! minute, and to hear the peer's acknowledgements would tell ourselves the same; QUIC would then wait for minutes
//! before it sent anything again. So it is thrown away, as if it had been lost.
//!
//! A peer that has slept does so, too, but what it had in hand when it fell asleep leaves before: acknowledgements of
//! what it got long ago. So the first words after a long silence are thrown away as well.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Whoever wakes up this much later than planned has slept.
const SLEPT: Duration = Duration::from_secs(2);

/// For this long after waking up, what arrives may have waited.
const STALE: Duration = Duration::from_millis(100);

/// For this long after the first word of a peer that was silent, what arrives may be old.
const OLD: Duration = Duration::from_millis(200);

/// After so long a silence: longer than any round trip that a pair is proven with.
const SILENCE: Duration = Duration::from_secs(5);

/// Not planned.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Sleep {
    began: Instant,
    /// When the program means to be awake at the latest, ms since the beginning.
    planned: AtomicU64,
    /// Until when arrivals are thrown away.
    stale_until: AtomicU64,
    /// When QUIC last heard the peer.
    heard: AtomicU64,
    /// Nothing comes by the path.
    is_silent: AtomicBool,
}

impl Sleep {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            planned: AtomicU64::new(NEVER),
            stale_until: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            is_silent: AtomicBool::new(false),
        }
    }

    /// Takes note that the program is awake now, and of its plan.
    pub(super) fn note_awake(&self, until: Option<Instant>) {
        self.is_stale();
        self.planned.store(until.map_or(NEVER, |until| self.ms(until)), Ordering::Relaxed);
    }

    /// Whether what arrives now may have waited while the program slept.
    pub(super) fn is_stale(&self) -> bool {
        let now = self.ms(Instant::now());
        if now > self.planned.load(Ordering::Relaxed).saturating_add(ms(SLEPT)) {
            tracing::debug!("the program has slept: what waited is thrown away");
            self.planned.store(NEVER, Ordering::Relaxed);
            self.stale_until.store(now + ms(STALE), Ordering::Relaxed);
        }
        now < self.stale_until.load(Ordering::Relaxed)
    }

    /// Takes note that the path is silent, or that there is one again.
    pub(super) fn note_silence(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// Takes note of a datagram of QUIC's.
    pub(super) fn note_heard(&self) {
        let now = self.ms(Instant::now());
        let before = self.heard.swap(now, Ordering::Relaxed);
        if self.is_silent.load(Ordering::Relaxed) && now > before.saturating_add(ms(SILENCE)) {
            tracing::debug!("the peer has slept: its first words are thrown away");
            self.stale_until.store(now + ms(OLD), Ordering::Relaxed);
        }
    }

    fn ms(&self, at: Instant) -> u64 {
        ms(at.saturating_duration_since(self.began))
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_arrives_right_after_a_sleep_is_stale_and_nothing_else() {
        let sleep = Sleep::new();
        assert!(!sleep.is_stale());
        sleep.note_awake(Some(Instant::now() + Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!sleep.is_stale(), "a little late");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(sleep.is_stale());
        sleep.note_awake(None);
        assert!(sleep.is_stale());
        tokio::time::advance(STALE).await;
        assert!(!sleep.is_stale());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_words_after_a_long_silence_are_stale() {
        let sleep = Sleep::new();
        sleep.note_heard();
        sleep.note_silence(true);
        tokio::time::advance(Duration::from_secs(4)).await;
        sleep.note_heard();
        assert!(!sleep.is_stale(), "it was just slow");
        tokio::time::advance(Duration::from_secs(60)).await;
        sleep.note_heard();
        assert!(sleep.is_stale());
        tokio::time::advance(OLD).await;
        assert!(!sleep.is_stale());
    }
}
