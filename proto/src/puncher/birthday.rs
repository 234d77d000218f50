//! The birthday attack on an unpredictable NAT.
//!
//! Where one NAT gives each flow an unpredictable outside port, no single pair can be hit, but many at once can: that
//! side *fans* out, many sockets toward the one port of the other side that is known, and the other side *sweeps*
//! many ports of it from there. With 477 sockets 955 probes meet at least once in 999 of 1,000 tries. Nobody knows
//! which kind its own NAT is, so both sides do both, in passes; each later pass uses the same mappings again, and so
//! does a later search while they may be alive.
//!
//! What may reach the other router depends on what it says. One that is silent is sent to at full TTL. One that
//! answers for itself (ICMP) might remember what it got, so that our probes only open our own NAT; the sweep of the
//! other side, to which our router is silent, finds them. Should both answer, nothing would ever pass: a few sockets
//! venture.
//!
//! Two sides that have had a path know spare ports (`spare`). A side whose main port is not its own any more sweeps from
//! its spare one. The other side need not know: if it was its fan that met the peer, each socket of that sends to both
//! ports from then on.
//!
//! The sweep goes in steps of the golden ratio: after n probes no gap is much wider than 64,512/n, so that a fan in a
//! row or in a block (RFC 7422) is met for certain after a few hundred, and one at random as fast as any other way.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Memory, Method, Pair, SocketId,
    bearings::Ground,
    budget::{MAPPING_LIFE, MAX_FAN, Purpose},
    outbox::{Letter, Outbox},
    search::{Haste, KEPT_START},
};

/// The plain pair has this long for itself before a search widens: a slow round trip, so that ICMP has told by then
/// what router is there.
pub(super) const HEAD_START: Duration = Duration::from_millis(400);

/// The same where the plain pair has failed the last time.
const SHORT_START: Duration = Duration::from_millis(250);

/// When the passes of an eager search begin. The first ones follow each other as fast as the pace allows; later ones
/// are spread over their time, so that a newcomer's fan is met soon whenever it comes.
const EAGER: [Duration; 9] = seconds([0, 3, 6, 9, 12, 22, 32, 42, 52]);

/// When they begin where a tunnel waits that had been punched like this: its network may return at any time.
const KEPT: [Duration; 50] = {
    let mut passes = [Duration::ZERO; 50];
    let mut index = 1;
    while index < passes.len() {
        let gap = if index < 5 { 3 } else { 6 };
        passes[index] = Duration::from_secs(passes[index - 1].as_secs() + gap);
        index += 1;
    }
    passes
};

/// A side that is not eager any more tries once in so many seconds of UTC, at the same time as the other one.
/// Longer than mappings live: each window has a fresh set.
pub(super) const WINDOW_EVERY: Duration = Duration::from_secs(360);

/// When the passes of a newcomer within a window begin; clocks may be 5 s apart.
const WINDOW: [Duration; 2] = seconds([0, 8]);

/// When the only pass of a side begins that has waited longer than [`NEWCOMER`]. It is in the middle of the other's.
const WAITING_WINDOW: [Duration; 1] = seconds([4]);

/// After this long a side that waits makes one pass in each window, with two fifths of its fan, a third of its sweep:
/// a sixth of the packets, and most newcomers are still met in the first window.
const NEWCOMER: Duration = Duration::from_secs(3600);

/// In so many passes a side does what has met the peer the last time, and that alone: it is twice as fast.
const HALF_PASSES: usize = 4;

/// Of our mappings one in so many is a socket of the fan, as long as nobody knows which half will meet the peer.
const EVEN_SHARE: usize = 3;

/// From this pass on further sockets, as many as find room, send to the peer's spare port where the own fan has met the
/// peer before: the first ones have missed, or the peer cannot sweep much.
const MORE_FROM_PASS: usize = 1;

/// In the last pass one socket in so many ventures to reach a router that answers for itself. Not earlier: those are
/// spoilt for a peer that comes later.
const VENTURE_SHARE: usize = 11;

/// After its last pass a campaign's sockets stay open for this long: the peer's sweep may still meet them. Linux forgets
/// their mappings by then.
const LINGER: Duration = Duration::from_secs(30);

/// Ports above a known one that are swept first; below it half as many.
const NEAR: u16 = 48;

/// Known ports that are aimed at.
const MAX_AIMS: usize = 4;

/// The ports that NATs give out.
const FIRST_PORT: u32 = 1024;
const PORTS: u32 = 65_536 - FIRST_PORT;

/// Nearest to [`PORTS`] divided by the golden ratio without a common factor.
const STEP: u32 = 39_871;

