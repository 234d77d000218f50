//! The named sides, each after something that people have.

use pinhole_proto::nat::{PortAssignment, Unsolicited};

use super::{BoxSpec, NatSpec, Refusal, Translation};

/// Ports of a subscriber's block; carriers give 256 to 4,096 (RFC 7422, RFC 6888 §3).
const BLOCK_PORTS: u16 = 512;

/// Returns every preset, the easier ones first.
pub(super) fn all() -> Vec<NatSpec> {
    let linux = BoxSpec::nat(Translation::LINUX);
    let with_ports = |ports| BoxSpec::nat(Translation::LINUX.with_ports(ports));
    let random = with_ports(PortAssignment::Random);
    vec![
        // A machine with a public address.
        NatSpec::new("open", vec![]),
        // A public address behind a stateful firewall: data centres, IPv4 at universities.
        NatSpec::new("firewall", vec![BoxSpec::firewall()]),
        // RFC 4787's "full cone": older home gateways, game consoles' friends.
        NatSpec::new("cone", vec![BoxSpec::nat(Translation::FULL_CONE)]),
        // RFC 4787's "restricted cone": the standard's own advice (REQ-8) with ports kept.
        NatSpec::new("restricted", vec![BoxSpec::nat(Translation::RESTRICTED)]),
        // Linux' masquerade with INPUT drop: most home routers.
        NatSpec::new("home", vec![linux.clone()]),
        // The same with INPUT reject: OpenWrt's default.
        NatSpec::new("reject", vec![linux.clone().with_input(Unsolicited::Reject)]),
        // The same with INPUT accept: a Linux machine turned router by hand, container hosts.
        NatSpec::new("spoilt", vec![linux.clone().with_input(Unsolicited::Accept)]),
        // A home router behind a carrier's port-preserving NAT.
        NatSpec::new("carrier", vec![linux.clone(), linux.clone()]),
        // One outside address for everybody, open to everybody, but its port says nothing: RFC 6888's carriers.
        NatSpec::new(
            "cone-random",
            vec![BoxSpec::nat(Translation::FULL_CONE.with_ports(PortAssignment::Random))],
        ),
        // The same, open only to IPs that were sent to.
        NatSpec::new(
            "restricted-random",
            vec![BoxSpec::nat(Translation::RESTRICTED.with_ports(PortAssignment::Random))],
        ),
        // One port after the other: old enterprise NATs.
        NatSpec::new("sequential", vec![with_ports(PortAssignment::Sequential { stride: 1 })]),
        // A carrier that gives each subscriber a block of ports.
        NatSpec::new("block", vec![with_ports(PortAssignment::Block { ports: BLOCK_PORTS })]),
        // Linux' `masquerade fully-random`; pf as OPNsense and pfSense set it up.
        NatSpec::new("random", vec![random.clone()]),
        // A home router behind a carrier with random ports: mobile networks.
        NatSpec::new("carrier-random", vec![linux, random]),
        // Guest and company networks that pass the web only.
        NatSpec::new("blocked", vec![BoxSpec::blocked(Refusal::Silent)]),
    ]
}

#[cfg(test)]
mod tests {
    use pinhole_proto::nat::{Access, Cause, End, Verdict, punchable};

    use super::*;

    fn access(name: &str) -> Access {
        name.parse::<NatSpec>().expect("names of presets").access()
    }

    #[test]
    fn every_preset_that_keeps_ports_connects_with_every_other_one() {
        let keeping = ["open", "firewall", "cone", "restricted", "home", "reject", "spoilt", "carrier"];
        for (first, second) in keeping.iter().flat_map(|first| keeping.map(|second| (first, second))) {
            assert_eq!(punchable(access(first), access(second)), Verdict::Direct, "{first} and {second}");
        }
    }

    #[test]
    fn a_preset_that_moves_ports_is_met_directly_by_open_filters_and_by_chance_by_exact_ones() {
        for moving in ["sequential", "block", "random", "carrier-random", "cone-random", "restricted-random"]
        {
            let verdict = |other| punchable(access(moving), access(other));
            assert_eq!(["open", "cone", "restricted"].map(verdict), [Verdict::Direct; 3], "{moving}");
            let exact = ["firewall", "home", "reject", "spoilt", "carrier"];
            assert_eq!(exact.map(verdict), [Verdict::ByChance; 5], "{moving}");
        }
    }

    #[test]
    fn two_presets_that_move_ports_need_an_open_filter_on_one_side() {
        let moving = ["sequential", "block", "random", "carrier-random"];
        for (first, second) in moving.iter().flat_map(|first| moving.map(|second| (first, second))) {
            let verdict = punchable(access(first), access(second));
            assert_eq!(verdict, Verdict::No(Cause::BothUnpredictable), "{first} and {second}");
            for admitting in ["cone-random", "restricted-random"] {
                assert_eq!(punchable(access(first), access(admitting)), Verdict::ByChance, "{first}");
            }
        }
    }

    #[test]
    fn a_blocked_preset_connects_with_nobody() {
        for spec in all() {
            let verdict = punchable(spec.access(), access("home+blocked"));
            let end = if spec.name() == "blocked" { End::Both } else { End::Peers };
            assert_eq!(verdict, Verdict::No(Cause::UdpBlocked(end)), "{spec}");
        }
    }
}
