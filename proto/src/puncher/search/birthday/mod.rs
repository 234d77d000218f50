//! The birthday attack on an unpredictable NAT.
//!
//! Where one NAT gives each flow an unpredictable outside port, no single pair can be hit, but many at once can: that
//! side *fans* out, many sockets toward the one port of the other side that is known, and the other side *sweeps*
//! many ports of it from there. With 477 sockets 955 probes meet at least once in 999 of 1,000 tries. Nobody knows
//! which kind its own NAT is, so both sides do both, in rounds; each later round uses the same mappings again, and so
//! does a later search while they may be alive.
//!
//! What may reach the other router depends on what it says. One that is silent is sent to at full TTL. One that
//! answers for itself (ICMP) might remember what it got, so that our probes only open our own NAT; the sweep of the
//! other side, to which our router is silent, finds them. Should both answer, nothing would ever pass: later rounds
//! probe every other port of the sweep to arrive. Not those of the fan: they all go to the one port that the other side
//! sweeps from, and a router that remembers one of them may move that port for the whole sweep (Linux gives a new flow
//! the port of the newest one).
//!
//! Two sides that have had a path know reserve ports (`reserve`). A side whose main port is not its own any more sweeps
//! from its reserve one. The other side need not know: if it was its fan that met the peer, each socket of that sends
//! to both ports from then on.
//!
//! A side that has met nobody for two minutes goes on in another way (`waiting`): a peer that starts later meets what is kept
//! with its own first rounds.
//!
//! The sweep goes in steps of the golden ratio: after n probes no gap is much wider than 64,512/n, so that a fan in a
//! row or in a block (RFC 7422) is met for certain after a few hundred, and one at random as fast as any other way.

mod allocation;
mod attempt;
mod waiting;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

pub(super) use self::allocation::most_sockets;
use self::allocation::{Allocation, Half, Part};
pub(in crate::puncher) use self::attempt::Sweepers;
use self::{
    attempt::{Attempt, Fanned},
    waiting::Waiting,
};
use crate::puncher::{
    LastSuccess, Method, Pair, SocketId,
    budget::MAPPING_LIFE,
    context::SearchContext,
    search::{RECONNECT_START, SearchMode},
    transmits::TransmitQueue,
};

/// Time for which the main pair has a search for itself: a slow round trip, so that ICMP has told by then
/// what router is there.
pub(in crate::puncher) const HEAD_START: Duration = Duration::from_millis(400);

/// The same where the main pair has failed the last time.
const SHORT_START: Duration = Duration::from_millis(250);

/// Times at which the rounds of an attempt begin. The first ones follow each other as fast as the pace allows; later ones are
/// spread over their time, so that the fan of a peer that starts later is met soon, and that one which has waited for hours and
/// makes few pairs at a time is met by all of ours: no router forgets them in between.
const EAGER: [Duration; 10] = seconds([0, 3, 6, 9, 12, 22, 42, 62, 82, 102]);

/// The same where a tunnel waits that had been punched like this: its network may return at any time.
const RECONNECT: [Duration; 50] = {
    let mut rounds = [Duration::ZERO; 50];
    let mut index = 1;
    while index < rounds.len() {
        let gap = if index < 5 { 3 } else { 6 };
        rounds[index] = Duration::from_secs(rounds[index - 1].as_secs() + gap);
        index += 1;
    }
    rounds
};

/// Time for which attempts are made where no tunnel waits, beyond the time for which the search is eager: some time after it has
/// begun the peer may be one that waits, whom the whole fan and sweep meet twice as fast as what is kept of them.
pub(in crate::puncher) const ATTEMPTS: Duration = Duration::from_secs(120);

/// Length of an epoch of UTC, in which a side deals the same ports whenever it begins. Longer than mappings live: each
/// epoch has a fresh set.
const EPOCH: Duration = Duration::from_secs(360);

/// Length of an attempt of an eager search where other candidates wait for their turn: five rounds.
const TURN: Duration = Duration::from_secs(20);

/// Time after which an attempt that had to leave a part of the mappings to others is made whole: nobody has wanted
/// them.
const WHOLE_AGAIN: Duration = Duration::from_secs(90);

/// Number of ports above a known one that are swept first; below it half as many.
const NEAR: u16 = 48;

/// Most known ports that are aimed at.
const MAX_AIMS: usize = 4;

