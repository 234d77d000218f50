//! The budget: what this side may ask of the NATs on the way, packets a second and mappings alive at once.
//!
//! Routers have died of programs like this one (16,384 entries filled in 9 s, an office cut off), so both bounds are
//! hard: every probe passes [`Budget::admit`], whatever it is for, and one that is refused is not sent.

mod pace;
mod shared;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

pub use self::shared::SharedBudget;
use self::{pace::Pace, shared::Member};
use super::search;

/// Time for which a NAT is taken to keep a mapping after the last packet that we sent through it: what RFC 4787 §4.3
/// recommends. Linux forgets an unanswered one after 30 s already; to count on that would overfill the others.
pub(super) const MAPPING_LIFE: Duration = Duration::from_secs(300);

/// Most sockets that fan out toward one port of the peer.
pub(super) const MAX_FAN: usize = 480;

/// Further sockets of a fan whose first ones have missed: as many as leave some room to sweep.
pub(super) const MORE_FAN: usize = 240;

/// Mappings kept back for slots.
const FOR_SLOTS: usize = 36;

/// Mappings kept back for reserve pairs: one for each lost path.
const FOR_RESERVE: usize = 4;

/// Mappings kept back for answers to the peer, and for tests of what was heard. They get no others while a search has all
/// of its own: hundreds of the peer's sockets may reach us, and slots must go on.
const FOR_TALK: usize = 28;

/// Most of these that are made at once; then one in [`TALK_GAP`]. However many of the peer's ports were answered in
/// vain, another answer is possible soon.
const TALK_AT_ONCE: u32 = 12;

/// Time between two further ones; see [`TALK_AT_ONCE`].
const TALK_GAP: Duration = Duration::from_millis(300_000 / (FOR_TALK as u64 - TALK_AT_ONCE as u64));

/// Most own addresses that we had within [`MAPPING_LIFE`] and for each of which as many more as [`FOR_SLOTS`],
/// [`FOR_TALK`] and [`FOR_RESERVE`] may be alive.
const MAX_FORMER: usize = 4;

/// Most answers at once to undated words of an unknown run, which may be recordings; then one in [`UNDATED_GAP`].
/// They make no mapping and leave half of the pace to others: nobody who plays recordings takes anything away from a search.
const UNDATED_AT_ONCE: u64 = 4;

/// Most mappings that such answers make: they are the peer's doing, and count as what its probes leave in a router.
const UNDATED_MAPPINGS: usize = 8;

/// Time between two further ones; see [`UNDATED_AT_ONCE`].
const UNDATED_GAP: Duration = Duration::from_secs(1);

/// Divisor of a search's mappings: answers to what was heard over a pair that is not proven, and tests of such a pair,
/// make one of that many; beyond that they have [`FOR_TALK`] alone. Somebody who copies the peer's probes from ever new
/// ports takes no more than that from a search.
const UNPROVEN_MAPPINGS_SHARE: usize = 8;

/// Divisor of the packets of a second: they are one of that many.
const UNPROVEN_PACKETS_SHARE: u64 = 4;

/// Mappings kept back for what the peer's probes leave in a router that answers for itself: one for each of its slots, and
/// some more. Not for its sweep, half of which arrives there if it has found nobody for long (see the module `birthday`).
const FOR_ARRIVALS: usize = 36;

/// Hard bounds of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Mappings of ours alive at once in one NAT. As many as a third of our sockets take part in a fan, and never more than
    /// 480. Room is kept for what the peer's slots leave in a router that takes them for its own; such a router may get
    /// more from the peer, up to half of its sweep.
    pub mappings: u16,
    /// Probes in any second, answers included.
    pub packets_per_second: u16,
}

impl Limits {
    /// The usual bounds: 1,536 mappings, 500 packets a second.
    pub const DEFAULT: Self = Self { mappings: 1536, packets_per_second: 500 };

    /// For carrier lines with few ports: 512 mappings, 100 packets a second.
    pub const GENTLE: Self = Self { mappings: 512, packets_per_second: 100 };

    /// Fewer than this leave no room to search; whoever asks for less gets these.
    pub const LEAST: Self = Self { mappings: 192, packets_per_second: 20 };

    /// Returns how many sockets a search has open at most: those of a fan, of slots and of reserve pairs, the main one,
    /// and that of the path that was in use.
    #[must_use]
    pub fn sockets(self) -> usize {
        search::most_sockets(self) + FOR_RESERVE + 2
    }

    /// Mappings that attempts may make; that of the main pair counts among them.
    pub(super) fn search(self) -> usize {
        usize::from(self.mappings) - FOR_SLOTS - FOR_TALK - FOR_RESERVE - FOR_ARRIVALS
    }

    /// These, or [`Self::LEAST`] where they are less.
    fn at_least(self) -> Self {
        let least = Self::LEAST;
        Self {
            mappings: self.mappings.max(least.mappings),
            packets_per_second: self.packets_per_second.max(least.packets_per_second),
        }
    }

