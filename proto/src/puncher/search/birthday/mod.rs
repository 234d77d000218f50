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
//! other side, to which our router is silent, finds them. Should both answer, nothing would ever pass: later passes
//! probe every other port of the sweep to arrive. Not those of the fan: they all go to the one port that the other side
//! sweeps from, and a router that remembers one of them may move that port for the whole sweep (Linux gives a new flow
//! the port of the newest one).
//!
//! Two sides that have had a path know spare ports (`spare`). A side whose main port is not its own any more sweeps from
//! its spare one. The other side need not know: if it was its fan that met the peer, each socket of that sends to both
//! ports from then on.
//!
//! The sweep goes in steps of the golden ratio: after n probes no gap is much wider than 64,512/n, so that a fan in a
//! row or in a block (RFC 7422) is met for certain after a few hundred, and one at random as fast as any other way.

mod campaign;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

pub(in crate::puncher) use self::campaign::Sweepers;
use self::campaign::{Campaign, Fanned};
use crate::puncher::{
    Limits, Memory, Method, Pair, SocketId,
    bearings::Ground,
    budget::{MAPPING_LIFE, MORE_FAN},
    outbox::Outbox,
    search::{Haste, KEPT_START},
};

/// The plain pair has this long for itself before a search widens: a slow round trip, so that ICMP has told by then
/// what router is there.
pub(in crate::puncher) const HEAD_START: Duration = Duration::from_millis(400);

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
pub(in crate::puncher) const WINDOW_EVERY: Duration = Duration::from_secs(360);

/// When the passes of a newcomer within a window begin; clocks may be 5 s apart.
const WINDOW: [Duration; 2] = seconds([0, 8]);

/// When the only pass of a side begins that has waited longer than [`NEWCOMER`]. It is in the middle of the other's.
const WAITING_WINDOW: [Duration; 1] = seconds([4]);

/// After this long a side that waits makes one pass in each window, with two fifths of its fan, a third of its sweep:
/// a sixth of the packets, and most newcomers are still met in the first window.
const NEWCOMER: Duration = Duration::from_secs(3600);

/// Of our mappings one in so many is a socket of the fan, as long as nobody knows which half will meet the peer.
const EVEN_SHARE: usize = 3;

/// The same where that is known: a fan toward two ports, or a sweep beside which the fan is not needed unless the NATs are
/// others now.
const HALF_SHARE: usize = 4;

/// Ports above a known one that are swept first; below it half as many.
const NEAR: u16 = 48;

/// Known ports that are aimed at.
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
    since: Instant,
    /// What has found the path that both sides have had; for the first campaign.
    half: Option<Half>,
    /// When the passes of the first campaign begin.
    passes: &'static [Duration],
    /// When the next campaign begins.
    begin_at: Instant,
    campaign: Option<Campaign>,
    /// Passes of the campaigns before this one.
    former_passes: usize,
    /// Outside ports of the peer that are known, the newest last.
    aims: Vec<u16>,
}

impl Birthday {
    /// Makes one that begins soon, or, if the search is a patient one, at the next window.
    pub(in crate::puncher) fn new(ground: &Ground<'_>, memory: Option<Memory>, haste: Haste) -> Self {
        let now = ground.now.instant;
        let method = memory.map(|memory| memory.method);
        let met = method.and_then(Half::of);
        // A main socket that has another port outside was met by the peer's sweep, as one of the fan; or needs no fan.
        let half = met.or((method == Some(Method::Base) && ground.is_translated).then_some(Half::Fan));
        let half = half.filter(|_| haste.is_kept());
        let start = match (haste, met) {
            (Haste::Patient, _) => to_window(ground.unix),
            (_, Some(_)) => SHORT_START,
            (Haste::Kept | Haste::Renewal, None) => KEPT_START,
            (Haste::Eager, None) => HEAD_START,
        };
        let begin_at = now + start;
        let passes: &[Duration] = if half.is_some() { &KEPT } else { &EAGER };
        let aims = memory.filter(|m| m.method == Method::Sweep).map(|m| m.peer_port).into_iter().collect();
        Self { since: now, half, passes, begin_at, campaign: None, former_passes: 0, aims }
    }

