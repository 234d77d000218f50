//! A path that carries probes and nothing of the tunnel.
//!
//! Probes and the tunnel's own packets leave by the same pair, and still one kind may arrive and not the other: somebody on
//! the way lets the small ones pass, or has led the tunnel through himself and carries none of it. The path seems to live,
//! and the tunnel waits for ever. So what the tunnel sends is watched as well: QUIC repeats what is not acknowledged
//! (RFC 9002 §6.2), and a tunnel that has sent again and again and has not opened one packet of the peer's looks for another
//! path. What needs no answer, a last acknowledgement, leaves once.

use std::time::{Duration, Instant};

use crate::puncher::{Loss, Traffic};

/// A tunnel that sends for this long, plus [`BLOCKED_RTTS`] round trips, and is not answered is blocked. At half of all packets lost
/// each way QUIC is heard sooner in 99 of 100 tries.
const BLOCKED: Duration = Duration::from_secs(10);

/// See [`BLOCKED`].
const BLOCKED_RTTS: u32 = 8;

/// It must have sent so many times: the probe timeout doubles with each.
const SENDS: u32 = 5;

/// Between two of them it rests for no longer than this, or nobody has waited: the machine has slept.
const GAP: Duration = Duration::from_secs(20);

/// What a tunnel has sent since it was last heard.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    /// When it first sent, and last.
    sent: Option<(Instant, Instant)>,
    /// How often.
    sends: u32,
}

impl Unheard {
    /// Takes the tunnel's counts as they were and as they are.
    pub(super) fn handle_traffic(&mut self, before: Traffic, traffic: Traffic, now: Instant) {
        if traffic.received != before.received {
            *self = Self::default();
        } else if traffic.sent != before.sent {
            let current = self.sent.filter(|(_, last)| now < *last + GAP);
            self.sends = if current.is_some() { self.sends + 1 } else { 1 };
            self.sent = Some((current.map_or(now, |(first, _)| first), now));
        }
    }

    /// Whether the path carries nothing of the tunnel, whatever else it carries.
    pub(super) fn is_blocked(&self, rtt: Duration) -> bool {
        let lasts = |(first, last): (Instant, Instant)| last >= first + BLOCKED + rtt * BLOCKED_RTTS;
        self.sends >= SENDS && self.sent.is_some_and(lasts)
    }

    /// The path is lost. Begins anew, and returns since when nothing was heard if that is why.
    pub(super) fn take_blocked(&mut self, loss: Option<Loss>) -> Option<Instant> {
        let since = std::mem::take(self).sent.map(|(first, _)| first);
        since.filter(|_| loss == Some(Loss::Blocked))
    }
}
