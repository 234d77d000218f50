//! Urgency: a terminal is told from a copy by how much is written and when.
//!
//! Small, intermittent writes are urgent: somebody waits for the answer to each. A connection has a credit of bytes that
//! grows slowly; what is within it is urgent, and whoever has spent it is bulk until it has been quiet for a moment. So
//! a session's keystrokes, its screens and the requests of a browser go before the copy beside them, and a copy
//! begins with a lead of one credit and no more.

use std::time::Duration;

use tokio::time::Instant;

/// Credit of a connection that has been quiet, bytes: several full screens of a terminal.
const MOST_CREDIT: u64 = 64 << 10;

/// Time in which a spent credit has grown back.
const REGROWN: Duration = Duration::from_secs(1);

/// Priority of an urgent stream, and of bulk: the higher one sends first.
const URGENT: i32 = 1;
const BULK: i32 = 0;

/// The urgency of one direction of a connection.
#[derive(Debug)]
pub(super) struct Urgency {
    credit: u64,
    as_of: Instant,
}

impl Urgency {
    /// What is written first is urgent.
    pub(super) fn new(now: Instant) -> Self {
        Self { credit: MOST_CREDIT, as_of: now }
    }

    /// Records what is about to be written. Returns its stream's priority from now on.
    pub(super) fn note(&mut self, bytes: usize, now: Instant) -> i32 {
        let quiet = now.saturating_duration_since(self.as_of).min(REGROWN);
        let grown = u128::from(MOST_CREDIT) * quiet.as_micros() / REGROWN.as_micros();
        let grown = u64::try_from(grown).unwrap_or(MOST_CREDIT);
        if grown > 0 {
            self.as_of = now; // less than a byte's time is not forgotten
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let credit = (self.credit + grown).min(MOST_CREDIT);
        self.credit = credit.saturating_sub(bytes);
        if bytes <= credit { URGENT } else { BULK }
    }

    /// Returns the priority of a stream that has just begun.
    pub(super) const fn at_first() -> i32 {
        URGENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(begun: Instant, ms: u64) -> Instant {
        begun + Duration::from_millis(ms)
    }

    #[test]
    fn keystrokes_are_urgent_forever_and_a_copy_from_its_second_credit_on_is_not() {
        let begun = Instant::now();
        let (mut terminal, mut copy) = (Urgency::new(begun), Urgency::new(begun));
        for at in 0..100_000 {
            assert_eq!(terminal.note(200, after(begun, at * 20)), URGENT);
        }
        assert_eq!(copy.note(32 << 10, begun), URGENT);
        let bulk = (1..1000).filter(|at| copy.note(32 << 10, after(begun, *at)) == BULK);
        assert_eq!(bulk.count(), 998, "one more had credit");
    }

    #[test]
    fn whoever_was_quiet_is_urgent_again() {
        let begun = Instant::now();
        let mut urgency = Urgency::new(begun);
        assert_eq!(urgency.note(1 << 20, begun), BULK);
        assert_eq!(urgency.note(100, after(begun, 1)), BULK);
        assert_eq!(urgency.note(20 << 10, after(begun, 1001)), URGENT);
    }
}
