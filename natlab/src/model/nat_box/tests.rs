//! The rules of one box.

use std::time::Duration;

use pinhole_proto::nat::{Filtering, Mapping, PortAssignment};

use super::*;

const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 4, 2);
const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 4, 1);
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
        Bench { nat: NatBox::new(spec, INSIDE, OUTSIDE, Chance::new(1)), now: Instant::now() }
    }

    /// Sends from the host's port and returns the outside port.
    fn out(&mut self, port: u16, dst: SocketAddrV4) -> u16 {
        self.out_from(HOST, port, dst)
    }

    fn out_from(&mut self, ip: Ipv4Addr, port: u16, dst: SocketAddrV4) -> u16 {
        let mut packet = Packet { src: SocketAddrV4::new(ip, port), dst, ttl: 64, payload: vec![] };
        assert_eq!(self.nat.handle_outgoing(self.now, &mut packet), Passage::Outward);
        packet.src.port()
    }

    /// Receives at the outside port and returns the inside address it gets to, if it does.
    fn get_in(&mut self, src: SocketAddrV4, port: u16) -> Option<SocketAddrV4> {
        let dst = SocketAddrV4::new(OUTSIDE, port);
        let mut packet = Packet { src, dst, ttl: 64, payload: vec![] };
        let passage = self.nat.handle_incoming(self.now, &mut packet);
        (passage == Passage::Inward).then_some(packet.dst)
    }

    fn send(&mut self, ip: Ipv4Addr, port: u16, dst: SocketAddrV4, ttl: u8) -> Passage {
        let mut packet = Packet { src: SocketAddrV4::new(ip, port), dst, ttl, payload: vec![] };
        self.nat.handle_outgoing(self.now, &mut packet)
    }

    /// Sends a packet that has no hop left beyond the box.
    fn die(&mut self, port: u16, dst: SocketAddrV4) {
        assert_eq!(self.send(HOST, port, dst, 1), Passage::Lost(Lost::TtlExpired));
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
    let moved = bench.out_from(NEIGHBOUR, 5555, PEER);
    assert_ne!(moved, 5555);
    assert_eq!(bench.out_from(NEIGHBOUR, 5555, STRANGER), moved, "Linux keeps to it");
    let mut bench = Bench::new(Translation::LINUX);
    bench.out(5555, PEER);
    assert_eq!(bench.out_from(NEIGHBOUR, 5555, STRANGER), 5555, "toward others the port is free");
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
fn filters_let_in_whom_they_depend_on_whatever_the_mapping_and_the_ports() {
    let mappings =
        [Mapping::EndpointIndependent, Mapping::AddressDependent, Mapping::AddressAndPortDependent];
    let ports = [
        PortAssignment::Preserving,
        PortAssignment::Sequential { stride: 1 },
        PortAssignment::Block { ports: 512 },
        PortAssignment::Random,
    ];
    for (mapping, ports) in mappings.into_iter().flat_map(|mapping| ports.map(|ports| (mapping, ports))) {
        let let_in = |filtering| {
            let mut bench = Bench::new(rules(mapping, filtering, ports));
            let outside = bench.out(5555, PEER);
            [PEER, PEERS_OTHER_PORT, STRANGER].map(|src| bench.get_in(src, outside).is_some())
        };
        assert_eq!(let_in(Filtering::EndpointIndependent), [true, true, true], "{mapping:?}, {ports:?}");
        assert_eq!(let_in(Filtering::AddressDependent), [true, true, false], "{mapping:?}, {ports:?}");
        assert_eq!(
            let_in(Filtering::AddressAndPortDependent),
            [true, false, false],
            "{mapping:?}, {ports:?}"
        );
    }
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
    assert_eq!(bench.out(5555, STRANGER), 5555);
    let mut bench = Bench::of(&BoxSpec::nat(Translation::LINUX).with_input(Unsolicited::Accept));
    assert_eq!(bench.get_in(PEER, 5555), None);
    let moved = bench.out(5555, PEER);
    assert_ne!(moved, 5555);
    assert_eq!(bench.out(5555, STRANGER), moved, "Linux keeps to it");
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
    let mut packet = Packet { src, dst: SocketAddrV4::new(OUTSIDE, 5555), ttl: 64, payload: vec![] };
    assert_eq!(bench.nat.handle_outgoing(bench.now, &mut packet), Passage::Inward);
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
fn a_packet_that_dies_in_the_box_leaves_no_mapping_but_refreshes_one() {
    let mut bench = Bench::new(Translation::LINUX);
    bench.die(5555, PEER);
    assert_eq!(bench.nat.mapping_count(bench.now), 0);
    bench.out(5555, PEER);
    bench.wait(29);
    bench.die(5555, PEER);
    bench.wait(29);
    assert_eq!(bench.nat.mapping_count(bench.now), 1);
}

#[test]
fn a_packet_for_the_box_itself_spoils_the_port_even_on_its_last_hop() {
    let mut bench = Bench::of(&BoxSpec::nat(Translation::LINUX).with_input(Unsolicited::Accept));
    let dst = SocketAddrV4::new(OUTSIDE, 5555);
    let mut packet = Packet { src: PEER, dst, ttl: 1, payload: vec![] };
    assert_eq!(bench.nat.handle_incoming(bench.now, &mut packet), Passage::Lost(Lost::Taken));
    assert_ne!(bench.out(5555, PEER), 5555);
}

#[test]
fn a_block_keeps_a_hosts_ports_together() {
    let mut bench = Bench::new(Translation::LINUX.with_ports(PortAssignment::Block { ports: 512 }));
    let ports: Vec<u16> = (1..=256).map(|port| bench.out(port, PEER)).collect();
    let (first, last) = (ports.iter().min(), ports.iter().max());
    assert!(last.zip(first).is_some_and(|(last, first)| last - first < 512));
    assert!(!ports.is_sorted(), "at random");
}

#[test]
fn a_host_gets_no_more_mappings_than_its_limit_until_one_is_forgotten() {
    let mut bench = Bench::of(&BoxSpec::nat(Translation::LINUX).with_max_mappings(2));
    bench.out(1, PEER);
    bench.wait(1);
    bench.out(2, PEER);
    assert_eq!(bench.send(HOST, 3, PEER, 64), Passage::Lost(Lost::NoPort));
    assert_eq!(bench.out_from(NEIGHBOUR, 4, PEER), 4, "a neighbour has a share of its own");
    assert_eq!(bench.out(2, PEER), 2, "what exists goes on");
    bench.wait(29);
    assert_eq!(bench.out(3, PEER), 3);
}

#[test]
fn the_peaks_remember_what_was_and_count_what_the_box_took() {
    let mut bench = Bench::of(&BoxSpec::nat(Translation::LINUX).with_input(Unsolicited::Accept));
    bench.out(5555, PEER);
    bench.out(5555, STRANGER);
    bench.get_in(PEERS_OTHER_PORT, 5555);
    bench.wait(30);
    bench.out(5555, PEER);
    assert_eq!((bench.nat.mapping_count(bench.now), bench.nat.flow_count(bench.now)), (1, 1));
    assert_eq!((bench.nat.mapping_peak(), bench.nat.flow_peak()), (2, 3));
}

#[test]
fn a_blocking_box_passes_nothing_and_says_so_where_it_is_told_to() {
    for (refusal, reason) in [(Refusal::Silent, Lost::Blocked), (Refusal::Told, Lost::Prohibited)] {
        let mut bench = Bench::of(&BoxSpec::blocked(refusal));
        assert_eq!(bench.send(OUTSIDE, 5555, PEER, 64), Passage::Lost(reason));
        let mut packet =
            Packet { src: PEER, dst: SocketAddrV4::new(OUTSIDE, 5555), ttl: 64, payload: vec![] };
        assert_eq!(bench.nat.handle_incoming(bench.now, &mut packet), Passage::Lost(reason));
    }
}

#[test]
fn an_error_finds_the_flow_that_it_is_about() {
    let mut bench = Bench::new(Translation::LINUX.with_ports(PortAssignment::Random));
    let outside = SocketAddrV4::new(OUTSIDE, bench.out(5555, PEER));
    let inside = Some(SocketAddrV4::new(HOST, 5555));
    assert_eq!(bench.nat.handle_error(bench.now, outside, PEER), inside);
    assert_eq!(bench.nat.handle_error(bench.now, outside, STRANGER), None);
    bench.wait(30);
    assert_eq!(bench.nat.handle_error(bench.now, outside, PEER), None);
}
