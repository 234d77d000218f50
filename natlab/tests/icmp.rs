//! The model's ICMP errors: who complains about what, and to whom it comes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use natlab::model::Lost;
use natlab::{
    Arrival, BoxSpec, IcmpError, IcmpKind, LinkSpec, NatSpec, Network, Place, Refusal, Side, public_ip,
};

const A: Place = Place::Host(Side::A);
const B: Place = Place::Host(Side::B);
const MS: Duration = Duration::from_millis(1);

#[test]
fn each_hop_says_where_a_packet_died() {
    let mut network = network(["carrier", "carrier"]);
    let offender = |ttl| {
        network.send(A, 5555, public(Side::B, 5555), ttl, b"probe".to_vec());
        only_error(&mut network).offender
    };
    let offenders: Vec<Ipv4Addr> = (1..=4).map(offender).collect();
    let home = Ipv4Addr::new(192, 168, 4, 1);
    let carrier = Ipv4Addr::new(100, 64, 1, 1);
    let near = Ipv4Addr::new(198, 51, 100, 1);
    let far = Ipv4Addr::new(192, 0, 2, 254);
    assert_eq!(offenders, [home, carrier, near, far]);
}

#[test]
fn an_error_tells_what_was_sent_from_where_to_whom() {
    let mut network = network(["carrier-random", "open"]);
    let sent_at = network.now();
    network.send(A, 5555, public(Side::B, 7000), 4, vec![7; 600]);
    let error = IcmpError {
        at: sent_at + 40 * MS,
        to: A,
        port: 5555,
        remote: public(Side::B, 7000),
        offender: Ipv4Addr::new(192, 0, 2, 254),
        kind: IcmpKind::TtlExceeded,
        quoted: vec![7; 520],
    };
    assert_eq!(arrivals(&mut network), [Arrival::Icmp(error)]);
}

#[test]
fn the_peers_router_that_rejects_or_accepts_answers_for_itself() {
    for preset in ["reject", "spoilt"] {
        let mut network = network(["home", preset]);
        network.send(A, 5555, public(Side::B, 5555), 64, vec![]);
        let error = only_error(&mut network);
        assert_eq!((error.kind, error.offender), (IcmpKind::PortUnreachable, public_ip(Side::B)), "{preset}");
    }
}

#[test]
fn a_packet_that_dies_behind_the_peers_nat_is_quoted_as_it_was_sent() {
    let mut network = network(["home", "carrier"]);
    network.send(B, 5555, public(Side::A, 5555), 64, vec![]);
    assert_eq!(arrivals(&mut network), []);
    network.send(A, 5555, public(Side::B, 5555), 5, vec![]);
    let error = only_error(&mut network);
    assert_eq!((error.remote, error.offender), (public(Side::B, 5555), public_ip(Side::B)));
}

#[test]
fn a_port_without_a_program_is_refused_by_its_host_in_the_name_of_its_nat() {
    let mut network = network(["home", "cone"]);
    network.send(B, 5555, public(Side::A, 5555), 3, vec![]);
    network.listen(B, 7000);
    network.send(A, 5555, public(Side::B, 5555), 64, vec![]);
    let refusals: Vec<IcmpError> = errors(&mut network).into_iter().filter(|error| error.to == A).collect();
    assert_eq!(refusals.len(), 1);
    assert_eq!((refusals[0].kind, refusals[0].offender), (IcmpKind::PortUnreachable, public_ip(Side::B)));
    assert_eq!(network.lost(Lost::PortClosed), 1);
    network.listen(B, 5555);
    network.send(A, 5555, public(Side::B, 5555), 64, vec![]);
    assert_eq!(network.advance_to(network.now() + Duration::from_secs(1)).len(), 1);
}

#[test]
fn an_error_does_not_pass_a_nat_that_has_forgotten_the_flow() {
    let mut network = network(["home", "reject"]);
    network.send(A, 5555, public(Side::B, 5555), 64, vec![]);
    network.flush(Side::A, 0);
    assert_eq!(arrivals(&mut network), []);
    assert_eq!(network.lost(Lost::Refused), 1);
}

#[test]
fn an_error_can_be_lost_on_the_link() {
    let mut network = network(["home", "reject"]);
    network.set_link_from(Side::B, LinkSpec::silent());
    network.send(A, 5555, public(Side::B, 5555), 64, vec![]);
    assert_eq!(arrivals(&mut network), []);
    assert_eq!(network.link_stats_from(Side::B).lost, 1);
}

#[test]
fn a_machine_complains_six_times_at_once_and_then_once_a_second() {
    let mut network = network(["home", "reject"]);
    let mut burst = || {
        (5000..5020).for_each(|port| network.send(A, port, public(Side::B, 5555), 64, vec![]));
        errors(&mut network).len()
    };
    assert_eq!([burst(), burst()], [6, 1], "a burst begins a second after the other");
}

#[test]
fn a_network_without_udp_may_say_so() {
    for (refusal, told) in [(Refusal::Silent, None), (Refusal::Told, Some(IcmpKind::AdminProhibited))] {
        let blocked = NatSpec::new("blocked", vec![BoxSpec::blocked(refusal)]);
        let mut network = between([blocked, preset("open")]);
        network.send(A, 5555, public(Side::B, 5555), 64, vec![]);
        let error = errors(&mut network).pop();
        assert_eq!(error.map(|error| error.kind), told);
    }
}

#[test]
fn the_stranger_gets_errors_and_gives_them() {
    let mut network = network(["reject", "open"]);
    network.send(Place::Stranger, 9000, public(Side::A, 5555), 64, vec![]);
    assert_eq!(only_error(&mut network).to, Place::Stranger);
    network.listen(Place::Stranger, 9000);
    network.send(A, 5555, SocketAddrV4::new(natlab::STRANGER_IPS[0], 9001), 64, vec![]);
    let error = only_error(&mut network);
    assert_eq!((error.to, error.kind), (A, IcmpKind::PortUnreachable));
}

fn network(sides: [&str; 2]) -> Network {
    between(sides.map(preset))
}

fn between(sides: [NatSpec; 2]) -> Network {
    Network::new(&sides, LinkSpec::delayed(20 * MS), 1, Instant::now())
}

fn preset(name: &str) -> NatSpec {
    NatSpec::preset(name).expect("a preset")
}

fn public(side: Side, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(public_ip(side), port)
}

/// Lets a second pass and returns what arrives.
fn arrivals(network: &mut Network) -> Vec<Arrival> {
    let until = network.now() + Duration::from_secs(1);
    std::iter::from_fn(|| network.poll_arrival(until)).collect()
}

fn errors(network: &mut Network) -> Vec<IcmpError> {
    let arrivals = arrivals(network).into_iter();
    let errors = arrivals.filter_map(|arrival| match arrival {
        Arrival::Icmp(error) => Some(error),
        Arrival::Datagram(_) => None,
    });
    errors.collect()
}

fn only_error(network: &mut Network) -> IcmpError {
    let mut errors = errors(network);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}
