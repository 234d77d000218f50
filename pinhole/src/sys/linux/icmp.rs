//! ICMP errors about datagrams of ours.
//!
//! Linux keeps them in a queue of the socket once `IP_RECVERR` or `IPV6_RECVERR` is set (ip(7), ipv6(7)), each with the
//! destination of the datagram, what is quoted of its payload, and who reports it. It also makes the next system call on the
//! socket fail, whatever that wants, and charges the queue to the receive buffer. So they are asked for only while a search
//! needs them, and a flood of forged ones costs a tunnel nothing.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd,
};

use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use pinhole_proto::probe::MAX_PROBE_BYTES;
use rustix::io::Errno;
use tokio::net::UdpSocket;

use super::icmp_error::icmp_error;
use crate::sys::IcmpError;

/// Room for control messages, bytes: the error with its origin takes 48, or 60 of IPv6, what the QUIC library asks for as
/// much again.
const CONTROL_BYTES: usize = 256;

/// Turns the queue of errors on or off; off empties it.
pub(crate) fn subscribe_icmp(io: &UdpSocket, on: bool) -> io::Result<()> {
    if io.local_addr()?.is_ipv6() {
        return Ok(setsockopt(io, sockopt::Ipv6RecvErr, &on)?);
    }
    Ok(setsockopt(io, sockopt::Ipv4RecvErr, &on)?)
}

/// Takes one error from the queue; `None` if it is of no use.
///
/// # Errors
///
/// `WouldBlock` when the queue is empty.
pub(crate) fn take_icmp(io: &UdpSocket) -> io::Result<Option<IcmpError>> {
    let mut payload = [0; MAX_PROBE_BYTES];
    let mut control = vec![0; CONTROL_BYTES]; // on the heap, because it must be aligned
    let mut parts = [IoSliceMut::new(&mut payload)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(io.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let length = message.bytes;
    let Some(remote) = message.address.as_ref().and_then(address) else { return Ok(None) };
    let Some((kind, offender)) = message.cmsgs()?.find_map(|message| icmp_error(&message)) else {
        return Ok(None);
    };
    let quoted = payload[..length.min(MAX_PROBE_BYTES)].to_vec();
    Ok(Some(IcmpError { remote, kind, offender, quoted }))
}

/// Whether a failed call has that number because of an ICMP error, beyond those that every system has
/// (`icmp_err_convert` in net/ipv4/icmp.c).
pub(crate) fn is_icmp_cause(errno: Errno) -> bool {
    errno == Errno::NONET
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let four = storage.as_sockaddr_in().map(|four| SocketAddrV4::from(*four).into());
    four.or_else(|| storage.as_sockaddr_in6().map(|six| SocketAddrV6::from(*six).into()))
}
