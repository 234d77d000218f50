//! The portable fallback, which every system can do: nothing here asks for more than the standard library and tokio
//! have.
//!
//! What is lost by that is said at each item.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use rustix::io::Errno;
use tokio::net::TcpStream;

use super::IcmpError;
use crate::check::{Clock, Gateway};

/// A system reports the size of a socket buffer that it grants.
pub(crate) const BUFFER_BOOKKEEPING: usize = 1;

/// Whether a TTL belongs to the datagram: to the socket for a moment, which a socket that QUIC uses from other threads must be
/// spared. A search under a tunnel opens no mappings without reaching the peer's router.
pub(crate) const TTL_BELONGS_TO_DATAGRAM: bool = false;

/// Changes of this machine's network, which nobody reports: they are noticed by what they do to the path, some seconds later.
#[derive(Debug)]
pub(crate) struct Network;

impl Network {
    /// Watches nothing.
    pub(crate) fn watch() -> Self {
        Self
    }

    /// Waits for ever.
    pub(crate) async fn changed(&mut self) {
        std::future::pending().await
    }
}

/// Whether no socket of this machine has that UDP port: never certain here. The end of a peer on this very machine
/// that said no goodbye is noticed when its next run proves itself, or when patience ends.
pub(crate) fn is_closed(_port: u16, _own: u16) -> bool {
    false
}

/// The state of the system's clock, which is unknown here. A check cannot tell whether something keeps it right.
pub(crate) fn clock() -> Clock {
    Clock::Unknown
}

/// Names and addresses of interfaces: none. A check shows the address that it sends from alone.
pub(crate) fn addresses() -> Vec<(String, IpAddr)> {
    Vec::new()
}

/// The default gateway: not known. A check does not show it.
pub(crate) fn gateway() -> Option<Gateway> {
    None
}

/// Whether a network of this machine leads to an address: not known. A search that does not succeed says less.
pub(crate) fn leads_to(_ip: IpAddr) -> Option<bool> {
    None
}

/// The largest packet without fragments: not known. A tunnel finds it out by trying (RFC 8899), up to that of Ethernet.
pub(crate) fn mtu(_connected: &UdpSocket) -> Option<u32> {
    None
}

/// Leaves TCP within this machine as it is.
pub(crate) fn pace_nothing(_tcp: &TcpStream) -> io::Result<()> {
    Ok(())
}

/// Sends a datagram with that TTL, which every other datagram of the socket has in the meantime.
pub(crate) fn send_with_ttl(
    io: &tokio::net::UdpSocket,
    remote: SocketAddr,
    payload: &[u8],
    ttl: u8,
) -> io::Result<()> {
    let socket = socket2::SockRef::from(io);
    let send = || socket.send_to(payload, &remote.into());
    if remote.is_ipv6() {
        let usual = socket.unicast_hops_v6()?;
        socket.set_unicast_hops_v6(ttl.into())?;
        let sent = send();
        socket.set_unicast_hops_v6(usual)?;
        return sent.map(drop);
    }
    let usual = socket.ttl_v4()?;
    socket.set_ttl_v4(ttl.into())?;
    let sent = send();
    socket.set_ttl_v4(usual)?;
    sent.map(drop)
}

/// Asks for nothing: no ICMP error is handed out for a socket that is not connected. A search learns less of the routers on
/// the way, and has no low TTL.
pub(crate) fn subscribe_icmp(_io: &tokio::net::UdpSocket, _on: bool) -> io::Result<()> {
    Ok(())
}

/// Finds none.
pub(crate) fn take_icmp(_io: &tokio::net::UdpSocket) -> io::Result<Option<IcmpError>> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Whether a failed call has that number because of an ICMP error, beyond those that every system has.
pub(crate) fn is_icmp_cause(_errno: Errno) -> bool {
    false
}
