//! The last two minutes, second by second, for graphs: a ring of fixed size.
//!
//! Samples are taken each second while connections are open, and at any time in between; seconds without one are
//! filled up with what was carried in them on the average, which is nothing for a tunnel at rest.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::snapshot::Seconds;

/// Seconds that are kept.
pub const RING_SECONDS: usize = 120;

/// Seconds over which the present rate is taken.
pub const RATE_SECONDS: usize = 5;

/// Packets from which on a share of lost ones means anything.
const ENOUGH_PACKETS: u64 = 50;

/// Counts since ever, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// QUIC's packets in the tunnel that stands: sent, and lost of those.
    pub(super) packets: u64,
    pub(super) lost: u64,
    /// The round trip's time, if there is a path.
    pub(super) rtt: Option<Duration>,
}

/// One second.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    sent: u64,
    received: u64,
    packets: u64,
    lost: u64,
    rtt_us: u32,
}

/// The ring.
#[derive(Debug)]
pub(super) struct Rates {
    seconds: VecDeque<Second>,
    last: Sample,
    /// The end of the last second in the ring.
    until: Instant,
}

impl Rates {
    pub(super) fn new(now: Instant) -> Self {
        Self { seconds: VecDeque::with_capacity(RING_SECONDS), last: Sample::default(), until: now }
    }

    /// Takes a sample: it counts for all whole seconds since the last one.
    pub(super) fn add(&mut self, sample: Sample, now: Instant) {
        let passed = now.saturating_duration_since(self.until).as_secs();
        if passed == 0 {
            return;
        }
        self.until += Duration::from_secs(passed);
        let share = |new: u64, old: u64| new.saturating_sub(old) / passed;
        let last = std::mem::replace(&mut self.last, sample);
        let has_same_tunnel = sample.packets >= last.packets;
        let second = Second {
            sent: share(sample.sent, last.sent),
            received: share(sample.received, last.received),
            packets: if has_same_tunnel { share(sample.packets, last.packets) } else { 0 },
            lost: if has_same_tunnel { share(sample.lost, last.lost) } else { 0 },
            rtt_us: sample.rtt.map_or(0, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)),
        };
        for age in (0..passed.min(RING_SECONDS as u64)).rev() {
            if self.seconds.len() == RING_SECONDS {
                self.seconds.pop_front();
            }
            // The round trip was measured now, not then.
            self.seconds.push_back(Second { rtt_us: if age == 0 { second.rtt_us } else { 0 }, ..second });
        }
    }

    /// Whether nothing was carried since the last sample.
    pub(super) fn is_last(&self, sent: u64, received: u64) -> bool {
        (self.last.sent, self.last.received) == (sent, received)
    }

    /// Returns bytes per second, sent and received.
    pub(super) fn now(&self) -> (u64, u64) {
        let last = self.seconds.iter().rev().take(RATE_SECONDS);
        let count = last.len().max(1) as u64;
        let (sent, received) = last.fold((0, 0), |(s, r), second| (s + second.sent, r + second.received));
        (sent / count, received / count)
    }

    /// Returns the share of packets that got lost in the ring's time, if enough were sent.
    pub(super) fn loss(&self) -> Option<f64> {
        let (packets, lost) =
            self.seconds.iter().fold((0, 0), |(p, l), second| (p + second.packets, l + second.lost));
        (packets >= ENOUGH_PACKETS).then(|| lost as f64 / packets as f64)
    }

    pub(super) fn seconds(&self) -> Seconds {
        Seconds {
            sent: self.seconds.iter().map(|second| second.sent).collect(),
            received: self.seconds.iter().map(|second| second.received).collect(),
            rtt_us: self.seconds.iter().map(|second| second.rtt_us).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sample(sent: u64) -> Sample {
        Sample { sent, packets: sent, lost: sent / 10, ..Sample::default() }
    }

    #[test]
    fn each_second_has_what_was_carried_in_it_and_a_late_sample_is_spread() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        rates.add(sample(100), start + SECOND);
        rates.add(sample(150), start + SECOND * 3 / 2);
        rates.add(sample(200), start + SECOND * 2);
        rates.add(sample(500), start + SECOND * 5);
        assert_eq!(rates.seconds().sent, [100, 100, 100, 100, 100]);
        assert_eq!(rates.now(), (100, 0));
        assert_eq!(rates.loss(), Some(0.1));
    }

    #[test]
    fn a_ring_is_never_larger_than_it_is_after_a_month_of_rest() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        rates.add(sample(100), start + SECOND);
        rates.add(sample(100), start + SECOND * 3600 * 24 * 30);
        assert_eq!(rates.seconds().sent, [0; RING_SECONDS]);
        assert_eq!(rates.now(), (0, 0));
    }

    #[test]
    fn another_tunnel_counts_its_packets_from_the_beginning() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        rates.add(sample(1000), start + SECOND);
        rates.add(Sample { sent: 1000, packets: 5, ..Sample::default() }, start + SECOND * 2);
        assert_eq!(rates.loss(), Some(0.1));
    }
}
