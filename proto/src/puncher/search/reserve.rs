//! The reserve pair: fresh ports that both sides have agreed on with their last path, for when that is lost. Programs
//! know the method as `spare`.
//!
//! A new lease, or another program's flow, may have taken our main port at our NAT, and nothing that is sent from there
//! arrives where the peer expects it. The reserve port of each path is another one and was never used. The pair of both
//! is tested beside the main pair, whatever the clocks say; and a side that knows that its main port is lost sweeps
//! from its reserve one (`birthday`).

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::puncher::{
    Pair, SocketId,
    budget::Purpose,
    context::SearchContext,
    transmits::{OutgoingProbe, TransmitQueue},
};

/// Up to this long after the beginning, this much between two probes.
const PACE: [(Duration, Duration); 4] = [
    (Duration::from_secs(3), Duration::from_millis(100)),
    (Duration::from_secs(300), Duration::from_millis(500)),
    (Duration::from_secs(3600), Duration::from_secs(1)),
    (Duration::MAX, Duration::from_secs(10)),
];

#[derive(Debug)]
pub(in crate::puncher) struct Reserve {
    begin_at: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    Open {
        socket: SocketId,
        next_at: Instant,
        /// Probes so far: the peer's addresses take turns.
        sent: u64,
    },
    /// Another program has the port, or the two sides never had a path.
    Off,
}

impl Reserve {
    /// Makes one that begins at that time; or never, where the two sides have no path behind them.
    pub(in crate::puncher) fn new(begin_at: Option<Instant>, now: Instant) -> Self {
        let state = if begin_at.is_some() { State::Waiting } else { State::Off };
        Self { begin_at: begin_at.unwrap_or(now), state }
    }

    /// Returns the socket on the reserve port.
    pub(in crate::puncher) fn socket(&self) -> Option<SocketId> {
        match self.state {
            State::Open { socket, .. } => Some(socket),
            State::Waiting | State::Off => None,
        }
    }

    pub(in crate::puncher) fn handle_timeout(
        &mut self,
        context: &SearchContext<'_>,
        transmits: &mut TransmitQueue,
    ) {
        let now = context.now.instant;
        if matches!(self.state, State::Waiting) && now >= self.begin_at {
            self.state = context.reserve.map_or(State::Off, |ports| State::Open {
                socket: transmits.open(ports.own),
                next_at: now,
                sent: 0,
            });
        }
        let State::Open { socket, next_at, sent } = &mut self.state else { return };
        if now < *next_at {
            return;
        }
        let age = now.saturating_duration_since(self.begin_at);
        let gap = PACE.iter().find(|(until, _)| age < *until).map_or(PACE[3].1, |(_, gap)| *gap);
        *next_at = now + gap;
        let (Some(target), Some(ports)) = (context.target(*sent), context.reserve) else { return };
        *sent += 1;
        let pair = Pair { socket: *socket, remote: SocketAddr::new(target.ip(), ports.peers) };
        let probe = OutgoingProbe::new(pair, transmits.token(pair, now));
        let is_sent = transmits.send(&probe, Purpose::Reserve, context.now).is_some();
        tracing::trace!(?pair, is_sent, "reserve");
    }

    pub(in crate::puncher) fn handle_open_failed(&mut self, failed: SocketId) {
        if self.socket() == Some(failed) {
            self.state = State::Off;
        }
    }

    pub(in crate::puncher) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting => Some(self.begin_at),
            State::Open { next_at, .. } => Some(next_at),
            State::Off => None,
        }
    }
}
