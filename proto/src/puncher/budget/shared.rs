//! One budget of mappings and packets for all peers of an endpoint: they share the NATs in front of it.
//!
//! Each puncher keeps bounds of its own ([`Limits`]), and asks this one as well before a probe leaves. Here
//!
//! - packets of all peers together keep to one pace. Tests of paths in use, and the answers to them, find room in it whatever
//!   another peer, or somebody in its name, has us send. So does a search: where one peer searches, what the others have us
//!   answer has a part of the pace each;
//! - each peer has [`BASE`] mappings that no other one can take: for the plain pair, for answers and for the test of a path
//!   (half as many where there are hundreds of peers);
//! - what is left goes to the peers that search, in equal parts. A part that is too small finds nothing (a fan meets a sweep
//!   by chance), so only as many search at a time as have [`Limits::LEAST`] each; the others wait for their turn, the
//!   longest waiting first, and try their plain pairs meanwhile;
//! - what a peer has made counts until the NATs have forgotten it, also when another one has the turn by then, and when the
//!   peer is gone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Limits, MAPPING_LIFE, Pace, Purpose, UNPROVEN_PACKETS_SHARE};

/// Mappings that are each peer's own.
const BASE: usize = 6;

/// The same where there are hundreds of peers; see [`Shared::base`].
const LEAST_BASE: usize = 3;

/// Of [`BASE`], a search that waits for its turn may make so many.
const WITHOUT_TURN: usize = 2;

/// Packets for which a peer's path in use has a claim at once: a path is given up after eight tests.
const PATH_PACKETS: u64 = 16;

/// Time between two further ones: both sides' tests of a path that is in doubt leave 150 ms apart, with as many answers.
const PATH_GAP: Duration = Duration::from_millis(75);

/// Where another peer searches, answers and tests have one packet of that many of the pace each, or of as many as there are
/// peers if these are more; and of [`LEAST_SHARE`] at the most.
const TALK_SHARE: u64 = 4;

/// See [`TALK_SHARE`].
const LEAST_SHARE: u64 = 16;

/// Most of these that leave at once: a search begins with eight probes with ever more hops, beside its answers.
const ANSWERS_AT_ONCE: u64 = 16;

/// A peer that has not asked for a mapping to search with for this long does not search: its rounds are 10 s apart at the most.
const QUIET: Duration = Duration::from_secs(30);

/// A search has its turn for this long where others wait: by then what it has made is forgotten, and can be made by the next.
const TURN: Duration = MAPPING_LIFE;

/// The budget of an endpoint, which its peers share; cheap to clone.
#[derive(Debug, Clone)]
pub struct SharedBudget(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    pace: Pace,
    /// What may leave over pairs that are neither named nor proven, to whichever peers: a part of the former.
    unproven: Pace,
    members: BTreeMap<u64, Use>,
    last_member: u64,
    /// Mappings of peers that are gone, and until when they count.
    left: Vec<(Instant, usize)>,
}

/// What a peer uses.
#[derive(Debug, Default)]
struct Use {
    /// Mappings alive.
    alive: usize,
    /// The same as far as they keep answers and slots from having room.
    used: usize,
    /// When it last asked for a mapping to search with.
    searched_at: Option<Instant>,
    /// Since when it has the turn to search, or waits for it.
    turn: Turn,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    None,
    Since(Instant),
    Waiting(Instant),
}