    /// All that we make ourselves.
    fn all(self) -> usize {
        self.search() + FOR_SLOTS + FOR_TALK + FOR_RESERVE
    }
}

/// The purpose of a probe, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A test of the path in use, or the answer to one: what else is sent leaves room for it.
    Path,
    /// An answer, or the test of a pair that is known.
    Talk,
    /// The same over a pair that is neither named nor proven.
    Unproven,
    /// The reserve pair.
    Reserve,
    /// The fresh pair of a slot.
    Slot,
    /// A probe of a fan or a sweep: it must leave room for the others.
    Search,
    /// An answer to what may be a recording.
    Undated,
}

/// A mapping as a NAT sees it: our port, and the peer's address.
pub(super) type Flow = (u16, SocketAddr);

/// The budget of one side: keeps the bounds.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    /// The address that we have at the moment, as far as the system knows it.
    own: Option<IpAddr>,
    /// When each mapping was last used by us.
    mappings: BTreeMap<Flow, Instant>,
    /// Those of them that were made for slots.
    slots: BTreeSet<Flow>,
    /// Those of them that answers to undated words have made.
    answers: BTreeSet<Flow>,
    /// Those of them that unproven pairs have made.
    unproven: BTreeSet<Flow>,
    /// Those of addresses that we had. They may be in the same NAT.
    former: BTreeMap<IpAddr, BTreeMap<Flow, Instant>>,
    /// No later than the first moment at which a mapping dies.
    next_death: Option<Instant>,
    pace: Pace,
    undated: Pace,
    unproven_pace: Pace,
    /// Mappings that fans and sweeps leave free for another address of the peer.
    kept_free: usize,
    /// When all that may be made at once for talk may be made again.
    talk_whole_at: Option<Instant>,
    /// This peer's part of what all peers of the endpoint share.
    member: Option<Member>,
}

