//! The pairs under test, and when each is tested next.

mod pace;

use std::{
    cmp::Reverse,
    net::SocketAddr,
    time::{Duration, Instant},
};

pub(super) use self::pace::{PACE, PACE_RECONNECT};
use self::pace::{Pace, gap};
use super::{Pair, SocketId, tokens::TICK};

/// Most pairs under test at a time. With nothing but two IPs there is one; each outside port that the peer's NAT shows
/// adds one.
pub(super) const MAX_CHECKS: usize = 32;

/// Time for which a pair is tested after each word of the peer on it.
const REFLEXIVE_LIFE: Duration = Duration::from_secs(10);

/// A pair that the peer was heard on keeps its place for this long: its test is under way. Where hundreds of the peer's
/// sockets reach us at once, each would else take the place of another before an ack can come.
const KEPT_PLACE: Duration = Duration::from_secs(1);

/// A nomination without an answer is given up after this long, or after [`NOMINATION_RTTS`] if that is longer; the pair
/// must be proven anew.
const NOMINATION_LIFE: Duration = Duration::from_secs(3);

/// Round trips after which a nomination is given up; see [`NOMINATION_LIFE`].
const NOMINATION_RTTS: u32 = 4;

/// Age of a pair under test below which it is tested fast anyway.
pub(super) const HURRY: Duration = Duration::from_secs(5);

/// Age on [`PACE`] with which a search begins when the peer has just left: it will not be back within the second.
pub(super) const CALM: Duration = Duration::from_secs(30);

/// Longest round trip of an ack that has not waited anywhere.
pub(super) const PROMPT: Duration = Duration::from_secs(1);

/// An answer that took longer has waited somewhere, in a socket of a machine that slept, say: it is no round trip's
/// measure, and no proof of a pair as it is now.
pub(super) const LATE: Duration = Duration::from_secs(5);

/// Shortest time between two nominating probes.
const NOMINATION_GAP: Duration = Duration::from_millis(50);

/// Longest time between two: the round trip that has proven the pair may have waited for a router that was off.
const LONGEST_NOMINATION_GAP: Duration = Duration::from_millis(250);

/// All pairs under test, [`MAX_CHECKS`] at the most.
#[derive(Debug)]
pub(super) struct Checks {
    list: Vec<Check>,
    pace: &'static Pace,
    /// Pairs that were nominated so far.
    nominated: u32,
}

impl Default for Checks {
    fn default() -> Self {
        Self { list: Vec::new(), pace: &PACE, nominated: 0 }
    }
}

