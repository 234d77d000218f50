//! What can happen to a running laboratory does happen: reboots, other NATs, other addresses, no way out, forgeries.

#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use natlab::kernel::{Flood, Host};
use natlab::{BoxSpec, Lab, LabError, LabSpec, LinkSpec, NatSpec, Side, Translation, lab_or_skip};
use rustix::net::{AddressFamily, SocketType};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(5);

/// Wait for something that must not happen.
const SILENCE: Duration = Duration::from_millis(200);

const NEW_HOST_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 4, 77);
const NEW_PUBLIC_IP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);

#[test]
fn a_box_without_power_is_silent_and_has_forgotten_everything_when_it_is_back() {
    if !lab_or_skip("a_box_without_power_is_silent_and_has_forgotten_everything_when_it_is_back") {
        return;
    }
    let lab = build("home", "open");
    let (client, server) = pair(&lab);
    assert!(asks(&client, &server).is_some());
    let nat = lab.nat(Side::A, 0);
    nat.power_off().expect("it has power");
    assert_eq!(asks_in_vain(&client, &server), None);
    nat.power_on().expect("it had none");
    server.send_to(b"late", to(lab.side(Side::A).public_ip(), 5555)).expect("sent");
    assert_eq!(receive_within(&client, SILENCE), None, "its flows are forgotten");
    assert!(asks(&client, &server).is_some());
}

#[test]
fn a_box_becomes_another_nat() {
    if !lab_or_skip("a_box_becomes_another_nat") {
        return;
    }
    let lab = build("home", "open");
    let (client, server) = pair(&lab);
    assert_eq!(asks(&client, &server).map(|seen| seen.port()), Some(5555));
    let nat = lab.nat(Side::A, 0);
    let flow = nat.udp_flows().expect("listed")[0];
    assert_eq!(flow.outside, to(lab.side(Side::A).public_ip(), 5555));
    assert_eq!(flow.inside, to(lab.host(Side::A).ip(), 5555));
    nat.change(&preset("random").boxes()[0]).expect("rules are replaced");
    let seen = asks(&client, &server).expect("the question arrives");
    assert_ne!(seen.port(), 5555);
    nat.change(&preset("cone").boxes()[0]).expect("rules are replaced");
    assert_eq!(asks(&client, &server).map(|seen| seen.port()), Some(5555));
    let stranger = bind(lab.stranger(), 9000);
    stranger.send_to(b"hello", to(lab.side(Side::A).public_ip(), 5555)).expect("sent");
    assert!(receive_within(&client, PATIENCE).is_some(), "a full cone is open to everybody");
    assert!(matches!(nat.change(&BoxSpec::firewall()), Err(LabError::Unsupported { .. })));
}

#[test]
fn a_side_with_a_new_public_address_is_reached_by_that_and_not_by_the_old_one() {
    if !lab_or_skip("a_side_with_a_new_public_address_is_reached_by_that_and_not_by_the_old_one") {
        return;
    }
    let behind_firewall = BoxSpec::nat(Translation::FULL_CONE);
    let cone = NatSpec::new("cone", vec![behind_firewall]);
    for side_a in [cone, preset("open"), preset("carrier"), preset("firewall")] {
        let name = side_a.to_string();
        let mut lab = Lab::build(LabSpec::new(side_a, preset("open"))).expect("the lab is built");
        let old = lab.side(Side::A).public_ip();
        lab.set_public_ip(Side::A, NEW_PUBLIC_IP).expect("readdressed");
        assert_eq!(lab.side(Side::A).public_ip(), NEW_PUBLIC_IP);
        let (client, server) = pair(&lab);
        let seen = asks(&client, &server).expect("the question arrives");
        assert_eq!(*seen.ip(), NEW_PUBLIC_IP, "{name}");
        server.send_to(b"answer", seen).expect("sent");
        assert!(receive_within(&client, PATIENCE).is_some(), "{name}");
        server.send_to(b"astray", to(old, 5555)).expect("sent");
        assert_eq!(receive_within(&client, SILENCE), None, "{name}");
        lab.set_public_ip(Side::A, old).expect("readdressed");
        assert_eq!(asks(&client, &server).map(|seen| *seen.ip()), Some(old), "{name}");
    }
}

