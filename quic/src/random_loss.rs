//! Random-loss detection: whether a loss is chance or congestion, by round trips and by how many packets get lost.
//!
//! A radio link loses packets and no buffer is full. To BBRv3 more than 2 % of a round's packets lost is congestion, and
//! with one lost in a hundred some round has that soon; one lost in the first few even ends its search for the path's
//! bandwidth. So a loss counts as chance while few are lost and no buffer fills.
//!
//! The fastest packet of a whole round trip tells whether a buffer fills: acknowledgements that come in heaps slow most
//! of a round's packets, and never all of them.

use std::time::{Duration, Instant};

/// Time over which the path's shortest round trip is remembered, and as long again after that. BBRv3 empties the path's
/// buffers for a moment each 5 s.
const MEMORY: Duration = Duration::from_secs(10);

/// Time over which losses are counted, and then as long again.
const COUNTED: Duration = Duration::from_secs(1);

/// Share of losses that are chance, percent of all packets. Radio links that lose more are slow anyway.
const CHANCE_PERCENT: u64 = 3;

/// Number of losses that prove nothing.
const FEW: u64 = 8;

/// A round trip's time that a filling buffer makes, percent of the path's shortest.
const FULL_PERCENT: u32 = 150;

/// Time by which a round trip may be slow for other reasons where few packets move: the peer acknowledges after 25 ms
/// at the latest, and timers are of milliseconds.
const DELAYED: Duration = Duration::from_millis(30);

/// Tells random losses of one path from those of congestion.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RandomLossDetector {
    /// The shortest round trip of this time and the one before.
    shortest: [Duration; 2],
    shortest_since: Instant,
    /// The fastest packet of the last whole round trip, and of the one under way.
    fastest: [Duration; 2],
    round_since: Instant,
    /// Acknowledged and lost packets of this time and the one before.
    acked: [u64; 2],
    lost: [u64; 2],
    counted_since: Instant,
}

impl RandomLossDetector {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            shortest: [Duration::MAX; 2],
            shortest_since: now,
            fastest: [Duration::ZERO, Duration::MAX],
            round_since: now,
            acked: [0; 2],
            lost: [0; 2],
            counted_since: now,
        }
    }

    /// Records an acknowledged packet.
    pub(crate) fn note_acked(&mut self, now: Instant, sent: Instant) {
        let round_trip = now.saturating_duration_since(sent);
        if now > self.shortest_since + MEMORY {
            (self.shortest, self.shortest_since) = ([Duration::MAX, self.shortest[0]], now);
        }
        self.shortest[0] = self.shortest[0].min(round_trip);
        // Packets that were sent before the round began belong to the one before.
        if sent >= self.round_since {
            (self.fastest, self.round_since) = ([self.fastest[1].min(round_trip), Duration::MAX], now);
        } else {
            self.fastest[1] = self.fastest[1].min(round_trip);
        }
        self.count(now);
        self.acked[0] += 1;
    }

    /// Records a lost packet. Returns whether that is chance, and no sign of congestion.
    pub(crate) fn note_lost(&mut self, now: Instant) -> bool {
        self.count(now);
        self.lost[0] += 1;
        let (acked, lost): (u64, u64) = (self.acked.iter().sum(), self.lost.iter().sum());
        lost * 100 <= (acked + lost) * CHANCE_PERCENT + FEW * 100 && !self.fills_buffers()
    }

    fn fills_buffers(&self) -> bool {
        let shortest = self.shortest[0].min(self.shortest[1]);
        self.fastest[0] > shortest.saturating_mul(FULL_PERCENT) / 100 + DELAYED
    }

    fn count(&mut self, now: Instant) {
        if now > self.counted_since + COUNTED {
            (self.acked, self.lost) = ([0, self.acked[0]], [0, self.lost[0]]);
            self.counted_since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_millis(50);

    /// Packets each millisecond; the round trip is what `path` makes of the time and the number.
    fn run(
        detector: &mut RandomLossDetector,
        begun: Instant,
        ms: std::ops::Range<u64>,
        path: impl Fn(u64) -> Duration,
    ) {
        for at in ms {
            let sent = begun + Duration::from_millis(at);
            detector.note_acked(sent + path(at), sent);
        }
    }

    #[test]
    fn what_fills_a_buffer_slows_every_packet_of_a_round_and_not_most_of_them() {
        let begun = Instant::now();
        let mut detector = RandomLossDetector::new(begun);
        assert!(!detector.fills_buffers());
        run(&mut detector, begun, 0..1000, |_| IDLE);
        assert!(!detector.fills_buffers());
        run(&mut detector, begun, 1000..2000, |at| if at % 20 == 0 { IDLE } else { 3 * IDLE });
        assert!(!detector.fills_buffers(), "acknowledgements in heaps");
        run(&mut detector, begun, 2000..3000, |_| 3 * IDLE);
        assert!(detector.fills_buffers());
    }

    #[test]
    fn a_longer_path_is_no_full_buffer_after_a_while() {
        let begun = Instant::now();
        let mut detector = RandomLossDetector::new(begun);
        run(&mut detector, begun, 0..1000, |_| IDLE);
        run(&mut detector, begun, 1000..30_000, |_| 3 * IDLE);
        assert!(!detector.fills_buffers());
    }

    #[test]
    fn one_lost_in_a_hundred_is_chance_and_one_in_ten_or_out_of_a_full_buffer_is_not() {
        let begun = Instant::now();
        let verdicts = |one_in: u64, round_trip: Duration| {
            let mut detector = RandomLossDetector::new(begun);
            run(&mut detector, begun, 0..1000, |_| IDLE);
            let verdict = |at: u64| {
                run(&mut detector, begun, at..at + 1, |_| round_trip);
                at.is_multiple_of(one_in).then(|| detector.note_lost(begun + Duration::from_millis(at)))
            };
            (1000..5000).filter_map(verdict).filter(|is_chance| *is_chance).count()
        };
        assert_eq!(verdicts(100, IDLE), 40);
        assert!(verdicts(10, IDLE) < 100, "of 400");
        assert!(verdicts(100, 3 * IDLE) <= 2, "of 40");
    }
}
