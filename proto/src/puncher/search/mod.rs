//! A search: everything that is tried at the same time until a pair is nominated.

pub(in crate::puncher) mod birthday;
mod hops;
mod reserve;
pub(in crate::puncher) mod schedule;
mod slots;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use self::{
    birthday::{ATTEMPTS, Birthday, HEAD_START, Routers, Sweepers},
    hops::HopDiscovery,
    reserve::Reserve,
    schedule::slot_at,
    slots::Slots,
};
use crate::puncher::{
    Icmp, LastSuccess, Limits, Method, Pair, SearchReport, SocketId, Trouble,
    context::{Context, SearchContext},
    observations::Observations,
    transmits::TransmitQueue,
};

/// Time for which a search is eager: it uses every slot and sweeps again and again. After that it goes on in the
/// background.
pub(in crate::puncher) const EAGER: Duration = Duration::from_secs(60);

/// Rounds after which a sweep that has met nothing says something: the other side has had the time to start, too.
const THOROUGH: usize = 5;

/// The same where a tunnel waits for its path: routers take minutes to start anew.
const EAGER_RECONNECT: Duration = Duration::from_secs(300);

/// Time for which the main pairs are alone where a tunnel waits for its path: most likely they will do.
pub(in crate::puncher) const RECONNECT_START: Duration = Duration::from_millis(1500);

/// Time for which a refresh looks for a fresh path; after that any will do.
const REFRESH: Duration = Duration::from_secs(20);

/// Time after which slots and the reserve pair begin: a path that only seemed dead is back by then.
const RECONNECT_SLOTS: Duration = Duration::from_millis(200);

/// Most sockets that the methods of a search have open at a time: a fan's, and those of slots, one of which begins before
/// another one is closed.
pub(in crate::puncher) fn most_sockets(limits: Limits) -> usize {
    birthday::most_sockets(limits) + slots::KEPT + 1
}

/// The mode of a search: what it is for, and so how urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::puncher) enum SearchMode {
    /// A user waits: for a minute everything is tried.
    Initial,
    /// A tunnel waits for its path: what was in use is tried all the time, and everything for some minutes.
    Reconnect,
    /// The same, and the path in use still lives: it must be another one.
    Refresh,
    /// Nobody waits: everything at rare times, in the background.
    Background,
}

impl SearchMode {
    /// Whether a tunnel waits for the path that is searched.
    pub(in crate::puncher) fn keeps_tunnel(self) -> bool {
        matches!(self, Self::Reconnect | Self::Refresh)
    }
}

#[derive(Debug)]
pub(in crate::puncher) struct Search {
    pub(in crate::puncher) observations: Observations,
    mode: SearchMode,
    began: Instant,
    eager_until: Instant,
    hops: HopDiscovery,
    slots: Slots,
    reserve: Reserve,
    birthday: Birthday,
}

impl Search {
    /// Begins a search.
    pub(in crate::puncher) fn new(
        context: &SearchContext<'_>,
        last_success: Option<LastSuccess>,
        mode: SearchMode,
    ) -> Self {
        let now = context.now.instant;
        let eager_for = match mode {
            SearchMode::Initial => EAGER,
            SearchMode::Reconnect | SearchMode::Refresh => EAGER_RECONNECT,
            SearchMode::Background => Duration::ZERO,
        };
        let attempts_for = if mode == SearchMode::Initial { ATTEMPTS } else { eager_for };
        Self {
            observations: Observations::new(context.is_not_public && !mode.keeps_tunnel(), now),
            mode,
            began: now,
            eager_until: now + eager_for,
            hops: HopDiscovery::new(context.target(0), context.local, now),
            slots: Slots::new(mode, now + if mode.keeps_tunnel() { RECONNECT_SLOTS } else { HEAD_START }),
            reserve: Reserve::new(mode.keeps_tunnel().then_some(now + RECONNECT_SLOTS), now),
            birthday: Birthday::new(context, last_success, mode, now + attempts_for),
        }
    }

