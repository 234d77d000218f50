//! The observations of a search, and what the user should hear about them.

use std::{
    mem::{Discriminant, discriminant},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{Icmp, IcmpKind, NoPathCause, SearchReport};
use crate::{
    Role,
    probe::{Kind, Probe},
};

/// Time without one packet of the peer after which the user is told what that may mean.
pub const SILENCE: Duration = Duration::from_secs(10);

/// Time after which the user is told that the peer is heard and no pair is proven.
const ONE_WAY: Duration = Duration::from_secs(15);

/// Time between two looks whether there is another reason why there is no path.
const LOOK: Duration = Duration::from_secs(10);

/// Time after which a refusal that has not come again is over: probes that would bring it go on.
const REFUSAL_LIFE: Duration = Duration::from_secs(35);

/// Datagrams from the peer's IP that look like probes but do not open, before the key is suspected. One or two may
/// be noise, or the last words of an earlier run.
const SUSPICIOUS: u32 = 3;

/// Time for which the peer's port must have been closed to show that its program has ended: a new run would have been
/// heard.
const GONE_AFTER: Duration = Duration::from_secs(2);

/// Time within which a closed port is seen to be closed again, or it is open: probes go out each 0.5 s.
const CLOSED_LIFE: Duration = Duration::from_secs(5);

/// A trouble: something that is wrong in a way that has a name. Each is reported once in a search; the lack of a path
/// once for each cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(
    feature = "schema",
    derive(strum::EnumDiscriminants),
    strum_discriminants(
        name(TroubleKind),
        doc = "What is wrong.",
        derive(strum::VariantArray, strum::IntoStaticStr, schemars::JsonSchema),
        strum(serialize_all = "snake_case"),
        schemars(rename = "kind", rename_all = "snake_case")
    )
)]
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
    /// The peer has the key and runs another verb: one of the two sides is a `pinhole check`.
    /// A [`heard`](super::Event::Heard) takes it back.
    OtherVerb {
        /// Where it was heard from.
        from: SocketAddr,
        /// Whether it is the peer that checks.
        checks: bool,
    },
    /// Heartbeats of the old Python script arrive from the peer's IP.
    OldScript {
        /// Where they come from.
        from: SocketAddr,
        /// The role of this side.
        role: Role,
    },
    /// The peer plays the same role. A [`heard`](super::Event::Heard) takes it back.
    SameRole {
        /// The role that both play.
        role: Role,
    },
    /// Our own probes come back: the peer's address may be our own, or somebody sends them back.
    /// A [`heard`](super::Event::Heard) takes it back.
    OwnEcho {
        /// Where they come from.
        from: SocketAddr,
    },
    /// No pair was found by now.
    NoPath(SearchReport),
    /// The two wall clocks are far apart.
    Clock {
        /// How far.
        apart: Duration,
    },
}

impl Trouble {
    /// Names it for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

/// The observations of one search.
#[derive(Debug)]
pub(super) struct Observations {
    since: Instant,
    /// When the peer was first heard in this search.
    heard_at: Option<Instant>,
    /// Probe-like datagrams from the peer's IP that did not open.
    unopened: u32,
    /// Whether it was told that the peer runs the old script. Nobody has signed that, so it hides no other reason.
    is_old_script_told: bool,
    told: Vec<Discriminant<Trouble>>,
    /// When it is next looked why there is no path, and which reasons were told.
    look_at: Instant,
    told_causes: Vec<Discriminant<NoPathCause>>,
    report: SearchReport,
    /// When the peer's IP last refused a datagram of ours, in a way that only somebody on the way could say.
    refused_at: Option<Instant>,
    prohibited: Option<(IpAddr, Instant)>,
    unreachable: Option<(IpAddr, Instant)>,
    send_refused_at: Option<Instant>,
    /// When the peer's port, on this very machine, was first and last seen to be closed, since the peer was heard.
    closed: Option<(Instant, Instant)>,
    is_gone_told: bool,
    /// Why there is no path was told in another way.
    is_content: bool,
}

impl Observations {
    /// Begins a search. Where its end is clear from the beginning, it is first looked at once.
    pub(super) fn new(is_clear: bool, now: Instant) -> Self {
        Self {
            since: now,
            heard_at: None,
            unopened: 0,
            is_old_script_told: false,
            told: Vec::new(),
            look_at: if is_clear { now } else { now + SILENCE },
            told_causes: Vec::new(),
            report: SearchReport::default(),
            refused_at: None,
            prohibited: None,
            unreachable: None,
            send_refused_at: None,
            closed: None,
            is_gone_told: false,
            is_content: false,
        }
    }

