//! One set of mappings of a birthday, and the rounds over it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Routers, allocation::Half, waiting::Left};
use crate::puncher::{
    Pair, SocketId,
    budget::Purpose,
    context::SearchContext,
    transmits::{OutgoingProbe, TransmitQueue},
};

/// First rounds in which a side does what has met the peer the last time, and that alone: it is twice as fast.
const HALF_ROUNDS: usize = 4;

/// First round in which further sockets, as many as find room, send to the peer's reserve port where the own fan has
/// met the peer before: the first ones have missed, or the peer cannot sweep much.
const MORE_FROM_ROUND: usize = 1;

/// Divisor of the swept ports. Should both routers answer for themselves, nothing would ever pass: one swept port in
/// this many is probed to arrive. Not more: a router that takes strangers' packets for its own remembers them, and
/// gives those ports to nobody.
const VENTURE_SHARE: u64 = 2;

/// First round in which they are: most of those who can meet otherwise have met by then.
const VENTURES_FROM: usize = 2;

/// Seconds for which the same ones are, and then others: by that time the router has forgotten the former ones (Linux
/// after 30 s), to which the fan of a peer that came meanwhile can have none.
const VENTURE_TURN: u64 = 40;

/// First seconds of [`VENTURE_TURN`]: rounds that begin in them probe these ports to arrive.
const VENTURE: u64 = 15;

/// Time for which an attempt's sockets stay open after its last round: the peer's sweep may still meet them. Linux
/// forgets their mappings by then.
const LINGER: Duration = Duration::from_secs(30);

/// Time between two groups of probes: a timer for each probe would cost more than it is worth.
const GROUP: Duration = Duration::from_millis(8);

/// A socket of the fan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fanned {
    /// Will be opened on this port when its first turn comes.
    Closed(u16),
    Open(SocketId),
    /// Another program has the port, or there are no descriptors left.
    Failed,
}

impl Fanned {
    /// Returns the socket; opens it at its first turn, if its mapping has room.
    fn socket(
        &mut self,
        remote: SocketAddr,
        now: Instant,
        transmits: &mut TransmitQueue,
    ) -> Option<SocketId> {
        match *self {
            Self::Open(socket) => Some(socket),
            Self::Failed => None,
            Self::Closed(port) => {
                let socket = transmits.has_room(port, remote, now).then(|| transmits.open(port))?;
                *self = Self::Open(socket);
                Some(socket)
            }
        }
    }
}

/// The sockets to sweep from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::puncher) struct Sweepers {
    pub(in crate::puncher) first: SocketId,
    /// The other one of the main and the reserve socket.
    pub(in crate::puncher) other: Option<SocketId>,
}

impl Default for Sweepers {
    fn default() -> Self {
        Self { first: SocketId::MAIN, other: None }
    }
}

impl Sweepers {
    pub(super) fn has(self, socket: SocketId) -> bool {
        self.first == socket || self.other == Some(socket)
    }
}

/// One set of mappings and the rounds over it.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) epoch: u64,
    /// What is enough for the first rounds, as far as the two NATs are what they were.
    pub(super) half: Option<Half>,
    /// Ports of the peer that the fan sends to: one, or two.
    pub(super) targets: Vec<SocketAddr>,
    pub(super) fan: Vec<Fanned>,
    /// Sockets of the fan that send to all targets, from the first round on; the others send to the last target, later.
    pub(super) first: usize,
    /// Most mappings of those.
    pub(super) fanned: usize,
    pub(super) sweepers: Sweepers,
    pub(super) sweep: Vec<u16>,
    /// Ports of these that are swept from the other sweeper as well, later.
    pub(super) swept_twice: usize,
    pub(super) began: Instant,
    pub(super) rounds: &'static [Duration],
    pub(super) round: usize,
    /// Turns of this round so far.
    pub(super) cursor: usize,
    pub(super) next_at: Option<Instant>,
}

impl Attempt {
    /// Returns the address of the peer that this is for.
    pub(super) fn target(&self) -> SocketAddr {
        self.targets[0]
    }

    pub(super) fn handle_timeout(
        &mut self,
        context: &SearchContext<'_>,
        routers: Routers,
        transmits: &mut TransmitQueue,
    ) {
        let now = context.now.instant;
        if self.next_at.is_none_or(|at| now < at) {
            return;
        }
        if self.round == self.rounds.len() {
            self.next_at = None;
            return self.close(transmits);
        }
        while self.cursor < self.probes().iter().sum() {
            let ready_at = transmits.ready_at(now).max(self.due_at().unwrap_or(now));
            if now < ready_at {
                return self.next_at = Some(ready_at + GROUP);
            }
            if let Some(probe) = self.next_probe(routers, now, transmits)
                && transmits.send(&probe, Purpose::Search, context.now).is_some()
            {
                transmits.dealt = Some((self.epoch, now));
            }
            self.cursor += 1;
        }
        tracing::debug!(round = self.round, probes = ?self.probes(), ?routers, unsent = transmits.unsent(), "birthday");
        self.cursor = 0;
        self.round += 1;
        let next = self.rounds.get(self.round).map(|after| now.max(self.began + *after));
        self.next_at = Some(next.unwrap_or(now + LINGER));
    }

