//! BBRv3, begun anew when what it knows is of no use any more; CUBIC where there is no network.
//!
//! BBR learns a path's bandwidth and round trip over many of these, and unlearns slowly. Two things leave it far too
//! shy: a path that was dead for a while, during which nothing but lone probes were acknowledged (measured: 16 s until
//! data flowed at 1 Mbit/s after 90 s of silence, `cargo bench --bench reliability -- --only silence`), and a spell of
//! heavy loss, which it takes for congestion. After either a fresh one starts, as on a new connection, and what was
//! sent before is nothing to it.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use noq_proto::RttEstimator;
use noq_proto::congestion::{Bbr3Config, Controller, ControllerFactory, ControllerMetrics, CubicConfig};

use super::random_loss::RandomLossDetector;

/// Time over which loss is counted.
const SPAN: Duration = Duration::from_secs(1);

/// Share of lost packets from which on it is no congestion that BBRv3 would not have ended, percent.
const HEAVY_PERCENT: u64 = 10;

/// Spans of heavy loss in a row that make a spell: a start that overshoots has fewer.
const SPELL_SPANS: u32 = 3;

/// Share of lost packets at which a spell is over, percent; what BBRv3 bears.
const LIGHT_PERCENT: u64 = 2;

/// Fewest packets in a span that say something.
const FEW: u64 = 8;

/// Round trip below which there is no network, or a cable of one's own. BBR's pacing needs timers of
/// microseconds there, and the runtime's are of milliseconds: on one machine, 1.4 Gbit/s and an echo of 3.3 ms after
/// bulk; with CUBIC and without pacing 2.7 Gbit/s and 0.2 ms.
const NEAR: Duration = Duration::from_micros(500);

/// Most bytes that are said to be in flight where there is no network. The controller itself sees no loss there and
/// knows no end, and the further behind the reader a writer's bytes begin, the less of them is still in the processor's
/// cache when they are sealed: with a send window of 16 MiB a gigabyte takes 6 % more of its time than with the megabyte
/// that the send scheduler makes of this.
const NEAR_WINDOW: u64 = 384 << 10;

/// Pacing rate in bytes a second that holds nothing up.
const UNPACED: u64 = 1 << 40;

/// The feedback of a tunnel's congestion controller: how many paths there were, what was acknowledged, and what may be
/// in flight. Cheap to clone; all clones count the same.
#[derive(Debug, Clone, Default)]
pub struct ControllerFeedback(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    paths: AtomicU64,
    acknowledged: AtomicU64,
    window: AtomicU64,
}

