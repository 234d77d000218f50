//! The context of a search: addresses, clocks and ports, which the puncher and its methods read alike.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{Schedule, SearchReport, budget::MAPPING_LIFE, candidates::Candidates};
use crate::{Now, Role, nat::NotPublic};

/// Time for which the peer's clock is taken to be as it was seen: one of the two may be set right.
const CLOCK_LIFE: Duration = Duration::from_secs(600);

/// Clocks further apart than this are not met halfway, ms: slots are not the way then.
const MAX_AHEAD_MS: i64 = 60_000;

/// What is known of both sides' addresses, ports and clocks.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) role: Role,
    /// The main socket's port.
    pub(super) port: u16,
    schedule: Schedule,
    pub(super) candidates: Candidates,
    /// The own address toward the peer, as the system knows it at the moment.
    pub(super) local: Option<IpAddr>,
    /// The address of the peer toward which an own one was last known, and that one.
    known: Option<(IpAddr, IpAddr)>,
    /// The peer's wall clock minus ours, ms, where an ack has told, and when.
    ahead_ms: Option<(i64, Instant)>,
    /// The reserve ports since the last path.
    reserve: Option<ReservePorts>,
    /// Whether our main socket had another port outside on the last path.
    is_translated: bool,
    /// Our main port was seen to be another one outside, or to belong to another address, then.
    moved_at: Option<Instant>,
    /// Our own address, inside or outside, has changed since the last path: the peer may know us by the former one.
    pub(super) own_changed: bool,
    /// An address of the peer that no machine on the internet has, and to which no network of this machine leads.
    pub(super) not_public: Option<(IpAddr, NotPublic)>,
}

/// The ports that both sides have beside the main ones once they have had a path: ours and the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReservePorts {
    pub(super) own: u16,
    pub(super) peers: u16,
}

impl Context {
    pub(super) fn new(role: Role, port: u16, schedule: Schedule) -> Self {
        let (candidates, local, known, ahead_ms, reserve, is_translated, moved_at) = Default::default();
        let (own_changed, not_public) = Default::default();
        Self {
            role,
            port,
            schedule,
            candidates,
            local,
            known,
            ahead_ms,
            reserve,
            is_translated,
            moved_at,
            own_changed,
            not_public,
        }
    }

    /// Records the own address toward that address of the peer; `None` without a network. Returns whether it is
    /// another one than was last known, however long ago that was.
    pub(super) fn set_local(&mut self, toward: Option<IpAddr>, local: Option<IpAddr>) -> bool {
        self.local = local;
        let Some(now) = toward.zip(local) else { return false };
        let has_moved = self.known.replace(now).is_some_and(|before| before.0 == now.0 && before.1 != now.1);
        self.own_changed |= has_moved;
        has_moved
    }

    /// Records a path that those searches of both sides have found, and of the port outside that our main socket
    /// has on it.
    pub(super) fn note_path(&mut self, own_epoch: u32, peers_epoch: u32, main_outside: Option<u16>) {
        self.own_changed = false;
        self.is_translated = main_outside.is_some_and(|port| port != self.port);
        let peers_port = self.candidates.main_port().unwrap_or(self.port);
        let (own, peers) =
            self.schedule.reserve(self.role, (own_epoch, self.port), (peers_epoch, peers_port));
        self.reserve = Some(ReservePorts { own, peers });
    }

    /// Records that a path is lost, and whether because the main port is not what it was: our NAT may keep it for an
    /// address that we had, for as long as we send from it without a pause.
    pub(super) fn note_loss(&mut self, has_moved: bool, now: Instant) {
        self.own_changed |= has_moved;
        let before = self.moved_at.filter(|at| now < *at + MAPPING_LIFE);
        self.moved_at = if has_moved { Some(now) } else { before };
    }

    /// Records the peer's wall clock, as an ack of that round trip shows it.
    pub(super) fn note_clock(&mut self, peers_unix_ms: u64, rtt: Duration, now: Now) {
        let sealed = i128::from(peers_unix_ms) + i128::try_from(rtt.as_millis() / 2).unwrap_or(0);
        let ahead_ms = i64::try_from(sealed - i128::from(now.unix_ms())).ok();
        self.ahead_ms = ahead_ms.map(|ms| (ms, now.instant));
    }

    /// Whether our main port may not be what it was.
    pub(super) fn has_moved(&self) -> bool {
        self.moved_at.is_some()
    }

    /// Adds to what a search has found out what is known of both sides' addresses.
    pub(super) fn complete(&self, found: SearchReport) -> SearchReport {
        SearchReport { not_public: self.not_public, own_changed: self.own_changed, ..found }
    }

    /// Returns what the methods of a search read now.
    pub(super) fn for_search(&self, is_eager: bool, now: Now) -> SearchContext<'_> {
        SearchContext {
            role: self.role,
            port: self.port,
            schedule: &self.schedule,
            candidates: &self.candidates,
            awaits_name: self.candidates.awaits_name(now.instant),
            local: self.local,
            now,
            unix: self.halfway(now),
            is_eager,
            reserve: self.reserve,
            is_translated: self.is_translated,
            has_moved: self.has_moved(),
            is_not_public: self.not_public.is_some(),
        }
    }

    /// Our wall clock, moved halfway to the peer's: if the peer does so as well, the two agree.
    fn halfway(&self, now: Now) -> Duration {
        let known = self.ahead_ms.filter(|(_, at)| now.instant < *at + CLOCK_LIFE).map_or(0, |(ms, _)| ms);
        let half = known.clamp(-MAX_AHEAD_MS, MAX_AHEAD_MS) / 2;
        Duration::from_millis(now.unix_ms().saturating_add_signed(half))
    }
}

/// The context of a search at one moment, as its methods read it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SearchContext<'a> {
    pub(super) role: Role,
    /// Our main port.
    pub(super) port: u16,
    pub(super) schedule: &'a Schedule,
    pub(super) candidates: &'a Candidates,
    /// Another address of the peer may soon be known.
    pub(super) awaits_name: bool,
    /// The own address toward the peer, as the system knows it.
    pub(super) local: Option<IpAddr>,
    pub(super) now: Now,
    /// The wall clock, halfway to the peer's where that is known.
    pub(super) unix: Duration,
    pub(super) is_eager: bool,
    pub(super) reserve: Option<ReservePorts>,
    /// Our main socket had another port outside on the last path.
    pub(super) is_translated: bool,
    /// Our NAT may keep our main port for an address that we had.
    pub(super) has_moved: bool,
    /// An address of the peer is none that a machine elsewhere can have.
    pub(super) is_not_public: bool,
}

impl SearchContext<'_> {
    /// Returns the peer's address whose turn it is.
    pub(super) fn target(&self, turn: u64) -> Option<SocketAddr> {
        self.candidates.turn(turn)
    }
}
