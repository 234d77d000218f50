//! Which namespaces a laboratory has, how they are wired, and their addresses: pure data.
//!
//! `net-a` and `net-b` are the internet as each side's provider shows it; the stranger hangs on both, so that
//! its own packets never cross the link. Towards the host every box's interface is called `lan`, towards the
//! internet `wan`; a host has `eth0`.

use std::fmt::Write;
use std::net::Ipv4Addr;

use super::LabError;
use super::ruleset::ruleset;
use crate::addresses::{Leg, STRANGER_IPS, link_ip, public_ip, router_ip};
use crate::spec::{BoxSpec, NatSpec, Side};

/// Name of the interface on which the two halves of the internet meet.
pub(super) const LINK_INTERFACE: &str = "across";

/// Name of a host's first interface.
pub(super) const HOST_INTERFACE: &str = "eth0";

/// One namespace and everything done inside it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) role: String,
    pub(super) ip: Ipv4Addr,
    /// Lines for `ip -batch -`.
    pub(super) addresses: String,
    /// Files below `/proc/sys` and what is written to them.
    pub(super) sysctls: Vec<(&'static str, String)>,
    /// Input for `nft -f -`.
    pub(super) rules: Option<String>,
}

/// A pair of virtual Ethernet interfaces between two namespaces.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) ends: [(String, &'static str); 2],
}

/// Everything there is to build.
#[derive(Debug, Default)]
pub(super) struct Topology {
    pub(super) nodes: Vec<Node>,
    pub(super) wires: Vec<Wire>,
    /// The networks of each side, from the internet inwards.
    pub(super) legs: [Vec<Leg>; 2],
}

impl Topology {
    /// Plans the laboratory; the link between the halves of the internet is left to the caller.
    pub(super) fn new(sides: &[NatSpec; 2]) -> Result<Topology, LabError> {
        let mut topology = Topology::default();
        topology.add_stranger();
        for side in Side::BOTH {
            topology.add_side(side, sides[side.index()].boxes())?;
        }
        Ok(topology)
    }

    fn add_stranger(&mut self) {
        let mut stranger = Node::new(stranger_role(), STRANGER_IPS[0]);
        for (side, interface) in [(Side::A, "eth0"), (Side::B, "eth1")] {
            let router = router_ip(side);
            stranger.ip_line(format_args!("link set {interface} up"));
            stranger.ip_line(format_args!("addr add {}/32 dev {interface}", STRANGER_IPS[0]));
            stranger.ip_line(format_args!("addr add {}/32 dev {interface}", STRANGER_IPS[1]));
            stranger.ip_line(format_args!("route add {router}/32 dev {interface}"));
            stranger.ip_line(format_args!("route add {} via {router} dev {interface} onlink", network(side)));
            self.wire((internet_role(side), "stranger"), (stranger_role(), interface));
        }
        self.nodes.push(stranger);
    }

    /// Adds one half of the internet, then each box inwards, then the host.
    fn add_side(&mut self, side: Side, boxes: &[BoxSpec]) -> Result<(), LabError> {
        let inwards: Vec<&BoxSpec> = boxes.iter().rev().collect();
        let mut upper = internet(side);
        for (level, spec) in inwards.iter().enumerate() {
            let leg = Leg::new(side, &inwards, level);
            let mut node = Node::new(box_role(side, boxes.len() - 1 - level), leg.lower_ip);
            node.route_packets();
            node.sysctls.extend(udp_timers(spec));
            node.rules = Some(ruleset(spec, leg.lower_ip)?);
            self.join(upper, &mut node, &leg, "wan");
            self.legs[side.index()].push(leg);
            upper = node;
        }
        let leg = Leg::new(side, &inwards, inwards.len());
        let mut host = Node::new(host_role(side), leg.lower_ip);
        self.join(upper, &mut host, &leg, HOST_INTERFACE);
        self.legs[side.index()].push(leg);
        self.nodes.push(host);
        Ok(())
    }

    /// Connects a node to the one above it, which is complete by that.
    fn join(&mut self, mut upper: Node, lower: &mut Node, leg: &Leg, interface: &'static str) {
        upper.addresses.push_str(&leg.upper_lines());
        lower.addresses.push_str(&leg.lower_lines(interface));
        self.wire((upper.role.clone(), "lan"), (lower.role.clone(), interface));
        self.nodes.push(upper);
    }

    fn wire(&mut self, first: (String, &'static str), second: (String, &'static str)) {
        self.wires.push(Wire { ends: [first, second] });
    }
}

