//! Waiting: pairs that a side keeps alive once its attempts have met nobody, so that a peer that starts later meets one of
//! them with its first rounds, whenever that is.
//!
//! The peer begins with its whole fan of 477 sockets and its whole sweep of 955 ports. How many of our own pairs are alive by
//! then decides how likely they meet: with `f` living sockets of a fan 1 − exp(−955 f / 64,512), with `h` ports that our NAT lets
//! in (from where we have swept) 1 − exp(−477 h / 64,512). Which of the two counts follows from the NATs, of which
//! nobody knows, so both are kept, in the proportion that makes them equal.
//!
//! - For the first minutes many pairs are kept, and each is sent over before Linux forgets it (30 s): 250 and 500 meet in 97 of
//!   100 cases in the peer's first round. Now and then one is replaced by another, which makes up for the rest.
//! - Later each is sent over once, and the rate decides: what is alive at the beginning, 30 s of it, and what follows. With
//!   1.5 sockets and 3 ports a second the two have met within 105 s in 95 of 100 cases
//!   (exp(−955 × 1.5 × 135 / 64,512) = 5 %), and in half of them by the first round.
//!
//! Two sides that both wait meet as well, at f × 3 / 64,512 a second and more.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    FIRST_PORT, PORTS, Routers, STEP, Sweepers, allocation::Half, attempt::is_venture_turn, epoch_at,
};
use crate::puncher::{
    Limits, Pair, SocketId,
    budget::Purpose,
    context::SearchContext,
    transmits::{OutgoingProbe, TransmitQueue},
};

/// Time for which many pairs are kept: who starts the second side of a pair mostly does so within it.
const DENSE_FOR: Duration = Duration::from_secs(480);

/// Sockets of a fan that are kept meanwhile.
const KEPT_FAN: usize = 250;

/// Ports that are kept open meanwhile.
const KEPT_SWEEP: usize = 500;

/// Time between two packets over a kept pair: Linux forgets one without an answer after 30 s.
const REFRESH: Duration = Duration::from_secs(25);

/// Time for which a pair is kept. With the 300 s for which its mapping counts after that, the budget has room for all.
const LIFE: Duration = Duration::from_secs(240);

/// Time after the last packet over a pair for which its socket stays open: the peer may still meet it.
const LINGER: Duration = Duration::from_secs(30);

/// Time between two new sockets of a fan later on.
const SPARSE_FAN: Duration = Duration::from_millis(660);

/// Time between two new ports later on.
const SPARSE_SWEEP: Duration = Duration::from_millis(330);

/// Time between two groups of packets while many pairs are kept: a few at a time.
const DENSE_TICK: Duration = Duration::from_millis(200);

/// The same later on: a machine that waits for hours should rest in between.
const SPARSE_TICK: Duration = Duration::from_secs(1);

/// The pairs that are kept.
#[derive(Debug)]
pub(super) struct Waiting {
    since: Instant,
    pairs: Vec<Kept>,
    /// When the next one of each half is made.
    fan_at: Instant,
    sweep_at: Instant,
    /// Ports to fan out from that are left of the deal.
    ports: Vec<u16>,
    /// Where in the sweep the next port is.
    start: u32,
    /// How many pairs there were, the next one's number.
    count: u64,
    next_at: Instant,
}

/// What an attempt has left, toward one address of the peer.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) target: SocketAddr,
    /// Those of the fan that are open.
    pub(super) sockets: Vec<SocketId>,
    /// From where these ports were swept.
    pub(super) sweeper: SocketId,
    pub(super) ports: Vec<u16>,
}

/// A pair that is kept.
#[derive(Debug)]
struct Kept {
    half: Half,
    pair: Pair,
    number: u64,
    sent_at: Instant,
    /// After this it is not sent over again.
    until: Instant,
}

impl Waiting {
    /// Begins to wait, and keeps what the last attempt has left: open sockets, and ports that were swept, toward that address.
    pub(super) fn new(
        context: &SearchContext<'_>,
        left: Option<Left>,
        transmits: &mut TransmitQueue,
    ) -> Self {
        let now = context.now.instant;
        let mut waiting = Self {
            since: now,
            pairs: Vec::new(),
            fan_at: now,
            sweep_at: now,
            ports: Vec::new(), // dealt when there is room: mostly in another epoch
            start: context.schedule.deal(epoch_at(context.unix), context.role, context.port).start % PORTS,
            count: 0,
            next_at: now,
        };
        if let Some(left) = left {
            waiting.adopt(left, now, transmits);
        }
        waiting
    }