    pub(in crate::puncher) fn mode(&self) -> SearchMode {
        self.mode
    }

    /// Whether the pairs of the path in use must not be chosen again.
    pub(in crate::puncher) fn is_refresh(&self, now: Instant) -> bool {
        self.mode == SearchMode::Refresh && now < self.began + REFRESH
    }

    pub(in crate::puncher) fn is_eager(&self, now: Instant) -> bool {
        now < self.eager_until
    }

    pub(in crate::puncher) fn handle_timeout(
        &mut self,
        context: &SearchContext<'_>,
        transmits: &mut TransmitQueue,
    ) {
        self.hops.follow(context.candidates, context.now.instant);
        self.hops.handle_timeout(transmits, context.now);
        let low_ttl = self.hops.low_ttl(slot_at(context.unix) / 2);
        self.slots.handle_timeout(context, low_ttl, transmits);
        self.reserve.handle_timeout(context, transmits);
        let routers = Routers { low_ttl, is_answering: self.observations.is_answering(context.now.instant) };
        let sweepers = match self.reserve.socket() {
            Some(reserve) if context.has_moved => Sweepers { first: reserve, other: Some(SocketId::MAIN) },
            reserve => Sweepers { first: SocketId::MAIN, other: reserve },
        };
        self.birthday.handle_timeout(context, routers, sweepers, transmits);
    }

    /// Records that the network has changed: the way out may be another one.
    pub(in crate::puncher) fn handle_network_change(&mut self, local: Option<IpAddr>, now: Instant) {
        self.hops.hurry(local, now);
    }

    /// Records what the network says; `is_ours` if it quotes what we have sent a moment ago.
    pub(in crate::puncher) fn handle_icmp(
        &mut self,
        icmp: &Icmp<'_>,
        is_ours: bool,
        main: Option<SocketAddr>,
        now: Instant,
    ) {
        self.hops.handle_icmp(icmp);
        self.observations.handle_icmp(icmp, is_ours, main, now);
    }

    /// Records a sealed word of the peer; true for the first one.
    pub(in crate::puncher) fn handle_heard(&mut self, pair: Pair, expected: bool, now: Instant) -> bool {
        if !expected {
            self.birthday.aim(pair.remote.port());
        }
        let first = self.observations.handle_heard(now);
        if first {
            self.birthday.hold(now);
        }
        first
    }

    pub(in crate::puncher) fn handle_open_failed(&mut self, socket: SocketId) {
        self.slots.handle_open_failed(socket);
        self.reserve.handle_open_failed(socket);
        self.birthday.handle_open_failed(socket);
    }

    pub(in crate::puncher) fn search_report(&self, now: Instant) -> SearchReport {
        let ends_at = self.hops.ends_at();
        let has_swept = self.birthday.rounds(now) >= THOROUGH;
        let had_path = self.mode.keeps_tunnel();
        SearchReport { ends_at, has_swept, had_path, ..self.observations.search_report(now) }
    }

    /// Returns why there is no path if that is worth a word now, and was not said before.
    pub(in crate::puncher) fn find_cause(&mut self, context: &Context, now: Instant) -> Option<Trouble> {
        self.observations
            .is_stuck(now)
            .then(|| context.complete(self.search_report(now)))
            .and_then(|found| self.observations.find_cause(found, now))
    }

    pub(in crate::puncher) fn method(&self, pair: Pair) -> Method {
        if self.slots.has(pair.socket) {
            return Method::Slot;
        }
        let is_reserve = self.reserve.socket() == Some(pair.socket);
        let by_chance = self.birthday.method(pair);
        by_chance.unwrap_or(if is_reserve { Method::Reserve } else { Method::Base })
    }

    pub(in crate::puncher) fn deadline(&self) -> Instant {
        let hops = self.hops.deadline();
        let others = self.slots.deadline().min(self.birthday.deadline());
        hops.into_iter()
            .chain(self.observations.gone_at())
            .chain(self.reserve.deadline())
            .fold(others.min(self.observations.look_at()), Instant::min)
    }
}
