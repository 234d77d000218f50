//! The model's network while it changes: boxes that forget, other boxes, other roads, other addresses.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use natlab::model::Lost;
use natlab::{LinkSpec, NatSpec, Network, Place, Side};

const MS: Duration = Duration::from_millis(1);
const OTHER_IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);

#[test]
fn a_flush_closes_what_was_open_and_the_next_packet_gets_another_port() {
    let mut network = network("random", "open");
    let first = send(&mut network, Side::A).expect("it arrives");
    assert!(answer(&mut network, first));
    network.flush_all(Side::A);
    assert!(!answer(&mut network, first));
    assert_ne!(send(&mut network, Side::A).expect("it arrives"), first);
}

#[test]
fn other_boxes_take_the_place_of_the_former_and_their_flows() {
    let mut network = network("home", "open");
    let before = send(&mut network, Side::A).expect("it arrives");
    assert_eq!(before.port(), 5555);
    network.set_nats(Side::A, &spec("carrier-random"));
    assert!(!answer(&mut network, before));
    let after = send(&mut network, Side::A).expect("it arrives");
    assert!(after.ip() == before.ip() && after.port() != 5555, "{after}");
    network.set_nats(Side::A, &spec("open"));
    assert_eq!(network.ip(Place::Host(Side::A)), *before.ip());
    assert_eq!(send(&mut network, Side::A), Some(before));
    network.set_nats(Side::A, &spec("blocked"));
    assert_eq!(send(&mut network, Side::A), None);
}

#[test]
fn a_road_changes_in_one_direction_for_packets_that_leave_from_now_on() {
    let mut network = network("open", "open");
    let [a, b] = Side::BOTH.map(|side| SocketAddrV4::new(network.public_ip(side), 5555));
    network.send(Place::Host(Side::A), 5555, b, 64, vec![0; 1300]);
    network.set_link_from(Side::A, LinkSpec { mtu: 1280, ..LinkSpec::delayed(500 * MS) });
    network.send(Place::Host(Side::A), 5555, b, 64, vec![1; 1300]);
    network.send(Place::Host(Side::A), 5555, b, 64, vec![2; 100]);
    network.send(Place::Host(Side::B), 5555, a, 64, vec![3; 1300]);
    let until = network.now() + 600 * MS;
    let arrived: Vec<u8> = network.advance_to(until).iter().map(|delivery| delivery.payload[0]).collect();
    assert_eq!(arrived, [0, 3, 2]);
    network.set_link_from(Side::B, LinkSpec::silent());
    assert_eq!(send(&mut network, Side::B), None);
    assert!(send(&mut network, Side::A).is_some());
}

#[test]
fn a_side_with_another_public_address_is_reached_by_that_one_only() {
    for nats in ["open", "firewall", "home", "carrier"] {
        let mut network = network("open", nats);
        let before = send(&mut network, Side::B).expect("it arrives");
        network.set_public_ip(Side::B, OTHER_IP);
        assert!(!answer(&mut network, before), "{nats}");
        assert_eq!(network.lost(Lost::NoRoute), 1, "{nats}");
        let after = send(&mut network, Side::B).expect("it arrives");
        assert_eq!(*after.ip(), OTHER_IP, "{nats}");
        assert!(answer(&mut network, after), "{nats}");
        network.set_nats(Side::B, &spec("cone"));
        assert_eq!(send(&mut network, Side::B).map(|from| *from.ip()), Some(OTHER_IP), "{nats}");
    }
}

/// Sends a datagram to the other side; returns from where it seems to come there, if it arrives.
fn send(network: &mut Network, from: Side) -> Option<SocketAddrV4> {
    let to = SocketAddrV4::new(network.public_ip(from.other()), 5555);
    network.send(Place::Host(from), 5555, to, 64, vec![]);
    let until = network.now() + 600 * MS;
    network.poll_delivery(until).map(|delivery| delivery.from)
}

/// Sends a datagram to that address from the side that does not have it; tells whether it arrives.
fn answer(network: &mut Network, to: SocketAddrV4) -> bool {
    let is_from_a = network.public_ip(Side::A) != *to.ip() && *to.ip() != natlab::public_ip(Side::A);
    let from = if is_from_a { Side::A } else { Side::B };
    network.send(Place::Host(from), 5555, to, 64, vec![]);
    let until = network.now() + 100 * MS;
    network.poll_delivery(until).is_some()
}

fn network(a: &str, b: &str) -> Network {
    Network::new(&[spec(a), spec(b)], LinkSpec::delayed(20 * MS), 7, Instant::now())
}

fn spec(name: &str) -> NatSpec {
    name.parse().expect("a preset")
}

#[test]
fn a_new_lease_leaves_the_ports_of_the_old_one_taken() {
    let mut network = network("home", "open");
    let before = send(&mut network, Side::A).expect("it arrives");
    network.set_host_ip(Side::A, Ipv4Addr::new(192, 168, 4, 77));
    assert!(!answer(&mut network, before), "the old lease's flow leads nowhere");
    let after = send(&mut network, Side::A).expect("it arrives");
    assert!(after.ip() == before.ip() && after.port() != before.port(), "{after}");
    assert!(answer(&mut network, after));
}