    fn adopt(&mut self, left: Left, now: Instant, transmits: &mut TransmitQueue) {
        let Left { target, sockets, sweeper, ports } = left;
        let [fan, sweep] = [Half::Fan, Half::Sweep].map(|half| kept(half, transmits.limits()));
        self.start = (self.start + u32::try_from(ports.len()).unwrap_or(0) % PORTS * STEP % PORTS) % PORTS;
        let fanned =
            sockets.iter().take(fan).map(|socket| (Half::Fan, Pair { socket: *socket, remote: target }));
        let swept = ports
            .iter()
            .take(sweep)
            .map(|port| (Half::Sweep, Pair { socket: sweeper, remote: SocketAddr::new(target.ip(), *port) }));
        let all = u32::try_from(fan + sweep).unwrap_or(1).max(1);
        for (half, pair) in fanned.chain(swept) {
            // Spread over the time of one refresh, and their ends over the time of one life: by then what else attempts
            // have made is forgotten, and there is room for others.
            let part = |time: Duration| time / all * u32::try_from(self.count).unwrap_or(0);
            let sent_at = now.checked_sub(REFRESH).unwrap_or(now) + part(REFRESH * 2 / 3);
            let until = now + LIFE * 3 / 2 + part(LIFE);
            self.pairs.push(Kept { half, pair, number: self.count, sent_at, until });
            self.count += 1;
        }
        sockets.into_iter().skip(fan).for_each(|socket| transmits.close(socket));
    }

    /// Does what is due.
    pub(super) fn handle_timeout(
        &mut self,
        context: &SearchContext<'_>,
        routers: Routers,
        sweepers: Sweepers,
        transmits: &mut TransmitQueue,
    ) {
        let now = context.now.instant;
        if now < self.next_at {
            return;
        }
        let is_dense = now < self.since + DENSE_FOR;
        self.next_at = now + if is_dense { DENSE_TICK } else { SPARSE_TICK };
        if is_dense {
            self.refresh(context, routers, transmits);
        }
        self.retain(transmits, |kept| now < kept.sent_at + LINGER);
        for half in [Half::Fan, Half::Sweep] {
            let (gap, most) = pace(half, is_dense, transmits.limits());
            let at = if half == Half::Fan { &mut self.fan_at } else { &mut self.sweep_at };
            for _ in 0..due(at, gap, now) {
                let has_room = self.pairs.iter().filter(|kept| kept.half == half).count() < most;
                match half {
                    Half::Fan if has_room => self.add_fanned(context, routers, transmits),
                    Half::Sweep if has_room => self.add_swept(context, routers, sweepers, transmits),
                    Half::Fan | Half::Sweep => {}
                }
            }
        }
    }

    /// Sends over what would be forgotten.
    fn refresh(&mut self, context: &SearchContext<'_>, routers: Routers, transmits: &mut TransmitQueue) {
        let now = context.now.instant;
        for kept in &mut self.pairs {
            let is_due = now < kept.until && now >= kept.sent_at + REFRESH;
            if is_due && kept.send(context, routers, transmits) {
                kept.sent_at = now;
            }
        }
    }

    /// Lets go of all pairs but those.
    fn retain(&mut self, transmits: &mut TransmitQueue, stays: impl Fn(&Kept) -> bool) {
        self.pairs.retain(|kept| {
            let stays = stays(kept);
            if !stays && kept.half == Half::Fan {
                transmits.close(kept.pair.socket);
            }
            stays
        });
    }

    fn add_fanned(&mut self, context: &SearchContext<'_>, routers: Routers, transmits: &mut TransmitQueue) {
        let now = context.now.instant;
        let Some(remote) = context.target(self.count) else { return };
        let Some(port) = self.next_port(context) else { return };
        if transmits.has_room(port, remote, now) {
            let socket = transmits.open(port);
            self.add(Half::Fan, Pair { socket, remote }, context, routers, transmits);
        }
    }