impl Leg {
    /// Configures the node nearer to the internet: lines for `ip -batch -`.
    pub(super) fn upper_lines(&self) -> String {
        let Leg { upper_ip, lower_ip, prefix, behind } = self;
        let pass_on =
            behind.map(|behind| format!("route replace {behind}/32 via {lower_ip} dev lan onlink\n"));
        format!(
            "link set lan up\naddr add {upper_ip}/{prefix} dev lan\n\
             route replace {lower_ip}/32 dev lan src {upper_ip}\n{}",
            pass_on.unwrap_or_default()
        )
    }

    /// Configures the node nearer to the host.
    pub(super) fn lower_lines(&self, interface: &str) -> String {
        let Leg { lower_ip, prefix, .. } = self;
        format!(
            "link set {interface} up\naddr add {lower_ip}/{prefix} dev {interface}\n{}",
            self.default_route(interface)
        )
    }

    /// Gives the node nearer to the host its way out.
    pub(super) fn default_route(&self, interface: &str) -> String {
        format!("route replace default via {} dev {interface} onlink\n", self.upper_ip)
    }
}

impl Node {
    fn new(role: String, ip: Ipv4Addr) -> Node {
        let addresses = "link set lo up\n".to_owned();
        Node { role, ip, addresses, sysctls: Vec::new(), rules: None }
    }

    fn ip_line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.addresses, "{line}").expect("writing to a String never fails");
    }

    fn route_packets(&mut self) {
        self.sysctls.push(("net/ipv4/ip_forward", "1".to_owned()));
    }
}

/// Makes a side's half of the internet: a router between its customers, the stranger and the link.
fn internet(side: Side) -> Node {
    let mut node = Node::new(internet_role(side), router_ip(side));
    node.route_packets();
    node.ip_line(format_args!("link set stranger up"));
    node.ip_line(format_args!("addr add {}/32 dev stranger", router_ip(side)));
    for stranger in STRANGER_IPS {
        node.ip_line(format_args!("route add {stranger}/32 dev stranger src {}", router_ip(side)));
    }
    let (near, far) = (link_ip(side), link_ip(side.other()));
    node.ip_line(format_args!("link set {LINK_INTERFACE} up"));
    node.ip_line(format_args!("addr add {near}/32 dev {LINK_INTERFACE}"));
    node.ip_line(format_args!("route add {far}/32 dev {LINK_INTERFACE} src {near}"));
    node.ip_line(format_args!("route add {} via {far} dev {LINK_INTERFACE} onlink", network(side.other())));
    node
}

/// Returns the sysctls that make a box forget when its description says.
pub(super) fn udp_timers(spec: &BoxSpec) -> [(&'static str, String); 2] {
    let timers = spec.timers;
    [
        ("net/netfilter/nf_conntrack_udp_timeout", timers.unreplied.as_secs().to_string()),
        ("net/netfilter/nf_conntrack_udp_timeout_stream", timers.stream.as_secs().to_string()),
    ]
}

fn network(side: Side) -> String {
    let [a, b, c, _] = public_ip(side).octets();
    format!("{a}.{b}.{c}.0/24")
}

fn letter(side: Side) -> char {
    match side {
        Side::A => 'a',
        Side::B => 'b',
    }
}

/// Names a side's host.
pub(super) fn host_role(side: Side) -> String {
    format!("host-{}", letter(side))
}

/// Names a side's box, counted from the host.
pub(super) fn box_role(side: Side, index: usize) -> String {
    format!("box-{}{index}", letter(side))
}

/// Names a side's half of the internet.
pub(super) fn internet_role(side: Side) -> String {
    format!("net-{}", letter(side))
}

/// Names the stranger.
pub(super) fn stranger_role() -> String {
    "stranger".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip_of(topology: &Topology, role: &str) -> Ipv4Addr {
        let node = topology.nodes.iter().find(|node| node.role == role);
        node.unwrap_or_else(|| panic!("no {role}")).ip
    }

    fn plan(preset: &str) -> Topology {
        let spec = NatSpec::preset(preset).expect("a preset");
        Topology::new(&[spec.clone(), spec]).expect("a preset can be built")
    }

    #[test]
    fn without_a_nat_the_host_itself_has_the_public_address() {
        for preset in ["open", "firewall"] {
            assert_eq!(ip_of(&plan(preset), "host-b"), public_ip(Side::B), "{preset}");
        }
    }

    #[test]
    fn behind_a_carrier_the_home_router_has_a_shared_address() {
        let topology = plan("carrier");
        assert_eq!(ip_of(&topology, "box-a1"), public_ip(Side::A));
        assert_eq!(ip_of(&topology, "box-a0"), Ipv4Addr::new(100, 64, 1, 2));
        assert_eq!(ip_of(&topology, "host-a"), Ipv4Addr::new(192, 168, 4, 2));
    }
}
