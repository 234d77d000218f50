//! The road between the two sides: what it does to one packet.
//!
//! [`Way`] is one direction of the link, without packets, threads or a clock: it is told that a packet of so
//! many bytes comes in now, and says when it comes out, whether a copy does too, or why it never does. The
//! model and the user-space link of the kernel both move their packets by it. In the order of a packet's life:
//! too big for the MTU, unlucky (loss), queue full, sent at the rate, on its way for the delay and the jitter,
//! held back (reordered), copied (duplicated).

use std::time::{Duration, Instant};

use crate::chance::Chance;

/// Describes one direction of the link; the default is a perfect road.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkSpec {
    /// One-way delay of every packet.
    pub delay: Duration,
    /// Upper bound of a further, uniformly drawn delay; keeps the order of packets.
    pub jitter: Duration,
    /// Share of packets (0 to 1) that is held back and overtaken by later ones.
    pub reorder: f64,
    /// Time for which a reordered packet is held back.
    pub reorder_by: Duration,
    /// Share of packets (0 to 1) that is lost; 1 is total silence.
    pub loss: f64,
    /// Share of packets (0 to 1) that arrives twice.
    pub duplicate: f64,
    /// Bits a second, counted over whole IP packets; `None` is unlimited.
    pub rate_bits_per_s: Option<u64>,
    /// Bytes that may wait to be sent at the rate; without a rate nothing waits.
    pub queue_bytes: usize,
    /// Largest IP packet. The kernel's devices get it when the lab is built; a smaller one set later swallows
    /// what is larger without a word, as a black hole does.
    pub mtu: u16,
}

impl Default for LinkSpec {
    fn default() -> LinkSpec {
        LinkSpec {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            reorder: 0.0,
            reorder_by: Duration::from_millis(2),
            loss: 0.0,
            duplicate: 0.0,
            rate_bits_per_s: None,
            queue_bytes: 256 * 1024,
            mtu: 1500,
        }
    }
}

impl LinkSpec {
    /// Makes a road that only delays.
    pub fn delayed(delay: Duration) -> LinkSpec {
        LinkSpec { delay, ..LinkSpec::default() }
    }

    /// Makes a road on which nothing arrives.
    pub fn silent() -> LinkSpec {
        LinkSpec { loss: 1.0, ..LinkSpec::default() }
    }

    /// Returns whether packets pass as they would without any emulation.
    pub fn is_perfect(&self) -> bool {
        let perfect = LinkSpec::default();
        let idle = LinkSpec { reorder_by: perfect.reorder_by, queue_bytes: perfect.queue_bytes, ..*self };
        idle == perfect
    }
}

/// Says what becomes of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It comes out at that time, and so does a copy, if there is one.
    Arrives {
        /// When it comes out.
        at: Instant,
        /// When the copy comes out.
        copy_at: Option<Instant>,
    },
    /// It was larger than the MTU.
    TooBig,
    /// It was lost by chance.
    Lost,
    /// The queue was full.
    QueueFull,
}

/// Counts what one direction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WayStats {
    /// Packets that came in.
    pub packets: u64,
    /// Bytes that came in.
    pub bytes: u64,
    /// Packets lost by chance.
    pub lost: u64,
    /// Packets for which the queue had no room.
    pub queue_full: u64,
    /// Packets larger than the MTU.
    pub too_big: u64,
    /// Packets that came out twice.
    pub duplicated: u64,
    /// Packets that were held back.
    pub reordered: u64,
}

impl WayStats {
    /// Returns how many packets never came out, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.lost + self.queue_full + self.too_big
    }
}

/// Decides the fate of packets in one direction.
#[derive(Debug)]
pub struct Way {
    spec: LinkSpec,
    chance: Chance,
    stats: WayStats,
    /// When the last packet accepted has been sent at the rate.
    idle_at: Option<Instant>,
    /// When the last packet that kept its place comes out.
    last_at: Option<Instant>,
}

impl Way {
    /// Opens the road.
    pub fn new(spec: LinkSpec, chance: Chance) -> Way {
        Way { spec, chance, stats: WayStats::default(), idle_at: None, last_at: None }
    }

    /// Changes the settings for packets that come in from now on.
    pub fn set(&mut self, spec: LinkSpec) {
        self.spec = spec;
        // A shorter delay may overtake what is under way by the old settings.
        self.last_at = None;
    }

    /// Takes a packet of that size and says what becomes of it.
    pub fn handle_packet(&mut self, now: Instant, bytes: usize) -> Fate {
        self.stats.packets += 1;
        self.stats.bytes += bytes as u64;
        let fate = self.decide(now, bytes);
        match fate {
            Fate::Arrives { copy_at, .. } => self.stats.duplicated += u64::from(copy_at.is_some()),
            Fate::TooBig => self.stats.too_big += 1,
            Fate::Lost => self.stats.lost += 1,
            Fate::QueueFull => self.stats.queue_full += 1,
        }
        fate
    }

