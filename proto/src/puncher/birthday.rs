//! The birthday attack on an unpredictable NAT.
//!
//! Where one NAT gives each flow an unpredictable outside port, no single pair can be hit, but many at once can: that
//! side *fans* out, many sockets toward the one port of the other side that is known, and the other side *sweeps*
//! many ports of it from there. With 256 sockets 1,184 probes meet at least once in 99 of 100 tries. Nobody knows
//! which kind its own NAT is, so both sides do both, in passes; each later pass uses the same mappings again.
//!
//! What may reach the other router depends on what it says. One that is silent is sent to at full TTL. One that
//! answers for itself (ICMP) might remember what it got, so that our probes only open our own NAT; the sweep of the
//! other side, to which our router is silent, finds them. Should both answer, nothing would ever pass: a few sockets
//! venture.
//!
//! The sweep goes in steps of the golden ratio: after n probes no gap is much wider than 64,512/n, so that a fan in a
//! row or in a block (RFC 7422) is met for certain after a few hundred, and one at random as fast as any other way.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Memory, Method, Pair, SocketId,
    budget::{MAPPING_LIFE, Purpose},
    outbox::{Letter, Outbox},
    search::Ground,
};

/// The plain pair has this long for itself before a search widens: twice a slow round trip.
const HEAD_START: Duration = Duration::from_millis(600);

/// The same where the plain pair has failed the last time: still time for ICMP to tell what router is there.
const SHORT_START: Duration = Duration::from_millis(250);

/// When the passes of an eager search begin.
const EAGER: [Duration; 9] = seconds([0, 3, 6, 9, 12, 16, 24, 35, 46]);

/// A side that is not eager any more tries once in so many seconds of UTC, at the same time as the other one.
pub(super) const WINDOW_EVERY: Duration = Duration::from_secs(300);

/// When the passes of a newcomer within a window begin; clocks may be 5 s apart.
const WINDOW: [Duration; 2] = seconds([0, 8]);

/// When the only pass of a side begins that has waited longer than [`NEWCOMER`]. It is in the middle of the other's.
const WAITING_WINDOW: [Duration; 1] = seconds([4]);

/// After this long a side that waits makes one pass in each window, with a half of its fan and a third of its sweep:
/// a fifth of the packets, and 4 of 5 newcomers are still met in the first window.
const NEWCOMER: Duration = Duration::from_secs(3600);

/// The pass in which some sockets venture to reach a router that answers for itself, and how many: one in so many.
const VENTURE_PASS: usize = 2;
const VENTURE_SHARE: usize = 6;

/// Ports on each side of a known one that are swept first.
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
    /// When the next campaign begins.
    begin_at: Instant,
    campaign: Option<Campaign>,
    /// Outside ports of the peer that are known, the newest last.
    aims: Vec<u16>,
}

