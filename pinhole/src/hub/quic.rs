//! The Hub as the QUIC library sees it: one abstract socket.

use std::{
    future::Future,
    io::{self, IoSliceMut},
    net::SocketAddr,
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use noq::{
    AsyncUdpSocket, UdpSender,
    udp::{RecvMeta, Transmit, UdpSockRef},
};
use tokio::io::Interest;

use super::{
    Hub, batch, icmp,
    socket::UdpSocket,
    sockets::{Adopted, Route},
};
use pinhole_quic::LARGEST_DATAGRAM;

/// Reads of each socket in a row that may hold nothing for QUIC before the runtime gets its turn: a flood must not
/// starve the rest.
const FRUITLESS_READS: usize = 8;

/// Segments of a coalesced read. The library reserves this many times its largest datagram for each read of a batch; the
/// kernel never coalesces more than an IP packet's 65,535 bytes, whatever the segments' number.
const LARGEST_READ_SEGMENTS: NonZeroUsize =
    NonZeroUsize::new(65_535_usize.div_ceil(LARGEST_DATAGRAM as usize)).expect("not zero");

/// Wait before a full socket is tried again where the runtime cannot tell when it has room. A buffer of 208 KiB lasts
/// longer than this at a gigabit a second.
const FULL: Duration = Duration::from_millis(1);

/// Hands the Hub's QUIC traffic to the library.
#[derive(Debug)]
pub(crate) struct QuicSocket {
    hub: Arc<Hub>,
    adopted: Adopted,
    /// Which socket is read first: the one behind that which was read last, so that none starves another.
    first: usize,
}

impl QuicSocket {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, adopted: Adopted::default(), first: 0 }
    }

    /// Reads each socket once, until one has something for QUIC. Returns how many reads have, pending if no socket
    /// has anything at all.
    fn poll_each(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let sockets = &self.adopted.sockets;
        let mut all_pending = true;
        for index in (0..sockets.len()).map(|step| (self.first + step) % sockets.len()) {
            let socket = &sockets[index];
            let Poll::Ready(received) = poll_read(&self.hub, socket, cx, buffers, meta) else { continue };
            all_pending = false;
            let received = received?;
            let kept = keep_quic(&self.hub, socket, &mut buffers[..received], &mut meta[..received]);
            if kept > 0 {
                self.first = index + 1;
                return Poll::Ready(Ok(kept));
            }
        }
        if all_pending { Poll::Pending } else { Poll::Ready(Ok(0)) }
    }
}

impl AsyncUdpSocket for QuicSocket {
    fn create_sender(&self) -> Pin<Box<dyn UdpSender>> {
        Box::pin(HubSender { hub: self.hub.clone(), waiting: None })
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.hub.sockets().tell(&mut self.adopted, cx.waker());
        for _ in 0..FRUITLESS_READS {
            let kept = ready!(self.poll_each(cx, buffers, meta))?;
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.hub.local_address())
    }

    fn max_receive_segments(&self) -> NonZeroUsize {
        self.hub.offload().gro_segments().min(LARGEST_READ_SEGMENTS)
    }

    fn may_fragment(&self) -> bool {
        self.hub.offload().may_fragment()
    }
}

/// Reads a socket. Returns how many reads the buffers hold; none after an ICMP error of some earlier datagram, which
/// says nothing about this socket (field: rqbit#664).
fn poll_read(
    hub: &Hub,
    socket: &UdpSocket,
    cx: &mut Context<'_>,
    buffers: &mut [IoSliceMut<'_>],
    meta: &mut [RecvMeta],
) -> Poll<io::Result<usize>> {
    let offload = hub.offload();
    loop {
        ready!(socket.io().poll_recv_ready(cx))?;
        let read = || offload.recv(UdpSockRef::from(socket.io()), buffers, meta);
        match socket.io().try_io(Interest::READABLE, read) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if icmp::is_cause(&error) => return Poll::Ready(Ok(0)),
            received => return Poll::Ready(received),
        }
    }
}

/// Sorts each read and moves those with something for QUIC to the front.
fn keep_quic(hub: &Hub, socket: &UdpSocket, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
    let mut kept = 0;
    for index in 0..meta.len() {
        if hub.sort(socket.id(), &mut buffers[index], &mut meta[index]) {
            buffers.swap(kept, index);
            meta.swap(kept, index);
            kept += 1;
        }
    }
    kept
}

pub(super) type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Sends for one task of the QUIC library; each has its own waker.
struct HubSender {
    hub: Arc<Hub>,
    waiting: Option<Writable>,
}

impl std::fmt::Debug for HubSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HubSender")
    }
}

impl UdpSender for HubSender {
    fn poll_send(
        mut self: Pin<&mut Self>,
        transmit: &Transmit<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        // Nothing is sent before a pair is proven: nobody would know where to.
        let Some(route) = self.hub.route() else { return Poll::Ready(Ok(())) };
        let (offload, is_plain) = (self.hub.offload(), self.hub.is_plain());
        if !is_plain && let Some(gathered) = batch::gather(&route, &offload, transmit) {
            if gathered.is_ready() {
                self.hub.traffic.count_sent();
            }
            return gathered;
        }
        let Route { socket, remote } = route;
        let ecn = transmit.ecn.filter(|_| !is_plain);
        let transmit = &Transmit { destination: remote, src_ip: None, ecn, ..*transmit };
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx))?;
                self.waiting = None;
            }
            match socket.try_send(&offload, transmit) {
                Ok(()) => {
                    self.hub.traffic.count_sent();
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting = Some(Box::pin(room(socket.clone())));
                }
                // A datagram that cannot leave is a lost datagram: QUIC sends its content again.
                Err(error) => {
                    tracing::trace!(%error, %remote, "datagram not sent");
                    self.hub.traffic.count_sent(); // it stays unanswered, like any that gets lost
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn max_transmit_segments(&self) -> NonZeroUsize {
        if self.hub.is_plain() { NonZeroUsize::MIN } else { self.hub.offload().max_gso_segments() }
    }
}

/// Waits until a socket may have room again.
///
/// The runtime takes an error on a socket, an ICMP one too, for the end of its writing side, and calls it writable
/// from then on, full or not (tokio `Ready::WRITE_CLOSED`): to ask again at once would spin.
pub(super) async fn room(socket: Arc<UdpSocket>) -> io::Result<()> {
    let ready = socket.io().ready(Interest::WRITABLE).await?;
    if ready.is_write_closed() {
        tokio::time::sleep(FULL).await;
    }
    Ok(())
}