impl SharedBudget {
    /// Makes a budget with these bounds for all peers together.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let limits = limits.at_least();
        Self(Arc::new(Mutex::new(Shared {
            limits,
            pace: Pace::of(limits).with_room_for_paths(),
            unproven: Pace::of_share(limits, UNPROVEN_PACKETS_SHARE),
            members: BTreeMap::new(),
            last_member: 0,
            left: Vec::new(),
        })))
    }

    /// Adds a peer.
    pub(super) fn join(&self) -> Member {
        let mut shared = self.lock();
        shared.last_member += 1;
        let id = shared.last_member;
        shared.members.insert(id, Use::default());
        let path = Pace::new(PATH_GAP, PATH_PACKETS);
        let talk = Talk::new(shared.limits, TALK_SHARE);
        Member { shared: self.clone(), id, path, talk, touched_at: None }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of one peer. What it has made counts for [`MAPPING_LIFE`] after it is dropped.
#[derive(Debug)]
pub(super) struct Member {
    shared: SharedBudget,
    id: u64,
    /// What it may send with the claim of [`Purpose::Path`].
    path: Pace,
    /// What it may answer and test where another peer searches.
    talk: Talk,
    /// When it last made or used a mapping.
    touched_at: Option<Instant>,
}

impl Member {
    /// Records what the peer has alive now, and uses; see [`Use`].
    pub(super) fn set_alive(&mut self, alive: usize, used: usize) {
        if let Some(member) = self.shared.lock().members.get_mut(&self.id) {
            (member.alive, member.used) = (alive, used);
        }
    }

    /// Records that a probe leaves now, by an old mapping or a new one; false when it must not.
    pub(super) fn admit(&mut self, purpose: Purpose, is_new: bool, now: Instant) -> bool {
        let mut shared = self.shared.lock();
        let has_room = if is_new {
            shared.has_room(self.id, purpose, now)
        } else {
            shared.may_go_on(self.id, purpose, now)
        };
        let has_claim = purpose == Purpose::Path && self.path.ready_at(purpose, now) <= now;
        let claim = if purpose == Purpose::Path && !has_claim { Purpose::Talk } else { purpose };
        let is_talk = !has_claim && !matches!(purpose, Purpose::Search | Purpose::Slot | Purpose::Reserve);
        let is_bounded = is_talk && shared.another_searches(self.id, now);
        let is_unproven = purpose == Purpose::Unproven;
        let has_purse = (!is_bounded || self.talk.is_ready(&shared, purpose, now))
            && (!is_unproven || shared.unproven.ready_at(purpose, now) <= now);
        if !has_room || !has_purse || !shared.pace.admit(claim, now) {
            return false;
        }
        if is_bounded {
            self.talk.take(now);
        }
        if is_unproven {
            shared.unproven.admit(purpose, now);
        }
        if has_claim {
            self.path.admit(purpose, now);
        }
        drop(shared);
        self.touched_at = Some(now);
        true
    }

    /// Whether a new mapping would have room.
    pub(super) fn has_room(&self, purpose: Purpose, now: Instant) -> bool {
        self.shared.lock().has_room(self.id, purpose, now)
    }

    /// Returns how many mappings in all this peer may have for a search.
    pub(super) fn part(&self, now: Instant) -> usize {
        let mut shared = self.shared.lock();
        shared.note_search(self.id, now);
        shared.part(self.id, now)
    }

    /// When a probe of that purpose can leave, as far as the pace of all goes.
    pub(super) fn ready_at(&self, purpose: Purpose, now: Instant) -> Instant {
        self.shared.lock().pace.ready_at(purpose, now)
    }
}

/// What a peer may answer and test where another one searches.
#[derive(Debug)]
struct Talk {
    pace: Pace,
    /// The part of all packets for which that was made.
    share: u64,
}

impl Talk {
    fn new(limits: Limits, share: u64) -> Self {
        let gap =
            Duration::from_secs(1) * u32::try_from(share).unwrap_or(1) / u32::from(limits.packets_per_second);
        Self { pace: Pace::new(gap, ANSWERS_AT_ONCE), share }
    }

    /// Whether there is one more. What goes over pairs that nobody has named or proven leaves half of it to the others: whoever
    /// copies a peer's probes takes no answer away from the address that the user has named.
    fn is_ready(&mut self, shared: &Shared, purpose: Purpose, now: Instant) -> bool {
        let share = (shared.members.len() as u64).clamp(TALK_SHARE, LEAST_SHARE);
        if self.share != share {
            *self = Self::new(shared.limits, share);
        }
        let claim = if purpose == Purpose::Unproven { Purpose::Search } else { Purpose::Talk };
        self.pace.ready_at(claim, now) <= now
    }

    fn take(&mut self, now: Instant) {
        self.pace.admit(Purpose::Talk, now);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut shared = self.shared.lock();
        let alive = shared.members.remove(&self.id).map_or(0, |member| member.alive);
        if let Some(touched_at) = self.touched_at.filter(|_| alive > 0) {
            shared.left.push((touched_at + MAPPING_LIFE, alive));
        }
    }
}

impl Shared {
    fn has_room(&mut self, id: u64, purpose: Purpose, now: Instant) -> bool {
        if matches!(purpose, Purpose::Search | Purpose::Slot) {
            self.note_search(id, now);
        }
        self.left.retain(|(until, _)| now < *until);
        let Some(member) = self.members.get(&id) else { return false };
        let (alive, used) = (member.alive, member.used);
        let left: usize = self.left.iter().map(|(_, count)| count).sum();
        let others = || self.members.iter().filter(|(other, _)| **other != id).map(|(_, other)| other);
        let base = self.base();
        let kept: usize = others().map(|other| base.saturating_sub(other.alive)).sum();
        let all_alive = left + kept + alive + others().map(|other| other.alive).sum::<usize>();
        let all_used = left + kept + used + others().map(|other| other.used).sum::<usize>();
        match purpose {
            Purpose::Search => all_alive < self.limits.search() && alive < self.part(id, now),
            // A peer's own are its own: they were kept from the others.
            Purpose::Path | Purpose::Talk | Purpose::Unproven | Purpose::Reserve | Purpose::Slot => {
                all_used < self.limits.all() || alive < base
            }
            Purpose::Undated => all_alive < usize::from(self.limits.mappings),
        }
    }

    fn another_searches(&self, id: u64, now: Instant) -> bool {
        self.members.iter().any(|(other, member)| *other != id && member.searches(now))
    }

    /// Whether a probe may keep a mapping alive: a search whose turn is over leaves its mappings to be forgotten.
    fn may_go_on(&mut self, id: u64, purpose: Purpose, now: Instant) -> bool {
        if purpose != Purpose::Search {
            return true;
        }
        self.note_search(id, now);
        self.members.len() <= 1 || self.members.get(&id).is_some_and(|member| member.has_turn(now))
    }

    /// Returns how many mappings in all a peer may have for a search.
    fn part(&self, id: u64, now: Instant) -> usize {
        if self.members.len() <= 1 {
            return self.limits.search();
        }
        let holders = self.members.values().filter(|member| member.has_turn(now)).count().max(1);
        let part = self.for_searches() / holders;
        self.members
            .get(&id)
            .filter(|member| member.has_turn(now))
            .map_or(WITHOUT_TURN, |_| part.max(self.base()))
    }

    /// What all searches together may have.
    fn for_searches(&self) -> usize {
        self.limits.search().saturating_sub(self.base() * self.members.len())
    }

    /// Mappings that are each peer's own: [`BASE`], or fewer where these would leave less than half to searches.
    fn base(&self) -> usize {
        (self.limits.search() / 2 / self.members.len().max(1)).clamp(LEAST_BASE, BASE)
    }

    /// Records that a peer searches, and gives it a turn if there is one.
    fn note_search(&mut self, id: u64, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            if !member.searches(now) {
                member.turn = Turn::Waiting(now);
            }
            member.searched_at = Some(now);
        }
        let places = (self.for_searches() / usize::from(Limits::LEAST.mappings)).max(1);
        let is_over = |turn: Turn| matches!(turn, Turn::Since(at) if now >= at + TURN);
        loop {
            let holds = |member: &&mut Use| member.has_turn(now);
            let holders = self.members.values_mut().filter(holds).count();
            let waiting = self.members.iter().filter(|(_, member)| member.searches(now));
            let since = |turn: Turn| if let Turn::Waiting(at) = turn { Some(at) } else { None };
            let next = waiting.filter_map(|(id, member)| Some((since(member.turn)?, *id))).min();
            let Some((_, next)) = next else { return };
            if holders >= places {
                let ended =
                    self.members.values_mut().find(|member| member.has_turn(now) && is_over(member.turn));
                let Some(ended) = ended else { return };
                ended.turn = Turn::Waiting(now);
            }
            if let Some(member) = self.members.get_mut(&next) {
                member.turn = Turn::Since(now);
            }
        }
    }
}

impl Use {
    fn searches(&self, now: Instant) -> bool {
        self.searched_at.is_some_and(|at| now < at + QUIET)
    }

    fn has_turn(&self, now: Instant) -> bool {
        self.searches(now) && matches!(self.turn, Turn::Since(_))
    }
}

#[cfg(test)]
mod tests;
