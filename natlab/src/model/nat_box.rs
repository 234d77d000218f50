//! One NAT or firewall of the model.
//!
//! An outgoing packet finds or makes its mapping and leaves by its outside port. An incoming one passes where a
//! mapping and the filter allow; else it is for the box itself, which drops it or, where INPUT accepts, remembers
//! it: that flow occupies its port toward its sender, and the mapping of a later outgoing flow is spoilt.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use super::mappings::Mappings;
use crate::chance::Chance;
use crate::spec::{BoxKind, BoxSpec, Translation, Unsolicited};

/// A UDP datagram on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// Whom it seems to come from here.
    pub src: SocketAddrV4,
    /// Where it goes.
    pub dst: SocketAddrV4,
    /// How many hops it may still take.
    pub ttl: u8,
    /// What it says.
    pub payload: Vec<u8>,
}

impl Packet {
    /// Returns the packet as a router passes it on, or nothing when its TTL is used up.
    pub(super) fn hop(self) -> Option<Packet> {
        let ttl = self.ttl.checked_sub(1).filter(|ttl| *ttl > 0)?;
        Some(Packet { ttl, ..self })
    }
}

/// Says what a box made of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// It goes on towards the internet.
    Outward(Packet),
    /// It goes on towards the host.
    Inward(Packet),
    /// It goes nowhere.
    Lost(Lost),
}

/// Says why a box or a router lost a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lost {
    /// Its TTL was used up; a router would say so by ICMP.
    TtlExpired,
    /// Nobody has its destination.
    NoRoute,
    /// The filter did not let it in and the box dropped it.
    Filtered,
    /// The filter did not let it in and the box refused it by ICMP.
    Refused,
    /// The box took it for its own and remembers its flow.
    Taken,
    /// No outside port was free.
    NoPort,
}

/// A NAT or firewall: its rules and what it remembers.
#[derive(Debug)]
pub struct NatBox {
    spec: BoxSpec,
    /// Its rules; a firewall's are those of a NAT that changes nothing.
    rules: Translation,
    outside_ip: Ipv4Addr,
    mappings: Mappings,
}

impl NatBox {
    /// Makes a box with that outside address.
    pub fn new(spec: &BoxSpec, outside_ip: Ipv4Addr, chance: Chance) -> NatBox {
        let rules = spec.translation().unwrap_or(Translation::LINUX);
        NatBox { spec: spec.clone(), rules, outside_ip, mappings: Mappings::new(rules, spec.timers, chance) }
    }

    /// Forgets every flow, as a reboot would.
    pub fn flush(&mut self) {
        self.mappings.clear();
    }

    /// Takes a packet from the inside.
    pub fn handle_outgoing(&mut self, now: Instant, packet: Packet) -> Passage {
        if *packet.dst.ip() == self.outside_ip && self.is_nat() {
            return self.handle_turning(now, packet);
        }
        // A packet that dies here leaves no mapping: routers look at the TTL before they commit a new flow.
        let Some(packet) = packet.hop() else { return Passage::Lost(Lost::TtlExpired) };
        match self.translate(now, packet) {
            Some(packet) => Passage::Outward(packet),
            None => Passage::Lost(Lost::NoPort),
        }
    }

    /// Takes a packet from the outside.
    pub fn handle_incoming(&mut self, now: Instant, packet: Packet) -> Passage {
        match self.inside_of(now, &packet) {
            Some(dst) => match (Packet { dst, ..packet }).hop() {
                Some(packet) => Passage::Inward(packet),
                None => Passage::Lost(Lost::TtlExpired),
            },
            None => Passage::Lost(self.handle_unsolicited(now, &packet)),
        }
    }

    /// Returns how many mappings it has; the budgets of good neighbours are counted in these.
    pub fn mapping_count(&self, now: Instant) -> usize {
        self.mappings.count(now)
    }

    /// Returns how many flows it remembers, those taken for its own included, as Linux' connection tracking
    /// counts them.
    pub fn flow_count(&self, now: Instant) -> usize {
        self.mappings.flow_count(now)
    }