    fn add_swept(
        &mut self,
        context: &SearchContext<'_>,
        routers: Routers,
        sweepers: Sweepers,
        transmits: &mut TransmitQueue,
    ) {
        let Some(target) = context.target(self.count) else { return };
        self.start = (self.start + STEP) % PORTS;
        let Ok(port) = u16::try_from(FIRST_PORT + self.start) else { return };
        if port != target.port() {
            let remote = SocketAddr::new(target.ip(), port);
            self.add(Half::Sweep, Pair { socket: sweepers.first, remote }, context, routers, transmits);
        }
    }

    fn add(
        &mut self,
        half: Half,
        pair: Pair,
        context: &SearchContext<'_>,
        routers: Routers,
        transmits: &mut TransmitQueue,
    ) {
        let now = context.now.instant;
        let kept = Kept { half, pair, number: self.count, sent_at: now, until: now + LIFE };
        self.count += 1;
        if kept.send(context, routers, transmits) {
            self.pairs.push(kept);
        } else if half == Half::Fan {
            transmits.close(pair.socket);
        }
    }

    /// Returns the next port to fan out from.
    fn next_port(&mut self, context: &SearchContext<'_>) -> Option<u16> {
        if self.ports.is_empty() {
            let epoch = epoch_at(context.unix);
            self.ports = context.schedule.deal(epoch, context.role, context.port).fan;
        }
        self.ports.pop()
    }

    /// Lets go of what goes to an address that is none of the peer's any more.
    pub(super) fn follow(&mut self, known: &[SocketAddr], transmits: &mut TransmitQueue) {
        self.retain(transmits, |kept| known.iter().any(|address| address.ip() == kept.pair.remote.ip()));
    }

    pub(super) fn handle_open_failed(&mut self, socket: SocketId) {
        self.pairs.retain(|kept| kept.half == Half::Sweep || kept.pair.socket != socket);
    }

    /// Returns which half a pair of ours is of.
    pub(super) fn half(&self, pair: Pair) -> Option<Half> {
        let is_it = |kept: &&Kept| match kept.half {
            Half::Fan => kept.pair.socket == pair.socket,
            Half::Sweep => kept.pair == pair,
        };
        self.pairs.iter().find(is_it).map(|kept| kept.half)
    }

    /// Rounds over all that is kept that would have been made by now.
    pub(super) fn rounds(&self, now: Instant) -> usize {
        usize::try_from(now.saturating_duration_since(self.since).as_secs() / LIFE.as_secs()).unwrap_or(0)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.next_at
    }
}

impl Kept {
    /// Returns whether it has left. Where the other router answers for itself, some of the sweep are to arrive all the same: should
    /// ours do so as well, nothing would ever pass otherwise.
    fn send(&self, context: &SearchContext<'_>, routers: Routers, transmits: &mut TransmitQueue) -> bool {
        let may_arrive = !routers.is_answering
            || self.half == Half::Sweep && is_venture_turn(self.number, context.unix.as_secs());
        if !may_arrive && routers.low_ttl.is_none() {
            return false; // whatever opens our NAT reaches theirs, which might remember it
        }
        let token = transmits.token(self.pair, context.now.instant);
        let ttl = routers.low_ttl.filter(|_| !may_arrive);
        let probe = OutgoingProbe { ttl, ..OutgoingProbe::new(self.pair, token) };
        transmits.send(&probe, Purpose::Search, context.now).is_some()
    }
}

/// Returns how many are due by now, and records when the next one is. What a machine has slept through is not made up for.
fn due(next_at: &mut Instant, gap: Duration, now: Instant) -> usize {
    *next_at = (*next_at).max(now.checked_sub(SPARSE_TICK * 2).unwrap_or(now));
    let mut due = 0;
    while *next_at <= now {
        *next_at += gap;
        due += 1;
    }
    due
}

/// Returns the time between two new pairs of a half, and how many there may be.
fn pace(half: Half, is_dense: bool, limits: Limits) -> (Duration, usize) {
    let narrow = |count: usize| u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    if is_dense {
        let most = kept(half, limits);
        return (LIFE / narrow(most), most);
    }
    let gap = if half == Half::Fan { SPARSE_FAN } else { SPARSE_SWEEP };
    (gap * narrow(Limits::DEFAULT.search()) / narrow(limits.search()), usize::MAX)
}

/// How many pairs of a half are kept within these bounds.
fn kept(half: Half, limits: Limits) -> usize {
    let usual = if half == Half::Fan { KEPT_FAN } else { KEPT_SWEEP };
    usual * limits.search() / Limits::DEFAULT.search()
}