impl Budget {
    /// Makes one with these bounds, within those of an endpoint if it has several peers.
    pub(super) fn new(limits: Limits, shared: Option<&SharedBudget>) -> Self {
        let limits = limits.at_least();
        Self {
            limits,
            own: None,
            mappings: BTreeMap::new(),
            slots: BTreeSet::new(),
            answers: BTreeSet::new(),
            unproven: BTreeSet::new(),
            former: BTreeMap::new(),
            next_death: None,
            pace: Pace::of(limits),
            undated: Pace::new(UNDATED_GAP, UNDATED_AT_ONCE),
            unproven_pace: Pace::of_share(limits, UNPROVEN_PACKETS_SHARE),
            kept_free: 0,
            talk_whole_at: None,
            member: shared.map(SharedBudget::join),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Records the address that we have: what we have sent from another one has other mappings.
    pub(super) fn set_own(&mut self, own: IpAddr) {
        if self.own == Some(own) {
            return;
        }
        let Some(before) = self.own.replace(own) else { return };
        let returning = self.former.remove(&own).unwrap_or_default();
        let left = std::mem::replace(&mut self.mappings, returning);
        self.slots.clear();
        self.answers.clear();
        self.unproven.clear();
        if !left.is_empty() {
            self.former.insert(before, left);
        }
        self.tell_alive();
    }

    /// Records that a probe leaves now; false when it must not.
    pub(super) fn admit(&mut self, flow: Flow, purpose: Purpose, now: Instant) -> bool {
        let has_room = self.has_own_room(flow, purpose, now);
        let has_purse = match purpose {
            Purpose::Undated => self.undated.admit(Purpose::Talk, now),
            Purpose::Unproven => self.unproven_pace.admit(Purpose::Talk, now),
            Purpose::Path | Purpose::Talk | Purpose::Reserve | Purpose::Slot | Purpose::Search => true,
        };
        let is_new = !self.mappings.contains_key(&flow);
        let may_leave = has_room && has_purse && self.pace.ready_at(purpose, now) <= now;
        if !may_leave || self.member.as_mut().is_some_and(|member| !member.admit(purpose, is_new, now)) {
            return false;
        }
        self.pace.admit(purpose, now);
        if is_new {
            let is_talk = matches!(purpose, Purpose::Path | Purpose::Talk | Purpose::Unproven);
            if is_talk && !self.has_usual_room(purpose) {
                self.talk_whole_at = Some(self.talk_whole_after(now));
            }
            if purpose == Purpose::Unproven {
                self.unproven.insert(flow);
            }
            if purpose == Purpose::Slot {
                self.slots.insert(flow);
            }
            if purpose == Purpose::Undated {
                self.answers.insert(flow);
            }
        }
        self.mappings.insert(flow, now);
        self.next_death.get_or_insert(now + MAPPING_LIFE);
        if is_new {
            self.tell_alive();
        }
        true
    }

    /// Whether a probe would find room for its mapping.
    pub(super) fn has_room(&mut self, flow: Flow, purpose: Purpose, now: Instant) -> bool {
        let is_shared_out = |member: &Member| !member.has_room(purpose, now);
        self.has_own_room(flow, purpose, now)
            && (self.mappings.contains_key(&flow) || !self.member.as_ref().is_some_and(is_shared_out))
    }

    /// The same as far as this peer's own bounds go.
    fn has_own_room(&mut self, flow: Flow, purpose: Purpose, now: Instant) -> bool {
        self.forget_dead(now);
        if self.mappings.contains_key(&flow) {
            return true;
        }
        let (used, search) = (self.used(), self.limits.search());
        match purpose {
            Purpose::Search => self.alive() + self.kept_free < search,
            Purpose::Slot => used < search || self.slots.len() < FOR_SLOTS && used < self.limits.all(),
            Purpose::Path | Purpose::Talk | Purpose::Unproven => {
                let is_soon = || self.talk_whole_after(now) <= now + TALK_GAP * TALK_AT_ONCE;
                self.has_usual_room(purpose) || self.used_but_for_slots() < search + FOR_TALK && is_soon()
            }
            Purpose::Reserve => used < self.limits.all(),
            Purpose::Undated => {
                self.answers.len() < UNDATED_MAPPINGS && self.alive() < usize::from(self.limits.mappings)
            }
        }
    }

    /// Whether a mapping for talk has room without what is kept back for that.
    fn has_usual_room(&self, purpose: Purpose) -> bool {
        let share = self.limits.search() / UNPROVEN_MAPPINGS_SHARE;
        let is_within_share = purpose != Purpose::Unproven || self.unproven.len() < share;
        is_within_share && self.used_but_for_slots() < self.limits.search()
    }

    /// Has fans and sweeps leave that many mappings free from now on.
    pub(super) fn keep_free(&mut self, mappings: usize) {
        self.kept_free = mappings;
    }

    /// Returns how many mappings toward that IP an attempt may have: those that it has, and those that are free.
    pub(super) fn room(&mut self, toward: IpAddr, now: Instant) -> usize {
        self.forget_dead(now);
        let own = self.mappings.keys().filter(|(_, remote)| remote.ip() == toward).count();
        let part = self.member.as_ref().map_or(usize::MAX, |member| member.part(now));
        self.limits.search().min(part).saturating_sub(self.alive() - own)
    }

    /// All mappings.
    fn alive(&self) -> usize {
        self.mappings.len() + self.former.values().map(BTreeMap::len).sum::<usize>()
    }

    /// The same, but for some of each former address: with a table full of those nothing at all could be sent.
    fn used(&self) -> usize {
        let left_out = (FOR_SLOTS + FOR_TALK + FOR_RESERVE) * self.former.len().min(MAX_FORMER);
        self.alive() - left_out.min(self.alive() - self.mappings.len()) - self.answers.len()
    }

    /// The same without what is kept back for slots.
    fn used_but_for_slots(&self) -> usize {
        self.used() - self.slots.len().min(FOR_SLOTS)
    }

    /// When a probe of that purpose can leave, as far as the pace goes.
    pub(super) fn ready_at(&mut self, purpose: Purpose, now: Instant) -> Instant {
        let shared = self.member.as_ref().map_or(now, |member| member.ready_at(purpose, now));
        self.pace.ready_at(purpose, now).max(shared)
    }

    /// Tells the other peers of the endpoint how many mappings there are.
    fn tell_alive(&mut self) {
        let (alive, used) = (self.alive(), self.used());
        if let Some(member) = &mut self.member {
            member.set_alive(alive, used);
        }
    }

    /// When there would be as much room for talk again as now, if one more mapping were made for it now.
    fn talk_whole_after(&self, now: Instant) -> Instant {
        self.talk_whole_at.map_or(now, |at| at.max(now)) + TALK_GAP
    }

    fn forget_dead(&mut self, now: Instant) {
        if self.next_death.is_none_or(|at| now < at) {
            return;
        }
        let lives = |_: &Flow, used: &mut Instant| now < *used + MAPPING_LIFE;
        self.mappings.retain(lives);
        self.slots.retain(|flow| self.mappings.contains_key(flow));
        self.answers.retain(|flow| self.mappings.contains_key(flow));
        self.unproven.retain(|flow| self.mappings.contains_key(flow));
        self.former.values_mut().for_each(|flows| flows.retain(lives));
        self.former.retain(|_, flows| !flows.is_empty());
        let all = self.former.values().chain([&self.mappings]).flat_map(BTreeMap::values);
        self.next_death = all.min().map(|used| *used + MAPPING_LIFE);
        self.tell_alive();
    }

    #[cfg(test)]
    fn has_mapping(&self, flow: Flow) -> bool {
        self.mappings.contains_key(&flow)
    }
}

#[cfg(test)]
mod tests;
