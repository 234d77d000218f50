//! The Mux as the QUIC library sees it: one abstract socket.

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, IoSliceMut},
    net::SocketAddr,
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use noq::{
    AsyncUdpSocket, UdpSender,
    udp::{RecvMeta, Transmit},
};

use super::{LOCAL, Mux, batch, demux::Left, link::Link, peer::Share, sockets::Route};
use pinhole_quic::LARGEST_DATAGRAM;

/// Reads of each socket in a row that may hold nothing for QUIC before the runtime gets its turn: a flood must not
/// starve the rest.
const FRUITLESS_READS: usize = 8;

/// Segments of a coalesced read. The library reserves this many times its largest datagram for each read of a batch; the
/// kernel never coalesces more than an IP packet's 65,535 bytes, whatever the segments' number.
const LARGEST_READ_SEGMENTS: NonZeroUsize =
    NonZeroUsize::new(65_535_usize.div_ceil(LARGEST_DATAGRAM as usize)).expect("not zero");

/// Hands the Mux's QUIC traffic to the library.
#[derive(Debug)]
pub(crate) struct QuicSocket {
    mux: Arc<Mux>,
    /// What it reads: the main socket, and those that peers have adopted, each with whose it is.
    sockets: Vec<(Option<Arc<Share>>, Arc<Link>)>,
    /// For which number of changes that holds.
    version: Option<u64>,
    /// Which socket is read first: the one behind that which was read last, so that none starves another.
    first: usize,
    /// What was read and has not been handed over: at most what the library's buffers hold.
    left: VecDeque<Left>,
}

impl QuicSocket {
    pub(crate) fn new(mux: Arc<Mux>) -> Self {
        Self { mux, sockets: Vec::new(), version: None, first: 0, left: VecDeque::new() }
    }

    /// Brings what it reads up to date, and has the task woken when that changes.
    fn follow(&mut self, cx: &Context<'_>) {
        let version = self.mux.adoption.listen(cx.waker());
        if self.version.replace(version) == Some(version) {
            return;
        }
        self.sockets = vec![(None, self.mux.main.clone())];
        for peer in self.mux.demux.peers() {
            let adopted: Vec<_> = peer.sockets().adopted().to_vec();
            self.sockets.extend(adopted.into_iter().map(|socket| (Some(peer.clone()), socket)));
        }
    }

    /// Hands over what came in one read with another peer's.
    fn hand_over(&mut self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut handed = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Some(Left { peer, ecn, datagram }) = self.left.pop_front() else { break };
            let length = datagram.len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram[..length]);
            *meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride, meta.ecn) = (peer, length, length, ecn);
            handed += 1;
        }
        handed
    }

    /// Reads each socket once, until one has something for QUIC. Returns how many reads have, pending if no socket
    /// has anything at all.
    fn poll_each(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let sockets = &self.sockets;
        let mut all_pending = true;
        for index in (0..sockets.len()).map(|step| (self.first + step) % sockets.len()) {
            let (owner, socket) = &sockets[index];
            let Poll::Ready(received) = socket.poll_recv(cx, &self.mux.offload, buffers, meta) else {
                continue;
            };
            all_pending = false;
            let received = received?;
            let (read, left) = ((&mut buffers[..received], &mut meta[..received]), &mut self.left);
            let kept = keep_quic(&self.mux, owner.as_ref(), socket, read, left);
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
        Box::pin(MuxSender { mux: self.mux.clone(), peer: None, waiting: None })
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.follow(cx);
        if !self.left.is_empty() {
            return Poll::Ready(Ok(self.hand_over(buffers, meta)));
        }
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
        Ok(LOCAL)
    }

    fn max_receive_segments(&self) -> NonZeroUsize {
        self.mux.offload.gro_segments().min(LARGEST_READ_SEGMENTS)
    }

    fn may_fragment(&self) -> bool {
        self.mux.offload.may_fragment()
    }
}

/// Sorts each read and moves those with something for QUIC to the front.
fn keep_quic(
    mux: &Mux,
    owner: Option<&Arc<Share>>,
    socket: &Link,
    (buffers, meta): (&mut [IoSliceMut<'_>], &mut [RecvMeta]),
    left: &mut VecDeque<Left>,
) -> usize {
    let mut kept = 0;
    for index in 0..meta.len() {
        if mux.demux.sort(owner, socket.id(), (&mut buffers[index], &mut meta[index]), left) {
            buffers.swap(kept, index);
            meta.swap(kept, index);
            kept += 1;
        }
    }
    kept
}

pub(super) type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Sends for one task of the QUIC library; each has its own waker.
struct MuxSender {
    mux: Arc<Mux>,
    /// The peer to whom it has sent last. A connection's is always the same, and may outlive its part of the Mux: a
    /// goodbye takes the last path.
    peer: Option<Arc<Share>>,
    waiting: Option<Writable>,
}

impl std::fmt::Debug for MuxSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MuxSender")
    }
}

impl UdpSender for MuxSender {
    fn poll_send(
        mut self: Pin<&mut Self>,
        transmit: &Transmit<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(peer) = self.peer(transmit.destination) else { return Poll::Ready(Ok(())) };
        // Nothing is sent before a pair is proven: nobody would know where to.
        let Some(route) = peer.route() else { return Poll::Ready(Ok(())) };
        let (offload, is_without_offload) = (peer.offload(), peer.is_without_offload());
        if !is_without_offload && let Some(gathered) = batch::gather(&route, &offload, transmit) {
            if gathered.is_ready() {
                peer.count_sent();
            }
            return gathered;
        }
        let Route { socket, remote, .. } = route;
        let ecn = transmit.ecn.filter(|_| !is_without_offload);
        let transmit = &Transmit { destination: remote, src_ip: None, ecn, ..*transmit };
        if let Some(segment) = transmit.segment_size.filter(|_| is_without_offload) {
            // Made before the library knew: what the socket has no room for is lost.
            for contents in transmit.contents.chunks(segment) {
                let _lost =
                    socket.try_send(&offload, &Transmit { contents, segment_size: None, ..*transmit });
            }
            peer.count_sent();
            return Poll::Ready(Ok(()));
        }
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx))?;
                self.waiting = None;
            }
            match socket.try_send(&offload, transmit) {
                Ok(()) => {
                    peer.count_sent();
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting = Some(Box::pin(socket.clone().room()));
                }
                // A datagram that cannot leave is a lost datagram: QUIC sends its content again.
                Err(error) => {
                    tracing::trace!(%error, %remote, "datagram not sent");
                    peer.count_sent(); // it stays unanswered, like any that gets lost
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn max_transmit_segments(&self) -> NonZeroUsize {
        match &self.peer {
            Some(peer) if peer.is_without_offload() => NonZeroUsize::MIN,
            Some(peer) => peer.offload().max_gso_segments(),
            None => self.mux.offload.max_gso_segments(),
        }
    }
}

impl MuxSender {
    /// Returns the peer that QUIC knows by that address.
    fn peer(&mut self, address: SocketAddr) -> Option<Arc<Share>> {
        if self.peer.as_ref().is_none_or(|peer| peer.id.address() != address) {
            self.peer = self.mux.demux.find(address);
        }
        self.peer.clone()
    }
}