    /// Whether the peer's port has been closed for long enough by now; true once.
    pub(super) fn finds_peer_gone(&mut self, now: Instant) -> bool {
        if self.gone_at().is_none_or(|at| now < at) {
            return false;
        }
        let lasts = self.closed.take().is_some_and(|(_, last)| now < last + CLOSED_LIFE);
        self.is_gone_told |= lasts;
        lasts
    }

    /// Returns when to look whether the peer is gone.
    pub(super) fn gone_at(&self) -> Option<Instant> {
        self.closed.filter(|_| !self.is_gone_told).map(|(first, _)| first + GONE_AFTER)
    }

    /// Whether the peer was not heard for that long, since the search began.
    pub(super) fn is_silent_for(&self, time: Duration, now: Instant) -> bool {
        self.heard_at.is_none() && now >= self.since + time
    }

    pub(super) fn search_report(&self, now: Instant) -> SearchReport {
        let lasts = |at: &Instant| now < *at + REFUSAL_LIFE;
        SearchReport {
            is_refused: self.refused_at.is_some_and(|at| lasts(&at)),
            prohibited_by: self.prohibited.filter(|(_, at)| lasts(at)).map(|(by, _)| by),
            unreachable_by: self.unreachable.filter(|(_, at)| lasts(at)).map(|(by, _)| by),
            is_send_refused: self.send_refused_at.is_some_and(|at| now < at + LOOK),
            ..self.report
        }
    }

    /// Records a sealed word of the peer; true for the first one. It refutes that nobody is there, and that the other
    /// end is no peer but ourselves, one in our role, or one that runs another verb.
    pub(super) fn handle_heard(&mut self, now: Instant) -> bool {
        let first = self.heard_at.is_none();
        self.closed = None;
        if first {
            self.heard_at = Some(now);
            self.look_at = now + ONE_WAY;
            let nowhere = SocketAddr::from(([0; 4], 0));
            let refuted = [
                Trouble::OwnEcho { from: nowhere },
                Trouble::SameRole { role: Role::Serve },
                Trouble::OtherVerb { from: nowhere, checks: false },
            ];
            self.told.retain(|kind| refuted.iter().all(|trouble| discriminant(trouble) != *kind));
        }
        first
    }

    /// Records what a word of the peer says about the two ways. The ports are our main one and the peer's, where
    /// the word came over our main socket from the peer's IP.
    pub(super) fn handle_word(&mut self, from: SocketAddr, probe: &Probe, main_ports: Option<(u16, u16)>) {
        let found = &mut self.report;
        found.heard_from = Some(from);
        found.peer_hears |= probe.heard;
        let Some((own, peers)) = main_ports else { return };
        if from.port() != peers {
            found.peer_port_moved = Some((peers, from.port()));
        }
        // Only an ack says where this very pair was seen from.
        let observed = probe.observed.filter(|observed| probe.kind == Kind::Ack && observed.port() != own);
        if let Some(observed) = observed {
            found.own_port_moved = Some((own, observed.port()));
        }
    }

