//! A tunnel that has a path again and has not heard anything by it.
//!
//! What was under way is lost. QUIC sends it again when a timer ends that has backed off while there was no path, so it is
//! woken instead. Where the path carries probes, and yet nothing of the peer's tunnel comes, the peer may know of none any
//! more; or somebody on the way lets probes pass and nothing else. The open side dials beside the tunnel, again and
//! again: only a handshake that succeeds proves that the peer has lost its end, and takes the tunnel's place. Until then
//! the tunnel waits, for as long as the user's patience lasts.

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

/// The longest time until the first handshake beside a tunnel, counted from the moment when one in its place would have
/// failed.
pub(super) const DEAF_AT_MOST: Duration = DEAF.saturating_add(TIMER_AT_MOST);

#[derive(Debug)]
pub(super) struct Waking {
    /// Packets that the peer had acknowledged when the path came.
    acknowledged: u64,
    pub(super) next_at: Instant,
    every: Duration,
    /// When to dial beside the tunnel.
    dial_at: Instant,
    /// Handshakes beside the tunnel that were begun.
    dials: u32,
    /// The path that carries probes.
    over: Connected,
    /// When the tunnel was last known to have a path.
    pub(super) silent_since: Instant,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Wake,
    /// It has heard something.
    Awake,
    /// Dial beside it over that path.
    Dial {
        over: Connected,
        /// Whether a handshake before this one was in vain.
        again: bool,
    },
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
            dial_at: answer_by(over, now)
                + DEAF
                + (vitals.rtt.unwrap_or_default() * TIMER_RTTS).min(TIMER_AT_MOST),
            dials: 0,
            over,
            silent_since,
        }
    }

    /// Returns what is due at [`Self::next_at`].
    pub(super) fn handle_timeout(&mut self, role: Role, vitals: Vitals, now: Instant) -> Due {
        // While the machine was stopped nobody could answer.
        let slept = now.saturating_duration_since(self.next_at);
        self.dial_at += slept;
        self.silent_since += slept;
        if vitals.acknowledged != self.acknowledged {
            return Due::Awake;
        }
        self.next_at = now + self.every;
        if now < self.dial_at || role == Role::Serve {
            return Due::Wake;
        }
        self.dial_at = answer_by(self.over, now) + DEAF;
        self.dials += 1;
        Due::Dial { over: self.over, again: self.dials > 1 }
    }
}