#[test]
fn a_host_with_another_lease_or_on_another_interface_talks_through_the_same_box() {
    if !lab_or_skip("a_host_with_another_lease_or_on_another_interface_talks_through_the_same_box") {
        return;
    }
    let mut lab = build("home", "open");
    let (client, server) = pair(&lab);
    let public = lab.side(Side::A).public_ip();
    assert!(asks(&client, &server).is_some());
    lab.set_host_ip(Side::A, NEW_HOST_IP).expect("readdressed");
    let seen = asks(&client, &server).expect("the question arrives");
    assert_eq!(*seen.ip(), public);
    assert_ne!(seen.port(), 5555, "the box still has that port for the old lease");
    let another =
        lab.host(Side::B).enter(|| UdpSocket::bind("0.0.0.0:5556")).expect("entered").expect("bound");
    let another_address = SocketAddrV4::new(lab.host(Side::B).ip(), 5556);
    client.send_to(b"ask", another_address).expect("sent");
    let toward_another = receive_within(&another, PATIENCE).expect("the question arrives");
    assert_eq!(toward_another.port(), seen.port(), "a port once moved stays so");
    let leases = lab.nat(Side::A, 0).udp_flows().expect("listed").into_iter();
    assert!(leases.into_iter().any(|flow| *flow.inside.ip() == NEW_HOST_IP));
    for octet in [78, 79] {
        let ip = Ipv4Addr::new(192, 168, 4, octet);
        lab.move_host(Side::A, ip).expect("moved");
        assert_eq!(lab.host(Side::A).ip(), ip);
        let seen = asks(&client, &server).expect("the question arrives");
        assert_eq!(*seen.ip(), public);
        server.send_to(b"answer", seen).expect("sent");
        assert!(receive_within(&client, PATIENCE).is_some());
    }
}

#[test]
fn a_host_without_a_way_out_cannot_send_and_can_again() {
    if !lab_or_skip("a_host_without_a_way_out_cannot_send_and_can_again") {
        return;
    }
    let lab = build("home", "open");
    let (client, server) = pair(&lab);
    let server_address = server.local_addr().expect("bound");
    lab.take_route(Side::A).expect("it has one");
    let error = client.send_to(b"ask", server_address).expect_err("no route");
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    lab.give_route(Side::A).expect("given");
    assert!(asks(&client, &server).is_some());
    lab.unplug(Side::A).expect("unplugged");
    assert_eq!(
        client.send_to(b"ask", server_address).map_err(|e| e.kind()),
        Err(ErrorKind::NetworkUnreachable)
    );
    lab.plug(Side::A).expect("plugged");
    assert!(asks(&client, &server).is_some());
}

#[test]
fn a_road_that_gets_narrow_swallows_large_packets_without_a_word_and_gets_wide_again() {
    if !lab_or_skip("a_road_that_gets_narrow_swallows_large_packets_without_a_word_and_gets_wide_again") {
        return;
    }
    let spec = LabSpec::new(preset("home"), preset("open")).with_changeable_link();
    let lab = Lab::build(spec).expect("the lab is built");
    let (client, server) = pair(&lab);
    let errors = raw_icmp(lab.host(Side::A));
    let large = [0; 1400];
    let server_address = server.local_addr().expect("bound");
    lab.link().set(LinkSpec { mtu: 1280, ..LinkSpec::default() }).expect("changeable");
    client.send_to(&large, server_address).expect("sent");
    assert_eq!(receive_within(&server, SILENCE), None);
    assert_eq!(receive_within(&errors, SILENCE), None, "nobody says a word");
    assert!(asks(&client, &server).is_some());
    lab.link().set(LinkSpec::default()).expect("changeable");
    client.send_to(&large, server_address).expect("sent");
    assert!(receive_within(&server, PATIENCE).is_some());
}

