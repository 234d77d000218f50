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
    /// QUIC's packets since the tunnel stands; `None` while there is no path.
    pub(super) packets: Option<Packets>,
    /// The round trip's time, if there is a path.
    pub(super) rtt: Option<Duration>,
}

/// QUIC's packets: sent, and lost of those.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Packets {
    pub(super) sent: u64,
    pub(super) lost: u64,
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
    /// Packets of the tunnel when they were last known.
    last_packets: Packets,
    /// The end of the last second in the ring.
    until: Instant,
}

impl Rates {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            seconds: VecDeque::with_capacity(RING_SECONDS),
            last: Sample::default(),
            last_packets: Packets::default(),
            until: now,
        }
    }

    /// Notes that another tunnel stands, which counts its packets from the beginning.
    pub(super) fn begin_tunnel(&mut self) {
        self.last_packets = Packets::default();
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
        let last_packets = self.last_packets;
        self.last_packets = sample.packets.unwrap_or(last_packets);
        let second = Second {
            sent: share(sample.sent, last.sent),
            received: share(sample.received, last.received),
            packets: share(self.last_packets.sent, last_packets.sent),
            lost: share(self.last_packets.lost, last_packets.lost),
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
        Sample { sent, packets: packets(sent, sent / 10), ..Sample::default() }
    }

    fn packets(sent: u64, lost: u64) -> Option<Packets> {
        Some(Packets { sent, lost })
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
        rates.begin_tunnel();
        rates
            .add(Sample { sent: 1000, packets: packets(5000, 500), ..Sample::default() }, start + SECOND * 2);
        assert_eq!(rates.loss(), Some(0.1));
    }

    #[test]
    fn a_path_that_was_lost_for_a_moment_brings_no_old_losses_back() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        let of = |packets| Sample { packets, ..Sample::default() };
        rates.add(of(packets(1_000_000, 100_000)), start + SECOND);
        let later = start + SECOND * 3600;
        rates.add(of(packets(1_000_000, 100_000)), later);
        rates.add(of(None), later + SECOND);
        rates.add(of(packets(1_001_000, 100_000)), later + SECOND * 2);
        assert_eq!(rates.loss(), Some(0.0));
    }
}
