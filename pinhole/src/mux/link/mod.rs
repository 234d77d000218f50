//! The local end of a pair: what a [`SocketId`] stands for.
//!
//! Today each is a UDP socket, of either family. Whatever else carries datagrams to a peer and from it (a relay, a
//! connection of TCP) is another kind of [`Link`]; the Mux, the Puncher and QUIC see no difference.

mod icmp;
mod mtu;
mod udp;

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use noq::udp::{RecvMeta, Transmit, UdpSocketState};
use pinhole_proto::puncher::SocketId;
use tokio::io::{Interest, Ready};

use self::udp::UdpLink;
pub use self::udp::{BufferSizes, KEPT_DESCRIPTORS, WANTED_BUFFER_BYTES};
use super::receive::IcmpArrival;
use crate::bind::BindError;

/// Wait before a full socket is tried again where the runtime cannot tell when it has room. A buffer of 208 KiB lasts
/// longer than this at a gigabit a second.
const FULL: Duration = Duration::from_millis(1);

/// The local end of pairs; shared by the driver and the QUIC library.
#[derive(Debug)]
pub(super) enum Link {
    /// A UDP socket.
    Udp(UdpLink),
}

impl Link {
    /// Binds a UDP socket as the system makes it: for probes.
    pub(super) fn bind_udp(id: SocketId, address: SocketAddr) -> Result<Self, BindError> {
        UdpLink::bind(id, address).map(Self::Udp)
    }

    /// Prepares it for QUIC: large buffers, offload, no fragments. Returns what the QUIC library found out about the
    /// kernel.
    pub(super) fn prepare_for_quic(&self) -> io::Result<UdpSocketState> {
        let Self::Udp(udp) = self;
        udp.prepare_for_quic()
    }

    /// Subscribes to the ICMP errors about what is sent from here, or unsubscribes. Forgets those that wait.
    pub(super) fn subscribe_icmp(&self, on: bool) {
        let Self::Udp(udp) = self;
        udp.subscribe_icmp(on);
    }

    /// Sends one datagram if that can be done at once, with that number of hops if not the usual one.
    pub(super) fn send_now(&self, remote: SocketAddr, payload: &[u8], ttl: Option<u8>) -> io::Result<()> {
        let Self::Udp(udp) = self;
        udp.send_now(remote, payload, ttl)
    }

    /// Sends what the QUIC library wants sent, if that can be done at once.
    pub(super) fn try_send(&self, offload: &UdpSocketState, transmit: &Transmit<'_>) -> io::Result<()> {
        let Self::Udp(udp) = self;
        udp.try_send(offload, transmit)
    }

    /// Waits until there may be something to read, or room to write, or an error.
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let Self::Udp(udp) = self;
        udp.io().ready(interest).await
    }

    /// Waits until it may have room again.
    ///
    /// The runtime takes an error on a socket, an ICMP one too, for the end of its writing side, and calls it writable
    /// from then on, full or not (tokio `Ready::WRITE_CLOSED`): to ask again at once would spin.
    pub(super) async fn room(self: Arc<Self>) -> io::Result<()> {
        let ready = self.ready(Interest::WRITABLE).await?;
        if ready.is_write_closed() {
            tokio::time::sleep(FULL).await;
        }
        Ok(())
    }

    /// Reads one datagram.
    pub(super) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let Self::Udp(udp) = self;
        udp.io().try_recv_from(buffer)
    }

    /// Reads for QUIC. Returns how many reads the buffers hold; none after an ICMP error of some earlier datagram, which
    /// says nothing about this socket (field: rqbit#664).
    pub(super) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        offload: &UdpSocketState,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Self::Udp(udp) = self;
        udp.poll_recv(cx, offload, buffers, meta)
    }

    /// Takes an ICMP error about a datagram of ours; `None` for one that is of no use.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none.
    pub(super) fn take_icmp(&self) -> io::Result<Option<IcmpArrival>> {
        let Self::Udp(udp) = self;
        udp.io().try_io(Interest::ERROR, || udp.take_icmp())
    }

    /// Returns its number.
    pub(super) fn id(&self) -> SocketId {
        let Self::Udp(udp) = self;
        udp.id()
    }

    /// Returns its own address.
    pub(super) fn local_address(&self) -> SocketAddr {
        let Self::Udp(udp) = self;
        udp.local_address()
    }

    /// Returns the sizes of its buffers that the system has granted.
    pub(super) fn buffer_sizes(&self) -> BufferSizes {
        let Self::Udp(udp) = self;
        udp.buffer_sizes()
    }

    /// Returns the size of the largest datagram that this machine would send from here to there, bytes of payload, if the
    /// system tells.
    pub(super) fn largest_datagram(&self, to: SocketAddr) -> Option<u16> {
        let Self::Udp(udp) = self;
        mtu::largest_datagram(udp.local_address(), to)
    }

    /// Whether hardly any descriptors are left: a search must leave some for local connections, names and files.
    pub(super) fn is_among_the_last_descriptors(&self) -> bool {
        let Self::Udp(udp) = self;
        udp.is_among_the_last_descriptors()
    }

    /// Returns the UDP socket.
    #[cfg(test)]
    pub(super) fn udp(&self) -> &tokio::net::UdpSocket {
        let Self::Udp(udp) = self;
        udp.io()
    }

    /// Takes an ICMP error from the system's queue, whether or not the runtime knows of one.
    #[cfg(all(test, not(pinhole_portable)))]
    pub(super) fn take_queued_icmp(&self) -> io::Result<Option<IcmpArrival>> {
        let Self::Udp(udp) = self;
        udp.take_icmp()
    }
}