/// The ports that NATs give out.
const FIRST_PORT: u32 = 1024;
const PORTS: u32 = 65_536 - FIRST_PORT;

/// Nearest to [`PORTS`] divided by the golden ratio without a common factor.
const STEP: u32 = 39_871;

const fn seconds<const N: usize>(list: [u64; N]) -> [Duration; N] {
    let mut out = [Duration::ZERO; N];
    let mut index = 0;
    while index < N {
        out[index] = Duration::from_secs(list[index]);
        index += 1;
    }
    out
}

#[derive(Debug)]
pub(in crate::puncher) struct Birthday {
    /// What has found the path that both sides have had; for the first attempt.
    half: Option<Half>,
    /// When the rounds of the attempts of an eager search begin.
    rounds: &'static [Duration],
    /// When the next attempt begins.
    begin_at: Option<Instant>,
    /// What is kept once attempts have ended.
    waiting: Option<Waiting>,
    /// When attempts end.
    waits_at: Instant,
    /// The candidates as they were last seen, and the attempts since then: they take turns.
    known: Vec<SocketAddr>,
    turn: u64,
    attempt: Option<Attempt>,
    /// Rounds of the attempts before this one.
    former_rounds: usize,
    /// Outside ports of the peer that are known, the newest last.
    aims: Vec<u16>,
}

impl Birthday {
    /// Makes one that begins soon, and that waits from some time on.
    pub(in crate::puncher) fn new(
        context: &SearchContext<'_>,
        last_success: Option<LastSuccess>,
        mode: SearchMode,
        waits_at: Instant,
    ) -> Self {
        let now = context.now.instant;
        let method = last_success.map(|last| last.method);
        let met = method.and_then(Half::of);
        // A main socket that has another port outside was met by the peer's sweep, as one of the fan; or needs no fan.
        let half = met.or((method == Some(Method::Base) && context.is_translated).then_some(Half::Fan));
        let half = half.filter(|_| mode.keeps_tunnel());
        let start = match (mode, met) {
            (SearchMode::Background, _) => None,
            (_, Some(_)) => Some(SHORT_START),
            (SearchMode::Reconnect | SearchMode::Refresh, None) => Some(RECONNECT_START),
            (SearchMode::Initial, None) => Some(HEAD_START),
        };
        let rounds: &[Duration] = if half.is_some() { &RECONNECT } else { &EAGER };
        let aims =
            last_success.filter(|m| m.method == Method::Sweep).map(|m| m.peer_port).into_iter().collect();
        Self {
            half,
            rounds,
            begin_at: start.map(|start| now + start),
            waiting: None,
            waits_at,
            known: context.candidates.translated().collect(),
            turn: 0,
            attempt: None,
            former_rounds: 0,
            aims,
        }
    }

    /// Records an outside port of the peer.
    pub(in crate::puncher) fn aim(&mut self, port: u16) {
        if !self.aims.contains(&port) {
            if self.aims.len() == MAX_AIMS {
                self.aims.remove(0);
            }
            self.aims.push(port);
        }
    }

    /// The peer was heard for the first time: the pair that it was heard on has its chance before the search widens.
    pub(in crate::puncher) fn hold(&mut self, now: Instant) {
        if self.attempt.is_none() {
            self.begin_at = self.begin_at.map(|at| at.max(now + HEAD_START));
        }
    }

    /// Does what is due.
    pub(in crate::puncher) fn handle_timeout(
        &mut self,
        context: &SearchContext<'_>,
        routers: Routers,
        sweepers: Sweepers,
        transmits: &mut TransmitQueue,
    ) {
        let now = context.now.instant;
        self.follow(context, transmits);
        if now >= self.waits_at {
            return self.wait(context, routers, sweepers, transmits);
        }
        if self.begin_at.is_some_and(|at| now >= at) {
            self.begin(context, transmits);
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.sweepers = sweepers;
            attempt.handle_timeout(context, routers, transmits);
        }
    }

    /// Does what is due once attempts have ended.
    fn wait(
        &mut self,
        context: &SearchContext<'_>,
        routers: Routers,
        sweepers: Sweepers,
        transmits: &mut TransmitQueue,
    ) {
        let waiting = self.waiting.get_or_insert_with(|| {
            self.begin_at = None;
            let left = self.attempt.take().map(|attempt| {
                self.former_rounds += attempt.round;
                attempt.leave()
            });
            Waiting::new(context, left, transmits)
        });
        waiting.handle_timeout(context, routers, sweepers, transmits);
    }