    /// Takes a packet from the inside to the box's own outside address.
    fn handle_turning(&mut self, now: Instant, packet: Packet) -> Passage {
        if !self.rules.hairpin {
            return Passage::Lost(Lost::Filtered);
        }
        match self.translate(now, packet) {
            Some(packet) => self.handle_incoming(now, packet),
            None => Passage::Lost(Lost::NoPort),
        }
    }

    fn translate(&mut self, now: Instant, packet: Packet) -> Option<Packet> {
        let port = self.mappings.handle_outgoing(now, packet.src, packet.dst)?;
        let src = if self.is_nat() { SocketAddrV4::new(self.outside_ip, port) } else { packet.src };
        Some(Packet { src, ..packet })
    }

    /// Returns the inside address that an incoming packet is for, if it may pass.
    fn inside_of(&mut self, now: Instant, packet: &Packet) -> Option<SocketAddrV4> {
        let inside = self.mappings.handle_incoming(now, packet.dst.port(), packet.src)?;
        let is_addressed = self.is_nat() || inside == packet.dst;
        is_addressed.then_some(inside)
    }

    fn handle_unsolicited(&mut self, now: Instant, packet: &Packet) -> Lost {
        // What a firewall does not let through is not for the firewall itself.
        match self.spec.input {
            _ if *packet.dst.ip() != self.outside_ip || !self.is_nat() => Lost::Filtered,
            Unsolicited::Drop => Lost::Filtered,
            Unsolicited::Reject => Lost::Refused,
            Unsolicited::Accept => {
                self.mappings.handle_taken(now, packet.dst.port(), packet.src);
                Lost::Taken
            }
        }
    }

