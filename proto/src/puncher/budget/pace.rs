//! The pace: how many packets may leave in a second.

use std::time::{Duration, Instant};

use super::{Limits, Purpose};

/// A token bucket: what it holds when full and what flows in within a second are the bound together.
#[derive(Debug)]
pub(super) struct Pace {
    /// Nanoseconds of inflow for one token.
    token: u64,
    /// Tokens that it holds, in nanoseconds of inflow.
    full: u64,
    level: u64,
    /// What all but [`Purpose::Path`] must leave in it.
    reserved: u64,
    at: Option<Instant>,
}

impl Pace {
    /// Makes one for all packets of a second.
    pub(super) fn of(limits: Limits) -> Self {
        let bound = u64::from(limits.packets_per_second);
        let held = (bound / 10).max(8);
        Self::new(Duration::from_nanos(1_000_000_000_u64.div_ceil(bound - held)), held)
    }

    /// Makes one for that share of them: one packet in `share`.
    pub(super) fn of_share(limits: Limits, share: u64) -> Self {
        let share = u64::from(limits.packets_per_second) / share;
        let held = (share / 8).max(4);
        Self::new(Duration::from_nanos(1_000_000_000 / share.max(1)), held)
    }

    /// Makes one that lets `held` packets leave at once, and then one in each `gap`.
    pub(super) fn new(gap: Duration, held: u64) -> Self {
        let token = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
        let full = held.saturating_mul(token);
        Self { token, full, level: full, reserved: 0, at: None }
    }

    /// The same, where a quarter of the bucket is for tests of paths in use alone.
    pub(super) fn with_room_for_paths(self) -> Self {
        Self { reserved: self.full / 4, ..self }
    }

    /// Takes a token, if there is one for that purpose.
    pub(super) fn admit(&mut self, purpose: Purpose, now: Instant) -> bool {
        self.fill(now);
        let ready = self.level >= self.needed(purpose);
        if ready {
            self.level -= self.token;
        }
        ready
    }

    /// Returns when there will be one.
    pub(super) fn ready_at(&mut self, purpose: Purpose, now: Instant) -> Instant {
        self.fill(now);
        now + Duration::from_nanos(self.needed(purpose).saturating_sub(self.level))
    }

    fn fill(&mut self, now: Instant) {
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let inflow = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.level = self.level.saturating_add(inflow).min(self.full);
        self.at = Some(now);
    }

    /// The level at which a token may be taken: half of the bucket is for talk alone.
    fn needed(&self, purpose: Purpose) -> u64 {
        match purpose {
            Purpose::Path => self.token,
            Purpose::Talk | Purpose::Unproven | Purpose::Reserve | Purpose::Slot => {
                self.token + self.reserved
            }
            Purpose::Search | Purpose::Undated => self.token + self.full / 2,
        }
    }
}