/// Probes leave in small groups: a timer for each would cost more than it is worth.
const GROUP: Duration = Duration::from_millis(8);

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
pub(super) struct Birthday {
    since: Instant,
    /// What has found the path that both sides have had.
    half: Option<Half>,
    /// When the passes of the first campaign begin.
    passes: &'static [Duration],
    /// When the next campaign begins.
    begin_at: Instant,
    campaign: Option<Campaign>,
    /// Outside ports of the peer that are known, the newest last.
    aims: Vec<u16>,
}

impl Birthday {
    /// Makes one that begins soon, or, if the search is a patient one, at the next window.
    pub(super) fn new(ground: &Ground<'_>, memory: Option<Memory>, haste: Haste) -> Self {
        let now = ground.now.instant;
        let half = memory.and_then(|memory| Half::of(memory.method));
        let (begin_at, passes): (_, &[Duration]) = match (haste, half) {
            (Haste::Patient, _) => (now + to_window(ground.unix), &EAGER),
            (Haste::Kept | Haste::Renewal, Some(_)) => (now + SHORT_START, &KEPT),
            (Haste::Kept | Haste::Renewal, None) => (now + KEPT_START, &EAGER),
            (Haste::Eager, Some(_)) => (now + SHORT_START, &EAGER),
            (Haste::Eager, None) => (now + HEAD_START, &EAGER),
        };
        let aims = memory.filter(|m| m.method == Method::Sweep).map(|m| m.peer_port).into_iter().collect();
        let half = half.filter(|_| haste.is_kept());
        Self { since: now, half, passes, begin_at, campaign: None, aims }
    }

    /// Takes note of an outside port of the peer.
    pub(super) fn aim(&mut self, port: u16) {
        if !self.aims.contains(&port) {
            if self.aims.len() == MAX_AIMS {
                self.aims.remove(0);
            }
            self.aims.push(port);
        }
    }

    /// The peer was heard for the first time: the pair that it was heard on has its chance before the search widens.
    pub(super) fn hold(&mut self, now: Instant) {
        if self.campaign.is_none() {
            self.begin_at = self.begin_at.max(now + HEAD_START);
        }
    }

    /// Does what is due; `sweeper` is the socket to sweep from.
    pub(super) fn handle_timeout(
        &mut self,
        ground: &Ground<'_>,
        ways: Ways,
        sweeper: SocketId,
        outbox: &mut Outbox,
    ) {
        let now = ground.now.instant;
        if now >= self.begin_at {
            self.begin(ground, outbox);
            self.begin_at = now + to_window(ground.unix);
        }
        if let Some(campaign) = &mut self.campaign {
            campaign.sweeper = sweeper;
            campaign.handle_timeout(ground, ways, outbox);
        }
    }

    pub(super) fn handle_open_failed(&mut self, socket: SocketId) {
        if let Some(campaign) = &mut self.campaign {
            campaign.handle_open_failed(socket);
        }
    }

    /// Returns how a pair of ours came about.
    pub(super) fn method(&self, pair: Pair) -> Option<Method> {
        let campaign = self.campaign.as_ref()?;
        if campaign.fan.contains(&Fanned::Open(pair.socket)) {
            return Some(Method::Fan);
        }
        let is_swept = campaign.sweeper == pair.socket && campaign.sweep.contains(&pair.remote.port());
        is_swept.then_some(Method::Sweep)
    }

    pub(super) fn deadline(&self) -> Instant {
        let campaign = self.campaign.as_ref().and_then(|c| c.next_at);
        campaign.map_or(self.begin_at, |at| at.min(self.begin_at))
    }

    /// Passes over all mappings that were finished.
    pub(super) fn passes(&self) -> usize {
        self.campaign.as_ref().map_or(0, |c| c.pass)
    }

