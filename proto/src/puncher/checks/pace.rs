//! The pace at which a pair is tested.

use std::time::Duration;

use super::{CALM, HURRY};

/// Up to this long after the start, this much between two probes of a pair.
pub(in crate::puncher) type Pace = [(Duration, Duration)];

/// The pace of a search: up to this long after its start, this much between two probes of a pair.
///
/// The start is fast because the two sides often start together, and a round trip decides. The slowest step keeps
/// the own mapping alive: Linux drops one after 30 s, RFC 4787 §4.3 asks for at least 2 min.
pub(in crate::puncher) const PACE: [(Duration, Duration); 5] = [
    (Duration::from_secs(1), Duration::from_millis(50)),
    (Duration::from_secs(5), Duration::from_millis(200)),
    (Duration::from_secs(30), Duration::from_secs(1)),
    (Duration::from_secs(300), Duration::from_secs(5)),
    (Duration::MAX, Duration::from_secs(10)),
];

/// The pace where a tunnel waits for its path: the network may return at any time.
pub(in crate::puncher) const PACE_RECONNECT: [(Duration, Duration); 5] = [
    (Duration::from_secs(1), Duration::from_millis(50)),
    (HURRY, Duration::from_millis(200)),
    (Duration::from_secs(300), Duration::from_millis(500)),
    (Duration::from_secs(3600), Duration::from_secs(1)),
    (Duration::MAX, Duration::from_secs(10)),
];

/// Returns the time to the next probe of a pair that has been under test for `age`.
pub(super) fn gap(pace: &Pace, age: Duration) -> Duration {
    let step = pace.iter().find(|(until, _)| age < *until);
    step.or(pace.last()).map_or(CALM, |(_, gap)| *gap)
}