#[test]
fn forged_errors_about_a_flow_reach_the_host_behind_its_nat() {
    if !lab_or_skip("forged_errors_about_a_flow_reach_the_host_behind_its_nat") {
        return;
    }
    let lab = build("home", "open");
    let (client, server) = pair(&lab);
    assert!(asks(&client, &server).is_some());
    let flow = lab.nat(Side::A, 0).udp_flows().expect("listed")[0];
    let flood = Flood {
        offender: *flow.remote.ip(),
        src: flow.outside,
        dst: flow.remote,
        count: 6,
        every: Duration::from_millis(1),
    };
    for forger in [&**lab.stranger(), lab.side(Side::B).internet(), lab.side(Side::A).internet()] {
        let errors = raw_icmp(lab.host(Side::A));
        flood.run(forger).expect("sent");
        let mut codes: Vec<u8> = (0..flood.count).map(|_| unreachable_code(&errors)).collect();
        codes.sort_unstable();
        assert_eq!(codes, [1, 1, 3, 3, 13, 13]);
    }
}

fn preset(name: &str) -> NatSpec {
    NatSpec::preset(name).expect("a preset")
}

fn build(a: &str, b: &str) -> Lab {
    Lab::build(LabSpec::new(preset(a), preset(b))).expect("the lab is built")
}

/// Opens a socket on host A, and one on host B, which is open, bound to its address.
fn pair(lab: &Lab) -> (UdpSocket, UdpSocket) {
    let ip = lab.side(Side::B).public_ip();
    let server = lab.host(Side::B).enter(|| UdpSocket::bind(to(ip, 7000))).expect("entered");
    (bind(lab.host(Side::A), 5555), server.expect("the port is free"))
}

fn bind(host: &Host, port: u16) -> UdpSocket {
    let socket = host.enter(|| UdpSocket::bind(to(Ipv4Addr::UNSPECIFIED, port))).expect("entered");
    socket.expect("the port is free")
}

/// Opens a socket that gets all ICMP of a host.
fn raw_icmp(host: &Host) -> UdpSocket {
    let open = || rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(rustix::net::ipproto::ICMP));
    UdpSocket::from(host.enter(open).expect("entered").expect("root may open raw sockets"))
}

fn to(ip: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ip, port)
}

/// Sends from one to the other and returns who the other sees.
fn asks(client: &UdpSocket, server: &UdpSocket) -> Option<SocketAddrV4> {
    asks_for(client, server, PATIENCE)
}

fn asks_in_vain(client: &UdpSocket, server: &UdpSocket) -> Option<SocketAddrV4> {
    asks_for(client, server, SILENCE)
}

fn asks_for(client: &UdpSocket, server: &UdpSocket, wait: Duration) -> Option<SocketAddrV4> {
    client.send_to(b"ask", server.local_addr().expect("bound")).expect("sent");
    receive_within(server, wait)
}

/// Returns the sender of the next datagram, or nothing when none comes in time.
fn receive_within(socket: &UdpSocket, wait: Duration) -> Option<SocketAddrV4> {
    socket.set_read_timeout(Some(wait)).expect("settable");
    match socket.recv_from(&mut [0; 2048]) {
        Ok((_, SocketAddr::V4(sender))) => Some(sender),
        // A read with a timeout is not resumed by the kernel when something stops the process for a while.
        Err(error) if error.kind() == ErrorKind::Interrupted => receive_within(socket, wait),
        Ok((_, SocketAddr::V6(_))) | Err(_) => None,
    }
}

/// Returns the code of the next ICMP error "destination unreachable".
fn unreachable_code(errors: &UdpSocket) -> u8 {
    errors.set_read_timeout(Some(PATIENCE)).expect("settable");
    let mut packet = [0; 128];
    errors.recv_from(&mut packet).expect("an error comes");
    assert_eq!(packet[20], 3, "destination unreachable");
    packet[21]
}
