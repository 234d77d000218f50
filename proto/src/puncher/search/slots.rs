//! Fresh pairs of ports, one for each stretch of UTC.
//!
//! A router that answers for itself remembers the peer's early packet and gives our own one another port: the pair is
//! spoilt, and the peer's retries keep it so. A pair that nobody has used yet is not. In each slot both sides open the
//! port that the [`Schedule`] names; both open their NAT with openers whose TTL ends before the other's router; then
//! one side speaks and the other only answers. Where the speaker's clock is so far ahead that it speaks before the
//! other's openers are out, the next slot puts it right: there the other one speaks.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::puncher::{
    Pair, SocketId,
    budget::Purpose,
    context::SearchContext,
    search::SearchMode,
    search::schedule::{slot_at, speaker, to_next_slot},
    transmits::{OutgoingProbe, TransmitQueue},
};

/// The plan of a slot: when things happen in it, counted from its beginning.
#[derive(Debug)]
struct Plan {
    /// When openers leave: more than one, should the local network lose some.
    openers: &'static [Duration],
    /// When the speaker speaks.
    words: &'static [Duration],
    /// When the side that answers opens its NAT where its openers would reach the other router: after the speaker's
    /// first words have opened that one. Two routers that answer for themselves stay apart then.
    late_openers: &'static [Duration],
}

/// The usual plan: words come after clocks have been allowed to be a second apart.
const USUAL: Plan = Plan {
    openers: &ms([0, 300, 700]),
    words: &ms([1000, 1300, 1700, 2200, 2800]),
    late_openers: &ms([1500, 2100]),
};

/// The plan where a tunnel waits for its path: the clocks are known from it. Words come often: the side that has not
/// noticed the loss yet may enter the slot at any time.
const RECONNECT_PLAN: Plan = Plan {
    openers: &ms([0, 250]),
    words: &ms([400, 600, 800, 1000, 1300, 1600, 1900, 2200, 2500, 2800]),
    late_openers: &ms([600, 1200]),
};

const fn ms<const N: usize>(list: [u64; N]) -> [Duration; N] {
    let mut out = [Duration::ZERO; N];
    let mut index = 0;
    while index < N {
        out[index] = Duration::from_millis(list[index]);
        index += 1;
    }
    out
}

/// Number of slots whose sockets stay open: the peer's clock may be behind by 5 s, and its words take a while.
pub(super) const KEPT: usize = 4;

/// An eager search takes part in every slot for this long, and then in two in a row of [`SOME`]: each costs a mapping, and
/// there must be room for another one at any time.
const DENSE: Duration = Duration::from_secs(60);

/// The same where a tunnel waits, which it may do for minutes.
const DENSE_RECONNECT: Duration = Duration::from_secs(36);

/// Slots of which a search takes part in two in a row when it is not dense any more; see [`DENSE`].
const SOME: u64 = 8;

/// A side in the background takes part in two slots in a row of this many: both roles have their turn twice a minute.
const SPARSE: u64 = 10;

#[derive(Debug)]
pub(in crate::puncher) struct Slots {
    plan: &'static Plan,
    dense_until: Instant,
    kept: VecDeque<Slot>,
    /// The last one that was looked at.
    last: Option<u64>,
    next_at: Instant,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    pair: Pair,
    plan: &'static Plan,
    speaks: bool,
    /// Whether our openers reach the other router.
    is_reached: bool,
    began: Instant,
    /// Openers and words sent so far.
    sent: usize,
}

impl Slots {
    /// Makes one that begins at that time.
    pub(in crate::puncher) fn new(mode: SearchMode, begin_at: Instant) -> Self {
        let (plan, dense) =
            if mode.keeps_tunnel() { (&RECONNECT_PLAN, DENSE_RECONNECT) } else { (&USUAL, DENSE) };
        Self { plan, dense_until: begin_at + dense, kept: VecDeque::new(), last: None, next_at: begin_at }
    }

    pub(in crate::puncher) fn handle_timeout(
        &mut self,
        context: &SearchContext<'_>,
        low_ttl: Option<u8>,
        transmits: &mut TransmitQueue,
    ) {
        let now = context.now.instant;
        if now >= self.next_at {
            self.enter(context, low_ttl, transmits);
        }
        let is_left = |slot: &Slot| context.candidates.main_of(slot.pair.remote.ip()).is_none();
        self.kept.iter().filter(|slot| is_left(slot)).for_each(|slot| transmits.close(slot.pair.socket));
        self.kept.retain(|slot| !is_left(slot));
        for slot in &mut self.kept {
            slot.handle_timeout(context, low_ttl, transmits);
        }
    }

    pub(in crate::puncher) fn handle_open_failed(&mut self, socket: SocketId) {
        self.kept.retain(|slot| slot.pair.socket != socket);
    }

    pub(in crate::puncher) fn has(&self, socket: SocketId) -> bool {
        self.kept.iter().any(|slot| slot.pair.socket == socket)
    }

    pub(in crate::puncher) fn deadline(&self) -> Instant {
        self.kept.iter().filter_map(Slot::next_at).fold(self.next_at, Instant::min)
    }

    fn enter(&mut self, context: &SearchContext<'_>, low_ttl: Option<u8>, transmits: &mut TransmitQueue) {
        let number = slot_at(context.unix);
        self.next_at = context.now.instant + to_next_slot(context.unix);
        let every = match (context.is_eager, context.now.instant < self.dense_until) {
            (true, true) => 2,
            (true, false) => SOME,
            (false, _) => SPARSE,
        };
        if self.last == Some(number) || !(number / 2).is_multiple_of(every / 2) {
            return;
        }
        self.last = Some(number);
        // By the pairs of slots that are used: the parity of a number decides who speaks, and most are left out.
        let Some(remote) = context.target(number / every) else { return };
        let (own, peers) = context.schedule.pair(number, context.role, context.port, remote.port());
        let socket = transmits.open(own);
        let pair = Pair { socket, remote: SocketAddr::new(remote.ip(), peers) };
        let (plan, speaks) = (self.plan, speaker(number) == context.role);
        let is_reached = low_ttl.is_none();
        self.kept.push_back(Slot {
            number,
            pair,
            plan,
            speaks,
            is_reached,
            began: context.now.instant,
            sent: 0,
        });
        if self.kept.len() > KEPT
            && let Some(old) = self.kept.pop_front()
        {
            transmits.close(old.pair.socket);
        }
    }
}

impl Slot {
    fn handle_timeout(
        &mut self,
        context: &SearchContext<'_>,
        low_ttl: Option<u8>,
        transmits: &mut TransmitQueue,
    ) {
        while self.next_at().is_some_and(|at| context.now.instant >= at) {
            let ttl = low_ttl.filter(|_| self.sent < self.openers().len());
            let probe = OutgoingProbe {
                ttl,
                ..OutgoingProbe::new(self.pair, transmits.token(self.pair, context.now.instant))
            };
            let sent = transmits.send(&probe, Purpose::Slot, context.now).is_some();
            tracing::trace!(slot = self.number, pair = ?self.pair, ?ttl, sent, "slot");
            self.sent += 1;
        }
    }

    fn openers(&self) -> &'static [Duration] {
        if self.is_reached && !self.speaks { self.plan.late_openers } else { self.plan.openers }
    }

    fn next_at(&self) -> Option<Instant> {
        let words = if self.speaks { self.plan.words } else { &[] };
        self.openers().iter().chain(words).nth(self.sent).map(|after| self.began + *after)
    }
}
