//! What a search has seen so far, and what the user should hear about it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Findings, Icmp, IcmpKind};
use crate::{Role, probe::Probe};

/// Without one packet of the peer for this long, the user is told what that may mean.
pub const SILENCE: Duration = Duration::from_secs(10);

/// Where the peer is heard, but no pair is proven for this long, the user is told.
const ONE_WAY: Duration = Duration::from_secs(15);

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
    /// No pair was found by now.
    NoPath(Findings),
    /// The two wall clocks are far apart.
    Clock {
        /// How far.
        apart: Duration,
    },
}

/// The evidence of one search.
#[derive(Debug)]
pub(super) struct Evidence {
    since: Instant,
    /// When the peer was first heard in this search.
    pub(super) heard_at: Option<Instant>,
    /// Probe-like datagrams from the peer's IP that did not open.
    unopened: u32,
    told: Vec<std::mem::Discriminant<Trouble>>,
    findings: Findings,
}

impl Evidence {
    pub(super) fn new(now: Instant) -> Self {
        let findings = Findings::default();
        Self { since: now, heard_at: None, unopened: 0, told: Vec::new(), findings }
    }

    pub(super) fn findings(&self) -> Findings {
        self.findings
    }

    /// Takes note of a sealed word of the peer; true for the first one.
    pub(super) fn handle_heard(&mut self, now: Instant) -> bool {
        let first = self.heard_at.is_none();
        self.heard_at.get_or_insert(now);
        first
    }

    /// Takes note of what a word of the peer says about the two ways. The ports are those that the two main sockets
    /// are known by, where the word came over them.
    pub(super) fn handle_word(&mut self, from: SocketAddr, probe: &Probe, main_ports: Option<(u16, u16)>) {
        let found = &mut self.findings;
        found.heard_from = Some(from);
        found.peer_hears |= probe.heard;
        let Some((own, peers)) = main_ports else { return };
        if from.port() != peers {
            found.peer_port_moved = Some((peers, from.port()));
        }
        if let Some(observed) = probe.observed.filter(|observed| observed.port() != own) {
            found.own_port_moved = Some((own, observed.port()));
        }
    }

    pub(super) fn handle_icmp(&mut self, icmp: &Icmp<'_>, from_peer_ip: bool) {
        let found = &mut self.findings;
        match icmp.kind {
            IcmpKind::TtlExceeded => {}
            IcmpKind::PortUnreachable => found.is_refused |= from_peer_ip,
            IcmpKind::Prohibited => {
                found.is_refused |= from_peer_ip;
                found.prohibited_by = Some(icmp.offender);
            }
            IcmpKind::Unreachable => found.unreachable_by = Some(icmp.offender),
        }
    }

    /// Whether the peer's router, or its machine, answers for itself.
    pub(super) fn is_answering(&self) -> bool {
        self.findings.is_refused
    }

    /// Takes note that the system did not let us send.
    pub(super) fn handle_send_refused(&mut self) {
        self.findings.is_send_refused = true;
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

    /// Whether it is time to say that there is no path.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.stuck_at().is_some_and(|at| now >= at)
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

    /// When the lack of a path is worth a word, if it still is: another trouble says more.
    pub(super) fn stuck_at(&self) -> Option<Instant> {
        let patience = self.heard_at.map_or(self.since + SILENCE, |heard| heard + ONE_WAY);
        self.told.is_empty().then_some(patience)
    }

    /// How long the punch took: since our start, or since the peer's first word where we had waited for that.
    pub(super) fn took(&self, now: Instant) -> Duration {
        let waited = self.heard_at.filter(|heard| *heard > self.since + Duration::from_secs(2));
        now.saturating_duration_since(waited.unwrap_or(self.since))
    }
}
