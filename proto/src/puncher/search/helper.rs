//! One packet more: asks our own NAT to let the peer in from any port.
//!
//! A NAT that helps TFTP (RFC 1350: the answer comes from another port than was asked) expects, after a packet to the
//! peer's port 69 that looks like a read request, one flow from any port of the peer to our own. Through such a NAT an
//! unpredictable one on the other side is no obstacle. The packet need not arrive: its TTL ends before the peer's
//! router. Seen with Linux' `nf_conntrack_tftp`, where the helper is enabled: one new flow for each request, through
//! masquerade as well, for 30 s at least. Where there is no helper it costs one mapping.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::probe::PROBE_BYTES;
use crate::puncher::{Pair, SocketId, bearings::Ground, outbox::Outbox};

/// Where TFTP servers listen.
const TFTP: u16 = 69;

/// The beginning of a read request: the operation, a name, a mode.
const REQUEST: &[u8] = b"\x00\x01x\x00octet\x00";

/// When requests leave, counted from the start: first when it is known how far they may go.
const TIMES: [Duration; 6] = [
    Duration::from_millis(200),
    Duration::from_millis(1200),
    Duration::from_secs(4),
    Duration::from_secs(10),
    Duration::from_secs(25),
    Duration::from_secs(50),
];

/// Time between two requests of a side that waits.
const PATIENT: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(in crate::puncher) struct Helper {
    since: Instant,
    sent: u32,
    next_at: Instant,
}

impl Helper {
    pub(in crate::puncher) fn new(now: Instant) -> Self {
        Self { since: now, sent: 0, next_at: now + TIMES[0] }
    }

    pub(in crate::puncher) fn handle_timeout(&mut self, ground: &Ground<'_>, ttl: u8, outbox: &mut Outbox) {
        let now = ground.now.instant;
        if now < self.next_at {
            return;
        }
        if let Some(target) = ground.target(self.sent.into()) {
            let pair = Pair { socket: SocketId::MAIN, remote: SocketAddr::new(target.ip(), TFTP) };
            let mut payload = [0; PROBE_BYTES];
            payload[..REQUEST.len()].copy_from_slice(REQUEST);
            outbox.send_plain(pair, ttl, payload, now);
        }
        self.sent += 1;
        let planned = TIMES.get(self.sent as usize).map(|after| self.since + *after);
        self.next_at = planned.unwrap_or(now + PATIENT);
    }

    pub(in crate::puncher) fn deadline(&self) -> Instant {
        self.next_at
    }
}
