//! A UDP socket as a link.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    os::fd::AsRawFd,
    task::{Context, Poll, ready},
};

use noq::udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use pinhole_proto::puncher::{Pair, SocketId};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::Interest;

use super::icmp;
use crate::{
    bind::{BindError, Protocol},
    mux::receive::{IcmpArrival, Short},
    sys,
};

/// Size that is asked for each buffer of a socket that carries QUIC, bytes. Linux grants at most `net.core.rmem_max`
/// and `wmem_max`, 208 KiB by default, at which a fast link loses packets in every burst.
pub const WANTED_BUFFER_BYTES: usize = 7 << 20;

/// Attempts to send one datagram. Linux reports an ICMP error about an earlier datagram to whoever sends or receives
/// next, and then does not send; each attempt takes one such error away. One that stays is the datagram's own.
const SEND_ATTEMPTS: usize = 3;

/// Sizes of a socket's buffers, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferSizes {
    /// What the system lets us receive ahead.
    pub receive: usize,
    /// What the system lets us send ahead.
    pub send: usize,
}

/// Descriptors that further sockets leave to the rest of the program.
pub const KEPT_DESCRIPTORS: u64 = 16;

#[derive(Debug)]
pub(in crate::mux) struct UdpLink {
    id: SocketId,
    io: tokio::net::UdpSocket,
    local: SocketAddr,
}

impl UdpLink {
    /// Binds a socket as the system makes it: for probes.
    pub(super) fn bind(id: SocketId, address: SocketAddr) -> Result<Self, BindError> {
        let other = |source| BindError::new(Protocol::Udp, address, source);
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(socket2::Protocol::UDP))
            .map_err(other)?;
        socket.set_nonblocking(true).map_err(other)?;
        if address.is_ipv6() {
            socket.set_only_v6(true).map_err(other)?; // one of IPv4 may have the same port
        }
        socket.bind(&address.into()).map_err(other)?;
        let io = tokio::net::UdpSocket::from_std(socket.into()).map_err(other)?;
        let local = io.local_addr().map_err(other)?;
        Ok(Self { id, io, local })
    }

    /// Whether hardly any descriptors are left: a search must leave some for local connections, names and files. The
    /// system hands out the lowest free number.
    pub(super) fn is_among_the_last_descriptors(&self) -> bool {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let number = u64::try_from(self.io.as_raw_fd()).unwrap_or(0);
        limit.is_some_and(|limit| number + KEPT_DESCRIPTORS >= limit)
    }

    /// Prepares it for QUIC: large buffers, offload, no fragments. Returns what the QUIC library found out about the
    /// kernel.
    pub(super) fn prepare_for_quic(&self) -> io::Result<UdpSocketState> {
        let socket = SockRef::from(&self.io);
        for set in [Socket::set_recv_buffer_size, Socket::set_send_buffer_size] {
            if let Err(error) = set(&socket, WANTED_BUFFER_BYTES) {
                tracing::debug!(%error, "socket buffer size refused");
            }
        }
        UdpSocketState::new(UdpSockRef::from(&self.io))
    }

    /// Subscribes to the ICMP errors about what is sent from here, or unsubscribes. Forgets those that wait.
    pub(super) fn subscribe_icmp(&self, on: bool) {
        if let Err(error) = sys::subscribe_icmp(&self.io, on) {
            tracing::debug!(%error, on, "no subscription to ICMP errors");
        }
    }

    /// Sends one datagram if the socket can take it at once. Asks the system and not the runtime, which does not know
    /// of a new socket's readiness before it has slept once.
    pub(super) fn send_now(&self, remote: SocketAddr, payload: &[u8], ttl: Option<u8>) -> io::Result<()> {
        past_pending_errors(|| match ttl {
            Some(ttl) => sys::send_with_ttl(&self.io, remote, payload, ttl),
            None => SockRef::from(&self.io).send_to(payload, &remote.into()).map(drop),
        })
    }

    /// Sends what the QUIC library wants sent, if the socket can take it at once.
    pub(super) fn try_send(&self, offload: &UdpSocketState, transmit: &Transmit<'_>) -> io::Result<()> {
        let send = || offload.try_send(UdpSockRef::from(&self.io), transmit);
        self.io.try_io(Interest::WRITABLE, || past_pending_errors(send))
    }

    /// Takes one ICMP error; `None` if it is of no use.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none.
    pub(super) fn take_icmp(&self) -> io::Result<Option<IcmpArrival>> {
        let taken = sys::take_icmp(&self.io)?;
        Ok(taken.map(|error| IcmpArrival {
            pair: Pair { socket: self.id, remote: error.remote },
            kind: error.kind,
            offender: error.offender,
            quoted: Short::of(&error.quoted),
        }))
    }

    /// See [`Link::poll_recv`](super::Link::poll_recv).
    pub(super) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        offload: &UdpSocketState,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let read = || offload.recv(UdpSockRef::from(&self.io), buffers, meta);
            match self.io.try_io(Interest::READABLE, read) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if icmp::is_cause(&error) => return Poll::Ready(Ok(0)),
                received => return Poll::Ready(received),
            }
        }
    }

    pub(super) fn id(&self) -> SocketId {
        self.id
    }

    pub(super) fn io(&self) -> &tokio::net::UdpSocket {
        &self.io
    }

    pub(super) fn local_address(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn buffer_sizes(&self) -> BufferSizes {
        let socket = SockRef::from(&self.io);
        let size = |granted: io::Result<usize>| granted.map_or(0, |bytes| bytes / sys::BUFFER_BOOKKEEPING);
        BufferSizes { receive: size(socket.recv_buffer_size()), send: size(socket.send_buffer_size()) }
    }
}

fn past_pending_errors(send: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let mut sent = send();
    for _ in 1..SEND_ATTEMPTS {
        match &sent {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => sent = send(),
            Ok(()) | Err(_) => break,
        }
    }
    sent
}
