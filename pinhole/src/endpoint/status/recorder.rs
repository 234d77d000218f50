//! The recorder: what is recorded of an endpoint while it runs.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use pinhole_proto::{Now, Role};
use tokio::time::{Instant, MissedTickBehavior};

use super::{
    history::History,
    meter::{Meter, Reading, Sum},
    rates::{Packets, Rates, Sample},
};
use crate::{Event, Tunnel, clock::now, tunnel::WeakTunnel};

/// Time between two samples.
const SAMPLE: Duration = Duration::from_secs(1);

/// Records what an endpoint does. Locked for moments only, and never while something is awaited.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(super) role: Role,
    records: Mutex<Records>,
    pub(super) sum: Arc<Sum>,
}

/// What is recorded.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) history: History,
    pub(super) rates: Rates,
    pub(super) forwards: Vec<Forward>,
    tunnel: Option<WeakTunnel>,
}

/// A local port or a service that connections are counted for.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) service: String,
    pub(super) target: String,
    pub(super) meter: Weak<Meter>,
}

impl Recorder {
    pub(crate) fn new(role: Role, addresses: Vec<SocketAddr>) -> Self {
        let now = now();
        let history = History::new(role, addresses, now);
        let records = Records { history, rates: Rates::new(now.instant), forwards: Vec::new(), tunnel: None };
        Self { role, records: Mutex::new(records), sum: Arc::default() }
    }

    /// Records an event, and does something before anybody sees what holds then.
    pub(crate) fn handle_event(&self, event: &Event, then: impl FnOnce()) {
        let mut records = self.records();
        records.history.handle_event(event, now());
        then();
    }

    /// Returns what holds now, as events, and what is done before anything else is told.
    pub(crate) fn standing<T>(&self, also: impl FnOnce() -> T) -> (Vec<Event>, T) {
        let mut records = self.records();
        records.history.expire(now().instant);
        (records.history.standing(), also())
    }

    /// Records the tunnel that stands now.
    pub(crate) fn set_tunnel(&self, tunnel: &Tunnel) {
        let mut records = self.records();
        records.tunnel = Some(tunnel.downgrade());
        records.rates.begin_tunnel();
    }

    /// Begins to count for a local port or a service.
    pub(crate) fn add_forward(&self, service: &str, target: String) -> Arc<Meter> {
        let meter = Arc::new(Meter::new(self.sum.clone()));
        let forwards = &mut self.records().forwards;
        forwards.retain(|forward| forward.meter.strong_count() > 0);
        forwards.push(Forward { service: service.to_owned(), target, meter: Arc::downgrade(&meter) });
        meter
    }

    /// Takes samples as long as connections are open, and waits for the next ones. Never ends.
    pub(crate) async fn sample(&self) {
        loop {
            self.sum.is_in_use().await;
            let mut tick = tokio::time::interval_at(Instant::now(), SAMPLE);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while self.sum.is_used_now() {
                tick.tick().await;
                self.records().take_sample(&self.sum, None, now());
            }
        }
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    /// `tested` is the round trip's time by the last liveness tests: at rest QUIC's is an old one.
    pub(super) fn take_sample(&mut self, sum: &Sum, tested: Option<Duration>, now: Now) {
        let carried = self.carried(sum);
        let tunnel = self.tunnel().filter(|_| self.history.path.is_some());
        let quic = tunnel.as_ref().and_then(Tunnel::numbers);
        let is_at_rest = self.rates.is_last(carried.sent, carried.received);
        let rtt = if is_at_rest { tested } else { quic.as_ref().map(|quic| quic.rtt) };
        if let Some(rtt) = rtt {
            self.history.handle_rtt(rtt);
        }
        let packets = quic.map(|quic| Packets { sent: quic.sent_packets, lost: quic.lost_packets });
        let sample = Sample { sent: carried.sent, received: carried.received, packets, rtt };
        self.rates.add(sample, now.instant);
    }

    pub(super) fn carried(&self, sum: &Sum) -> Reading {
        let mut all = Reading::default();
        for meter in self.forwards.iter().filter_map(|forward| forward.meter.upgrade()) {
            all += meter.read();
        }
        sum.add_gone(&mut all);
        all
    }

    pub(super) fn tunnel(&self) -> Option<Tunnel> {
        self.tunnel.as_ref().and_then(WeakTunnel::upgrade).filter(Tunnel::is_up)
    }
}