    /// When the next turn is due if this round is spread over the time until the next one.
    fn due_at(&self) -> Option<Instant> {
        let (begins, ends) = (*self.rounds.get(self.round)?, *self.rounds.get(self.round + 1)?);
        let turns = u32::try_from(self.probes().iter().sum::<usize>()).ok().filter(|turns| *turns > 0)?;
        let turn = u32::try_from(self.cursor).ok()?;
        Some(self.began + begins + (ends - begins) / turns * turn)
    }

    /// Probes of this round: of the fan, and of the sweep.
    fn probes(&self) -> [usize; 2] {
        let more = if self.round < MORE_FROM_ROUND { 0 } else { self.fan.len() - self.first };
        let is_late = self.round >= MORE_FROM_ROUND && self.sweepers.other.is_some();
        let twice = if is_late { self.swept_twice } else { 0 };
        let (fan, sweep) = (self.fanned + more, self.sweep.len() + twice);
        match self.half.filter(|_| self.round < HALF_ROUNDS) {
            Some(Half::Fan) => [fan, 0],
            Some(Half::Sweep) => [0, sweep],
            None => [fan, sweep],
        }
    }

    /// Returns the probe whose turn it is. Fan and sweep take turns: a line on which the carrier allows few mappings
    /// gives some of them to both.
    fn next_probe(
        &mut self,
        routers: Routers,
        now: Instant,
        transmits: &mut TransmitQueue,
    ) -> Option<OutgoingProbe> {
        let [fanned, swept] = self.probes();
        let both = fanned.min(swept);
        let (fans, index) = match self.cursor {
            turn if turn < 2 * both => (turn.is_multiple_of(2), turn / 2),
            turn => (fanned > both, turn - both),
        };
        if fans {
            let (index, remote) = self.fan_turn(index);
            let arrives = self.may_arrive(routers, index);
            if !arrives && routers.low_ttl.is_none() {
                return None; // whatever opens our NAT reaches theirs: the other side's sweep must come first
            }
            let pair = Pair { socket: self.fan[index].socket(remote, now, transmits)?, remote };
            let token = transmits.token(pair, now);
            return Some(OutgoingProbe {
                ttl: routers.low_ttl.filter(|_| !arrives),
                ..OutgoingProbe::new(pair, token)
            });
        }
        if routers.is_answering && routers.low_ttl.is_none() && index > self.sweep.len() / 2 {
            return None; // as many as the other router may remember beside its own
        }
        let (socket, port) = match self.sweep.get(index) {
            Some(port) => (self.sweepers.first, port),
            None => (self.sweepers.other?, self.sweep.get(index - self.sweep.len())?),
        };
        let remote = SocketAddr::new(self.targets[0].ip(), *port);
        let ttl = routers.low_ttl.filter(|_| routers.is_answering && !self.ventures(index));
        let pair = Pair { socket, remote };
        Some(OutgoingProbe { ttl, ..OutgoingProbe::new(pair, transmits.token(pair, now)) })
    }

    /// Returns the socket of a turn of the fan, and where it sends. All to the main port come first: a full table has room
    /// for them.
    fn fan_turn(&self, turn: usize) -> (usize, SocketAddr) {
        let last = self.targets.len() - 1;
        let target = (turn / self.first).min(last);
        (turn - target * self.first, self.targets[target])
    }

    pub(super) fn close(&mut self, transmits: &mut TransmitQueue) {
        self.take_open().into_iter().for_each(|socket| transmits.close(socket));
    }

    /// Hands over what is open and was swept, for a side that waits from now on.
    pub(super) fn leave(mut self) -> Left {
        let swept = if self.round == 0 { self.cursor } else { self.sweep.len() };
        self.sweep.truncate(swept);
        Left {
            target: self.target(),
            sockets: self.take_open(),
            sweeper: self.sweepers.first,
            ports: self.sweep,
        }
    }

    fn take_open(&mut self) -> Vec<SocketId> {
        let open = |fanned| if let Fanned::Open(socket) = fanned { Some(socket) } else { None };
        std::mem::take(&mut self.fan).into_iter().filter_map(open).collect()
    }

    /// Whether a packet of the fan may reach the other router. Half of the first round must not even where that is
    /// silent: its answer may have been lost.
    fn may_arrive(&self, routers: Routers, index: usize) -> bool {
        match (routers.is_answering, routers.low_ttl) {
            (_, None) => self.round > 0,
            (true, Some(_)) => false,
            (false, Some(_)) => self.round > 0 || index.is_multiple_of(2),
        }
    }

    /// Whether a probe of the sweep is to arrive though the other router answers for itself.
    fn ventures(&self, index: usize) -> bool {
        let begins = self.rounds.get(self.round).map_or(0, Duration::as_secs);
        self.round >= VENTURES_FROM && is_venture_turn(index as u64, begins)
    }

    pub(super) fn handle_open_failed(&mut self, socket: SocketId) {
        for fanned in &mut self.fan {
            if *fanned == Fanned::Open(socket) {
                *fanned = Fanned::Failed;
            }
        }
    }
}

/// Whether the ports of that number are among those that are probed to arrive in this second.
pub(super) fn is_venture_turn(number: u64, second: u64) -> bool {
    let is_in_turn = number % VENTURE_SHARE == second / VENTURE_TURN % VENTURE_SHARE;
    is_in_turn && second % VENTURE_TURN < VENTURE
}