    pub(in crate::puncher) fn handle_open_failed(&mut self, socket: SocketId) {
        if let Some(waiting) = &mut self.waiting {
            waiting.handle_open_failed(socket);
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.handle_open_failed(socket);
        }
    }

    /// Returns how a pair of ours came about.
    pub(in crate::puncher) fn method(&self, pair: Pair) -> Option<Method> {
        if let Some(half) = self.waiting.as_ref().and_then(|waiting| waiting.half(pair)) {
            return Some(half.method());
        }
        let attempt = self.attempt.as_ref()?;
        if attempt.fan.contains(&Fanned::Open(pair.socket)) {
            return Some(Method::Fan);
        }
        let is_swept = attempt.sweepers.has(pair.socket) && attempt.sweep.contains(&pair.remote.port());
        is_swept.then_some(Method::Sweep)
    }

    pub(in crate::puncher) fn deadline(&self) -> Instant {
        let attempt = self.attempt.as_ref().and_then(|c| c.next_at);
        let waits_at = self.waiting.as_ref().map_or(self.waits_at, Waiting::deadline);
        attempt.into_iter().chain(self.begin_at).fold(waits_at, Instant::min)
    }

    /// Rounds over all mappings that were finished, of all attempts.
    pub(in crate::puncher) fn rounds(&self, now: Instant) -> usize {
        let waited = self.waiting.as_ref().map_or(0, |waiting| waiting.rounds(now));
        self.former_rounds + self.attempt.as_ref().map_or(0, |c| c.round) + waited
    }

    /// Follows a change of the candidates: what goes to an address that is none any more ends, and a better one has its turn.
    fn follow(&mut self, context: &SearchContext<'_>, transmits: &mut TransmitQueue) {
        let mut candidates = context.candidates.translated();
        if candidates.clone().count() == self.known.len() && candidates.all(|c| self.known.contains(&c)) {
            return;
        }
        let is_first_new = context.target(0).is_some_and(|first| !self.known.contains(&first));
        self.known = context.candidates.translated().collect();
        let now = context.now.instant;
        if let Some(waiting) = &mut self.waiting {
            return waiting.follow(&self.known, transmits);
        }
        if let Some(attempt) =
            self.attempt.as_ref().filter(|c| !is_first_new && self.known.contains(&c.target()))
        {
            let others_wait = self.known.len() > 1;
            self.begin_at = if others_wait { Some(now.max(attempt.began + TURN)) } else { self.begin_at };
            return;
        }
        self.turn = 0;
        if self.attempt.is_some() || self.begin_at.is_none() {
            self.end(transmits);
            self.begin_at = Some(now);
        }
    }

    fn end(&mut self, transmits: &mut TransmitQueue) {
        if let Some(mut attempt) = self.attempt.take() {
            self.former_rounds += attempt.round;
            attempt.close(transmits);
        }
    }

    /// Begins the next attempt.
    fn begin(&mut self, context: &SearchContext<'_>, transmits: &mut TransmitQueue) {
        let now = context.now.instant;
        self.end(transmits);
        self.begin_at = None;
        let Some(target) = context.target(self.turn) else { return };
        let candidates = self.known.len();
        let part = Part {
            all: transmits.limits().search(),
            room: transmits.room(target.ip(), now),
            awaits_name: context.awaits_name,
            candidates,
            is_best: self.turn.is_multiple_of(candidates as u64),
        };
        self.begin_at = next_after(part).map(|after| now + after);
        transmits.keep_free(part.kept_free());
        let is_later = context.reserve.is_some() && self.turn >= candidates as u64;
        // What has met the peer before comes first once; the NATs may be others now.
        let half = self.half.filter(|_| self.turn == 0);
        let allocation = Allocation::new(part, half, is_later);
        tracing::debug!(self.turn, ?part, ?target, ?half, ?allocation, aims = ?self.aims, "birthday begins");
        self.attempt = Some(self.attempt(context, target, half, allocation, transmits));
        self.turn += 1;
    }

