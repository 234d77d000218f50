//! The texts of a search: what is in its way, and what would help.

use std::net::IpAddr;

use pinhole::{
    Role,
    proto::{
        nat::NotPublic,
        puncher::{NoPathCause, Trouble},
    },
};

use super::{FORWARD, sentence, span};

pub(crate) fn describe_trouble(trouble: &Trouble) -> String {
    match trouble {
        Trouble::WrongKey { from } => format!(
            "wrong key: packets arrive from {from} that the key of this side does not open. If they are the peer's, both sides need the same key: `pinhole key show` prints one that is kept, and one that was typed must be typed again. (Anybody can forge such packets)"
        ),
        Trouble::OtherVersion { from, version } => {
            format!(
                "packets from {from} look like version {version} of the protocol, which this program does not know. If they are the peer's, use the same release on both sides. (Anybody can forge such packets)"
            )
        }
        Trouble::OldScript { from, role } => {
            let there = match role {
                Role::Serve => "-l",
                Role::Open => "-c",
            };
            format!(
                "packets as the old Python script (or `pinhole classic`) sends them arrive from {from}. If they are the peer's, start pinhole there, with {there}. (Anybody can forge such packets)"
            )
        }
        Trouble::OtherVerb { from, checks: true } => format!(
            "the other side ({from}) runs `pinhole check`, which a tunnel does not answer: start the tunnel there, or run `pinhole check` here as well"
        ),
        Trouble::OtherVerb { from, checks: false } => format!(
            "the other side ({from}) runs a tunnel, which a check does not answer: run `pinhole check` there as well, in its place or with --port 5556 on both sides"
        ),
        Trouble::SameRole { role: Role::Serve } => {
            "both sides offer a service (-c): the side that wants to reach it must use -l".into()
        }
        Trouble::SameRole { role: Role::Open } => {
            "both sides open a port (-l): the side that has the service must use -c".into()
        }
        Trouble::OwnEcho { from } => format!(
            "our own packets come back from {from}: PEER is this side's own public address. Name the other side's; if both machines are behind one router, name the other's local address"
        ),
        Trouble::NoPath(found) => format!("{} Still trying", sentence(&no_path(&found.cause()))),
        Trouble::Clock { apart } => {
            format!("the two machines' clocks are {} apart; that works, but set them right", span(*apart))
        }
    }
}

/// Why there is no path yet, as far as this side can tell, and what to do.
pub(crate) fn no_path(cause: &NoPathCause) -> String {
    match cause {
        NoPathCause::OneWay { from, peer_hears: false, peer_port_moved, .. } => {
            let moved = peer_port_moved.map_or_else(String::new, |(expected, seen)| {
                format!(" (its router made port {seen} of {expected})")
            });
            format!(
                "the peer is heard from {from}{moved}, but does not hear us: a router or firewall on either side does not let our packets through. To mend that, {FORWARD}"
            )
        }
        NoPathCause::OneWay { from, peer_hears: true, own_port_moved, .. } => {
            let moved = own_port_moved.map_or_else(String::new, |(own, seen)| {
                format!(" Our router makes port {seen} of {own}.")
            });
            format!(
                "both sides hear each other, the peer from {from}, but no pair of ports carries packets both ways.{moved} To mend that, {FORWARD}"
            )
        }
        NoPathCause::SendRefused => {
            "this machine does not let us send to the peer: look at its own firewall, VPN and routes (`ip route get PEER`)".into()
        }
        NoPathCause::Prohibited { by } => format!(
            "{by} refuses our UDP packets: a firewall there forbids them. Allow outgoing UDP, or use another network"
        ),
        NoPathCause::Unreachable { by } => {
            format!("{by} says that there is no way to the peer's network: is PEER right, and is it online?")
        }
        NoPathCause::NotPublic { ip, why } => not_public(*ip, *why),
        NoPathCause::Moved => {
            "nothing from the peer since this machine's own address changed: the other side looks for us at the address that it was given, and its router may let in nobody else. Start it again there with our new public address as PEER; a name that follows us (dynamic DNS) saves that the next time".into()
        }
        NoPathCause::OwnSideBlocks { router } => format!(
            "our own router {router} answers, but nothing behind it does. Does pinhole run on the other side, with *our* public address as PEER? If it does, this network lets no UDP out, or no answers in: allow outgoing UDP at the router, or use another network"
        ),
        NoPathCause::Refused => format!(
            "PEER's router or machine answers that nobody is there: is PEER the *other* side's public address, and does pinhole run there, with *our* public address as PEER and the same UDP port? If so, {FORWARD}"
        ),
        NoPathCause::Vanished => {
            "nothing from the peer since the path was lost: its machine, its network or ours is down, or its address has changed".into()
        }
        NoPathCause::Silent => {
            "nothing from the peer so far. Does pinhole run there, with *our* public address as PEER and the same UDP port? Does a firewall block UDP?".into()
        }
        NoPathCause::Unmet => format!(
            "nothing from the peer, by any method. Does pinhole run there, with *our* public address as PEER and the same UDP port? If it does, either a firewall on its side blocks UDP (it is told so there), or both routers give each connection an unpredictable port, and then nothing but this helps: {FORWARD}"
        ),
    }
}

/// PEER cannot be right, unless a VPN leads there.
fn not_public(ip: IpAddr, why: NotPublic) -> String {
    let what = match why {
        NotPublic::Private => "a private address (RFC 1918), and no network of this machine leads there",
        NotPublic::Carrier => {
            "an address inside a carrier's network (RFC 6598), and no network of this machine leads there"
        }
        NotPublic::Link => "a link-local address (RFC 3927), and on no link of this machine",
        NotPublic::Reserved => "a reserved address, which no machine on the internet has",
    };
    format!("PEER {ip} is {what}. Name the *public* address of the other side: {}", find_public("there"))
}

/// How to learn the public address of a side, `here` or `there`. We ask nobody for it.
pub(crate) fn find_public(place: &str) -> String {
    format!(
        "what a web page that answers \"what is my IP\" shows {place}, or `pinhole check --stun HOST`; what the router shows is not it where the provider has a NAT of its own"
    )
}
