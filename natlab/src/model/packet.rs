//! What travels: datagrams and ICMP errors, and why they are lost.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Bytes of an IPv4 and a UDP header, which count on the link.
const HEADER_BYTES: usize = 28;

/// Bytes of a datagram's payload that an error quotes: what is left of 576 bytes (RFC 1812 §4.3.2.3) after two
/// IPv4 headers, the ICMP header and the UDP header.
const QUOTED_BYTES: usize = 520;

/// A UDP datagram on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// Whom it seems to come from here.
    pub src: SocketAddrV4,
    /// Where it goes.
    pub dst: SocketAddrV4,
    /// How many hops it may still take.
    pub ttl: u8,
    /// What it says.
    pub payload: Vec<u8>,
}

impl Packet {
    /// Takes a hop off it, as a router that passes it on; tells whether its TTL allowed that.
    pub(super) fn hop(&mut self) -> bool {
        self.ttl = self.ttl.saturating_sub(1);
        self.ttl > 0
    }

    pub(super) fn bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }
}

/// The reason why a box, a router or a host lost a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lost {
    /// Its TTL was used up; the router says so by ICMP.
    TtlExpired,
    /// Nobody has its destination.
    NoRoute,
    /// The filter did not let it in and the box dropped it.
    Filtered,
    /// The filter did not let it in and the box refused it by ICMP.
    Refused,
    /// The box took it for its own and remembers its flow; no program is there, and it says so by ICMP.
    Taken,
    /// No outside port was free, or the host had its share.
    NoPort,
    /// The box passes no UDP.
    Blocked,
    /// The box passes no UDP and says so by ICMP.
    Prohibited,
    /// No program of the host has the port; the host says so by ICMP.
    PortClosed,
}

impl Lost {
    /// Returns what the sender is told.
    pub(super) fn told(self) -> Option<IcmpKind> {
        match self {
            Lost::TtlExpired => Some(IcmpKind::TtlExceeded),
            Lost::Refused | Lost::Taken | Lost::PortClosed => Some(IcmpKind::PortUnreachable),
            Lost::Prohibited => Some(IcmpKind::AdminProhibited),
            Lost::NoRoute | Lost::Filtered | Lost::NoPort | Lost::Blocked => None,
        }
    }
}

/// Tells the ICMP errors apart that the model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IcmpKind {
    /// A router saw the TTL reach 0 (type 11, code 0).
    TtlExceeded,
    /// No program has the port, or a router rejects what is for itself (type 3, code 3).
    PortUnreachable,
    /// A router does not pass such packets (type 3, code 13).
    AdminProhibited,
}

/// An ICMP error on its way back; the packet that it is about is as the place shows it where the error is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Complaint {
    pub(super) kind: IcmpKind,
    /// Who complains, as seen here.
    pub(super) offender: Ipv4Addr,
    /// Who sent the packet, and gets the error.
    pub(super) src: SocketAddrV4,
    /// Where the packet went.
    pub(super) dst: SocketAddrV4,
    /// The beginning of what it said.
    pub(super) quoted: Vec<u8>,
}

impl Complaint {
    pub(super) fn new(kind: IcmpKind, offender: Ipv4Addr, packet: Packet) -> Complaint {
        let Packet { src, dst, payload: mut quoted, .. } = packet;
        quoted.truncate(QUOTED_BYTES);
        Complaint { kind, offender, src, dst, quoted }
    }

    pub(super) fn bytes(&self) -> usize {
        // The ICMP header is as long as the UDP header that follows the second IPv4 header.
        2 * HEADER_BYTES + self.quoted.len()
    }
}