impl ControllerFeedback {
    /// Counts a path: the tunnel has another one from now on, or the former one again. Congestion control begins anew.
    pub fn count_path(&self) {
        self.0.paths.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the packets that the peer has acknowledged: the signs that ours arrive, which only the peer can give.
    pub fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    fn note_acknowledged(&self) {
        self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many bytes may be in flight at this time, none if that is not known yet.
    pub fn window(&self) -> Option<u64> {
        Some(self.0.window.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    fn get(&self) -> u64 {
        self.0.paths.load(Ordering::Relaxed)
    }
}

impl ControllerFactory for ControllerFeedback {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = fresh(now, current_mtu);
        Box::new(Renewable {
            path: self.get(),
            feedback: (*self).clone(),
            inner,
            mtu: current_mtu,
            began: None,
            in_flight: 0,
            unknown: 0,
            spell: Spell::new(now),
            random_loss: RandomLossDetector::new(now),
            has_told_loss: false,
            is_near: false,
        })
    }
}

fn fresh(now: Instant, mtu: u16) -> Box<dyn Controller> {
    Arc::new(Bbr3Config::default()).build(now, mtu)
}

fn loss_based(now: Instant, mtu: u16) -> Box<dyn Controller> {
    Arc::new(CubicConfig::default()).build(now, mtu)
}

#[derive(Debug)]
struct Renewable {
    feedback: ControllerFeedback,
    /// The number of the path that `inner` knows.
    path: u64,
    inner: Box<dyn Controller>,
    mtu: u16,
    /// When `inner` began, if it is not the first one, and the first packet sent since.
    began: Option<(Instant, Option<u64>)>,
    /// Bytes sent, and neither acknowledged nor lost.
    in_flight: u64,
    /// Those of them that `inner` does not know. They do not count against its window: the library sends not even an
    /// acknowledgement while the window is full, and two sides that both wait for one would wait for long.
    unknown: u64,
    spell: Spell,
    random_loss: RandomLossDetector,
    /// `inner` knows of a loss that may turn out to be none.
    has_told_loss: bool,
    /// `inner` is loss-based, and nothing is paced.
    is_near: bool,
}

impl Renewable {
    fn keep_up(&mut self, now: Instant) {
        let path = self.feedback.get();
        if path != self.path || self.spell.is_over(now) {
            tracing::debug!(path, "congestion control begins anew");
            (self.path, self.inner, self.began) = (path, fresh(now, self.mtu), Some((now, None)));
            self.unknown = self.in_flight;
            (self.spell, self.random_loss) = (Spell::new(now), RandomLossDetector::new(now));
            (self.has_told_loss, self.is_near) = (false, false);
        }
    }

    /// Hands over to loss-based control once a round trip has shown that there is no network.
    fn note_round_trip(&mut self, now: Instant, sent: Instant) {
        if !self.is_near && now.saturating_duration_since(sent) < NEAR {
            tracing::debug!("the peer is on this machine, or next to it");
            (self.inner, self.is_near) = (loss_based(now, self.mtu), true);
        }
    }

    /// Whether that is of a packet that `inner` has seen.
    fn knows_time(&self, sent: Instant) -> bool {
        self.began.is_none_or(|(began, _)| sent >= began)
    }

    fn knows_number(&self, number: u64) -> bool {
        self.began.is_none_or(|(_, first)| first.is_some_and(|first| number >= first))
    }
}

impl Controller for Renewable {
    fn on_sent(&mut self, now: Instant, bytes: u64, largest_pn: u64) {
        self.inner.on_sent(now, bytes, largest_pn);
    }

    fn on_packet_sent(&mut self, now: Instant, bytes: u16, pn: u64) {
        self.keep_up(now);
        if let Some((_, first)) = &mut self.began {
            first.get_or_insert(pn);
        }
        self.in_flight += u64::from(bytes);
        self.inner.on_packet_sent(now, bytes, pn);
    }

    fn on_cwnd_limited(&mut self) {
        self.inner.on_cwnd_limited();
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        pn: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.spell.acked += 1;
        self.feedback.note_acknowledged();
        self.in_flight = self.in_flight.saturating_sub(bytes);
        if self.knows_time(sent) {
            self.random_loss.note_acked(now, sent);
            self.note_round_trip(now, sent);
            self.inner.on_ack(now, sent, bytes, pn, app_limited, rtt);
        } else {
            self.unknown = self.unknown.saturating_sub(bytes);
        }
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.in_flight = in_flight;
        self.unknown = self.unknown.min(in_flight);
        self.inner.on_end_acks(now, in_flight - self.unknown, app_limited, largest_packet_num_acked);
        let most = if self.is_near { NEAR_WINDOW } else { u64::MAX };
        self.feedback.0.window.store(self.window().min(most), Ordering::Relaxed);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        is_ecn: bool,
        lost_bytes: u64,
        largest_lost_pn: u64,
    ) {
        if self.knows_time(sent) {
            self.inner.on_congestion_event(
                now,
                sent,
                is_persistent_congestion,
                is_ecn,
                lost_bytes,
                largest_lost_pn,
            );
        }
    }

    fn on_packet_lost(&mut self, lost_bytes: u16, pn: u64, now: Instant) {
        self.spell.lost += 1;
        self.in_flight = self.in_flight.saturating_sub(lost_bytes.into());
        if self.knows_number(pn) {
            if !self.random_loss.note_lost(now) {
                self.has_told_loss = true;
                self.inner.on_packet_lost(lost_bytes, pn, now);
            }
        } else {
            self.unknown = self.unknown.saturating_sub(lost_bytes.into());
        }
    }

    fn on_spurious_congestion_event(&mut self) {
        // Or BBR would undo what it has never done, and go back to its beginning.
        if std::mem::take(&mut self.has_told_loss) || self.is_near {
            self.inner.on_spurious_congestion_event();
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.inner.on_mtu_update(new_mtu);
    }

    fn on_ack_frequency_update(&mut self, ack_eliciting_threshold: u64, requested_max_ack_delay: Duration) {
        self.inner.on_ack_frequency_update(ack_eliciting_threshold, requested_max_ack_delay);
    }

    fn window(&self) -> u64 {
        self.inner.window() + self.unknown
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.inner.metrics();
        if self.is_near {
            metrics.pacing_rate = Some(UNPACED);
        }
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        let feedback = self.feedback.clone();
        Box::new(Self { feedback, inner: self.inner.clone_box(), ..*self })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Notices the end of some time of heavy loss.
#[derive(Debug, Clone, Copy)]
struct Spell {
    since: Instant,
    acked: u64,
    lost: u64,
    /// Spans of heavy loss in a row.
    heavy: u32,
}

impl Spell {
    fn new(now: Instant) -> Self {
        Self { since: now, acked: 0, lost: 0, heavy: 0 }
    }

    /// Whether a spell has just ended.
    fn is_over(&mut self, now: Instant) -> bool {
        let all = self.acked + self.lost;
        if now < self.since + SPAN || all < FEW {
            return false;
        }
        let percent = self.lost * 100 / all;
        let is_over = self.heavy >= SPELL_SPANS && percent <= LIGHT_PERCENT;
        let heavy = match percent {
            HEAVY_PERCENT.. => self.heavy + 1,
            // Neither: a spell that goes on, or none.
            _ if percent > LIGHT_PERCENT && self.heavy >= SPELL_SPANS => self.heavy,
            _ => 0,
        };
        *self = Self { heavy, ..Self::new(now) };
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u16 = 1200;

    fn spans(losses: &[u64]) -> Vec<bool> {
        let mut now = Instant::now();
        let mut spell = Spell::new(now);
        let over = losses.iter().map(|percent| {
            now += SPAN;
            (spell.acked, spell.lost) = (100 - percent, *percent);
            spell.is_over(now)
        });
        over.collect()
    }

    #[test]
    fn a_spell_of_loss_ends_once_and_a_start_that_overshoots_is_none() {
        assert_eq!(spans(&[30, 30, 30, 5, 0, 0]), [false, false, false, false, true, false]);
        assert_eq!(spans(&[50, 40, 0, 0]), [false; 4]);
    }

    #[test]
    fn on_another_path_it_begins_anew_and_the_losses_of_the_former_do_not_count() {
        let feedback = ControllerFeedback::default();
        let began = Instant::now();
        let mut controller = Arc::new(feedback.clone()).build(began, PACKET);
        let window = controller.window();
        for number in 0..10 {
            controller.on_packet_sent(began, PACKET, number);
        }
        let later = began + Duration::from_secs(90);
        controller.on_congestion_event(later, began, true, false, PACKET.into(), 0);
        assert!(controller.window() < window, "lost for so long: it is shy");
        feedback.count_path();
        controller.on_packet_sent(later, PACKET, 10);
        controller.on_packet_lost(PACKET, 9, later);
        controller.on_congestion_event(later, began, true, false, PACKET.into(), 9);
        assert_eq!(controller.window(), window + 9 * u64::from(PACKET), "but what may still arrive");
    }

    #[test]
    fn a_round_trip_without_a_network_hands_over_to_loss_based_control_until_the_path_changes() {
        let feedback = ControllerFeedback::default();
        let began = Instant::now();
        let is_paced = |now: Instant, number: u64, round_trip: Duration, controller: &mut Renewable| {
            controller.on_packet_sent(now, PACKET, number);
            controller.note_round_trip(now + round_trip, now);
            controller.metrics().pacing_rate != Some(UNPACED)
        };
        let controller = Arc::new(feedback.clone()).build(began, PACKET);
        let mut controller = controller.into_any().downcast::<Renewable>().expect("ours");
        assert!(is_paced(began, 0, NEAR, &mut controller), "a local network");
        assert!(!is_paced(began, 1, NEAR / 2, &mut controller), "this machine");
        assert!(!is_paced(began, 2, NEAR * 100, &mut controller), "this machine, busy");
        feedback.count_path();
        assert!(is_paced(began, 3, NEAR, &mut controller), "another path");
    }

    /// Counts the losses, and the withdrawals of losses, that it is told of.
    #[derive(Debug, Clone, Default)]
    struct Told(Arc<[AtomicU64; 2]>);

    impl Told {
        fn counts(&self) -> [u64; 2] {
            [0, 1].map(|at| self.0[at].load(Ordering::Relaxed))
        }
    }

    impl Controller for Told {
        fn on_congestion_event(&mut self, _: Instant, _: Instant, _: bool, _: bool, _: u64, _: u64) {}

        fn on_packet_lost(&mut self, _: u16, _: u64, _: Instant) {
            self.0[0].fetch_add(1, Ordering::Relaxed);
        }

        fn on_spurious_congestion_event(&mut self) {
            self.0[1].fetch_add(1, Ordering::Relaxed);
        }

        fn on_mtu_update(&mut self, _: u16) {}

        fn window(&self) -> u64 {
            u64::from(PACKET)
        }

        fn clone_box(&self) -> Box<dyn Controller> {
            Box::new(self.clone())
        }

        fn initial_window(&self) -> u64 {
            self.window()
        }

        fn into_any(self: Box<Self>) -> Box<dyn Any> {
            self
        }
    }

    #[test]
    fn bbr_is_told_neither_of_a_loss_by_chance_nor_that_it_was_none() {
        let now = Instant::now();
        let controller = Arc::new(ControllerFeedback::default()).build(now, PACKET);
        let mut controller = controller.into_any().downcast::<Renewable>().expect("ours");
        let told = Told::default();
        controller.inner = Box::new(told.clone());
        controller.on_packet_lost(PACKET, 0, now);
        controller.on_spurious_congestion_event();
        assert_eq!(told.counts(), [0, 0], "it would go back to its beginning");
        for number in 1..100 {
            controller.on_packet_lost(PACKET, number, now);
        }
        let [losses, _] = told.counts();
        assert!(losses > 80, "all lost is no chance");
        controller.on_spurious_congestion_event();
        controller.on_spurious_congestion_event();
        assert_eq!(told.counts(), [losses, 1]);
    }
}
