//! Path liveness: whether the path in use still carries packets both ways (as RFC 7675 has consent checked), and what
//! keeps its mappings alive.
//!
//! Whatever the peer sends is a sign of life, the tunnel's own datagrams above all. A sealed test asks for one, and is
//! to be acked, in two cases:
//!
//! - The tunnel has sent and heard nothing for a few round trips. Most of what it sends is acknowledged at once.
//! - Nothing has come for half as long as there was nothing before: 1 s after the last traffic, then at 2, 3, 4.5, 7,
//!   and so on until the [`Keepalive`]'s interval. So the side that only receives notices, too, when a transfer is cut, and a
//!   tunnel at rest costs one exchange for each interval.
//!
//! A path is dead when [`DEAD_AFTER`] has passed and at least [`TESTS`] tests were not answered; more time where round
//! trips are long, more tests where many get lost. To be wrong costs little: the search begins with the same path.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::Role;
use crate::puncher::{
    Traffic,
    checks::LATE,
    path::keepalive::{self, Keepalive},
};

/// Time after which a path that answers nothing is dead, or [`DEAD_AFTER_TIMEOUTS`] if that is longer.
const DEAD_AFTER: Duration = Duration::from_millis(1500);

/// The same in multiples of the time within which an answer is expected; see [`DEAD_AFTER`].
const DEAD_AFTER_TIMEOUTS: u32 = 4;

/// Tests that a dead path has not answered: at 30 % of loss each way, 1 of 200 living ones does so.
const TESTS: u32 = 8;

/// Further tests that a dead path has not answered, where every test gets lost.
const TESTS_FOR_LOSS: u32 = 24;

/// Shortest time for the tunnel's own datagrams to be answered before a test asks.
const PATIENCE: Duration = Duration::from_millis(300);

/// Time between two looks at the tunnel's counts while it is busy.
const LOOK: Duration = Duration::from_millis(250);

/// A tunnel is busy for this long after its last datagram.
const BUSY: Duration = Duration::from_secs(1);

/// Shortest silence after which a path is tested.
const SHORTEST_GAP: Duration = Duration::from_secs(1);

/// Time that a delayed acknowledgement may add to a round trip (RFC 9000 §18.2, `max_ack_delay`).
const ACK_DELAY: Duration = Duration::from_millis(25);

/// Time after which a test that could not leave is tried again.
const REFUSED: Duration = Duration::from_millis(50);

/// Most tests that an ack may still answer.
const MAX_TESTS: usize = 64;

/// Time by which another path must be faster, and by a quarter, to be worth a change.
const BETTER_BY: Duration = Duration::from_millis(5);

/// Lateness from which on a machine counts as one that has slept: silence says nothing about the path then.
const SLEPT: Duration = Duration::from_secs(3);

/// Time after a sleep in which what arrives may have waited.
const STALE: Duration = Duration::from_millis(100);

/// The next thing to do about the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::puncher) enum Action {
    /// Nothing now.
    None,
    /// Send a test.
    Test,
    /// Give it up.
    Dead {
        /// Time for which nothing was heard.
        silent: Duration,
        /// Time for which nothing had been sent before that, if it was long enough for a NAT to forget.
        rested: Option<Duration>,
    },
}

/// The liveness of the path in use; see the module's text.
#[derive(Debug)]
pub(in crate::puncher) struct PathLiveness {
    role: Role,
    rtt: Rtt,
    traffic: Traffic,
    /// The last sign of life.
    heard_at: Instant,
    /// When the tunnel last sent or received.
    busy_at: Instant,
    /// For how long the tunnel had been at rest at the last sign of life.
    calm: Duration,
    /// Since when the tunnel has sent without a sign of life.
    waiting_since: Option<Instant>,
    doubt: Option<Doubt>,
    tests: VecDeque<Test>,
    /// Share of tests that were not answered, in 1/256.
    loss: u32,
    wakes_at: Instant,
    /// Until then what arrives may have waited while this machine slept.
    stale_until: Instant,
}

/// A liveness test that is out.
#[derive(Debug, Clone, Copy)]
struct Test {
    token: u64,
    sent_at: Instant,
    /// The silence before the first test of a doubt, if a NAT may have forgotten the path in it.
    rested: Option<Duration>,
}

/// A doubt whether the path lives: tests are out, and none was answered.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Instant,
    tests: u32,
    next_at: Instant,
}

impl PathLiveness {
    /// Begins to watch a path that was proven a moment ago.
    pub(in crate::puncher) fn new(role: Role, rtt: Duration, traffic: Traffic, now: Instant) -> Self {
        Self {
            role,
            rtt: Rtt::new(rtt),
            traffic,
            heard_at: now,
            busy_at: now,
            calm: Duration::ZERO,
            waiting_since: None,
            doubt: None,
            tests: VecDeque::new(),
            loss: 0,
            wakes_at: now + LOOK,
            stale_until: now,
        }
    }

