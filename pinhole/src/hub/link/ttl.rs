//! Datagrams that are to die on the way: each with a TTL of its own, while others leave the same socket.

use std::{io, net::SocketAddr};

use tokio::net::UdpSocket;

/// Whether a TTL belongs to the datagram. Elsewhere it belongs to the socket for a moment, which a socket that QUIC
/// uses from other threads must be spared.
pub(in crate::hub) const BELONGS_TO_DATAGRAM: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Sends a datagram with that TTL, or hop limit (ip(7) and ipv6(7): the control messages `IP_TTL` and `IPV6_HOPLIMIT`).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn send(io: &UdpSocket, remote: SocketAddr, payload: &[u8], ttl: u8) -> io::Result<()> {
    use std::{io::IoSlice, os::fd::AsRawFd};

    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};

    let ttl = i32::from(ttl);
    let control = [match remote {
        SocketAddr::V4(_) => ControlMessage::Ipv4Ttl(&ttl),
        SocketAddr::V6(_) => ControlMessage::Ipv6HopLimit(&ttl),
    }];
    let to = SockaddrStorage::from(remote);
    sendmsg(io.as_raw_fd(), &[IoSlice::new(payload)], &control, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

/// Sends a datagram with that TTL, which every other datagram of the socket has in the meantime.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn send(io: &UdpSocket, remote: SocketAddr, payload: &[u8], ttl: u8) -> io::Result<()> {
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
