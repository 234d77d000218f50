//! Everything that differs by operating system, and what is done where a system has nothing for it.
//!
//! The rest of the crate knows no system. A further one is a further folder with the items of `portable`, which says for
//! each what is lost without it. `PINHOLE_PORTABLE=1` in the environment of `cargo` builds and tests the portable side on
//! Linux as well.

#[cfg(not(pinhole_portable))]
#[path = "linux/mod.rs"]
mod system;

#[cfg(pinhole_portable)]
#[path = "portable.rs"]
mod system;

use std::net::{IpAddr, SocketAddr};

use pinhole_proto::puncher::IcmpKind;

pub(crate) use self::system::{
    BUFFER_BOOKKEEPING, Network, TTL_BELONGS_TO_DATAGRAM, addresses, clock, gateway, is_closed,
    is_icmp_cause, leads_to, mtu, pace_nothing, send_with_ttl, subscribe_icmp, take_icmp,
};

/// An ICMP error about a datagram of a socket.
#[derive(Debug)]
pub(crate) struct IcmpError {
    /// Where the datagram was sent.
    pub(crate) remote: SocketAddr,
    pub(crate) kind: IcmpKind,
    /// The router or host that reports it.
    pub(crate) offender: IpAddr,
    /// What is quoted of the datagram's payload.
    pub(crate) quoted: Vec<u8>,
}
