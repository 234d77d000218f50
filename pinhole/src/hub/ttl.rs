//! Datagrams that are to die on the way: each with a TTL of its own, while others leave the same socket.

use std::{io, net::SocketAddr};

use tokio::net::UdpSocket;

/// Whether a TTL belongs to the datagram. Elsewhere it belongs to the socket for a moment, which a socket that QUIC
/// uses from other threads must be spared.
pub(super) const BELONGS_TO_DATAGRAM: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Sends a datagram with that TTL (ip(7): the control message `IP_TTL`).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn send(io: &UdpSocket, remote: SocketAddr, payload: &[u8], ttl: u8) -> io::Result<()> {
    use std::{io::IoSlice, os::fd::AsRawFd};

    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};

    let ttl = i32::from(ttl);
    let control = [ControlMessage::Ipv4Ttl(&ttl)];
    let to = SockaddrStorage::from(remote);
    sendmsg(io.as_raw_fd(), &[IoSlice::new(payload)], &control, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

/// Sends a datagram with that TTL, which every other datagram of the socket has in the meantime.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn send(io: &UdpSocket, remote: SocketAddr, payload: &[u8], ttl: u8) -> io::Result<()> {
    let usual = io.ttl()?;
    io.set_ttl(ttl.into())?;
    let sent = socket2::SockRef::from(io).send_to(payload, &remote.into());
    io.set_ttl(usual)?;
    sent.map(drop)
}