    pub(super) fn handle_icmp(
        &mut self,
        icmp: &Icmp<'_>,
        is_ours: bool,
        main: Option<SocketAddr>,
        now: Instant,
    ) {
        let from_peer = main.is_some_and(|main| main.ip() == icmp.offender);
        match icmp.kind {
            IcmpKind::TtlExceeded => {}
            IcmpKind::PortUnreachable | IcmpKind::Prohibited if from_peer => {
                // Other ports may be refused by the peer's machine, which has closed them and whose NAT still knows them.
                if is_ours && main == Some(icmp.pair.remote) {
                    self.refused_at = Some(now);
                }
            }
            IcmpKind::PortUnreachable => {}
            IcmpKind::Prohibited => self.prohibited = Some((icmp.offender, now)),
            IcmpKind::Unreachable => self.unreachable = Some((icmp.offender, now)),
        }
    }

    /// Stops to look for a reason why there is no path: it is known.
    pub(super) fn be_content(&mut self) {
        self.is_content = true;
    }

    /// Records that the peer's port, on this very machine, is closed.
    pub(super) fn handle_closed(&mut self, now: Instant) {
        let since = self.closed.filter(|(_, last)| now < *last + CLOSED_LIFE).map(|(first, _)| first);
        self.closed = Some((since.unwrap_or(now), now));
    }

    /// Forgets that the peer's port is closed: we have moved, and the machine is not this one any more.
    pub(super) fn forget_closed(&mut self) {
        self.closed = None;
    }

    /// Whether the peer's router, or its machine, answers for itself.
    pub(super) fn is_answering(&self, now: Instant) -> bool {
        self.refused_at.is_some_and(|at| now < at + REFUSAL_LIFE)
    }

    /// Records that the system did not let us send.
    pub(super) fn handle_send_refused(&mut self, now: Instant) {
        self.send_refused_at = Some(now);
    }

    /// Records a probe-like datagram from the peer's IP that did not open.
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

    /// Records a probe from the peer's IP that the other verb has sealed a moment ago.
    pub(super) fn handle_other_verb(&mut self, from: SocketAddr, checks: bool) -> Option<Trouble> {
        if self.heard_at.is_some() {
            return None;
        }
        self.tell(Trouble::OtherVerb { from, checks })
    }

    /// Records a heartbeat of the old script; true for the first one, unless the peer itself was heard.
    pub(super) fn finds_old_script(&mut self) -> bool {
        self.heard_at.is_none() && !std::mem::replace(&mut self.is_old_script_told, true)
    }

    /// Whether it is time to look why there is no path.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        now >= self.look_at
    }

    /// Returns the reason why there is no path, if it is another than those told before. Two sides in one role, or our own
    /// echo, say more than any of them. What does not open, and what another verb has sealed, hides none: it may be forged, or
    /// handed on.
    pub(super) fn find_cause(&mut self, found: SearchReport, now: Instant) -> Option<Trouble> {
        self.look_at = now + LOOK;
        let nowhere = SocketAddr::from(([0; 4], 0));
        let hiding = [Trouble::OwnEcho { from: nowhere }, Trouble::SameRole { role: Role::Serve }];
        let hides =
            |told: &Discriminant<Trouble>| hiding.iter().any(|trouble| discriminant(trouble) == *told);
        let cause = discriminant(&found.cause());
        let is_known = self.is_content || self.is_gone_told && found.cause() == NoPathCause::Refused;
        let is_new = !is_known && !self.told_causes.contains(&cause) && !self.told.iter().any(hides);
        if is_new {
            self.told_causes.push(cause);
        }
        is_new.then_some(Trouble::NoPath(found))
    }

    /// Returns the trouble if it has not been told in this search.
    pub(super) fn tell(&mut self, trouble: Trouble) -> Option<Trouble> {
        let kind = discriminant(&trouble);
        if self.told.contains(&kind) {
            return None;
        }
        self.told.push(kind);
        Some(trouble)
    }

    /// Returns when to look next why there is no path.
    pub(super) fn look_at(&self) -> Instant {
        self.look_at
    }

    /// Returns how long the punch took: since our start, or since the peer was first heard where we had waited for
    /// that.
    pub(super) fn took(&self, now: Instant) -> Duration {
        let waited = self.heard_at.filter(|heard| *heard > self.since + Duration::from_secs(2));
        now.saturating_duration_since(waited.unwrap_or(self.since))
    }
}
