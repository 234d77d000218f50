//! How the path in use is, for whoever asks.

use std::{net::SocketAddr, time::Duration};

use crate::puncher::{Pair, Puncher, State};

/// What the keeper knows of the path in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Health {
    /// The path.
    pub pair: Pair,
    /// Its round trip's time, smoothed over the keeper's tests.
    pub rtt: Duration,
    /// Share of the last tests that were not answered, 0 to 1.
    pub loss: f64,
    /// Silence after which it is tested when it is at rest.
    pub keepalive: Duration,
    /// Our address as the peer saw it when the pair was proven.
    pub observed: Option<SocketAddr>,
}

impl Puncher {
    /// Returns how the path in use is; none while there is no such.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        match &self.state {
            State::Connected(link) => Some(Health {
                pair: link.pair,
                rtt: link.keeper.rtt(),
                loss: link.keeper.loss(),
                keepalive: self.keepalive.interval(),
                observed: link.observed,
            }),
            State::Idle | State::Searching(_) => None,
        }
    }

    /// Returns the silence after which a path at rest is tested.
    #[must_use]
    pub fn keepalive(&self) -> Duration {
        self.keepalive.interval()
    }
}