impl Birthday {
    /// Makes one that begins soon, or, after a goodbye, at the next window.
    pub(super) fn new(ground: &Ground<'_>, memory: Option<Memory>) -> Self {
        let now = ground.now.instant;
        let begin_at = match memory.map(|m| m.method) {
            _ if !ground.is_eager => now + to_window(ground.unix),
            Some(Method::Fan | Method::Sweep) => now + SHORT_START,
            Some(Method::Base | Method::Slot) | None => now + HEAD_START,
        };
        let aims = memory.filter(|m| m.method == Method::Sweep).map(|m| m.peer_port).into_iter().collect();
        Self { since: now, begin_at, campaign: None, aims }
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

    /// The peer was heard: the pair that it was heard on has its chance before the search widens.
    pub(super) fn hold(&mut self, now: Instant) {
        if self.campaign.is_none() {
            self.begin_at = self.begin_at.max(now + HEAD_START);
        }
    }

    pub(super) fn handle_timeout(&mut self, ground: &Ground<'_>, ways: Ways, outbox: &mut Outbox) {
        let now = ground.now.instant;
        if now >= self.begin_at {
            self.begin(ground, outbox);
            self.begin_at = now + to_window(ground.unix);
        }
        if let Some(campaign) = &mut self.campaign {
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
        if campaign.fan.contains(&pair.socket) {
            return Some(Method::Fan);
        }
        let is_swept = pair.socket == SocketId::MAIN && campaign.sweep.contains(&pair.remote.port());
        is_swept.then_some(Method::Sweep)
    }

    pub(super) fn deadline(&self) -> Instant {
        let campaign = self.campaign.as_ref().and_then(|c| c.next_at);
        campaign.map_or(self.begin_at, |at| at.min(self.begin_at))
    }

    /// Passes over all mappings that were finished.
    pub(super) fn passes(&self) -> usize {
        self.campaign.as_ref().map_or(0, |c| c.passes_done)
    }

    fn begin(&mut self, ground: &Ground<'_>, outbox: &mut Outbox) {
        let now = ground.now.instant;
        let waits = now >= self.since + NEWCOMER;
        let passes: &[Duration] = match (ground.is_eager, waits) {
            (true, _) => &EAGER,
            (false, false) => &WINDOW,
            (false, true) => &WAITING_WINDOW,
        };
        if let Some(old) = &mut self.campaign {
            if now < old.last_sent + MAPPING_LIFE {
                return old.resume(passes, now);
            }
            for socket in &old.fan {
                outbox.close(*socket);
            }
        }
        let Some(target) = ground.target(0) else { return };
        let limits = outbox.limits();
        let (fan_size, sweep_size) =
            if waits { (limits.fan() / 2, limits.sweep() / 3) } else { (limits.fan(), limits.sweep()) };
        let start = (outbox.random() % u64::from(PORTS)) as u32;
        let sweep = sweep(&self.aims, start).filter(|port| *port != target.port());
        let sweep = sweep.take(sweep_size).collect();
        self.campaign = Some(Campaign {
            target,
            fan: Vec::new(),
            fan_size,
            sweep,
            began: now,
            passes,
            pass: 0,
            passes_done: 0,
            cursor: 0,
            next_at: Some(now + passes[0]),
            last_sent: now,
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

/// One set of mappings and the passes over it.
#[derive(Debug)]
struct Campaign {
    target: SocketAddr,
    fan: Vec<SocketId>,
    fan_size: usize,
    sweep: Vec<u16>,
    began: Instant,
    passes: &'static [Duration],
    pass: usize,
    passes_done: usize,
    /// Letters of this pass so far.
    cursor: usize,
    next_at: Option<Instant>,
    last_sent: Instant,
}

impl Campaign {
    fn resume(&mut self, passes: &'static [Duration], now: Instant) {
        (self.began, self.passes, self.pass, self.cursor) = (now, passes, 0, 0);
        self.next_at = Some(now + passes[0]);
    }

    fn handle_timeout(&mut self, ground: &Ground<'_>, ways: Ways, outbox: &mut Outbox) {
        let now = ground.now.instant;
        if self.next_at.is_none_or(|at| now < at) {
            return;
        }
        while self.cursor < self.fan_size + self.sweep.len() {
            let ready_at = outbox.ready_at(now);
            if now < ready_at {
                return self.next_at = Some(ready_at + GROUP);
            }
            if let Some(letter) = self.letter(ways, outbox) {
                outbox.send(&letter, Purpose::Search, ground.now);
                self.last_sent = now;
            }
            self.cursor += 1;
        }
        self.cursor = 0;
        self.pass += 1;
        self.passes_done += 1;
        self.next_at = self.passes.get(self.pass).map(|after| now.max(self.began + *after));
    }

    /// Returns the letter whose turn it is. Fan and sweep take turns: a line on which the carrier allows few mappings
    /// gives some of them to both.
    fn letter(&mut self, ways: Ways, outbox: &mut Outbox) -> Option<Letter> {
        let token = outbox.random();
        let turns = 2 * self.fan_size.min(self.sweep.len());
        let fans = self.cursor < turns && self.cursor.is_multiple_of(2);
        let index = if self.cursor < turns { self.cursor / 2 } else { self.cursor - turns / 2 };
        if !fans {
            let pair =
                Pair { socket: SocketId::MAIN, remote: SocketAddr::new(self.target.ip(), self.sweep[index]) };
            let ttl = if ways.is_answering { ways.low_ttl } else { None };
            return Some(Letter { ttl, ..Letter::probe(pair, token) });
        }
        let arrives = self.may_arrive(ways, index);
        if !arrives && ways.low_ttl.is_none() {
            return None; // whatever opens our NAT reaches theirs: the sweep of the other side must come first
        }
        if index == self.fan.len() {
            self.fan.push(outbox.open(None));
        }
        let pair = Pair { socket: *self.fan.get(index)?, remote: self.target };
        Some(Letter { ttl: ways.low_ttl.filter(|_| !arrives), ..Letter::probe(pair, token) })
    }

    /// Whether a packet of the fan may reach the other router. Half of the first pass must not even where that is
    /// silent: its answer may have been lost.
    fn may_arrive(&self, ways: Ways, index: usize) -> bool {
        match (ways.is_answering, ways.low_ttl) {
            (true, Some(_)) => self.pass == VENTURE_PASS && index.is_multiple_of(VENTURE_SHARE),
            (true, None) => self.pass > 0,
            (false, _) => self.pass > 0 || index.is_multiple_of(2),
        }
    }

    /// The fan stays as small as it is by then.
    fn handle_open_failed(&mut self, socket: SocketId) {
        let before = self.fan.len();
        self.fan.retain(|s| *s != socket);
        if self.fan.len() < before {
            self.fan_size = self.fan.len();
            self.cursor = self.cursor.min(self.fan_size);
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
    fn windows_are_at_full_five_minutes_of_utc() {
        assert_eq!(to_window(Duration::from_secs(3000)), WINDOW_EVERY);
        assert_eq!(to_window(Duration::from_millis(3_299_500)), Duration::from_millis(500));
    }
}