    fn attempt(
        &self,
        context: &SearchContext<'_>,
        target: SocketAddr,
        half: Option<Half>,
        allocation: Allocation,
        transmits: &TransmitQueue,
    ) -> Attempt {
        let now = context.now.instant;
        // Mappings that may be alive are used again, whatever search they are from.
        let alive = transmits.dealt.filter(|(_, used)| now < *used + MAPPING_LIFE).map(|(epoch, _)| epoch);
        let epoch = alive.unwrap_or(epoch_at(context.unix));
        let Allocation { fan, swept, .. } = allocation;
        let peers_reserve = context.reserve.map(|reserve| SocketAddr::new(target.ip(), reserve.peers));
        let targets: Vec<SocketAddr> =
            [target].into_iter().chain(peers_reserve.filter(|_| allocation.fans_to_reserve)).collect();
        let more = if targets.len() == 1 { 0 } else { allocation.more_fan };
        let deal = context.schedule.deal(epoch, context.role, context.port);
        let ports = sweep(&self.aims, deal.start % PORTS).filter(|port| *port != target.port());
        Attempt {
            epoch,
            half,
            fanned: allocation.fanned.min(fan * targets.len()),
            targets,
            fan: deal.fan.into_iter().take(fan + more).map(Fanned::Closed).collect(),
            first: fan,
            sweepers: Sweepers::default(),
            sweep: ports.take(swept).collect(),
            swept_twice: allocation.swept_twice.min(swept),
            began: now,
            rounds: self.rounds,
            round: 0,
            cursor: 0,
            next_at: Some(now + self.rounds[0]),
        }
    }
}

/// Time from the beginning of an attempt to the next one, if there is one.
fn next_after(part: Part) -> Option<Duration> {
    if part.candidates > 1 { Some(TURN) } else { (!part.is_whole()).then_some(WHOLE_AGAIN) }
}

/// The routers on the way, as far as they are known.
#[derive(Debug, Clone, Copy)]
pub(in crate::puncher) struct Routers {
    /// Opens our NAT without reaching theirs, if such a number of hops exists.
    pub(in crate::puncher) low_ttl: Option<u8>,
    /// The peer's router answers for itself.
    pub(in crate::puncher) is_answering: bool,
}

/// All ports of a NAT, each once: those near a known one first, the newest first, then in steps of the golden ratio.
pub(in crate::puncher) fn sweep(aims: &[u16], start: u32) -> impl Iterator<Item = u16> {
    let near: Vec<u16> = aims.iter().rev().flat_map(|aim| neighbours(*aim)).collect();
    let mut aimed = Vec::new();
    for port in near {
        if !aimed.contains(&port) {
            aimed.push(port);
        }
    }
    let rest = (0..PORTS).map(move |n| FIRST_PORT + (start + n * STEP % PORTS) % PORTS);
    let rest = rest.filter_map(|port| u16::try_from(port).ok());
    let known = aimed.clone();
    aimed.into_iter().chain(rest.filter(move |port| !known.contains(port)))
}

/// The ports around a known one, those above first: NATs that count do so upwards.
fn neighbours(port: u16) -> impl Iterator<Item = u16> {
    let above = (0..=NEAR).map(move |n| port.saturating_add(n));
    let below = (1..=NEAR / 2).map(move |n| port.saturating_sub(n));
    above.chain(below).filter(|port| u32::from(*port) >= FIRST_PORT)
}

/// Returns the number of the epoch that began last on the wall clock.
fn epoch_at(unix: Duration) -> u64 {
    unix.as_secs() / EPOCH.as_secs()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_sweep_visits_every_port_once() {
        let seen: BTreeSet<u16> = sweep(&[40_000, 1030], 17).collect();
        assert_eq!(seen.len(), 64_512);
        assert_eq!(sweep(&[40_000, 1030], 17).count(), 64_512);
    }

    #[test]
    fn known_ports_come_first_and_the_newest_before_the_others() {
        let first: Vec<u16> = sweep(&[40_000, 50_000], 0).take(3).collect();
        assert_eq!(first, [50_000, 50_001, 50_002]);
    }

    #[test]
    fn a_fan_in_a_row_is_met_within_a_few_hundred_probes_wherever_it_is() {
        for start in (0..PORTS).step_by(997) {
            let mut swept: Vec<u16> = sweep(&[], start).take(450).collect();
            swept.sort_unstable();
            let widest = swept.windows(2).map(|two| two[1] - two[0]).max();
            assert!(widest <= Some(256), "{widest:?}");
        }
    }
}
