//! Datagrams that are to die on the way: each with a TTL of its own, while others leave the same socket.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::AsRawFd,
};

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use tokio::net::UdpSocket;

/// Whether a TTL belongs to the datagram.
pub(crate) const TTL_BELONGS_TO_DATAGRAM: bool = true;

/// Sends a datagram with that TTL, or hop limit (ip(7) and ipv6(7): the control messages `IP_TTL` and `IPV6_HOPLIMIT`).
pub(crate) fn send_with_ttl(io: &UdpSocket, remote: SocketAddr, payload: &[u8], ttl: u8) -> io::Result<()> {
    let ttl = i32::from(ttl);
    let control = [match remote {
        SocketAddr::V4(_) => ControlMessage::Ipv4Ttl(&ttl),
        SocketAddr::V6(_) => ControlMessage::Ipv6HopLimit(&ttl),
    }];
    let to = SockaddrStorage::from(remote);
    sendmsg(io.as_raw_fd(), &[IoSlice::new(payload)], &control, MsgFlags::empty(), Some(&to))?;
    Ok(())
}
