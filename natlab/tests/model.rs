//! The model's network: time, the link and hops.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use natlab::model::Lost;
use natlab::{Delivery, LinkSpec, NatSpec, Network, Place, Side, public_ip};

const A: Place = Place::Host(Side::A);
const B: Place = Place::Host(Side::B);
const MS: Duration = Duration::from_millis(1);

#[test]
fn a_packet_arrives_after_the_links_delay() {
    let mut network = network(["open", "open"], LinkSpec::delayed(40 * MS));
    let sent_at = network.now();
    network.send(A, 5555, public(Side::B, 7000), 64, b"hello".to_vec());
    assert_eq!(network.next_event(), Some(sent_at + 40 * MS));
    let delivery = network.poll_delivery(sent_at + 100 * MS).expect("it arrives");
    assert_eq!((delivery.to, delivery.port, delivery.payload), (B, 7000, b"hello".to_vec()));
    assert_eq!(delivery.from, public(Side::A, 5555));
    assert_eq!((delivery.at, network.now()), (sent_at + 40 * MS, sent_at + 40 * MS));
}

#[test]
fn the_clock_stops_where_nothing_arrives() {
    let mut network = network(["open", "open"], LinkSpec::default());
    let until = network.now() + 7 * MS;
    assert_eq!(network.poll_delivery(until), None);
    assert_eq!(network.now(), until);
}

#[test]
fn two_preserving_nats_let_each_other_in_once_both_have_sent() {
    let mut network = network(["carrier", "home"], LinkSpec::delayed(20 * MS));
    network.send(A, 5555, public(Side::B, 5555), 64, vec![]);
    network.send(B, 5555, public(Side::A, 5555), 64, vec![]);
    let met: Vec<Place> = arrivals(&mut network).into_iter().map(|delivery| delivery.to).collect();
    assert_eq!(met, [B, A]);
}

#[test]
fn a_late_second_side_lets_only_its_own_packet_through() {
    let mut network = network(["home", "home"], LinkSpec::delayed(20 * MS));
    network.send(A, 5555, public(Side::B, 5555), 64, vec![]);
    assert_eq!(arrivals(&mut network), []);
    assert_eq!(network.lost(Lost::Filtered), 1);
    network.send(B, 5555, public(Side::A, 5555), 64, vec![]);
    assert_eq!(arrivals(&mut network).len(), 1);
}

#[test]
fn an_opener_of_few_hops_opens_the_own_nat_without_reaching_the_peers() {
    let mut network = network(["home", "home"], LinkSpec::default());
    network.send(A, 5555, public(Side::B, 5555), 3, vec![]);
    assert_eq!(arrivals(&mut network), []);
    assert_eq!((network.lost(Lost::TtlExpired), network.lost(Lost::Filtered)), (1, 0));
    network.send(B, 5555, public(Side::A, 5555), 64, vec![]);
    assert_eq!(arrivals(&mut network).len(), 1);
}

#[test]
fn a_silent_direction_is_counted_and_recovers() {
    let mut network = network(["open", "open"], LinkSpec::default());
    network.set_link_from(Side::A, LinkSpec::silent());
    network.send(A, 1, public(Side::B, 2), 64, vec![]);
    network.send(B, 2, public(Side::A, 1), 64, vec![]);
    assert_eq!(arrivals(&mut network).len(), 1);
    assert_eq!(network.link_stats_from(Side::A).lost, 1);
    network.set_link_from(Side::A, LinkSpec::default());
    network.send(A, 1, public(Side::B, 2), 64, vec![]);
    assert_eq!(arrivals(&mut network).len(), 1);
}

#[test]
fn a_host_reaches_itself_without_the_network() {
    let mut network = network(["firewall", "open"], LinkSpec::default());
    network.send(A, 1, public(Side::A, 2), 1, vec![]);
    assert_eq!(arrivals(&mut network).len(), 1);
}

#[test]
fn equal_seeds_give_equal_runs() {
    let link = LinkSpec { jitter: 9 * MS, loss: 0.2, duplicate: 0.2, reorder: 0.2, ..LinkSpec::default() };
    let now = Instant::now();
    let run = || {
        let mut network = Network::new(&[preset("home"), preset("open")], link, 42, now);
        for port in 0..200 {
            network.send(A, port, public(Side::B, 7000), 64, vec![]);
        }
        arrivals(&mut network)
    };
    let first = run();
    assert!((150..250).contains(&first.len()));
    assert_eq!(first, run());
}

fn network(sides: [&str; 2], link: LinkSpec) -> Network {
    Network::new(&sides.map(preset), link, 1, Instant::now())
}

fn preset(name: &str) -> NatSpec {
    NatSpec::preset(name).expect("a preset")
}

fn public(side: Side, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(public_ip(side), port)
}

fn arrivals(network: &mut Network) -> Vec<Delivery> {
    let until = network.now() + Duration::from_secs(1);
    network.advance_to(until)
}
