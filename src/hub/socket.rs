//! One UDP socket: bound, with large buffers, and shared.

use std::{io, net::SocketAddr};

use noq::udp::{Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;

use crate::bind::{BindError, Protocol};

/// Size that is asked for each socket buffer, bytes. Linux grants at most `net.core.rmem_max` and `wmem_max`,
/// 208 KiB by default, at which a fast link loses packets in every burst.
pub const WANTED_BUFFER_BYTES: usize = 7 << 20;

/// Sizes of a socket's buffers, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferSizes {
    /// What the system lets us receive ahead.
    pub receive: usize,
    /// What the system lets us send ahead.
    pub send: usize,
}

#[derive(Debug)]
pub(super) struct UdpSocket {
    io: tokio::net::UdpSocket,
    offload: UdpSocketState,
    local: SocketAddr,
}

impl UdpSocket {
    pub(super) fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let other = |source| BindError::new(Protocol::Udp, address, source);
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(socket2::Protocol::UDP))
            .map_err(other)?;
        socket.set_nonblocking(true).map_err(other)?;
        socket.bind(&address.into()).map_err(other)?;
        for set in [Socket::set_recv_buffer_size, Socket::set_send_buffer_size] {
            if let Err(error) = set(&socket, WANTED_BUFFER_BYTES) {
                tracing::debug!(%error, "socket buffer size refused");
            }
        }
        let offload = UdpSocketState::new(UdpSockRef::from(&socket)).map_err(other)?;
        let io = tokio::net::UdpSocket::from_std(socket.into()).map_err(other)?;
        let local = io.local_addr().map_err(other)?;
        Ok(Self { io, offload, local })
    }

    /// Sends one datagram if the socket can take it at once.
    pub(super) fn send_now(&self, remote: SocketAddr, payload: &[u8]) -> io::Result<()> {
        self.io.try_send_to(payload, remote).map(drop)
    }

    /// Sends what the QUIC library wants sent, if the socket can take it at once.
    pub(super) fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.offload.try_send(UdpSockRef::from(&self.io), transmit))
    }

    pub(super) fn io(&self) -> &tokio::net::UdpSocket {
        &self.io
    }

    pub(super) fn offload(&self) -> &UdpSocketState {
        &self.offload
    }

    pub(super) fn local_address(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn buffer_sizes(&self) -> BufferSizes {
        let socket = socket2::SockRef::from(&self.io);
        let size = |granted: io::Result<usize>| granted.map_or(0, |bytes| bytes / LINUX_BOOKKEEPING);
        BufferSizes { receive: size(socket.recv_buffer_size()), send: size(socket.send_buffer_size()) }
    }
}

/// Linux reports twice the size that it grants (socket(7), SO_RCVBUF).
const LINUX_BOOKKEEPING: usize = if cfg!(target_os = "linux") { 2 } else { 1 };