    fn begin(&mut self, ground: &Ground<'_>, outbox: &mut Outbox) {
        let now = ground.now.instant;
        // Mappings that may be alive are used again, whatever search they are from.
        let alive = outbox.dealt.filter(|(_, used)| now < *used + MAPPING_LIFE).map(|(epoch, _)| epoch);
        let epoch = alive.unwrap_or(ground.unix.as_secs() / WINDOW_EVERY.as_secs());
        if let Some(mut old) = self.campaign.take() {
            old.close(outbox);
        }
        let Some(target) = ground.target(epoch) else { return };
        let half = self.half;
        let spare = ground.spare.filter(|_| half == Some(Half::Fan));
        let peers_spare = spare.map(|spare| SocketAddr::new(target.ip(), spare.peers));
        let targets: Vec<SocketAddr> = [target].into_iter().chain(peers_spare).collect();
        let waits = now >= self.since + NEWCOMER;
        let passes: &[Duration] = match (ground.is_eager, waits) {
            (true, _) => self.passes,
            (false, false) => &WINDOW,
            (false, true) => &WAITING_WINDOW,
        };
        let limits = outbox.limits();
        let share = half.map_or(EVEN_SHARE, Half::fan_share);
        let fan = limits.fan(share);
        let swept = limits.sweep(fan * targets.len());
        let (fan, swept) = if waits { (fan * 2 / 5, swept / 3) } else { (fan, swept) };
        let more = if waits || peers_spare.is_none() { 0 } else { MAX_FAN };
        let deal = ground.schedule.deal(epoch, ground.role, ground.port);
        tracing::debug!(epoch, %target, ?spare, half = ?half, fan, swept, aims = ?self.aims, "birthday begins");
        let ports = sweep(&self.aims, deal.start % PORTS).filter(|port| *port != target.port());
        self.campaign = Some(Campaign {
            epoch,
            half,
            targets,
            fan: deal.fan.into_iter().take(fan + more).map(Fanned::Closed).collect(),
            first: fan,
            sweeper: SocketId::MAIN,
            sweep: ports.take(swept).collect(),
            began: now,
            passes,
            pass: 0,
            cursor: 0,
            next_at: Some(now + passes[0]),
        });
    }
}

/// What is known of the two ways.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    /// Opens our NAT without reaching theirs, if such a number of hops exists.
    pub(super) low_ttl: Option<u8>,
    /// The peer's router answers for itself.
    pub(super) is_answering: bool,
}

/// Fan or sweep: what of ours has met what of the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Fan,
    Sweep,
}

impl Half {
    fn of(method: Method) -> Option<Self> {
        match method {
            Method::Fan => Some(Self::Fan),
            Method::Sweep => Some(Self::Sweep),
            Method::Base | Method::Slot | Method::Spare => None,
        }
    }

    /// Of our mappings one in so many is a socket of the fan. The other half has room too: the NATs may be others now.
    fn fan_share(self) -> usize {
        match self {
            Self::Fan => 4, // toward two ports
            Self::Sweep => 6,
        }
    }
}

/// A socket of the fan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fanned {
    /// Will be opened on this port when its first turn comes.
    Closed(u16),
    Open(SocketId),
    /// Another program has the port, or there are no descriptors left.
    Failed,
}

impl Fanned {
    /// Returns the socket; opens it at its first turn, if its mapping has room.
    fn socket(&mut self, remote: SocketAddr, now: Instant, outbox: &mut Outbox) -> Option<SocketId> {
        match *self {
            Self::Open(socket) => Some(socket),
            Self::Failed => None,
            Self::Closed(port) => {
                let socket = outbox.has_room(port, remote, now).then(|| outbox.open(port))?;
                *self = Self::Open(socket);
                Some(socket)
            }
        }
    }
}

/// One set of mappings and the passes over it.
#[derive(Debug)]
struct Campaign {
    epoch: u64,
    /// What is enough for the first passes, as far as the two NATs are what they were.
    half: Option<Half>,
    /// Ports of the peer that the fan sends to: one, or two.
    targets: Vec<SocketAddr>,
    fan: Vec<Fanned>,
    /// So many of the fan send to all targets, from the first pass on; the others to the last target, later.
    first: usize,
    sweeper: SocketId,
    sweep: Vec<u16>,
    began: Instant,
    passes: &'static [Duration],
    pass: usize,
    /// Turns of this pass so far.
    cursor: usize,
    next_at: Option<Instant>,
}

impl Campaign {
    fn handle_timeout(&mut self, ground: &Ground<'_>, ways: Ways, outbox: &mut Outbox) {
        let now = ground.now.instant;
        if self.next_at.is_none_or(|at| now < at) {
            return;
        }
        if self.pass == self.passes.len() {
            self.next_at = None;
            return self.close(outbox);
        }
        while self.cursor < self.letters().iter().sum() {
            let ready_at = outbox.ready_at(now).max(self.due_at().unwrap_or(now));
            if now < ready_at {
                return self.next_at = Some(ready_at + GROUP);
            }
            if let Some(letter) = self.letter(ways, now, outbox)
                && outbox.send(&letter, Purpose::Search, ground.now).is_some()
            {
                outbox.dealt = Some((self.epoch, now));
            }
            self.cursor += 1;
        }
        tracing::debug!(pass = self.pass, letters = ?self.letters(), ?ways, unsent = outbox.unsent(), "birthday");
        self.cursor = 0;
        self.pass += 1;
        let next = self.passes.get(self.pass).map(|after| now.max(self.began + *after));
        self.next_at = Some(next.unwrap_or(now + LINGER));
    }

