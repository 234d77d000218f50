//! Finds how far a packet must go to open our own NAT and not reach theirs.
//!
//! A few probes of the main pair leave with TTLs of 1, 2, 3 …; the routers at which they die say so, and quote what
//! they dropped (RFC 792; RFC 1812 §4.3.2.3). The first public address among them is beyond our NATs, carrier NAT
//! included, whose inside has private or shared addresses (RFC 1918, RFC 6598). Where routers are silent, several
//! numbers of hops take turns.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    Icmp, IcmpKind, Pair, SocketId,
    budget::Purpose,
    outbox::{Letter, Outbox},
};
use crate::{Now, nat::Reach};

/// Largest TTL that is tried. The own NATs are nearer than that.
const MAX_TTL: u8 = 8;

/// Time between two TTLs.
const GAP: Duration = Duration::from_millis(15);

/// What is used, in turn, as long as routers are silent. The field uses 3 to 7.
const UNKNOWN: [u8; 4] = [3, 5, 4, 7];

/// What is known of the way out.
#[derive(Debug)]
pub(super) struct Scout {
    peer: Option<SocketAddr>,
    next_at: Option<Instant>,
    /// By TTL − 1.
    hops: Vec<Hop>,
    /// Whether our own address is a public one.
    is_public: bool,
}

#[derive(Debug)]
struct Hop {
    /// None where it was not sent.
    nonce: Option<[u8; 24]>,
    dropped_by: Option<IpAddr>,
    /// The peer's own machine or router has answered: this far is too far.
    reached: bool,
}

impl Scout {
    pub(super) fn new(peer: Option<SocketAddr>, local: Option<IpAddr>, now: Instant) -> Self {
        let is_public = local.is_some_and(|ip| !is_inside(ip));
        Self { peer, next_at: Some(now), hops: Vec::new(), is_public }
    }

    pub(super) fn handle_timeout(&mut self, outbox: &mut Outbox, now: Now) {
        let Some(peer) = self.peer else { return self.next_at = None };
        while self.next_at.is_some_and(|at| now.instant >= at) {
            let ttl = u8::try_from(self.hops.len() + 1).unwrap_or(MAX_TTL);
            let pair = Pair { socket: SocketId::MAIN, remote: peer };
            let letter = Letter { ttl: Some(ttl), ..Letter::probe(pair, outbox.random()) };
            let nonce = outbox.send(&letter, Purpose::Talk, now);
            self.hops.push(Hop { nonce, dropped_by: None, reached: false });
            self.next_at = (ttl < MAX_TTL).then_some(now.instant + GAP);
        }
    }

