//! What a search has seen so far, and what the user should hear about it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::Role;

/// Without one packet of the peer for this long, the user is told what that may mean.
pub const SILENCE: Duration = Duration::from_secs(10);

/// Datagrams from the peer's IP that look like probes but do not open, before the key is suspected. One or two may
/// be noise, or the last words of an earlier run.
const SUSPICIOUS: u32 = 3;

/// Something is wrong in a way that has a name. Each is told once in a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Probes arrive from the peer's IP that this key cannot open.
    WrongKey {
        /// Where they come from.
        from: SocketAddr,
    },
    /// Probes arrive from the peer's IP in a version of the format that this program does not know.
    OtherVersion {
        /// Where they come from.
        from: SocketAddr,
        /// The version that they claim.
        version: u8,
    },
    /// The peer plays the same role.
    SameRole {
        /// The role that both play.
        role: Role,
    },
    /// Our own probes come back: the peer's address is our own.
    OwnEcho {
        /// Where they come from.
        from: SocketAddr,
    },
    /// Nothing came from the peer for [`SILENCE`].
    Silence,
    /// The two wall clocks are far apart.
    Clock {
        /// How far.
        apart: Duration,
    },
}

/// The evidence of one search.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) since: Instant,
    /// When the peer was first heard in this search.
    pub(super) heard_at: Option<Instant>,
    /// Probe-like datagrams from the peer's IP that did not open.
    unopened: u32,
    told: Vec<std::mem::Discriminant<Trouble>>,
}

impl Evidence {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, heard_at: None, unopened: 0, told: Vec::new() }
    }

    /// Takes note of a sealed word of the peer; true for the first one.
    pub(super) fn handle_heard(&mut self, now: Instant) -> bool {
        let first = self.heard_at.is_none();
        self.heard_at.get_or_insert(now);
        first
    }

    /// Takes note of a probe-like datagram from the peer's IP that did not open.
    pub(super) fn handle_unopened(&mut self, from: SocketAddr, version: u8) -> Option<Trouble> {
        self.unopened = self.unopened.saturating_add(1);
        if self.unopened < SUSPICIOUS || self.heard_at.is_some() {
            return None;
        }
        self.tell(match version {
            crate::probe::VERSION => Trouble::WrongKey { from },
            version => Trouble::OtherVersion { from, version },
        })
    }

    /// Says silence once it has lasted.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Trouble> {
        (now >= self.silence_at()?).then(|| self.tell(Trouble::Silence)).flatten()
    }

    /// Returns the trouble if it has not been told in this search.
    pub(super) fn tell(&mut self, trouble: Trouble) -> Option<Trouble> {
        let kind = std::mem::discriminant(&trouble);
        if self.told.contains(&kind) {
            return None;
        }
        self.told.push(kind);
        Some(trouble)
    }

    /// When the silence is worth a word, if it still is.
    pub(super) fn silence_at(&self) -> Option<Instant> {
        let silent = self.heard_at.is_none() && self.told.is_empty();
        silent.then_some(self.since + SILENCE)
    }

    /// How long the punch took: since our start, or since the peer's first word where we had waited for that.
    pub(super) fn took(&self, now: Instant) -> Duration {
        let waited = self.heard_at.filter(|heard| *heard > self.since + Duration::from_secs(2));
        now.saturating_duration_since(waited.unwrap_or(self.since))
    }
}
