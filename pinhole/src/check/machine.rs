//! This machine, as far as it matters for a tunnel. Nothing is sent.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use pinhole_proto::nat::Reach;

use super::{Clock, Gateway};
use crate::{
    bind::BindError,
    mux::{self, BufferSizes},
    sys,
};

/// An address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface that has it.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// From where it can be reached, as far as it tells.
    pub reach: Reach,
}

/// Whether the main UDP port can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// It is free, and sockets on it get buffers of that size.
    Free(BufferSizes),
    /// It cannot be had.
    Taken {
        /// Whether another program has it.
        in_use: bool,
        /// Why, as a sentence.
        why: String,
    },
}

/// This machine, as far as a tunnel is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its addresses, loopback left out.
    pub addresses: Vec<Address>,
    /// The address that it sends from toward the peer, or the internet where no peer is named.
    pub source: Option<IpAddr>,
    /// Where everything goes for which there is no other way.
    pub gateway: Option<Gateway>,
    /// The largest packet on the way to the peer, as this machine knows it, bytes.
    pub mtu: Option<u32>,
    /// The main UDP port.
    pub port: Port,
    /// What the kernel says of its clock.
    pub clock: Clock,
    /// Files, and so sockets, that the program may have open at most; `None` where there is no bound.
    pub descriptors: Option<u64>,
}

impl Machine {
    /// Looks at this machine: at the main port there, and at the way to the peer if there is one. Must be called within
    /// a tokio runtime.
    #[must_use]
    pub fn look(main: SocketAddr, peer: Option<SocketAddr>) -> Self {
        let toward = peer.unwrap_or(mux::ELSEWHERE);
        let way = way_to(main.ip(), toward);
        Self {
            addresses: addresses(),
            source: way.as_ref().and_then(|way| way.local_addr().ok()).map(|address| address.ip()),
            gateway: Gateway::find(),
            mtu: way.as_ref().and_then(sys::mtu),
            port: Port::look(main),
            clock: Clock::read(),
            descriptors: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        }
    }

    /// Returns from where the address can be reached that this machine sends from.
    #[must_use]
    pub fn reach(&self) -> Option<Reach> {
        self.source.map(Reach::of)
    }
}

impl Port {
    fn look(main: SocketAddr) -> Self {
        match mux::try_port(main) {
            Ok(granted) => Self::Free(granted),
            Err(error) => {
                Self::Taken { in_use: matches!(error, BindError::InUse { .. }), why: error.to_string() }
            }
        }
    }
}

/// Returns a socket that would send to that address. No packet is sent.
fn way_to(bind: IpAddr, to: SocketAddr) -> Option<UdpSocket> {
    let socket = UdpSocket::bind((bind, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket)
}

/// Lists what this machine's interfaces have, IPv4 first.
fn addresses() -> Vec<Address> {
    let found =
        sys::addresses().into_iter().map(|(interface, ip)| Address { interface, ip, reach: Reach::of(ip) });
    let mut addresses: Vec<Address> = found.filter(|address| address.reach != Reach::Machine).collect();
    addresses.sort_by_key(|address| address.ip.is_ipv6());
    addresses
}
