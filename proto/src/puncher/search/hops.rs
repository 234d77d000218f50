//! Hop discovery: how far a packet must go to open our own NAT and not reach theirs.
//!
//! A few probes of the main pair leave with TTLs of 1, 2, 3 …; the routers at which they die say so, and quote what
//! they dropped (RFC 792; RFC 1812 §4.3.2.3). The first public address among them is beyond our NATs, carrier NAT
//! included, whose inside has private or shared addresses (RFC 1918, RFC 6598). Where routers are silent, several
//! numbers of hops take turns.
//!
//! The way out may become another one while the search goes on: a router falls back to a mobile network, a machine moves
//! to another one. So it is measured again, at once where the system says so, and else less and less often.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::puncher::{
    Icmp, IcmpKind, Pair, SocketId,
    budget::Purpose,
    candidates::Candidates,
    transmits::{OutgoingProbe, TransmitQueue},
};
use crate::{Now, nat::Reach};

/// Largest TTL that is tried: the own NATs are nearer than that.
const MAX_TTL: u8 = 8;

/// Time between two TTLs.
const GAP: Duration = Duration::from_millis(15);

/// Time to the next round of probes after the first one; each further one takes twice as long to come.
const AGAIN: Duration = Duration::from_secs(30);

/// Longest time to the next round.
const RARELY: Duration = Duration::from_secs(3600);

/// A round that began less than this ago is not begun anew.
const HURRY: Duration = Duration::from_secs(5);

/// TTLs that take turns as long as routers are silent. Other programs use 3 to 7.
const UNKNOWN: [u8; 4] = [3, 5, 4, 7];

/// The hops on the way out, as far as routers have told of them.
#[derive(Debug)]
pub(in crate::puncher) struct HopDiscovery {
    peer: Option<SocketAddr>,
    next_at: Option<Instant>,
    /// When this round began, or the last one.
    began: Instant,
    /// Rounds that are complete.
    rounds: u32,
    /// The index of the hop that is probed next.
    cursor: usize,
    /// By TTL − 1. What was found in a round stays until a later one has an answer.
    hops: Vec<Hop>,
    /// Whether our own address is a public one.
    is_public: bool,
}

#[derive(Debug)]
struct Hop {
    /// `None` where the probe was not sent.
    nonce: Option<[u8; 24]>,
    dropped_by: Option<IpAddr>,
    /// The peer's own machine or router has answered: this far is too far.
    reached: bool,
}

impl HopDiscovery {
    pub(in crate::puncher) fn new(peer: Option<SocketAddr>, local: Option<IpAddr>, now: Instant) -> Self {
        let is_public = local.is_some_and(|ip| !is_inside(ip));
        Self { peer, next_at: Some(now), began: now, rounds: 0, cursor: 0, hops: Vec::new(), is_public }
    }

    /// Measures the way to another address of the peer from now on, unless that one is still a candidate.
    pub(in crate::puncher) fn follow(&mut self, candidates: &Candidates, now: Instant) {
        if self.peer.is_none_or(|peer| !candidates.has(peer)) && self.peer != candidates.turn(0) {
            *self =
                Self { peer: candidates.turn(0), is_public: self.is_public, ..Self::new(None, None, now) };
        }
    }

    /// The network has changed: looks again, now.
    pub(in crate::puncher) fn hurry(&mut self, local: Option<IpAddr>, now: Instant) {
        self.is_public = local.is_some_and(|ip| !is_inside(ip));
        if self.rounds > 0 && now >= self.began + HURRY {
            (self.next_at, self.cursor) = (Some(now), 0);
        }
    }

    pub(in crate::puncher) fn handle_timeout(&mut self, transmits: &mut TransmitQueue, now: Now) {
        let Some(peer) = self.peer else { return self.next_at = None };
        while self.next_at.is_some_and(|at| now.instant >= at) {
            if self.cursor == 0 {
                self.began = now.instant;
            }
            let ttl = u8::try_from(self.cursor + 1).unwrap_or(MAX_TTL);
            let pair = Pair { socket: SocketId::MAIN, remote: peer };
            let probe = OutgoingProbe { ttl: Some(ttl), ..OutgoingProbe::new(pair, transmits.random()) };
            let nonce = transmits.send(&probe, Purpose::Talk, now);
            match self.hops.get_mut(self.cursor) {
                Some(hop) => hop.nonce = nonce,
                None => self.hops.push(Hop { nonce, dropped_by: None, reached: false }),
            }
            self.cursor += 1;
            let gap = if ttl < MAX_TTL { GAP } else { self.complete() };
            self.next_at = Some(now.instant + gap);
        }
    }