    fn is_nat(&self) -> bool {
        matches!(self.spec.kind, BoxKind::Nat(_))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pinhole_proto::nat::{Filtering, Mapping, PortAssignment};

    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 4, 2);
    const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 168, 4, 3);
    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 4);
    const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), 7000);
    const PEERS_OTHER_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), 7001);
    const STRANGER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 66), 9000);

    /// A box under test and its clock.
    struct Bench {
        nat: NatBox,
        now: Instant,
    }

    impl Bench {
        fn new(rules: Translation) -> Bench {
            Bench::of(&BoxSpec::nat(rules))
        }

        fn of(spec: &BoxSpec) -> Bench {
            Bench { nat: NatBox::new(spec, OUTSIDE, Chance::new(1)), now: Instant::now() }
        }

        /// Sends from the host's port and returns the outside port.
        fn out(&mut self, port: u16, dst: SocketAddrV4) -> u16 {
            self.out_from(HOST, port, dst)
        }

        fn out_from(&mut self, ip: Ipv4Addr, port: u16, dst: SocketAddrV4) -> u16 {
            let packet = Packet { src: SocketAddrV4::new(ip, port), dst, ttl: 64, payload: vec![] };
            match self.nat.handle_outgoing(self.now, packet) {
                Passage::Outward(packet) => packet.src.port(),
                stopped @ (Passage::Inward(_) | Passage::Lost(_)) => panic!("not sent: {stopped:?}"),
            }
        }

        /// Receives at the outside port and returns the inside address it gets to, if it does.
        fn get_in(&mut self, src: SocketAddrV4, port: u16) -> Option<SocketAddrV4> {
            let packet = Packet { src, dst: SocketAddrV4::new(OUTSIDE, port), ttl: 64, payload: vec![] };
            match self.nat.handle_incoming(self.now, packet) {
                Passage::Inward(packet) => Some(packet.dst),
                Passage::Outward(_) | Passage::Lost(_) => None,
            }
        }

        fn wait(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    fn rules(mapping: Mapping, filtering: Filtering, ports: PortAssignment) -> Translation {
        Translation { mapping, filtering, ports, hairpin: false }
    }

    #[test]
    fn the_port_is_kept_toward_everybody_where_it_is_free() {
        let mut bench = Bench::new(Translation::LINUX);
        assert_eq!([bench.out(5555, PEER), bench.out(5555, STRANGER)], [5555, 5555]);
    }

    #[test]
    fn a_neighbour_with_the_same_port_and_destination_gets_another() {
        let mut bench = Bench::new(Translation::LINUX);
        bench.out(5555, PEER);
        assert_ne!(bench.out_from(NEIGHBOUR, 5555, PEER), 5555);
        assert_eq!(bench.out_from(NEIGHBOUR, 5555, STRANGER), 5555);
    }

    #[test]
    fn an_endpoint_independent_mapping_owns_its_port_toward_everybody() {
        let mut bench = Bench::new(Translation::FULL_CONE);
        bench.out(5555, PEER);
        let neighbours = bench.out_from(NEIGHBOUR, 5555, STRANGER);
        assert_ne!(neighbours, 5555);
        assert_eq!(bench.out_from(NEIGHBOUR, 5555, PEER), neighbours);
    }

    #[test]
    fn mappings_split_by_what_they_depend_on() {
        let ports = |mapping| {
            let filtering = Filtering::AddressAndPortDependent;
            let mut bench = Bench::new(rules(mapping, filtering, PortAssignment::Random));
            [PEER, PEERS_OTHER_PORT, STRANGER].map(|dst| bench.out(5555, dst))
        };
        let [peer, other_port, stranger] = ports(Mapping::EndpointIndependent);
        assert!(peer == other_port && peer == stranger);
        let [peer, other_port, stranger] = ports(Mapping::AddressDependent);
        assert!(peer == other_port && peer != stranger);
        let [peer, other_port, stranger] = ports(Mapping::AddressAndPortDependent);
        assert!(peer != other_port && peer != stranger);
    }

    #[test]
    fn filters_let_in_whom_they_depend_on() {
        let let_in = |filtering| {
            let preserving = PortAssignment::Preserving;
            let mut bench = Bench::new(rules(Mapping::EndpointIndependent, filtering, preserving));
            bench.out(5555, PEER);
            [PEER, PEERS_OTHER_PORT, STRANGER].map(|src| bench.get_in(src, 5555).is_some())
        };
        assert_eq!(let_in(Filtering::EndpointIndependent), [true, true, true]);
        assert_eq!(let_in(Filtering::AddressDependent), [true, true, false]);
        assert_eq!(let_in(Filtering::AddressAndPortDependent), [true, false, false]);
    }

    #[test]
    fn nobody_gets_in_before_something_left() {
        assert_eq!(Bench::new(Translation::FULL_CONE).get_in(PEER, 5555), None);
    }

    #[test]
    fn sequential_ports_differ_by_the_stride() {
        let sequential = PortAssignment::Sequential { stride: 2 };
        let (mapping, filtering) = (Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent);
        let mut bench = Bench::new(rules(mapping, filtering, sequential));
        let first = bench.out(5555, PEER);
        assert_eq!(bench.out(5555, STRANGER), first + 2);
        assert_eq!(bench.out(5555, PEER), first, "a flow keeps its port");
    }

    #[test]
    fn an_unanswered_flow_is_forgotten_after_its_timer() {
        let mut bench = Bench::new(Translation::LINUX);
        bench.out(5555, PEER);
        bench.wait(29);
        assert_eq!(bench.nat.flow_count(bench.now), 1);
        bench.wait(1);
        assert_eq!(bench.nat.flow_count(bench.now), 0);
        assert_eq!(bench.get_in(PEER, 5555), None);
    }

    #[test]
    fn an_answer_alone_does_not_make_a_young_flow_a_stream() {
        let mut bench = Bench::new(Translation::LINUX);
        bench.out(5555, PEER);
        assert!(bench.get_in(PEER, 5555).is_some());
        bench.wait(30);
        assert_eq!(bench.get_in(PEER, 5555), None);
    }

    #[test]
    fn a_stream_lives_for_its_timer_after_its_last_packet() {
        let mut bench = Bench::new(Translation::LINUX);
        bench.out(5555, PEER);
        assert!(bench.get_in(PEER, 5555).is_some());
        bench.wait(3);
        bench.out(5555, PEER);
        bench.wait(119);
        assert!(bench.get_in(PEER, 5555).is_some(), "an incoming packet refreshes its flow");
        bench.wait(119);
        assert!(bench.get_in(PEER, 5555).is_some());
        bench.wait(120);
        assert_eq!(bench.get_in(PEER, 5555), None);
    }

    #[test]
    fn an_opening_outlives_its_unanswered_flow() {
        let mut bench = Bench::new(Translation::FULL_CONE);
        bench.out(5555, PEER);
        bench.wait(119);
        assert!(bench.get_in(STRANGER, 5555).is_some());
        bench.wait(1);
        assert_eq!(bench.get_in(STRANGER, 5555), None, "and is not refreshed from outside");
    }

    #[test]
    fn a_box_that_accepts_an_early_packet_spoils_the_port_toward_its_sender() {
        let mut bench = Bench::of(&BoxSpec::nat(Translation::LINUX).with_input(Unsolicited::Accept));
        assert_eq!(bench.get_in(PEER, 5555), None);
        assert_ne!(bench.out(5555, PEER), 5555);
        assert_eq!(bench.out(5555, STRANGER), 5555);
    }

    #[test]
    fn a_box_that_drops_or_rejects_an_early_packet_keeps_the_port() {
        for input in [Unsolicited::Drop, Unsolicited::Reject] {
            let mut bench = Bench::of(&BoxSpec::nat(Translation::LINUX).with_input(input));
            assert_eq!(bench.get_in(PEER, 5555), None);
            assert_eq!(bench.out(5555, PEER), 5555);
        }
    }

    #[test]
    fn the_peers_retries_keep_a_mapping_spoilt_and_silence_heals_it() {
        let mut bench = Bench::of(&BoxSpec::nat(Translation::LINUX).with_input(Unsolicited::Accept));
        for _ in 0..4 {
            assert_eq!(bench.get_in(PEER, 5555), None);
            bench.wait(29);
        }
        let spoilt = bench.out(5555, PEER);
        assert_ne!(spoilt, 5555);
        bench.wait(30);
        assert_eq!(bench.out(5555, PEER), 5555);
    }

    #[test]
    fn a_hairpin_turns_packets_for_the_own_address_around() {
        let mut bench = Bench::new(Translation { hairpin: true, ..Translation::FULL_CONE });
        bench.out(5555, PEER);
        let src = SocketAddrV4::new(NEIGHBOUR, 4444);
        let packet = Packet { src, dst: SocketAddrV4::new(OUTSIDE, 5555), ttl: 64, payload: vec![] };
        let Passage::Inward(packet) = bench.nat.handle_outgoing(bench.now, packet) else {
            panic!("it does not come back");
        };
        assert_eq!(packet.src, SocketAddrV4::new(OUTSIDE, 4444), "its source is translated as well");
        assert_eq!(packet.dst, SocketAddrV4::new(HOST, 5555));
    }

    #[test]
    fn a_firewall_lets_answers_in_and_changes_nothing() {
        let mut bench = Bench::of(&BoxSpec::firewall());
        assert_eq!(bench.out_from(OUTSIDE, 5555, PEER), 5555);
        assert_eq!(bench.get_in(PEER, 5555), Some(SocketAddrV4::new(OUTSIDE, 5555)));
        assert_eq!(bench.get_in(PEERS_OTHER_PORT, 5555), None);
    }

    #[test]
    fn a_packet_that_dies_in_the_box_leaves_no_mapping() {
        let mut bench = Bench::new(Translation::LINUX);
        let src = SocketAddrV4::new(HOST, 5555);
        let packet = Packet { src, dst: PEER, ttl: 1, payload: vec![] };
        assert_eq!(bench.nat.handle_outgoing(bench.now, packet), Passage::Lost(Lost::TtlExpired));
        assert_eq!(bench.nat.mapping_count(bench.now), 0);
    }
}
