//! ICMP errors about datagrams of ours, as the system hands them out.
//!
//! Linux keeps them in a queue of the socket once `IP_RECVERR` or `IPV6_RECVERR` is set (ip(7), ipv6(7)), each with the destination of the
//! datagram, what is quoted of its payload, and who complains. It also makes the next system call on the socket fail,
//! whatever that wants, and charges the queue to the receive buffer. So they are asked for only while a search needs
//! them, and a flood of forged ones costs a tunnel nothing. Other systems tell an unconnected socket nothing.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod complaint;

use std::io;

/// Returns whether a failed read tells of an ICMP error about some earlier datagram, and so says nothing about the
/// socket (Linux: `icmp_err_convert` in net/ipv4/icmp.c, and `__udp4_lib_err`).
pub(super) fn is_cause(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let Some(errno) = Errno::from_io_error(error) else { return false };
    let anywhere = [
        Errno::CONNREFUSED,
        Errno::CONNRESET,
        Errno::HOSTUNREACH,
        Errno::HOSTDOWN,
        Errno::NETUNREACH,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::MSGSIZE,
        Errno::PROTO,
    ];
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if errno == Errno::NONET {
        return true;
    }
    anywhere.contains(&errno)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io;

    use tokio::net::UdpSocket;

    use super::super::udp::UdpLink;
    use crate::hub::intake::IcmpArrival;

    /// Does nothing: there is nothing to be had.
    pub(in super::super) fn heed(_io: &UdpSocket, _on: bool) -> io::Result<()> {
        Ok(())
    }

    /// Finds nothing.
    pub(in super::super) fn take(_socket: &UdpLink) -> io::Result<Option<IcmpArrival>> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::{
        io::{self, IoSliceMut},
        net::{SocketAddr, SocketAddrV4, SocketAddrV6},
        os::fd::AsRawFd,
    };

    use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
    use pinhole_proto::{probe::MAX_PROBE_BYTES, puncher::Pair};
    use tokio::net::UdpSocket;

    use super::{super::udp::UdpLink, complaint::complaint};
    use crate::hub::intake::{IcmpArrival, Short};

    /// Room for control messages, bytes: the error with its origin takes 48, or 60 of IPv6, what the QUIC library asks for as much
    /// again.
    const CONTROL_BYTES: usize = 256;

    /// Turns the queue of errors on or off; off empties it.
    pub(in super::super) fn heed(io: &UdpSocket, on: bool) -> io::Result<()> {
        if io.local_addr()?.is_ipv6() {
            return Ok(setsockopt(io, sockopt::Ipv6RecvErr, &on)?);
        }
        Ok(setsockopt(io, sockopt::Ipv4RecvErr, &on)?)
    }

    /// Takes one error from the queue; none if it is of no use.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the queue is empty.
    pub(in super::super) fn take(socket: &UdpLink) -> io::Result<Option<IcmpArrival>> {
        let mut payload = [0; MAX_PROBE_BYTES];
        let mut control = vec![0; CONTROL_BYTES]; // on the heap, because it must be aligned
        let mut parts = [IoSliceMut::new(&mut payload)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<SockaddrStorage>(socket.io().as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        let length = message.bytes;
        let Some(remote) = message.address.as_ref().and_then(address) else { return Ok(None) };
        let Some((kind, offender)) = message.cmsgs()?.find_map(|message| complaint(&message)) else {
            return Ok(None);
        };
        let pair = Pair { socket: socket.id(), remote };
        let quoted = Short::of(&payload[..length.min(MAX_PROBE_BYTES)]);
        Ok(Some(IcmpArrival { pair, kind, offender, quoted }))
    }

    fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
        let four = storage.as_sockaddr_in().map(|four| SocketAddrV4::from(*four).into());
        four.or_else(|| storage.as_sockaddr_in6().map(|six| SocketAddrV6::from(*six).into()))
    }
}

pub(super) use system::{heed, take};