    /// Ends a round; returns the time to the next one.
    fn complete(&mut self) -> Duration {
        self.cursor = 0;
        self.rounds += 1;
        AGAIN.saturating_mul(1 << (self.rounds - 1).min(16)).min(RARELY)
    }

    pub(in crate::puncher) fn handle_icmp(&mut self, icmp: &Icmp<'_>) {
        let Some(nonce) = icmp.quoted.get(1..25) else { return };
        let Some(hop) = self.hops.iter_mut().find(|hop| hop.nonce.is_some_and(|own| own == nonce)) else {
            return;
        };
        if self.peer.is_some_and(|peer| peer.ip() == icmp.offender) {
            (hop.reached, hop.dropped_by) = (true, None);
        } else if icmp.kind == IcmpKind::TtlExceeded {
            (hop.reached, hop.dropped_by) = (false, Some(icmp.offender));
        }
    }

    pub(in crate::puncher) fn deadline(&self) -> Option<Instant> {
        self.next_at
    }

    /// Returns the TTL that opens our NAT and does not reach theirs; `turn` counts the tries where it is not known.
    /// `None` where whatever leaves our NAT reaches theirs.
    pub(in crate::puncher) fn low_ttl(&self, turn: u64) -> Option<u8> {
        let known = self.first_outside().or_else(|| self.past_the_inside());
        let wanted = known.unwrap_or(UNKNOWN[(turn % UNKNOWN.len() as u64) as usize]);
        let nearer = self.nearest_reach().map_or(wanted, |too_far| wanted.min(too_far - 1));
        Some(nearer).filter(|ttl| *ttl > 1)
    }

    /// The outermost router that has answered, where only those of our own side have: all of them private, or just the
    /// first.
    pub(in crate::puncher) fn ends_at(&self) -> Option<IpAddr> {
        let index = self.hops.iter().rposition(|hop| hop.dropped_by.is_some())?;
        let is_ours = index == 0 || self.first_outside().is_none();
        let is_done = self.rounds > 0 && self.nearest_reach().is_none();
        self.hops[index].dropped_by.filter(|_| is_done && is_ours)
    }

    /// The first hop that has a public address. A machine that has one itself may stand behind a firewall that has
    /// one too: one hop more.
    fn first_outside(&self) -> Option<u8> {
        let outside = |hop: &Hop| hop.dropped_by.is_some_and(|ip| !is_inside(ip));
        let index = self.hops.iter().position(outside)?;
        u8::try_from(index + 1 + usize::from(self.is_public && index == 0)).ok()
    }

    /// One past the last hop that was heard, where only private ones were.
    fn past_the_inside(&self) -> Option<u8> {
        let index = self.hops.iter().rposition(|hop| hop.dropped_by.is_some())?;
        u8::try_from(index + 2).ok().filter(|ttl| *ttl > 2)
    }

    fn nearest_reach(&self) -> Option<u8> {
        let index = self.hops.iter().position(|hop| hop.reached)?;
        u8::try_from(index + 1).ok()
    }
}