    pub(super) fn handle_icmp(&mut self, icmp: &Icmp<'_>) {
        let Some(nonce) = icmp.quoted.get(1..25) else { return };
        let Some(hop) = self.hops.iter_mut().find(|hop| hop.nonce.is_some_and(|own| own == nonce)) else {
            return;
        };
        if self.peer.is_some_and(|peer| peer.ip() == icmp.offender) {
            hop.reached = true;
        } else if icmp.kind == IcmpKind::TtlExceeded {
            hop.dropped_by = Some(icmp.offender);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_at
    }

    /// Returns the TTL that opens our NAT and does not reach theirs; `turn` counts the tries where it is not known.
    /// None where whatever leaves our NAT reaches theirs.
    pub(super) fn low_ttl(&self, turn: u64) -> Option<u8> {
        let known = self.first_outside().or_else(|| self.past_the_inside());
        let wanted = known.unwrap_or(UNKNOWN[(turn % UNKNOWN.len() as u64) as usize]);
        let nearer = self.nearest_reach().map_or(wanted, |too_far| wanted.min(too_far - 1));
        Some(nearer).filter(|ttl| *ttl > 1)
    }

    /// The outermost router that has answered, where only those of our own side have: all of them private, or just the
    /// first.
    pub(super) fn ends_at(&self) -> Option<IpAddr> {
        let index = self.hops.iter().rposition(|hop| hop.dropped_by.is_some())?;
        let is_ours = index == 0 || self.first_outside().is_none();
        let is_done = self.next_at.is_none() && self.nearest_reach().is_none();
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
        Key, Role,
        probe::ProbeSeal,
        puncher::{Limits, Output},
    };

    const PEER: &str = "203.0.113.9";

    /// Sends all probes and lets the named routers answer, by TTL.
    #[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
    fn scout(local: &str, answers: &[(u8, &str)]) -> Scout {
        let mut now = Now { instant: Instant::now(), unix: Duration::ZERO };
        let seal = ProbeSeal::new(&Key::stretch(&"one key".parse().expect("a phrase")));
        let mut outbox = Outbox::new(Role::Open, seal, [7; 32], 5555, Limits::DEFAULT);
        let peer = SocketAddr::new(ip(PEER), 5555);
        let mut scout = Scout::new(Some(peer), Some(ip(local)), now.instant);
        while let Some(at) = scout.deadline() {
            now = now.after(at - now.instant);
            scout.handle_timeout(&mut outbox, now);
        }
        while let Some(Output::Transmit(transmit)) = outbox.pop() {
            let answer = answers.iter().find(|(ttl, _)| Some(*ttl) == transmit.ttl);
            if let Some((_, offender)) = answer {
                let reached = *offender == PEER;
                scout.handle_icmp(&Icmp {
                    pair: transmit.pair,
                    kind: if reached { IcmpKind::PortUnreachable } else { IcmpKind::TtlExceeded },
                    offender: ip(offender),
                    quoted: &transmit.payload,
                });
            }
        }
        scout
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_first_public_hop_is_far_enough() {
        let home = scout("192.168.1.2", &[(1, "192.168.1.1"), (2, "198.51.100.1"), (3, "192.0.2.1")]);
        assert_eq!(home.low_ttl(0), Some(2));
        let carrier = scout("192.168.1.2", &[(1, "192.168.1.1"), (2, "100.64.0.1"), (4, "198.51.100.1")]);
        assert_eq!(carrier.low_ttl(0), Some(4));
    }

    #[test]
    fn a_public_machine_may_have_a_public_firewall_before_it() {
        let open = scout("198.51.100.4", &[(1, "198.51.100.1"), (2, "192.0.2.1")]);
        assert_eq!(open.low_ttl(0), Some(2));
    }

    #[test]
    fn silent_routers_make_it_guess_and_several_guesses_take_turns() {
        let silent = scout("192.168.1.2", &[]);
        assert_eq!([0, 1, 2, 3].map(|turn| silent.low_ttl(turn)), UNKNOWN.map(Some));
        assert_eq!(silent.ends_at(), None);
    }

    #[test]
    fn a_peer_that_is_next_door_leaves_no_room() {
        let next_door = scout("192.168.1.2", &[(1, "192.168.1.1"), (2, PEER), (3, PEER)]);
        assert_eq!(next_door.low_ttl(0), None);
        let private = scout("192.168.1.2", &[(1, "192.168.1.1"), (2, "10.0.0.1"), (3, PEER)]);
        assert_eq!(private.low_ttl(0), Some(2));
        let one_further = scout("192.168.1.2", &[(1, "192.168.1.1"), (2, "198.51.100.1"), (3, PEER)]);
        assert_eq!(one_further.low_ttl(0), Some(2));
    }

    #[test]
    fn a_router_behind_which_nothing_answers_is_named() {
        assert_eq!(scout("192.168.1.2", &[(1, "192.168.1.1")]).ends_at(), Some(ip("192.168.1.1")));
        assert_eq!(scout("198.51.100.4", &[(1, "198.51.100.1")]).ends_at(), Some(ip("198.51.100.1")));
        let open = scout("192.168.1.2", &[(1, "192.168.1.1"), (3, "198.51.100.1")]);
        assert_eq!(open.ends_at(), None);
    }
}