impl Checks {
    /// Sets the pace at which pairs are tested from now on.
    pub(super) fn set_pace(&mut self, pace: &'static Pace) {
        self.pace = pace;
        for check in &mut self.list {
            check.pace = pace;
        }
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Check) -> bool) {
        self.list.retain(keep);
    }

    fn get(&self, pair: Pair) -> Option<&Check> {
        self.list.iter().find(|c| c.pair == pair)
    }

    pub(super) fn get_mut(&mut self, pair: Pair) -> Option<&mut Check> {
        self.list.iter_mut().find(|c| c.pair == pair)
    }

    /// Whether an answer to a test of that pair may still come.
    pub(super) fn is_under_test(&self, pair: Pair, now: Instant) -> bool {
        let last = self.get(pair).and_then(|c| c.unanswered);
        last.is_some_and(|sent| now < sent + PROMPT)
    }

    pub(super) fn proof(&self, pair: Pair) -> Option<Proof> {
        self.get(pair).and_then(|c| c.proof)
    }

    /// Whether that run has proven a pair.
    pub(super) fn is_proven_by(&self, pair: Pair, instance: u64) -> bool {
        self.proof(pair).is_some_and(|proof| proof.instance == instance)
    }

    pub(super) fn proven(&self) -> impl Iterator<Item = Pair> {
        self.list.iter().filter(|c| c.proof.is_some()).map(|c| c.pair)
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// Tests a configured pair, whether or not the peer was heard on it.
    pub(super) fn add_configured(&mut self, pair: Pair, paced_from: Instant, now: Instant) {
        if let Some(check) = self.entry(pair, Source::Configured, paced_from, now) {
            check.configure(now);
        }
    }

    /// Tests the configured pairs fast again: the network has changed.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.list.iter_mut().filter(|c| c.source == Source::Configured).for_each(|c| c.hurry(now));
    }

    /// Whether a pair is tested again and again, whatever is heard on it.
    pub(super) fn insists(&self, pair: Pair) -> bool {
        self.get(pair).is_some_and(Check::insists)
    }

    /// Tests a pair because the peer was heard on it; false when there is no place for it.
    pub(super) fn add_reflexive(&mut self, pair: Pair, now: Instant) -> bool {
        let check = self.entry(pair, Source::PeerReflexive, now, now);
        check.map(|check| check.handle_heard(now)).is_some()
    }

    /// Returns the check of a pair whose test was answered. One that has no place, or had to give it away, takes that of
    /// a pair of which less is known.
    pub(super) fn answered(&mut self, pair: Pair, now: Instant) -> Option<&mut Check> {
        if self.get(pair).is_none() && self.list.len() >= MAX_CHECKS {
            self.make_room(Check::is_unknown);
        }
        let check = self.entry(pair, Source::PeerReflexive, now, now)?;
        check.heard_at.get_or_insert(now);
        Some(check)
    }

    /// Gives up what has not come true in time.
    pub(super) fn expire(&mut self, now: Instant) {
        self.list.retain_mut(|c| c.expire(now));
    }

    /// The pairs to probe now, and whether to nominate them.
    pub(super) fn due(&self, now: Instant) -> Vec<(Pair, bool)> {
        let due = self.list.iter().filter(|c| c.is_due(now));
        due.map(|c| (c.pair, c.nominated_at.is_some())).collect()
    }

    /// Voids the proofs of all runs of the peer's program but one.
    pub(super) fn renounce_all_but(&mut self, instance: Option<u64>) {
        for check in &mut self.list {
            check.nominated_at = None;
            check.proof = check.proof.filter(|p| Some(p.instance) == instance);
        }
    }

    /// Nominates the fastest pair that is proven for that run, unless one is nominated; one that was nominated in vain when the
    /// others have had their turn. Every second time the configured ones come first: somebody may
    /// show ever new ones. The one in use before has an
    /// advantage, because the tunnel knows it; or its socket is left out.
    pub(super) fn nominate_best(
        &mut self,
        instance: Option<u64>,
        used: Option<Pair>,
        refreshes: bool,
        avoided: Option<Pair>,
        now: Instant,
    ) {
        if self.list.iter().any(|c| c.nominated_at.is_some()) {
            return;
        }
        let proven = |c: &Check| c.proof.filter(|p| Some(p.instance) == instance).map(|p| p.rtt);
        let but = used.filter(|_| refreshes).map(|pair| pair.socket);
        let wanted = self.list.iter_mut().filter(|c| Some(c.pair.socket) != but && Some(c.pair) != avoided);
        let own_first = !self.nominated.is_multiple_of(2);
        let best = wanted.filter_map(|c| Some((proven(c)?, c))).min_by_key(|(rtt, check)| {
            let is_other = own_first && check.source != Source::Configured;
            (is_other, check.failures, if Some(check.pair) == used { *rtt * 3 / 4 } else { *rtt })
        });
        if let Some((_, check)) = best {
            check.nominate(now);
            self.nominated = self.nominated.wrapping_add(1);
        }
    }

    /// Ends all tests: this pair is in use now. Others that are proven and have a socket stay so for a while: a copy of a
    /// nomination may have come first, from where somebody else is, and the nomination itself comes now.
    pub(super) fn settle(&mut self, pair: Pair, now: Instant) {
        let has_socket = |other: Pair| [SocketId::MAIN, pair.socket].contains(&other.socket);
        self.list.retain(|c| c.pair == pair || c.proof.is_some() && has_socket(c.pair));
        for check in &mut self.list {
            check.settle(now);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.list.iter().filter_map(Check::deadline).min()
    }

    /// Finds the check of a pair, or makes one if there is room.
    fn entry(&mut self, pair: Pair, source: Source, paced_from: Instant, now: Instant) -> Option<&mut Check> {
        let found = self.list.iter().position(|c| c.pair == pair);
        if found.is_none() {
            if self.list.len() >= MAX_CHECKS && !self.make_room(|check| check.is_replaceable(now)) {
                return None;
            }
            self.list.push(Check::new(pair, source, self.pace, paced_from, now));
        }
        let last = self.list.len().saturating_sub(1);
        self.list.get_mut(found.unwrap_or(last))
    }

    /// Forgets the pair, of those that may make room, that was unheard for the longest; false when all are needed.
    fn make_room(&mut self, may_go: impl Fn(&Check) -> bool) -> bool {
        let those = self.list.iter().enumerate().filter(|(_, check)| may_go(check));
        let first = those.min_by_key(|(_, check)| check.heard_at).map(|(index, _)| index);
        first.map(|index| self.list.remove(index)).is_some()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The address the user named.
    Configured,
    /// A probe came from there (RFC 8445 §7.3.1.3).
    PeerReflexive,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    pub(super) rtt: Duration,
    pub(super) instance: u64,
    pub(super) observed: Option<SocketAddr>,
}

#[derive(Debug)]
pub(super) struct Check {
    pub(super) pair: Pair,
    pub(super) source: Source,
    pub(super) proof: Option<Proof>,
    /// Since when the open side insists on this pair.
    pub(super) nominated_at: Option<Instant>,
    pace: &'static Pace,
    /// Where on the pace zero is.
    paced_from: Instant,
    heard_at: Option<Instant>,
    /// `None` while the check rests: the pair is in use.
    next_at: Option<Instant>,
    /// When the last test left, if it was not answered.
    unanswered: Option<Instant>,
    /// When the newest test left that was answered.
    answered: Option<Instant>,
    /// Where answers have seen us, and how many: whoever was faster with a copy of a test has shown another address.
    seen: Vec<(SocketAddr, u32)>,
    /// Nominations so far.
    nominations: usize,
    /// Nominations in vain.
    failures: u32,
}

/// Addresses that answers over one pair have shown: those that were shown most often stay. The true one is among the answers
/// to each test.
const MAX_SEEN: usize = 16;

impl Check {
    fn new(pair: Pair, source: Source, pace: &'static Pace, paced_from: Instant, now: Instant) -> Self {
        Self {
            pair,
            source,
            proof: None,
            nominated_at: None,
            pace,
            paced_from,
            heard_at: None,
            next_at: Some(now),
            unanswered: None,
            answered: None,
            seen: Vec::new(),
            nominations: 0,
            failures: 0,
        }
    }

    /// Makes this the pair of an address that the user named: it is a configured pair from now on.
    fn configure(&mut self, now: Instant) {
        self.source = Source::Configured;
        self.next_at.get_or_insert(now);
    }

    /// Begins the pace anew, unless it began a moment ago.
    fn hurry(&mut self, now: Instant) {
        if now.saturating_duration_since(self.paced_from) >= HURRY {
            (self.paced_from, self.next_at) = (now, Some(now));
        }
    }

    /// Records a probe on this pair: test it now, and fast if it was calm.
    fn handle_heard(&mut self, now: Instant) {
        self.heard_at = Some(now);
        if now.saturating_duration_since(self.paced_from) >= CALM {
            self.paced_from = now;
        }
        let earliest = self.unanswered.map_or(now, |sent| now.max(sent + PACE[0].1));
        self.next_at = Some(self.next_at.map_or(earliest, |next| next.min(earliest)));
    }

    /// Records a test that leaves now.
    pub(super) fn handle_sent(&mut self, now: Instant) {
        self.unanswered = Some(now);
        self.next_at = self.insists().then(|| now + self.gap(now));
    }

    fn note_seen(&mut self, observed: SocketAddr) {
        if let Some((_, answers)) = self.seen.iter_mut().find(|(seen, _)| *seen == observed) {
            *answers = answers.saturating_add(1);
            return;
        }
        self.seen.sort_by_key(|(_, answers)| Reverse(*answers));
        self.seen.truncate(MAX_SEEN - 1);
        self.seen.push((observed, 1));
    }

    /// Returns the address of ours over which the next nomination is to count: what the fastest answer has shown, and each fourth
    /// time another one, by turns.
    pub(super) fn choose(&mut self) -> Option<SocketAddr> {
        let fastest = self.proof.and_then(|proof| proof.observed);
        let turn = self.nominations;
        self.nominations += 1;
        let mut others = self.seen.iter().map(|(seen, _)| *seen).filter(|seen| Some(*seen) != fastest);
        let index = (turn / 4).checked_rem(others.clone().count()).filter(|_| turn % 4 == 3);
        index.and_then(|index| others.nth(index)).or(fastest)
    }

    /// Records that the test was answered that left then; false if it, or a later one, was answered before: of two answers
    /// one is to a copy.
    pub(super) fn handle_ack(&mut self, sent_at: Instant, observed: Option<SocketAddr>) -> bool {
        observed.into_iter().for_each(|seen| self.note_seen(seen));
        let is_news = self.answered.is_none_or(|answered| sent_at > answered + TICK);
        if is_news {
            self.answered = Some(sent_at);
            self.unanswered = self.unanswered.filter(|unanswered| *unanswered > sent_at + 2 * TICK);
        }
        is_news
    }

    /// Records a proof while the search goes on: the other side may still need our tests for its own.
    pub(super) fn handle_proof(&mut self, proof: Proof, now: Instant) {
        self.proof = Some(proof);
        let next = now + self.gap(now);
        self.next_at.get_or_insert(next);
    }

    /// Whether a word of the peer's is all that is known of this pair.
    fn is_unknown(&self) -> bool {
        self.source == Source::PeerReflexive && self.proof.is_none()
    }

    /// Whether it may make room for a pair of which as little is known.
    fn is_replaceable(&self, now: Instant) -> bool {
        self.is_unknown() && self.heard_at.is_some_and(|heard_at| now >= heard_at + KEPT_PLACE)
    }

    pub(super) fn nominate(&mut self, now: Instant) {
        self.nominated_at = Some(now);
        self.next_at = Some(now);
    }

    /// Ends the tests of a pair that is in use now; its proof stays valid for a while, should the peer ask again.
    fn settle(&mut self, now: Instant) {
        self.source = Source::PeerReflexive;
        self.nominated_at = None;
        self.heard_at = Some(now);
        self.next_at = None;
    }

    /// Gives up what has not come true in time; false when the whole pair is forgotten.
    fn expire(&mut self, now: Instant) -> bool {
        if self.nomination_ends_at().is_some_and(|at| now >= at) {
            self.nominated_at = None;
            self.proof = None;
            self.failures += 1;
        }
        self.source == Source::Configured || self.ends_at().is_none_or(|end| now < end)
    }

    /// When this check wants to be looked at next.
    fn deadline(&self) -> Option<Instant> {
        [self.next_at, self.nomination_ends_at(), self.ends_at()].into_iter().flatten().min()
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next_at.is_some_and(|next| now >= next)
    }

    /// Whether this pair is tested again and again. An address that only a probe named is tested once for each
    /// probe that comes from it: whoever plays recordings must not get more back than was sent.
    fn insists(&self) -> bool {
        self.source == Source::Configured || self.proof.is_some()
    }

    fn nomination_ends_at(&self) -> Option<Instant> {
        let rtt = self.proof.map_or(Duration::ZERO, |proof| proof.rtt);
        self.nominated_at.map(|at| at + NOMINATION_LIFE.max(rtt * NOMINATION_RTTS))
    }

    fn ends_at(&self) -> Option<Instant> {
        match self.source {
            Source::Configured => None,
            Source::PeerReflexive => self.heard_at.map(|at| at + REFLEXIVE_LIFE),
        }
    }

    fn gap(&self, now: Instant) -> Duration {
        match (self.nominated_at, &self.proof) {
            (Some(_), Some(proof)) => (proof.rtt * 3 / 2).clamp(NOMINATION_GAP, LONGEST_NOMINATION_GAP),
            (Some(_) | None, _) => gap(self.pace, now.saturating_duration_since(self.paced_from)),
        }
    }
}