/// Whether an address is of the inside of a NAT.
fn is_inside(ip: IpAddr) -> bool {
    Reach::of(ip) != Reach::Public
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Role, key,
        probe::ProbeSeal,
        puncher::{Limits, Output},
    };

    const PEER: &str = "203.0.113.9";

    /// A discovery whose first round is complete, with the routers that answer, by TTL.
    fn discovered(local: &str, answers: &[(u8, &str)]) -> HopDiscovery {
        let mut rig = Rig::new(local);
        rig.round(answers);
        rig.hops
    }

    struct Rig {
        hops: HopDiscovery,
        transmits: TransmitQueue,
        now: Now,
    }

    impl Rig {
        #[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
        fn new(local: &str) -> Self {
            let now = Now { instant: Instant::now(), unix: Duration::ZERO };
            let seal = ProbeSeal::new(&key::of_test("one key"));
            let transmits = TransmitQueue::new(
                Role::Open,
                seal,
                [7; 32],
                5555,
                crate::puncher::budget::Budget::new(Limits::DEFAULT, None),
            );
            let peer = SocketAddr::new(ip(PEER), 5555);
            Self { hops: HopDiscovery::new(Some(peer), Some(ip(local)), now.instant), transmits, now }
        }

        /// Sends the probes of one round and lets the named routers answer; returns how long it took to begin.
        fn round(&mut self, answers: &[(u8, &str)]) -> Duration {
            let (before, rounds) = (self.now.instant, self.hops.rounds);
            while self.hops.rounds == rounds {
                let at = self.hops.deadline().expect("it goes on");
                self.now = self.now.after(at - self.now.instant);
                self.hops.handle_timeout(&mut self.transmits, self.now);
            }
            while let Some(Output::Transmit(transmit)) = self.transmits.pop() {
                let answer = answers.iter().find(|(ttl, _)| Some(*ttl) == transmit.ttl);
                if let Some((_, offender)) = answer {
                    let reached = *offender == PEER;
                    self.hops.handle_icmp(&Icmp {
                        pair: transmit.pair,
                        kind: if reached { IcmpKind::PortUnreachable } else { IcmpKind::TtlExceeded },
                        offender: ip(offender),
                        quoted: &transmit.payload,
                    });
                }
            }
            self.hops.began - before
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_first_public_hop_is_far_enough() {
        let home = discovered("192.168.1.2", &[(1, "192.168.1.1"), (2, "198.51.100.1"), (3, "192.0.2.1")]);
        assert_eq!(home.low_ttl(0), Some(2));
        let carrier =
            discovered("192.168.1.2", &[(1, "192.168.1.1"), (2, "100.64.0.1"), (4, "198.51.100.1")]);
        assert_eq!(carrier.low_ttl(0), Some(4));
    }

    #[test]
    fn a_public_machine_may_have_a_public_firewall_before_it() {
        let open = discovered("198.51.100.4", &[(1, "198.51.100.1"), (2, "192.0.2.1")]);
        assert_eq!(open.low_ttl(0), Some(2));
    }

    #[test]
    fn silent_routers_make_it_guess_and_several_guesses_take_turns() {
        let silent = discovered("192.168.1.2", &[]);
        assert_eq!([0, 1, 2, 3].map(|turn| silent.low_ttl(turn)), UNKNOWN.map(Some));
        assert_eq!(silent.ends_at(), None);
    }

    #[test]
    fn a_peer_that_is_next_door_leaves_no_room() {
        let next_door = discovered("192.168.1.2", &[(1, "192.168.1.1"), (2, PEER), (3, PEER)]);
        assert_eq!(next_door.low_ttl(0), None);
        let private = discovered("192.168.1.2", &[(1, "192.168.1.1"), (2, "10.0.0.1"), (3, PEER)]);
        assert_eq!(private.low_ttl(0), Some(2));
        let one_further = discovered("192.168.1.2", &[(1, "192.168.1.1"), (2, "198.51.100.1"), (3, PEER)]);
        assert_eq!(one_further.low_ttl(0), Some(2));
    }

    #[test]
    fn a_way_out_that_becomes_longer_is_measured_again_and_one_that_falls_silent_is_remembered() {
        let mut rig = Rig::new("192.168.1.2");
        rig.round(&[(1, "192.168.1.1"), (2, "198.51.100.1")]);
        assert_eq!(rig.hops.low_ttl(0), Some(2));
        let after = rig.round(&[(1, "192.168.1.1"), (2, "100.64.0.1"), (3, "198.51.100.1")]);
        assert!(after <= AGAIN + GAP * u32::from(MAX_TTL), "{after:?}");
        assert_eq!(rig.hops.low_ttl(0), Some(3));
        rig.round(&[]);
        assert_eq!(rig.hops.low_ttl(0), Some(3));
    }

    #[test]
    fn a_change_of_the_network_is_followed_at_once_and_a_long_search_asks_rarely() {
        let mut rig = Rig::new("192.168.1.2");
        rig.round(&[(1, "192.168.1.1"), (2, "198.51.100.1")]);
        rig.now = rig.now.after(HURRY);
        rig.hops.hurry(Some(ip("198.51.100.4")), rig.now.instant);
        assert_eq!(rig.round(&[(1, "198.51.100.1"), (2, "192.0.2.1")]), Duration::ZERO);
        let gaps: Vec<Duration> = (0..12).map(|_| rig.round(&[])).collect();
        assert!(gaps.is_sorted() && gaps.last() <= Some(&(RARELY + GAP)), "{gaps:?}");
    }

    #[test]
    fn a_router_behind_which_nothing_answers_is_named() {
        assert_eq!(discovered("192.168.1.2", &[(1, "192.168.1.1")]).ends_at(), Some(ip("192.168.1.1")));
        assert_eq!(discovered("198.51.100.4", &[(1, "198.51.100.1")]).ends_at(), Some(ip("198.51.100.1")));
        let open = discovered("192.168.1.2", &[(1, "192.168.1.1"), (3, "198.51.100.1")]);
        assert_eq!(open.ends_at(), None);
    }
}
