//! Heartbeats: when ours are due, and whether the peer's are heard.

use std::time::{Duration, Instant};

use rand_core::{Rng, SeedableRng};

/// Least time between two heartbeats. With [`BEAT_SPREAD`] the script's 20 to 30 s.
const BEAT: Duration = Duration::from_secs(20);

/// Further time, drawn anew each time.
const BEAT_SPREAD: Duration = Duration::from_secs(10);

/// Heartbeats that are sent without a word from the peer before it is given up.
const UNANSWERED: u32 = 10;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// A heartbeat.
    Send,
    /// The same; but the peer, which was heard once, is gone.
    Lost,
}

#[derive(Debug)]
pub(super) struct Pulse {
    rng: rand_chacha::ChaCha20Rng,
    next_at: Instant,
    unanswered: u32,
    heard_at: Option<Instant>,
    beats: u64,
}

impl Pulse {
    /// The first heartbeat is due at once.
    pub(super) fn new(seed: [u8; 32], now: Instant) -> Self {
        let rng = rand_chacha::ChaCha20Rng::from_seed(seed);
        Self { rng, next_at: now, unanswered: 0, heard_at: None, beats: 0 }
    }

    /// Records a word of the peer. Returns whether it is the first one.
    pub(super) fn handle_heard(&mut self, now: Instant) -> bool {
        self.unanswered = 0;
        self.heard_at.replace(now).is_none()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Beat> {
        if now < self.next_at {
            return None;
        }
        let spread = u32::try_from(BEAT_SPREAD.as_millis()).unwrap_or(u32::MAX);
        self.next_at = now + BEAT + Duration::from_millis(u64::from(self.rng.next_u32() % spread));
        self.beats += 1;
        self.unanswered += 1;
        if self.unanswered <= UNANSWERED {
            return Some(Beat::Send);
        }
        self.unanswered = 1;
        Some(if self.heard_at.take().is_some() { Beat::Lost } else { Beat::Send })
    }

    pub(super) fn deadline(&self) -> Instant {
        self.next_at
    }

    /// Returns how many heartbeats were sent.
    pub(super) fn beats(&self) -> u64 {
        self.beats
    }

    pub(super) fn heard_at(&self) -> Option<Instant> {
        self.heard_at
    }
}
