//! A tunnel that has a path again and has not heard anything by it.
//!
//! What was under way is lost. QUIC sends it again when a timer ends that has backed off while there was no path, so it is
//! woken instead. Where the path carries probes, and yet nothing of the peer's tunnel comes, the peer knows of none any
//! more. The open side finds that out and dials anew; the serve side asks on, for its word of the path may not have come
//! through.

use std::time::{Duration, Instant};

use super::{handshakes::answer_by, interface::Vitals};
use crate::{Role, puncher::Connected};

/// A waking tunnel is woken this often, or each two round trips.
const WAKE_EVERY: Duration = Duration::from_millis(500);

/// A tunnel that stands may be without an answer for this much longer than a handshake: the peer's timers may be slower
/// than ours, and a tunnel that is given up costs all its connections.
const DEAF: Duration = Duration::from_secs(5);

/// QUIC believes in the round trip of the path before until an answer comes, and sends again when a timer ends: after at
/// most this many of those (RFC 9002 §6.2.1, where the round trips varied by half).
const TIMER_RTTS: u32 = 3;

/// See [`TIMER_RTTS`].
const TIMER_AT_MOST: Duration = Duration::from_secs(5);

/// The longest time until a tunnel is found deaf, counted from the moment when a handshake would have failed.
pub(super) const DEAF_AT_MOST: Duration = DEAF.saturating_add(TIMER_AT_MOST);

#[derive(Debug)]
pub(super) struct Waking {
    /// Packets that the peer had acknowledged when the path came.
    acknowledged: u64,
    pub(super) next_at: Instant,
    every: Duration,
    /// Then the tunnel is of no use.
    until: Instant,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Wake,
    /// It has heard something.
    Awake,
    /// It is of no use.
    Deaf,
}

impl Waking {
    /// `vitals` are those of the path before.
    pub(super) fn new(role: Role, over: Connected, vitals: Vitals, now: Instant) -> Self {
        Self {
            acknowledged: vitals.acknowledged,
            // The serve side knows of the path half a round trip before the open side lets anything in by it.
            next_at: match role {
                Role::Serve => now + over.rtt,
                Role::Open => now,
            },
            every: WAKE_EVERY.max(over.rtt * 2),
            until: answer_by(over, now)
                + DEAF
                + (vitals.rtt.unwrap_or_default() * TIMER_RTTS).min(TIMER_AT_MOST),
        }
    }

    /// Returns what is due at [`Self::next_at`].
    pub(super) fn handle_timeout(&mut self, role: Role, vitals: Vitals, now: Instant) -> Due {
        // While the machine was stopped nobody could answer.
        self.until += now.saturating_duration_since(self.next_at);
        if vitals.acknowledged != self.acknowledged {
            return Due::Awake;
        }
        if now >= self.until && role == Role::Open {
            return Due::Deaf;
        }
        self.next_at = now + self.every;
        Due::Wake
    }
}
