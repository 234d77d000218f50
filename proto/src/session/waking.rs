//! A tunnel that has a path again and has not heard anything by it.
//!
//! What was under way is lost. QUIC sends it again when a timer ends that has backed off while there was no path, so it is
//! woken instead. The peer may have lost its end of the tunnel meanwhile. It says so itself, sealed, in its answers to tests
//! ([`Puncher::peer_lacks_tunnel`]); and it alone is believed: silence says nothing, for somebody on the way may let probes
//! pass and nothing else. Until then the tunnel waits, for as long as the user's patience lasts.

use std::time::{Duration, Instant};

use super::interface::Vitals;
use crate::{Role, puncher::Connected};

/// A waking tunnel is woken this often, or each two round trips.
const WAKE_EVERY: Duration = Duration::from_millis(500);

/// What the peer says of its end of the tunnel counts from tests that left this long after the path came, plus two round trips:
/// it may have been about to take the tunnel.
const SETTLED: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Waking {
    /// Packets that the peer had acknowledged when the path came.
    acknowledged: u64,
    pub(super) next_at: Instant,
    every: Duration,
    /// From then on the peer's word that it has no tunnel counts.
    pub(super) settled_at: Instant,
    /// When the tunnel was last known to have a path.
    pub(super) silent_since: Instant,
}

impl Waking {
    /// `vitals` are those of the path before.
    pub(super) fn new(
        role: Role,
        over: Connected,
        silent_since: Instant,
        vitals: Vitals,
        now: Instant,
    ) -> Self {
        Self {
            acknowledged: vitals.acknowledged,
            // The serve side knows of the path half a round trip before the open side lets anything in by it.
            next_at: match role {
                Role::Serve => now + over.rtt,
                Role::Open => now,
            },
            every: WAKE_EVERY.max(over.rtt * 2),
            settled_at: now + SETTLED + over.rtt * 2,
            silent_since,
        }
    }

    /// Does what is due at [`Self::next_at`]. Returns whether it still waits, and is to be woken.
    pub(super) fn handle_timeout(&mut self, vitals: Vitals, now: Instant) -> bool {
        // While the machine was stopped nobody could answer.
        self.silent_since += now.saturating_duration_since(self.next_at);
        self.next_at = now + self.every;
        vitals.acknowledged == self.acknowledged
    }
}