    /// Takes note of an outside port of the peer.
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
        if self.campaign.is_none() {
            self.begin_at = self.begin_at.max(now + HEAD_START);
        }
    }

    /// Does what is due.
    pub(in crate::puncher) fn handle_timeout(
        &mut self,
        ground: &Ground<'_>,
        ways: Ways,
        sweepers: Sweepers,
        outbox: &mut Outbox,
    ) {
        let now = ground.now.instant;
        if now >= self.begin_at {
            self.begin(ground, outbox);
            self.begin_at = now + to_window(ground.unix);
        }
        if let Some(campaign) = &mut self.campaign {
            campaign.sweepers = sweepers;
            campaign.handle_timeout(ground, ways, outbox);
        }
    }

    pub(in crate::puncher) fn handle_open_failed(&mut self, socket: SocketId) {
        if let Some(campaign) = &mut self.campaign {
            campaign.handle_open_failed(socket);
        }
    }

    /// Returns how a pair of ours came about.
    pub(in crate::puncher) fn method(&self, pair: Pair) -> Option<Method> {
        let campaign = self.campaign.as_ref()?;
        if campaign.fan.contains(&Fanned::Open(pair.socket)) {
            return Some(Method::Fan);
        }
        let is_swept = campaign.sweepers.has(pair.socket) && campaign.sweep.contains(&pair.remote.port());
        is_swept.then_some(Method::Sweep)
    }

    pub(in crate::puncher) fn deadline(&self) -> Instant {
        let campaign = self.campaign.as_ref().and_then(|c| c.next_at);
        campaign.map_or(self.begin_at, |at| at.min(self.begin_at))
    }

    /// Passes over all mappings that were finished, of all campaigns.
    pub(in crate::puncher) fn passes(&self) -> usize {
        self.former_passes + self.campaign.as_ref().map_or(0, |c| c.pass)
    }

    fn begin(&mut self, ground: &Ground<'_>, outbox: &mut Outbox) {
        let now = ground.now.instant;
        // Mappings that may be alive are used again, whatever search they are from.
        let alive = outbox.dealt.filter(|(_, used)| now < *used + MAPPING_LIFE).map(|(epoch, _)| epoch);
        let epoch = alive.unwrap_or(ground.unix.as_secs() / WINDOW_EVERY.as_secs());
        let is_later = self.campaign.is_some();
        if let Some(mut old) = self.campaign.take() {
            self.former_passes += old.pass;
            old.close(outbox);
        }
        let Some(target) = ground.target(epoch) else { return };
        // What has met the peer before comes first once; the NATs may be others now.
        let half = self.half.take();
        let peers_spare = ground.spare.map(|spare| SocketAddr::new(target.ip(), spare.peers));
        let waits = now >= self.since + NEWCOMER;
        let passes: &[Duration] = match (ground.is_eager, waits) {
            (true, _) => self.passes,
            (false, false) => &WINDOW,
            (false, true) => &WAITING_WINDOW,
        };
        let limits = outbox.limits();
        let hands = Hands::deal(limits, half, peers_spare.is_some() && is_later);
        let (fan, swept) =
            if waits { (hands.fan * 2 / 5, hands.swept / 3) } else { (hands.fan, hands.swept) };
        let targets: Vec<SocketAddr> =
            [target].into_iter().chain(peers_spare.filter(|_| hands.fans_to_spare)).collect();
        let more = if waits || targets.len() == 1 { 0 } else { hands.more_fan };
        let deal = ground.schedule.deal(epoch, ground.role, ground.port);
        tracing::debug!(epoch, ?targets, ?half, fan, swept, ?hands, aims = ?self.aims, "birthday begins");
        let ports = sweep(&self.aims, deal.start % PORTS).filter(|port| *port != target.port());
        self.campaign = Some(Campaign {
            epoch,
            half,
            targets,
            fan: deal.fan.into_iter().take(fan + more).map(Fanned::Closed).collect(),
            first: fan,
            sweepers: Sweepers::default(),
            sweep: ports.take(swept).collect(),
            swept_twice: hands.swept_twice.min(swept),
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
pub(in crate::puncher) struct Ways {
    /// Opens our NAT without reaching theirs, if such a number of hops exists.
    pub(in crate::puncher) low_ttl: Option<u8>,
    /// The peer's router answers for itself.
    pub(in crate::puncher) is_answering: bool,
}

/// How the mappings that a search may make are shared out.
#[derive(Debug, Clone, Copy)]
struct Hands {
    /// Sockets of the fan, and whether each sends to the peer's spare port as well.
    fan: usize,
    fans_to_spare: bool,
    /// Further ones, later, toward that port alone.
    more_fan: usize,
    /// Ports that are swept, and how many of them, later, from the other one of the own two ports as well.
    swept: usize,
    swept_twice: usize,
}

impl Hands {
    /// `half` is what is known to do; `is_later` if that has failed, where both sides have spare ports.
    fn deal(limits: Limits, half: Option<Half>, is_later: bool) -> Self {
        let fan = limits.fan(if half.is_some() || is_later { HALF_SHARE } else { EVEN_SHARE });
        let one_target =
            Self { fan, fans_to_spare: false, more_fan: 0, swept: limits.sweep(fan), swept_twice: 0 };
        match half {
            Some(Half::Fan) => {
                Self { fans_to_spare: true, more_fan: MORE_FAN, swept: limits.sweep(2 * fan), ..one_target }
            }
            // A router that takes the peer's packets for its own may have moved our main port, and nobody tells us.
            Some(Half::Sweep) => Self { swept_twice: fan, ..one_target },
            None if is_later => {
                let each = limits.sweep(2 * fan) / 2;
                Self { fans_to_spare: true, swept: each, swept_twice: each, ..one_target }
            }
            None => one_target,
        }
    }
}

/// Fan or sweep: what of ours has met what of the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Fan,
    Sweep,
}

/// Most sockets that a fan has open at a time.
pub(super) fn most_sockets(limits: Limits) -> usize {
    let deals = [None, Some(Half::Fan), Some(Half::Sweep)].into_iter();
    let deals = deals.flat_map(|half| [false, true].map(|is_later| Hands::deal(limits, half, is_later)));
    deals.map(|hands| hands.fan + hands.more_fan).max().unwrap_or(0)
}

impl Half {
    fn of(method: Method) -> Option<Self> {
        match method {
            Method::Fan => Some(Self::Fan),
            Method::Sweep => Some(Self::Sweep),
            Method::Base | Method::Slot | Method::Spare => None,
        }
    }
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