    /// Records what the tunnel has sent and received by now.
    pub(in crate::puncher) fn handle_traffic(
        &mut self,
        traffic: Traffic,
        keepalive: &Keepalive,
        now: Instant,
    ) {
        let sends = traffic.sent != self.traffic.sent;
        let hears = traffic.received != self.traffic.received;
        self.traffic = traffic;
        if self.has_slept(now) {
            return; // whoever polls next asks
        }
        if sends || hears {
            self.busy_at = now;
        }
        if hears && now >= self.stale_until {
            self.note_life(now);
        } else if sends {
            self.waiting_since.get_or_insert(now);
        }
        self.plan(keepalive, now);
    }

    /// Records a probe of the peer on this path.
    pub(in crate::puncher) fn handle_heard(&mut self, keepalive: &Keepalive, now: Instant) {
        if self.has_slept(now) || now < self.stale_until {
            return; // it has waited
        }
        self.note_life(now);
        self.plan(keepalive, now);
    }

    /// Whether a test with that token is out, and has not been for too long.
    pub(in crate::puncher) fn awaits(&self, token: u64, now: Instant) -> bool {
        let is_it = |test: &Test| test.token == token && now.saturating_duration_since(test.sent_at) < LATE;
        self.tests.iter().any(is_it)
    }

    /// Finds the test that an ack answers; returns the round trip's time, and how long the path had rested before, if for
    /// long enough.
    pub(in crate::puncher) fn handle_ack(
        &mut self,
        token: u64,
        keepalive: &Keepalive,
        now: Instant,
    ) -> Option<(Duration, Option<Duration>)> {
        let index = self.tests.iter().position(|test| test.token == token)?;
        let Test { sent_at, rested, .. } = self.tests.remove(index)?;
        let rtt = now.saturating_duration_since(sent_at);
        if rtt >= LATE {
            return None; // it has waited somewhere, and says nothing about the path as it is now
        }
        self.rtt.add(rtt);
        // Those before it were not answered.
        self.tests.drain(..index);
        (0..index).for_each(|_| self.note_test(false));
        self.note_test(true);
        self.note_life(now);
        self.plan(keepalive, now);
        Some((rtt, rested))
    }

    /// Records a test that leaves now.
    pub(in crate::puncher) fn handle_sent(&mut self, token: u64, keepalive: &Keepalive, now: Instant) {
        if self.tests.len() == MAX_TESTS {
            self.tests.pop_front();
        }
        let since = self.waiting_since.unwrap_or(now);
        let gap = self.dead_after() * 4 / 5 / self.tests_needed();
        let timeout = self.rtt.timeout();
        let doubt = self.doubt.get_or_insert(Doubt { since, tests: 0, next_at: now });
        doubt.tests += 1;
        // The first has the time to be answered: at rest mostly no other one is needed.
        doubt.next_at = now + if doubt.tests == 1 { gap.max(timeout) } else { gap };
        // Known by the test itself: the peer's own may end the doubt before the answer comes, for both sides ask at once where
        // their intervals fit; and over a long way more tests leave before that.
        let doubt = *doubt;
        let rested = if doubt.tests == 1 { self.rested(doubt) } else { None };
        self.tests.push_back(Test { token, sent_at: now, rested });
        self.plan(keepalive, now);
    }

    /// Records that a test was due and could not leave: more is sent than the budget allows.
    pub(in crate::puncher) fn handle_refused(&mut self, now: Instant) {
        self.wakes_at = now + REFUSED;
    }

    /// Says what is to be done now.
    pub(in crate::puncher) fn poll(&mut self, keepalive: &Keepalive, now: Instant) -> Action {
        if self.has_slept(now) {
            tracing::debug!(late = ?(now - self.wakes_at), "slept");
            (self.waiting_since, self.doubt) = (None, None);
            self.tests.clear();
            self.stale_until = now + STALE;
            self.plan(keepalive, now);
            return Action::Test;
        }
        if now < self.wakes_at {
            return Action::None;
        }
        let action = match self.doubt {
            Some(doubt) if self.is_dead(doubt, now) => {
                let silent = now.saturating_duration_since(self.heard_at);
                return Action::Dead { silent, rested: self.rested(doubt) };
            }
            Some(doubt) if now >= doubt.next_at => Action::Test,
            None if now >= self.doubts_at(keepalive) => Action::Test,
            Some(_) | None => Action::None,
        };
        if action == Action::None {
            self.plan(keepalive, now);
        }
        action
    }

    fn has_slept(&self, now: Instant) -> bool {
        now >= self.wakes_at + SLEPT
    }

    /// Returns when [`Self::poll`] wants to be called.
    pub(in crate::puncher) fn deadline(&self) -> Instant {
        self.wakes_at
    }

