//! What is asked of a NAT that helps TFTP.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::{
    A, A_AGAIN, FAR, PEER, PEERS_OTHER_PORT, Question, STRANGER, at_public, early_packet, hops, passes,
    port_toward_peer,
};
use crate::worlds::World;

/// What is asked of a NAT with helpers.
pub(crate) const HELPER_QUESTIONS: &[Question] = &[
    ("does the peer get in after a plain packet to its port 69", after_plain_packet),
    ("who gets in after a request", after_request),
    ("who gets in after two requests", after_two_requests),
    ("which port does the expected peer see in the answer", answer_to_expected),
    ("how many flows does a request make", flows_of_request),
    ("does a request that dies on its way let the peer in", dead_request),
    ("does an early packet keep the expected peer out", request_after_early_packet),
];

/// What is asked of a NAT with helpers and an unreplied timer of 1 s.
pub(crate) const HELPER_TIMER_QUESTIONS: &[Question] =
    &[("does a second request keep the first one alive", kept_request)];

/// Where the peer would have a TFTP server; it has none.
const PEERS_SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), 69);

/// A TFTP read request (RFC 1350 §5).
const REQUEST: &[u8] = b"\0\x01x\0octet\0";

fn after_plain_packet(world: &mut dyn World) -> String {
    world.send(A, PEERS_SERVER, FAR);
    passes(world, PEER, at_public(5555), A)
}

fn after_request(world: &mut dyn World) -> String {
    world.say(A, PEERS_SERVER, FAR, REQUEST);
    let tries = [STRANGER, PEER, PEER, PEERS_OTHER_PORT, PEER];
    tries.map(|from| passes(world, from, at_public(5555), A)).join(", ")
}

fn after_two_requests(world: &mut dyn World) -> String {
    world.say(A, PEERS_SERVER, FAR, REQUEST);
    world.say(A, PEERS_SERVER, FAR, REQUEST);
    let first = [PEER, PEERS_OTHER_PORT].map(|from| passes(world, from, at_public(5555), A)).join(", ");
    world.say(A, PEERS_SERVER, FAR, REQUEST);
    format!("{first}, then {}", passes(world, PEERS_OTHER_PORT, at_public(5555), A))
}

fn answer_to_expected(world: &mut dyn World) -> String {
    world.say(A, PEERS_SERVER, FAR, REQUEST);
    let came = passes(world, PEER, at_public(5555), A);
    format!("{came}, {}", port_toward_peer(world))
}

fn flows_of_request(world: &mut dyn World) -> String {
    world.say(A, PEERS_SERVER, FAR, REQUEST);
    let before = world.flows();
    passes(world, PEER, at_public(5555), A);
    format!("{before:?}, then {:?}", world.flows())
}

fn dead_request(world: &mut dyn World) -> String {
    let last_hop: u8 = hops(world, PEER).parse().unwrap_or(FAR);
    world.say(A_AGAIN, PEERS_SERVER, last_hop - 1, REQUEST);
    passes(world, PEER, at_public(5556), A_AGAIN)
}

fn request_after_early_packet(world: &mut dyn World) -> String {
    early_packet(world);
    world.say(A, PEERS_SERVER, FAR, REQUEST);
    [PEER, PEERS_OTHER_PORT].map(|from| passes(world, from, at_public(5555), A)).join(", ")
}

fn kept_request(world: &mut dyn World) -> String {
    for _ in 0..3 {
        world.say(A, PEERS_SERVER, FAR, REQUEST);
        world.wait(Duration::from_millis(600));
    }
    passes(world, PEER, at_public(5555), A)
}
