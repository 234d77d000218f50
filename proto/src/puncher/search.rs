//! One search: everything that is tried at the same time until a pair is nominated.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Findings, Icmp, Memory, Method, Pair, SocketId, Trouble,
    bearings::Ground,
    birthday::{Birthday, HEAD_START, Ways},
    evidence::Evidence,
    helper::Helper,
    outbox::Outbox,
    schedule::slot_at,
    scout::Scout,
    slots::Slots,
};

/// For this long a search uses every slot and sweeps again and again; after that it is patient.
pub(super) const EAGER: Duration = Duration::from_secs(60);

/// After so many passes a sweep that has met nothing says something: the other side has had the time to start, too.
const THOROUGH: usize = 5;

/// What passes a router that is one hop away.
const LEAST_TTL: u8 = 2;

#[derive(Debug)]
pub(super) struct Search {
    pub(super) evidence: Evidence,
    eager_until: Instant,
    scout: Scout,
    helper: Helper,
    slots: Slots,
    birthday: Birthday,
}

impl Search {
    /// Begins a search, an eager one if the ground says so.
    pub(super) fn new(ground: &Ground<'_>, memory: Option<Memory>) -> Self {
        let now = ground.now.instant;
        Self {
            evidence: Evidence::new(now),
            eager_until: if ground.is_eager { now + EAGER } else { now },
            scout: Scout::new(ground.target(0), ground.local, now),
            helper: Helper::new(now),
            slots: Slots::new(now + HEAD_START),
            birthday: Birthday::new(ground, memory),
        }
    }

    pub(super) fn is_eager(&self, now: Instant) -> bool {
        now < self.eager_until
    }

    pub(super) fn handle_timeout(&mut self, ground: &Ground<'_>, outbox: &mut Outbox) {
        self.scout.handle_timeout(outbox, ground.now);
        let low_ttl = self.scout.low_ttl(slot_at(ground.unix) / 2);
        self.helper.handle_timeout(ground, low_ttl.unwrap_or(LEAST_TTL), outbox);
        self.slots.handle_timeout(ground, low_ttl, outbox);
        let ways = Ways { low_ttl, is_answering: self.evidence.is_answering(ground.now.instant) };
        self.birthday.handle_timeout(ground, ways, outbox);
    }

    /// Takes note of what the network says; `is_ours` if it quotes what we have sent a moment ago.
    pub(super) fn handle_icmp(
        &mut self,
        icmp: &Icmp<'_>,
        is_ours: bool,
        main: Option<SocketAddr>,
        now: Instant,
    ) {
        self.scout.handle_icmp(icmp);
        self.evidence.handle_icmp(icmp, is_ours, main, now);
    }

    /// Takes note of a sealed word of the peer; true for the first one.
    pub(super) fn handle_heard(&mut self, pair: Pair, expected: bool, now: Instant) -> bool {
        if !expected {
            self.birthday.aim(pair.remote.port());
        }
        let first = self.evidence.handle_heard(now);
        if first {
            self.birthday.hold(now);
        }
        first
    }

    pub(super) fn handle_open_failed(&mut self, socket: SocketId) {
        self.slots.handle_open_failed(socket);
        self.birthday.handle_open_failed(socket);
    }

    pub(super) fn findings(&self, now: Instant) -> Findings {
        let ends_at = self.scout.ends_at();
        let has_swept = self.birthday.passes() >= THOROUGH;
        Findings { ends_at, has_swept, ..self.evidence.findings(now) }
    }

    /// Returns why there is no path if that is worth a word now, and was not said before.
    pub(super) fn diagnose(&mut self, now: Instant) -> Option<Trouble> {
        self.evidence
            .is_stuck(now)
            .then(|| self.findings(now))
            .and_then(|found| self.evidence.diagnose(found, now))
    }

    pub(super) fn method(&self, pair: Pair) -> Method {
        if self.slots.has(pair.socket) {
            return Method::Slot;
        }
        self.birthday.method(pair).unwrap_or(Method::Base)
    }

    pub(super) fn deadline(&self) -> Instant {
        let scout = self.scout.deadline();
        let others = self.slots.deadline().min(self.birthday.deadline()).min(self.helper.deadline());
        scout.into_iter().fold(others.min(self.evidence.look_at()), Instant::min)
    }
}