    /// Whether the next datagram of the tunnel should be told at once: nobody looks for it soon.
    pub(in crate::puncher) fn is_at_rest(&self) -> bool {
        self.waiting_since.is_none() && self.doubt.is_none()
    }

    /// Whether nothing had moved for so long that a NAT may have forgotten the path. The peer that searches has noticed
    /// first; that this side would have asked later is no reason to do so the next time.
    pub(in crate::puncher) fn has_been_silent_at_rest(&self, now: Instant) -> bool {
        self.waiting_since.is_none() && now >= self.heard_at + keepalive::START
    }

    /// When the last sign of life came.
    pub(in crate::puncher) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// The round trip's time, smoothed.
    pub(in crate::puncher) fn rtt(&self) -> Duration {
        self.rtt.smooth
    }

    /// The share of tests that were not answered, 0 to 1.
    pub(in crate::puncher) fn loss(&self) -> f64 {
        f64::from(self.loss) / 256.0
    }

    /// The silence before the tunnel sent or was tested, if a NAT may have forgotten the path in it.
    fn rested(&self, doubt: Doubt) -> Option<Duration> {
        let silence = doubt.since.saturating_duration_since(self.heard_at);
        (silence >= keepalive::LEAST).then_some(silence)
    }

    /// Whether a pair with that round trip is clearly faster.
    pub(in crate::puncher) fn is_slower_than(&self, rtt: Duration) -> bool {
        rtt + BETTER_BY < self.rtt.smooth * 3 / 4
    }

    /// Records a sign of life. One that comes much sooner than a round trip after the tunnel has begun to send was
    /// under way by then, and answers nothing: the peer still thinks that the tunnel rests.
    fn note_life(&mut self, now: Instant) {
        (self.heard_at, self.doubt) = (now, None);
        if self.waiting_since.is_none_or(|since| now >= since + self.rtt.smooth * 3 / 4) {
            self.calm = now.saturating_duration_since(self.busy_at);
            self.waiting_since = None;
        }
    }

    fn note_test(&mut self, is_answered: bool) {
        let target = if is_answered { 0 } else { 256 };
        self.loss = (self.loss * 7 + target) / 8;
    }

    fn plan(&mut self, keepalive: &Keepalive, now: Instant) {
        let looks_at = (now < self.busy_at + BUSY).then(|| now + LOOK);
        let next = match self.doubt {
            Some(doubt) => self.dies_at(doubt).map_or(doubt.next_at, |dies_at| doubt.next_at.min(dies_at)),
            None => self.doubts_at(keepalive),
        };
        self.wakes_at = looks_at.map_or(next, |at| next.min(at)).max(now);
    }

    /// When the path is to be tested although nothing is wrong.
    fn doubts_at(&self, keepalive: &Keepalive) -> Instant {
        let quiet = self.heard_at + self.gap(keepalive);
        let patience = PATIENCE.max(self.rtt.timeout() * 2);
        self.waiting_since.map_or(quiet, |since| quiet.min(since + patience))
    }

    /// The silence after which a test is due. The serve side's is longer, so that mostly one of the two asks.
    fn gap(&self, keepalive: &Keepalive) -> Duration {
        let gap = (self.calm / 2).max(SHORTEST_GAP).min(keepalive.interval());
        match self.role {
            Role::Open => gap,
            Role::Serve => gap * 5 / 4,
        }
    }

    fn is_dead(&self, doubt: Doubt, now: Instant) -> bool {
        self.dies_at(doubt).is_some_and(|at| now >= at)
    }

    /// When the path is dead if nothing comes; `None` while more tests must go out first.
    fn dies_at(&self, doubt: Doubt) -> Option<Instant> {
        (doubt.tests >= self.tests_needed()).then(|| doubt.since + self.dead_after())
    }

    fn dead_after(&self) -> Duration {
        DEAD_AFTER.max(self.rtt.timeout() * DEAD_AFTER_TIMEOUTS)
    }

    fn tests_needed(&self) -> u32 {
        TESTS + self.loss * TESTS_FOR_LOSS / 256
    }
}

/// The round trip's time, smoothed as RFC 6298 §2 does.
#[derive(Debug)]
struct Rtt {
    smooth: Duration,
    variation: Duration,
}

impl Rtt {
    fn new(first: Duration) -> Self {
        Self { smooth: first, variation: first / 2 }
    }

    fn add(&mut self, sample: Duration) {
        let deviation = self.smooth.abs_diff(sample);
        self.variation = (self.variation * 3 + deviation) / 4;
        self.smooth = (self.smooth * 7 + sample) / 8;
    }

    /// The time within which an answer is expected.
    fn timeout(&self) -> Duration {
        self.smooth + self.variation * 4 + ACK_DELAY
    }
}

#[cfg(test)]
mod tests;
