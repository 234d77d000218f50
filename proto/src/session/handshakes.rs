//! The handshakes under way over a proven pair: how many, and for how long.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::interface::ConnectionHandle;
use crate::{Role, puncher::Connected};

/// Time for the QUIC handshake over a proven pair, plus [`HANDSHAKE_RTTS`] round trips: more than the Puncher needs to
/// find the path dead.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// See [`HANDSHAKE`].
const HANDSHAKE_RTTS: u32 = 16;

/// Handshakes that may begin while a tunnel stands: one in this time. The peer may have lost its end of the tunnel.
const SECOND_HANDSHAKE: Duration = Duration::from_secs(1);

/// Handshakes that may begin within [`BURST_WITHIN`], with a tunnel or without. Each that its client lets lie lingers in QUIC
/// for three probe timeouts, for as long as the client has made the round trip seem.
const BURST: usize = 8;

/// See [`BURST`].
const BURST_WITHIN: Duration = Duration::from_secs(4);

/// Handshakes under way at a time on the serve side; the oldest makes room. One is usual: the peer begins another one
/// only after it has given the first up.
pub(super) const MAX_HANDSHAKES: usize = 4;

/// First packets whose like is not answered again: copies of them open, and can never become a handshake.
const MAX_ANSWERED: usize = 256;

/// Longest connection ID, bytes (RFC 9000 §17.2).
const MAX_ID_BYTES: usize = 20;

/// How much longer than the open side the serve side waits for a tunnel: the open side may have one that the serve side has
/// lost, and must be the first to learn that.
const FOR_THE_OTHER: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Those under way, the oldest first.
    under_way: VecDeque<ConnectionHandle>,
    /// The connection IDs of the first packets that were answered, and when they were, the oldest first.
    answered: VecDeque<(Box<[u8]>, Instant)>,
    /// When the tunnel must stand; otherwise the search begins again.
    pub(super) due: Option<Instant>,
    /// When the pair was proven for which there is no tunnel yet, if it was.
    in_vain_since: Option<Instant>,
    /// When the next handshake may begin while a tunnel stands.
    second_at: Option<Instant>,
}

impl Handshakes {
    /// A pair is proven, and there is no tunnel. Returns whether the handshake over the pair before this one was in vain,
    /// though probes had come through.
    pub(super) fn handle_connected(&mut self, role: Role, over: Connected, now: Instant) -> bool {
        let more = if role == Role::Serve { FOR_THE_OTHER } else { Duration::ZERO };
        self.due = Some(now + HANDSHAKE + over.rtt * HANDSHAKE_RTTS + more);
        self.in_vain_since.replace(now).is_some_and(|at| now >= at + HANDSHAKE)
    }

    /// The tunnel stands, or the path was lost before it could: that says nothing about how datagrams leave.
    pub(super) fn forgive(&mut self) {
        self.in_vain_since = None;
    }

    /// Whether a handshake may begin whose first packet leads to that connection ID: not a copy of one that was answered,
    /// few at a time, and fewer while a tunnel stands (an open side has lost its end of it).
    pub(super) fn may_answer(&self, first_id: &[u8], has_tunnel: bool, now: Instant) -> bool {
        let is_copy = || self.answered.iter().any(|(answered, _)| **answered == *first_id);
        let is_second = has_tunnel && self.second_at.is_some_and(|at| now < at);
        let first_of_burst = self.answered.iter().rev().nth(BURST - 1);
        let is_early = is_second || first_of_burst.is_some_and(|(_, at)| now < *at + BURST_WITHIN);
        !is_early && first_id.len() <= MAX_ID_BYTES && !is_copy()
    }

    /// One is answered.
    pub(super) fn note_answer(&mut self, first_id: &[u8], has_tunnel: bool, now: Instant) {
        if has_tunnel {
            self.second_at = Some(now + SECOND_HANDSHAKE);
        }
        if self.answered.len() == MAX_ANSWERED {
            self.answered.pop_front();
        }
        self.answered.push_back((first_id.into(), now));
    }

    /// Begins one. Returns the oldest if that must make room.
    pub(super) fn begin(&mut self, connection: ConnectionHandle) -> Option<ConnectionHandle> {
        let oldest = (self.under_way.len() == MAX_HANDSHAKES).then(|| self.under_way.pop_front()).flatten();
        self.under_way.push_back(connection);
        oldest
    }

    /// Whether there is one.
    pub(super) fn are_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// One has ended. Returns whether it was under way.
    pub(super) fn end(&mut self, connection: ConnectionHandle) -> bool {
        let before = self.under_way.len();
        self.under_way.retain(|other| *other != connection);
        self.under_way.len() != before
    }

    /// Forgets all of them, and returns them.
    pub(super) fn forget(&mut self) -> VecDeque<ConnectionHandle> {
        self.due = None;
        std::mem::take(&mut self.under_way)
    }
}