    /// Counts a packet as dropped for which the caller had no room.
    pub fn handle_overflow(&mut self) {
        self.stats.queue_full += 1;
    }

    /// Returns the settings.
    pub fn spec(&self) -> LinkSpec {
        self.spec
    }

    /// Returns what it did so far.
    pub fn stats(&self) -> WayStats {
        self.stats
    }

    fn decide(&mut self, now: Instant, bytes: usize) -> Fate {
        if bytes > usize::from(self.spec.mtu) {
            return Fate::TooBig;
        }
        if self.chance.happens(self.spec.loss) {
            return Fate::Lost;
        }
        let Some(sent_at) = self.sent_at(now, bytes) else { return Fate::QueueFull };
        let at = self.arrival(sent_at);
        let copy_at = self.chance.happens(self.spec.duplicate).then_some(at);
        Fate::Arrives { at, copy_at }
    }

    /// Returns when the packet has left at the rate, or nothing when the queue is full.
    fn sent_at(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.spec.rate_bits_per_s else { return Some(now) };
        let start = self.idle_at.map_or(now, |idle_at| idle_at.max(now));
        let waiting_bytes = (start - now).as_secs_f64() * rate as f64 / 8.0;
        if waiting_bytes > self.spec.queue_bytes as f64 {
            return None;
        }
        let sent_at = start + Duration::from_secs_f64(bytes as f64 * 8.0 / rate.max(1) as f64);
        self.idle_at = Some(sent_at);
        Some(sent_at)
    }

    fn arrival(&mut self, sent_at: Instant) -> Instant {
        let jitter = self.spec.jitter.mul_f64(self.chance.fraction());
        let at = sent_at + self.spec.delay + jitter;
        if self.chance.happens(self.spec.reorder) {
            self.stats.reordered += 1;
            return at + self.spec.reorder_by;
        }
        let at = self.last_at.map_or(at, |last_at| last_at.max(at));
        self.last_at = Some(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival_of(fate: Fate) -> Instant {
        match fate {
            Fate::Arrives { at, .. } => at,
            Fate::TooBig | Fate::Lost | Fate::QueueFull => panic!("the packet never arrives: {fate:?}"),
        }
    }

    fn way(spec: LinkSpec) -> Way {
        Way::new(spec, Chance::new(1))
    }

    #[test]
    fn a_perfect_road_passes_packets_at_once() {
        let now = Instant::now();
        assert_eq!(arrival_of(way(LinkSpec::default()).handle_packet(now, 1500)), now);
    }

    #[test]
    fn the_rate_spaces_packets_and_the_full_queue_drops() {
        let now = Instant::now();
        let spec = LinkSpec { rate_bits_per_s: Some(8_000_000), queue_bytes: 1500, ..LinkSpec::default() };
        let mut way = way(spec);
        assert_eq!(arrival_of(way.handle_packet(now, 1000)), now + Duration::from_millis(1));
        assert_eq!(arrival_of(way.handle_packet(now, 1000)), now + Duration::from_millis(2));
        assert_eq!(way.handle_packet(now, 1000), Fate::QueueFull);
        assert_eq!(way.stats().dropped(), 1);
    }

    #[test]
    fn jitter_delays_but_never_reorders() {
        let now = Instant::now();
        let spec = LinkSpec { jitter: Duration::from_millis(10), ..LinkSpec::default() };
        let mut way = way(spec);
        let arrivals: Vec<Instant> = (0..100).map(|_| arrival_of(way.handle_packet(now, 100))).collect();
        assert!(arrivals.is_sorted());
        assert!(arrivals.iter().all(|at| *at <= now + spec.jitter));
    }

    #[test]
    fn a_reordered_packet_is_overtaken_by_the_next() {
        let now = Instant::now();
        let spec = LinkSpec { reorder: 1.0, ..LinkSpec::delayed(Duration::from_millis(5)) };
        let mut way = way(spec);
        let held_back = arrival_of(way.handle_packet(now, 100));
        way.set(LinkSpec { reorder: 0.0, ..spec });
        assert!(arrival_of(way.handle_packet(now, 100)) < held_back);
        assert_eq!(way.stats().reordered, 1);
    }

    #[test]
    fn what_exceeds_the_mtu_disappears() {
        let now = Instant::now();
        let spec = LinkSpec { mtu: 1280, ..LinkSpec::default() };
        assert_eq!(way(spec).handle_packet(now, 1281), Fate::TooBig);
    }

    #[test]
    fn loss_of_one_is_silence() {
        let mut way = way(LinkSpec::silent());
        let now = Instant::now();
        assert!((0..1000).all(|_| way.handle_packet(now, 100) == Fate::Lost));
    }
}
