//! What is asked about ICMP errors.

use std::net::SocketAddrV4;

use natlab::{Place, Side, public_ip};

use super::{A, FAR, PEER, Question, address, at_public, early_packet, out};
use crate::worlds::World;

/// What is asked of every NAT about ICMP errors; before anything else, because machines complain six times at
/// once and then once a second, and in the kernel all questions share that.
pub(crate) const ERROR_QUESTIONS: &[Question] = &[
    ("who says that a packet died on its way to the peer", deaths_toward_peer),
    ("who says that the peer's port has no program", peers_closed_port),
    ("who tells the peer that it came unasked", complaint_about_early_packet),
    ("who tells the peer that a port has no program", own_closed_port),
    ("who tells the peer that its packet died behind the NAT", death_behind_nat),
];

fn deaths_toward_peer(world: &mut dyn World) -> String {
    let mut deaths = Vec::new();
    for ttl in 1..8 {
        world.send(A, address(PEER), ttl);
        let arrived = world.receive(PEER).is_some();
        deaths.push(if arrived { "arrives".to_owned() } else { complaint(world, A.0) });
        if !deaths.last().is_some_and(|death| death.contains("TtlExceeded")) {
            break;
        }
    }
    deaths.join("; ")
}

fn peers_closed_port(world: &mut dyn World) -> String {
    world.send(A, SocketAddrV4::new(public_ip(Side::B), 7002), FAR);
    complaint(world, A.0)
}

fn complaint_about_early_packet(world: &mut dyn World) -> String {
    early_packet(world);
    complaint(world, PEER.0)
}

fn own_closed_port(world: &mut dyn World) -> String {
    world.send(PEER, at_public(5557), FAR);
    complaint(world, PEER.0)
}

fn death_behind_nat(world: &mut dyn World) -> String {
    let opened = out(world, A, PEER).is_some_and(|seen| seen == at_public(5555));
    let death = |ttl: u8| {
        world.send(PEER, at_public(5555), ttl);
        world.receive(A).map_or_else(|| complaint(world, PEER.0), |_| "arrives".to_owned())
    };
    if opened {
        (3..6).map(death).collect::<Vec<String>>().join("; ")
    } else {
        "not at a known port".to_owned()
    }
}

fn complaint(world: &mut dyn World, at: Place) -> String {
    world.complaint(at).map_or("nobody".to_owned(), |complaint| complaint.to_string())
}