    /// When the next turn is due if this pass is spread over the time until the next one.
    fn due_at(&self) -> Option<Instant> {
        let (begins, ends) = (*self.passes.get(self.pass)?, *self.passes.get(self.pass + 1)?);
        let turns = u32::try_from(self.letters().iter().sum::<usize>()).ok().filter(|turns| *turns > 0)?;
        let turn = u32::try_from(self.cursor).ok()?;
        Some(self.began + begins + (ends - begins) / turns * turn)
    }

    /// Letters of this pass: of the fan, and of the sweep.
    fn letters(&self) -> [usize; 2] {
        let more = if self.pass < MORE_FROM_PASS { 0 } else { self.fan.len() - self.first };
        let (fan, sweep) = (self.first * self.targets.len() + more, self.sweep.len());
        match self.half.filter(|_| self.pass < HALF_PASSES) {
            Some(Half::Fan) => [fan, 0],
            Some(Half::Sweep) => [0, sweep],
            None => [fan, sweep],
        }
    }

    /// Returns the letter whose turn it is. Fan and sweep take turns: a line on which the carrier allows few mappings
    /// gives some of them to both.
    fn letter(&mut self, ways: Ways, now: Instant, outbox: &mut Outbox) -> Option<Letter> {
        let [fanned, swept] = self.letters();
        let both = fanned.min(swept);
        let (fans, index) = match self.cursor {
            turn if turn < 2 * both => (turn.is_multiple_of(2), turn / 2),
            turn => (fanned > both, turn - both),
        };
        let token = outbox.random();
        if fans {
            let (index, remote) = self.fan_letter(index);
            let arrives = self.may_arrive(ways, index);
            if !arrives && ways.low_ttl.is_none() {
                return None; // whatever opens our NAT reaches theirs: the other side's sweep must come first
            }
            let pair = Pair { socket: self.fan[index].socket(remote, now, outbox)?, remote };
            return Some(Letter { ttl: ways.low_ttl.filter(|_| !arrives), ..Letter::probe(pair, token) });
        }
        if ways.is_answering && ways.low_ttl.is_none() && index > self.sweep.len() / 2 {
            return None; // as many as the other router may remember beside its own
        }
        let remote = SocketAddr::new(self.targets[0].ip(), self.sweep[index]);
        let ttl = ways.low_ttl.filter(|_| ways.is_answering);
        Some(Letter { ttl, ..Letter::probe(Pair { socket: self.sweeper, remote }, token) })
    }

    /// Returns the socket of a turn of the fan, and where it sends. All to the main port come first: a full table has room
    /// for them.
    fn fan_letter(&self, turn: usize) -> (usize, SocketAddr) {
        let last = self.targets.len() - 1;
        let target = (turn / self.first).min(last);
        (turn - target * self.first, self.targets[target])
    }

    fn close(&mut self, outbox: &mut Outbox) {
        for fanned in std::mem::take(&mut self.fan) {
            if let Fanned::Open(socket) = fanned {
                outbox.close(socket);
            }
        }
    }

    /// Whether a packet of the fan may reach the other router. Half of the first pass must not even where that is
    /// silent: its answer may have been lost.
    fn may_arrive(&self, ways: Ways, index: usize) -> bool {
        let ventures =
            self.pass > 0 && self.pass + 1 == self.passes.len() && index.is_multiple_of(VENTURE_SHARE);
        match (ways.is_answering, ways.low_ttl) {
            (_, None) => self.pass > 0,
            (true, Some(_)) => ventures,
            (false, Some(_)) => self.pass > 0 || index.is_multiple_of(2),
        }
    }

    fn handle_open_failed(&mut self, socket: SocketId) {
        for fanned in &mut self.fan {
            if *fanned == Fanned::Open(socket) {
                *fanned = Fanned::Failed;
            }
        }
    }
}

/// All ports of a NAT, each once: those near a known one first, the newest first, then in steps of the golden ratio.
fn sweep(aims: &[u16], start: u32) -> impl Iterator<Item = u16> {
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

/// Time to the next window on the wall clock.
fn to_window(unix: Duration) -> Duration {
    let every = WINDOW_EVERY.as_millis();
    let rest = every - unix.as_millis() % every;
    Duration::from_millis(u64::try_from(rest).unwrap_or(0))
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

    #[test]
    fn windows_are_at_full_six_minutes_of_utc() {
        assert_eq!(to_window(Duration::from_secs(3600)), WINDOW_EVERY);
        assert_eq!(to_window(Duration::from_millis(3_959_500)), Duration::from_millis(500));
    }
}
