//! The Hub as the QUIC library sees it: one abstract socket.

use std::{
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
    udp::{RecvMeta, Transmit, UdpSockRef},
};
use tokio::io::Interest;

use super::{Hub, socket::UdpSocket};

/// Reads in a row that may hold nothing for QUIC before the runtime gets its turn: a flood must not starve the rest.
const FRUITLESS_READS: usize = 8;

/// Segments of a coalesced read. The library reserves this many times 1,472 bytes for each read of a batch; the
/// kernel never coalesces more than an IP packet's 65,535 bytes, whatever the segments' number.
const LARGEST_READ_SEGMENTS: NonZeroUsize = NonZeroUsize::new(65_535_usize.div_ceil(1472)).expect("not zero");

/// Hands the Hub's QUIC traffic to the library.
#[derive(Debug)]
pub(crate) struct QuicSocket(pub(crate) Arc<Hub>);

impl AsyncUdpSocket for QuicSocket {
    fn create_sender(&self) -> Pin<Box<dyn UdpSender>> {
        Box::pin(HubSender { hub: self.0.clone(), waiting: None })
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        for _ in 0..FRUITLESS_READS {
            let received = ready!(poll_read(&self.0.main, cx, buffers, meta))?;
            let kept = keep_quic(&self.0, &mut buffers[..received], &mut meta[..received]);
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.local_address())
    }

    fn max_receive_segments(&self) -> NonZeroUsize {
        self.0.main.offload().gro_segments().min(LARGEST_READ_SEGMENTS)
    }

    fn may_fragment(&self) -> bool {
        self.0.main.offload().may_fragment()
    }
}

fn poll_read(
    socket: &UdpSocket,
    cx: &mut Context<'_>,
    buffers: &mut [IoSliceMut<'_>],
    meta: &mut [RecvMeta],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.io().poll_recv_ready(cx))?;
        let read = || socket.offload().recv(UdpSockRef::from(socket.io()), buffers, meta);
        match socket.io().try_io(Interest::READABLE, read) {
            Ok(received) => return Poll::Ready(Ok(received)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // An ICMP error of some earlier datagram: it says nothing about this socket (field: rqbit#664).
            Err(error) if is_icmp(&error) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

fn is_icmp(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

/// Sorts each read and moves those with something for QUIC to the front.
fn keep_quic(hub: &Hub, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
    let mut kept = 0;
    for index in 0..meta.len() {
        if hub.sort(&mut buffers[index], &mut meta[index]) {
            buffers.swap(kept, index);
            meta.swap(kept, index);
            kept += 1;
        }
    }
    kept
}

type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

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
        let socket = self.hub.route(transmit.destination);
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx))?;
                self.waiting = None;
            }
            match socket.try_send(transmit) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let socket = socket.clone();
                    self.waiting = Some(Box::pin(async move { socket.io().writable().await }));
                }
                // A datagram that cannot leave is a lost datagram: QUIC sends its content again.
                Err(error) => {
                    tracing::trace!(%error, destination = %transmit.destination, "datagram not sent");
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn max_transmit_segments(&self) -> NonZeroUsize {
        self.hub.main.offload().max_gso_segments()
    }
}
