//! The health of the path in use, as it is reported.

use std::{net::SocketAddr, time::Duration};

use crate::{
    Now,
    puncher::{Pair, Puncher, SearchReport, State},
};

/// The health of the path in use, by its liveness tests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Health {
    /// The path.
    pub pair: Pair,
    /// Its round trip's time, smoothed over the liveness tests.
    pub rtt: Duration,
    /// Share of the last tests that were not answered, 0 to 1.
    pub loss: f64,
    /// Silence after which it is tested when it is at rest.
    pub keepalive: Duration,
    /// Our address as the peer saw it when the pair was proven.
    pub observed: Option<SocketAddr>,
}

impl Puncher {
    /// Returns the health of the path in use; `None` while there is none.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        match &self.state {
            State::Connected(selected) => Some(Health {
                pair: selected.pair,
                rtt: selected.liveness.rtt(),
                loss: selected.liveness.loss(),
                keepalive: self.keepalive.interval(),
                observed: selected.observed,
            }),
            State::Idle | State::Searching(_) => None,
        }
    }

    /// Returns the silence after which a path at rest is tested.
    #[must_use]
    pub fn keepalive(&self) -> Duration {
        self.keepalive.interval()
    }

    /// Returns what the search has found out about the way to the peer; `None` when there is no search.
    #[must_use]
    pub fn search_report(&self, now: Now) -> Option<SearchReport> {
        match &self.state {
            State::Searching(search) => Some(self.context.complete(search.search_report(now.instant))),
            State::Idle | State::Connected(_) => None,
        }
    }
}
