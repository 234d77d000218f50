//! What is asked of a NAT, in words that do not depend on chance.

mod errors;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natlab::{Place, STRANGER_IPS, Side, public_ip};

pub(crate) use errors::ERROR_QUESTIONS;

use crate::worlds::World;

/// A question's name and the way to ask it.
pub(crate) type Question = (&'static str, fn(&mut dyn World) -> String);

/// What is asked of every NAT.
pub(crate) const QUESTIONS: &[Question] = &[
    ("does a stranger get in unasked", stranger_unasked),
    ("does the peer get in unasked", peer_unasked),
    ("which port does the peer see", port_toward_peer),
    ("which port does the stranger see", port_toward_stranger),
    ("does a flow keep its port", flow_keeps_port),
    ("do two own ports stay apart", two_own_ports),
    ("does the peer's answer get in", answer),
    ("does the peer's other port get in", other_port),
    ("does the stranger get in after a packet to the peer", other_address),
    ("does the peer get in to a port that never sent", silent_port),
    ("how many flows are there after three destinations", three_destinations),
    ("how many flows are there after an early packet", flows_of_early_packet),
    ("which port is left after the peer's early packet", port_after_early_packet),
    ("which port is left toward the stranger after it", port_toward_other_after_early_packet),
    (
        "which port is left toward the stranger after it moved the one toward the peer",
        port_toward_other_after_move,
    ),
    ("does the peer's retry get in after it", retry_after_early_packet),
    ("does an answer to the moved port get in", answer_after_early_packet),
    ("how many hops is the peer away", hops_to_peer),
    ("how many hops is the stranger away", hops_to_stranger),
    ("does an opener that dies half-way let the peer in", opener),
    ("does a packet that dies in the first box leave a flow", stillborn),
    ("does a packet to the own public address come back", own_public_address),
    ("which port is left after an early packet that dies before the first box", port_after_dead_packet),
    ("which port is left after an early packet with its last hop", port_after_last_hop),
];

/// What is asked of every NAT whose ports are a sequence or from the whole range.
pub(crate) const PORT_QUESTIONS: &[Question] = &[
    ("which of peer, its other port, the stranger, its other address see one port", ports_in_common),
    ("how far apart are two ports in a row", port_distance),
];

/// What is asked of a NAT that gives a host a block of ports.
pub(crate) const BLOCK_QUESTIONS: &[Question] = &[("are all ports within 512", port_range)];

/// What is asked of a NAT that allows two mappings.
pub(crate) const LIMIT_QUESTIONS: &[Question] =
    &[("which of four destinations are reached", four_destinations)];

/// What is asked of a NAT with an unreplied timer of 1 s and a stream timer of 3 s.
pub(crate) const TIMER_QUESTIONS: &[Question] = &[
    ("does an answer get in after the unreplied timer", late_answer),
    ("does an early answer alone make a stream", young_flow),
    ("does a flow of more than two seconds live on", stream),
    ("does a packet that dies in the first box keep its flow alive", kept_by_the_dead),
];

/// What is asked of a NAT with such timers that lets others in.
pub(crate) const OPENING_QUESTIONS: &[Question] = &[
    ("does the stranger get in after the unreplied timer", late_stranger),
    ("does the stranger get in after the stream timer", very_late_stranger),
];

const A: (Place, u16) = (Place::Host(Side::A), 5555);
const A_AGAIN: (Place, u16) = (Place::Host(Side::A), 5556);
const PEER: (Place, u16) = (Place::Host(Side::B), 7000);
const PEERS_OTHER_PORT: (Place, u16) = (Place::Host(Side::B), 7001);
const STRANGER: (Place, u16) = (Place::Stranger, 9000);
const STRANGER_AGAIN: (Place, u16) = (Place::StrangerAgain, 9000);

/// Longer than the unreplied timer of 1 s, shorter than the stream timer of 3 s.
const AFTER_UNREPLIED: Duration = Duration::from_millis(1400);

/// Longer than the stream timer of 3 s.
const AFTER_STREAM: Duration = Duration::from_millis(3400);

/// Hops that lead anywhere.
const FAR: u8 = 64;

fn stranger_unasked(world: &mut dyn World) -> String {
    passes(world, STRANGER, at_public(5555), A)
}

fn peer_unasked(world: &mut dyn World) -> String {
    passes(world, PEER, at_public(5555), A)
}

fn port_toward_peer(world: &mut dyn World) -> String {
    let seen = out(world, A, PEER);
    kept_or_moved(seen)
}

fn port_toward_stranger(world: &mut dyn World) -> String {
    let seen = out(world, A, STRANGER);
    kept_or_moved(seen)
}

fn ports_in_common(world: &mut dyn World) -> String {
    let places = [PEER, PEERS_OTHER_PORT, STRANGER, STRANGER_AGAIN];
    let ports = places.map(|to| out(world, A, to).map(|seen| seen.port()));
    let first_alike = ports.map(|port| ports.iter().position(|other| *other == port));
    format!("{first_alike:?}")
}

fn port_distance(world: &mut dyn World) -> String {
    let ports = [PEER, STRANGER].map(|to| out(world, A, to).map_or(0, |seen| i32::from(seen.port())));
    match ports[1] - ports[0] {
        distance @ -7..=7 => distance.to_string(),
        _ => "far".to_owned(),
    }
}

fn flow_keeps_port(world: &mut dyn World) -> String {
    let (first, second) = (out(world, A, PEER), out(world, A, PEER));
    yes_or_no(first.is_some() && first == second)
}

fn two_own_ports(world: &mut dyn World) -> String {
    let (first, second) = (out(world, A, PEER), out(world, A_AGAIN, PEER));
    yes_or_no(first != second)
}

fn answer(world: &mut dyn World) -> String {
    let mapped = mapped(world);
    passes(world, PEER, mapped, A)
}

fn other_port(world: &mut dyn World) -> String {
    let mapped = mapped(world);
    passes(world, PEERS_OTHER_PORT, mapped, A)
}

fn other_address(world: &mut dyn World) -> String {
    let mapped = mapped(world);
    passes(world, STRANGER, mapped, A)
}

fn silent_port(world: &mut dyn World) -> String {
    mapped(world);
    passes(world, PEER, at_public(5556), A_AGAIN)
}

fn three_destinations(world: &mut dyn World) -> String {
    for to in [PEER, PEERS_OTHER_PORT, STRANGER] {
        out(world, A, to);
    }
    format!("{:?}", world.flows())
}

fn flows_of_early_packet(world: &mut dyn World) -> String {
    early_packet(world);
    format!("{:?}", world.flows())
}

fn port_after_early_packet(world: &mut dyn World) -> String {
    early_packet(world);
    port_toward_peer(world)
}

fn port_toward_other_after_early_packet(world: &mut dyn World) -> String {
    early_packet(world);
    port_toward_stranger(world)
}

fn port_toward_other_after_move(world: &mut dyn World) -> String {
    early_packet(world);
    out(world, A, PEER);
    port_toward_stranger(world)
}

fn retry_after_early_packet(world: &mut dyn World) -> String {
    early_packet(world);
    out(world, A, PEER);
    passes(world, PEER, at_public(5555), A)
}

fn answer_after_early_packet(world: &mut dyn World) -> String {
    early_packet(world);
    let mapped = mapped(world);
    passes(world, PEER, mapped, A)
}

fn hops_to_peer(world: &mut dyn World) -> String {
    hops(world, PEER)
}

fn hops_to_stranger(world: &mut dyn World) -> String {
    hops(world, STRANGER)
}

fn opener(world: &mut dyn World) -> String {
    let last_hop: u8 = hops(world, PEER).parse().unwrap_or(FAR);
    world.send(A_AGAIN, address(PEER), last_hop - 1);
    let arrived = world.receive(PEER).is_some();
    format!("arrives: {arrived}, opens: {}", passes(world, PEER, at_public(5556), A_AGAIN))
}

fn stillborn(world: &mut dyn World) -> String {
    world.send(A, address(PEER), 1);
    let arrived = world.receive(PEER).is_some();
    format!("arrives: {arrived}, flows: {:?}", world.flows())
}

fn own_public_address(world: &mut dyn World) -> String {
    out(world, A, PEER);
    world.send(A_AGAIN, at_public(5555), FAR);
    let seen = world.receive(A).map_or("nobody".to_owned(), |seen| seen.to_string());
    let answered = passes(world, A, at_public(5556), A_AGAIN);
    format!("from {seen}, answer: {answered}")
}

fn port_after_dead_packet(world: &mut dyn World) -> String {
    port_after_packet_of(world, 2)
}

fn port_after_last_hop(world: &mut dyn World) -> String {
    port_after_packet_of(world, 3)
}

/// Lets the peer send first, through two routers to the first box; three hops bring it there, and no further.
fn port_after_packet_of(world: &mut dyn World, ttl: u8) -> String {
    world.send(PEER, at_public(5555), ttl);
    let arrived = world.receive(A).is_some();
    format!("arrives: {arrived}, {}", port_toward_peer(world))
}

fn kept_by_the_dead(world: &mut dyn World) -> String {
    let mapped = mapped(world);
    world.wait(Duration::from_millis(600));
    world.send(A, address(PEER), 1);
    world.wait(Duration::from_millis(600));
    passes(world, PEER, mapped, A)
}

fn late_answer(world: &mut dyn World) -> String {
    let mapped = mapped(world);
    world.wait(AFTER_UNREPLIED);
    passes(world, PEER, mapped, A)
}

fn late_stranger(world: &mut dyn World) -> String {
    let mapped = mapped(world);
    world.wait(AFTER_UNREPLIED);
    passes(world, STRANGER, mapped, A)
}

fn very_late_stranger(world: &mut dyn World) -> String {
    let mapped = mapped(world);
    world.wait(AFTER_STREAM);
    passes(world, STRANGER, mapped, A)
}

fn young_flow(world: &mut dyn World) -> String {
    let mapped = mapped(world);
    let first = passes(world, PEER, mapped, A);
    world.wait(AFTER_UNREPLIED);
    let second = passes(world, PEER, mapped, A);
    format!("{first}, then {second}")
}

fn stream(world: &mut dyn World) -> String {
    let mapped = mapped(world);
    let mut answers = vec![passes(world, PEER, mapped, A)];
    for _ in 0..4 {
        world.wait(Duration::from_millis(550));
        out(world, A, PEER);
    }
    for silence in [AFTER_UNREPLIED, AFTER_STREAM] {
        world.wait(silence);
        answers.push(passes(world, PEER, mapped, A));
    }
    answers.join(", ")
}

fn port_range(world: &mut dyn World) -> String {
    let places = [PEER, PEERS_OTHER_PORT, STRANGER, STRANGER_AGAIN];
    let flows = [A, A_AGAIN].into_iter().flat_map(|from| places.map(|to| (from, to)));
    let ports: Vec<u16> =
        flows.filter_map(|(from, to)| out(world, from, to)).map(|seen| seen.port()).collect();
    let range = ports.iter().max().zip(ports.iter().min()).map(|(last, first)| last - first < 512);
    format!("{range:?}")
}

fn four_destinations(world: &mut dyn World) -> String {
    let reached = [PEER, STRANGER, PEERS_OTHER_PORT, PEER].map(|to| out(world, A, to).is_some());
    format!("{reached:?}, flows: {:?}", world.flows())
}

/// Sends outwards and returns the address that is seen, if the packet arrives.
fn out(world: &mut dyn World, from: (Place, u16), to: (Place, u16)) -> Option<SocketAddrV4> {
    world.send(from, address(to), FAR);
    world.receive(to)
}

/// Sends to the peer and returns the address that it sees.
fn mapped(world: &mut dyn World) -> SocketAddrV4 {
    out(world, A, PEER).unwrap_or(at_public(1))
}

/// Sends to an address and says whether it arrives at a socket.
fn passes(world: &mut dyn World, from: (Place, u16), to: SocketAddrV4, at: (Place, u16)) -> String {
    world.send(from, to, FAR);
    yes_or_no(world.receive(at).is_some())
}

/// Lets the peer send first; an open host gets it, which is no news here.
fn early_packet(world: &mut dyn World) {
    passes(world, PEER, at_public(5555), A);
}

fn hops(world: &mut dyn World, to: (Place, u16)) -> String {
    let arrives = |ttl: &u8| {
        world.send(A, address(to), *ttl);
        world.receive(to).is_some()
    };
    (1..16).find(arrives).map_or("never".to_owned(), |ttl| ttl.to_string())
}

fn address((place, port): (Place, u16)) -> SocketAddrV4 {
    let ip: Ipv4Addr = match place {
        Place::Host(side) => public_ip(side),
        Place::Stranger => STRANGER_IPS[0],
        Place::StrangerAgain => STRANGER_IPS[1],
    };
    SocketAddrV4::new(ip, port)
}

fn at_public(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(public_ip(Side::A), port)
}

fn kept_or_moved(seen: Option<SocketAddrV4>) -> String {
    match seen {
        Some(seen) if seen == at_public(5555) => "kept".to_owned(),
        Some(seen) if *seen.ip() == public_ip(Side::A) => "moved".to_owned(),
        Some(seen) => format!("seen as {seen}"),
        None => "nothing".to_owned(),
    }
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}
