//! The peer's name: when it is looked up, and what it meant last.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Time between two look-ups of the peer's name while the peer is searched for.
const EVERY: Duration = Duration::from_secs(30);

/// The same while a tunnel waits for its path.
const EVERY_RECONNECT: Duration = Duration::from_secs(5);

/// The peer's name. One lookup is under way at a time: a name server that is down must not hold anything up.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) addresses: Vec<SocketAddr>,
    is_named: bool,
    is_under_way: bool,
    next_at: Option<Instant>,
    /// Whether it resolved at the last look.
    resolves: bool,
}

impl Name {
    pub(super) fn new(addresses: Vec<SocketAddr>, is_named: bool) -> Self {
        Self { addresses, is_named, is_under_way: false, next_at: None, resolves: true }
    }

    /// Begins to look it up at that pace.
    pub(super) fn start(&mut self, now: Instant) {
        self.next_at = Some(now + EVERY);
    }

    /// Has it looked up at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next_at = Some(now);
    }

    /// Returns when the next lookup is due, if it is a name.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at.filter(|_| self.is_named)
    }

    /// Returns whether a lookup begins now: none is under way.
    pub(super) fn look_up(&mut self, keeps_tunnel: bool, now: Instant) -> bool {
        self.next_at = Some(now + if keeps_tunnel { EVERY_RECONNECT } else { EVERY });
        !std::mem::replace(&mut self.is_under_way, true)
    }

    /// Takes the answer, `None` where the name does not resolve. Returns whether that is news, and whether there are other
    /// addresses now.
    pub(super) fn handle_resolved(&mut self, found: Option<Vec<SocketAddr>>) -> (bool, bool) {
        self.is_under_way = false;
        let is_news = std::mem::replace(&mut self.resolves, found.is_some()) != found.is_some();
        let changed = found.filter(|addresses| *addresses != self.addresses);
        let has_changed = changed.is_some();
        self.addresses = changed.unwrap_or_else(|| std::mem::take(&mut self.addresses));
        (is_news, has_changed)
    }
}
