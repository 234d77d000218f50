//! Which pairs can be connected when nothing is known but two IPs.
//!
//! A port is *predictable* when it follows from the inside one. Two predictable sides meet at their ports:
//! strict filters are opened by sending, and spoilt mappings are avoided by packets that die on their way and by
//! fresh ports. One predictable side with a filter that admits any port is found by the other one at once; with
//! an exact filter it sweeps for one of many sockets of the other side. Two unpredictable sides can only meet
//! where one of them sweeps and the other one admits any port, and where at least one stays at its address
//! while it answers.

use std::fmt;

use super::Access;

/// Says whether two sides can be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// They meet at ports that both know.
    Direct,
    /// One side sends to many ports in search of one of many sockets of the other side: about 99 % with 256
    /// sockets and 1,200 ports, and a matter of seconds.
    ByChance,
    /// They cannot, and that is why.
    No(Cause),
}

/// The reason why two sides cannot be connected, what would have to change, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Cause {
    /// UDP does not pass at all.
    #[error("{0} passes no UDP at all; allow outgoing UDP there, or use another network")]
    UdpBlocked(End),
    /// Neither side's outside port can be known or found.
    #[error(
        "both routers give every flow an unpredictable outside port and let only exact addresses in; on \
         either side, forward the UDP port (5555 unless told otherwise) to the machine, switch the router's \
         port randomisation off, or get a public address"
    )]
    BothUnpredictable,
}

/// Names one or both of two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The side that asks.
    Own,
    /// The other side.
    Peers,
    /// Both sides.
    Both,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Own => "this side's network",
            End::Peers => "the peer's network",
            End::Both => "either side's network",
        })
    }
}

/// Says whether a hole can be punched between two sides that know each other's IP and nothing else.
///
/// The answer is the same for both sides, but for [`End`].
pub fn punchable(own: Access, peers: Access) -> Verdict {
    if let Some(end) = blocked(own, peers) {
        return Verdict::No(Cause::UdpBlocked(end));
    }
    match (own.is_predictable(), peers.is_predictable()) {
        (true, true) => Verdict::Direct,
        (true, false) => by_filter(own),
        (false, true) => by_filter(peers),
        (false, false) => by_sweep(own, peers),
    }
}

fn blocked(own: Access, peers: Access) -> Option<End> {
    match (own == Access::Blocked, peers == Access::Blocked) {
        (true, true) => Some(End::Both),
        (true, false) => Some(End::Own),
        (false, true) => Some(End::Peers),
        (false, false) => None,
    }
}

/// Judges a predictable side against an unpredictable one.
fn by_filter(predictable: Access) -> Verdict {
    if predictable.admits_any_port() { Verdict::Direct } else { Verdict::ByChance }
}

