//! What reaches a host.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use super::packet::IcmpKind;
use crate::spec::Side;

/// Names an address from which datagrams are sent and at which they arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A side's host, behind its boxes.
    Host(Side),
    /// The stranger, whom neither side knows.
    Stranger,
    /// The same stranger by its second address.
    StrangerAgain,
}

/// Something that reached a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A datagram.
    Datagram(Delivery),
    /// An ICMP error about a datagram that the host had sent.
    Icmp(IcmpError),
}

/// A datagram that reached a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When it arrived.
    pub at: Instant,
    /// Where it arrived.
    pub to: Place,
    /// The port at which it arrived.
    pub port: u16,
    /// Whom it seems to come from.
    pub from: SocketAddrV4,
    /// How many more hops it could have taken.
    pub ttl: u8,
    /// What it says.
    pub payload: Vec<u8>,
}

/// An ICMP error that reached the host whose datagram it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcmpError {
    /// When it arrived.
    pub at: Instant,
    /// Where it arrived.
    pub to: Place,
    /// The port from which the datagram was sent.
    pub port: u16,
    /// Where the datagram was sent to.
    pub remote: SocketAddrV4,
    /// Who complains, as seen by the host; NATs on the way may have translated it.
    pub offender: Ipv4Addr,
    /// What the complaint is.
    pub kind: IcmpKind,
    /// The beginning of what the datagram said, at most 520 bytes.
    pub quoted: Vec<u8>,
}