/// Judges two unpredictable sides.
fn by_sweep(own: Access, peers: Access) -> Verdict {
    let gets_in = own.admits_any_port() || peers.admits_any_port();
    // Where both move with each destination, every answer comes from another address than was asked.
    let settles = own.is_steady() || peers.is_steady();
    if gets_in && settles { Verdict::ByChance } else { Verdict::No(Cause::BothUnpredictable) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::{Filtering, Mapping, Nat, PortAssignment, Unsolicited};

    use Filtering::{
        AddressAndPortDependent as Exact, AddressDependent as SameIp, EndpointIndependent as Any,
    };
    use PortAssignment::{Preserving, Random};

    fn nat(mapping: Mapping, filtering: Filtering, ports: PortAssignment) -> Access {
        Access::Nat(Nat { mapping, filtering, ports, input: Unsolicited::Drop })
    }

    fn preserving(filtering: Filtering) -> Access {
        nat(Mapping::AddressAndPortDependent, filtering, Preserving)
    }

    fn moving(filtering: Filtering) -> Access {
        nat(Mapping::AddressAndPortDependent, filtering, Random)
    }

    fn unmoved(filtering: Filtering) -> Access {
        nat(Mapping::EndpointIndependent, filtering, Random)
    }

    /// Judges both ways round and demands one answer.
    fn judge(first: Access, second: Access) -> Verdict {
        let verdict = punchable(first, second);
        assert_eq!(verdict, punchable(second, first), "{first:?} and {second:?}");
        verdict
    }

    #[test]
    fn two_predictable_sides_meet_whatever_their_filters() {
        let sides = [Access::Open, Access::Firewall, preserving(Any), preserving(SameIp), preserving(Exact)];
        for (first, second) in sides.iter().flat_map(|first| sides.map(|second| (*first, second))) {
            assert_eq!(judge(first, second), Verdict::Direct);
        }
    }

    #[test]
    fn a_spoilt_mapping_does_not_matter() {
        let Access::Nat(strict) = preserving(Exact) else { panic!("a NAT") };
        let spoilt = Access::Nat(Nat { input: Unsolicited::Accept, ..strict });
        assert_eq!(judge(spoilt, spoilt), Verdict::Direct);
        assert_eq!(judge(spoilt, moving(Exact)), Verdict::ByChance);
    }

    #[test]
    fn a_predictable_side_that_admits_any_port_is_found_by_everybody() {
        for easy in [Access::Open, preserving(Any), preserving(SameIp)] {
            assert_eq!(judge(easy, moving(Exact)), Verdict::Direct);
        }
    }

    #[test]
    fn a_predictable_side_with_an_exact_filter_meets_an_unpredictable_one_by_chance() {
        for strict in [Access::Firewall, preserving(Exact)] {
            assert_eq!(judge(strict, moving(Exact)), Verdict::ByChance);
            assert_eq!(judge(strict, unmoved(Any)), Verdict::ByChance);
        }
    }

    #[test]
    fn two_unpredictable_sides_meet_by_chance_where_one_admits_any_port_and_one_stays() {
        for admitting in [unmoved(Any), unmoved(SameIp)] {
            assert_eq!(judge(admitting, moving(Exact)), Verdict::ByChance);
        }
        assert_eq!(judge(moving(Any), unmoved(Exact)), Verdict::ByChance);
        let hopeless = Verdict::No(Cause::BothUnpredictable);
        assert_eq!(judge(moving(Any), moving(Exact)), hopeless, "every answer comes from elsewhere");
        assert_eq!(judge(unmoved(Exact), unmoved(Exact)), hopeless);
        assert_eq!(judge(moving(Exact), moving(Exact)), hopeless);
    }

    #[test]
    fn sequences_and_blocks_are_as_unpredictable_as_chance() {
        let other = [PortAssignment::Sequential { stride: 1 }, PortAssignment::Block { ports: 512 }];
        for ports in other {
            let side = nat(Mapping::AddressAndPortDependent, Exact, ports);
            assert_eq!(judge(side, side), judge(moving(Exact), moving(Exact)));
            assert_eq!(judge(side, preserving(Exact)), Verdict::ByChance);
        }
    }

    #[test]
    fn nothing_passes_where_udp_is_blocked() {
        let blocked = |end| Verdict::No(Cause::UdpBlocked(end));
        assert_eq!(punchable(Access::Blocked, Access::Open), blocked(End::Own));
        assert_eq!(punchable(Access::Open, Access::Blocked), blocked(End::Peers));
        assert_eq!(punchable(Access::Blocked, Access::Blocked), blocked(End::Both));
    }

    #[test]
    fn a_chain_is_as_bad_as_its_worst_part() {
        assert_eq!(preserving(Any).behind(preserving(Exact)), preserving(Exact));
        assert_eq!(preserving(Any).behind(Access::Firewall), preserving(Exact));
        assert_eq!(preserving(Exact).behind(moving(Exact)), moving(Exact));
        assert_eq!(preserving(Any).behind(unmoved(Any)), unmoved(Any), "a kept port depends on nothing");
        assert_eq!(Access::Open.behind(moving(Any)), moving(Any));
        assert_eq!(moving(Any).behind(Access::Blocked), Access::Blocked);
    }

    #[test]
    fn a_cause_names_the_place_and_the_cure() {
        assert_eq!(
            Cause::UdpBlocked(End::Peers).to_string(),
            "the peer's network passes no UDP at all; allow outgoing UDP there, or use another network"
        );
        let hopeless = Cause::BothUnpredictable.to_string();
        for cure in ["forward the UDP port (5555", "port randomisation off", "public address"] {
            assert!(hopeless.contains(cure), "{hopeless}");
        }
    }
}
