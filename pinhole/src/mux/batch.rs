//! Datagrams that leave together.
//!
//! The QUIC library hands out at most 10 datagrams at a time, and a system call for each ten costs more than to encrypt
//! them. So what it sends while one of its tasks runs is gathered, and leaves in as few calls as the system allows (GSO):
//! when another datagram does not fit, and at the latest when the task has run. Nothing waits for a timer or for
//! another task: [`GatheringRuntime`] wraps the library's tasks, so their end is known.

use std::{
    cell::RefCell,
    future::Future,
    io,
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use noq::{
    AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime,
    udp::{EcnCodepoint, Transmit, UdpSocketState},
};

use super::{link::Link, quic::Writable, sockets::Route};

/// Bytes of a batch: the largest payload that one call may send over IPv4.
const LARGEST: usize = 65_535 - 20 - 8;

/// Datagrams after which a task of the library ends its turn although it has more (`MAX_TRANSMIT_DATAGRAMS` of noq 1.4).
const TURN: usize = 20;

/// Turns of a task in a row, so that their datagrams leave together.
const TURNS: usize = 3;

thread_local! {
    /// What the task that runs on this thread gathers.
    static GATHERED: RefCell<Option<Batch>> = const { RefCell::new(None) };
}

/// The tokio runtime, whose tasks gather what they send.
#[derive(Debug)]
pub(crate) struct GatheringRuntime;

impl Runtime for GatheringRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(Gathering { task, batch: Batch::default(), waiting: None });
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Box<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// Adds to what the running task gathers. Returns none if nothing is gathered here; pending while the socket is full,
/// and the task is woken when it no longer is.
pub(super) fn gather(
    route: &Route,
    offload: &Arc<UdpSocketState>,
    transmit: &Transmit<'_>,
) -> Option<Poll<io::Result<()>>> {
    GATHERED.with_borrow_mut(|gathered| gathered.as_mut().map(|batch| batch.push(route, offload, transmit)))
}

/// A task of the library.
struct Gathering {
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
    batch: Batch,
    waiting: Option<Writable>,
}

impl Future for Gathering {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.flush(cx);
        let mut polled = Poll::Pending;
        for _ in 0..TURNS {
            this.batch.turn = 0;
            polled = lend(&mut this.batch, || this.task.as_mut().poll(cx));
            if polled.is_ready() || this.batch.turn < TURN {
                break;
            }
        }
        this.flush(cx);
        polled
    }
}

impl Gathering {
    /// Sends what was gathered. If the socket is full, the task is woken when it no longer is.
    fn flush(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some(waiting) = &mut self.waiting {
                match waiting.as_mut().poll(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(())) => self.waiting = None,
                    // The runtime ends.
                    Poll::Ready(Err(_)) => return self.batch.forget(),
                }
            }
            match self.batch.send() {
                Poll::Ready(()) => return,
                Poll::Pending => {
                    self.waiting =
                        self.batch.destination.as_ref().map(|destination| -> Writable {
                            Box::pin(destination.route.socket.clone().room())
                        })
                }
            }
        }
    }
}

/// Lets a batch gather what is sent on this thread during `run`.
fn lend<T>(batch: &mut Batch, run: impl FnOnce() -> T) -> T {
    struct Loan<'a>(&'a mut Batch);
    impl Drop for Loan<'_> {
        fn drop(&mut self) {
            *self.0 = GATHERED.take().unwrap_or_default();
        }
    }
    GATHERED.set(Some(std::mem::take(batch)));
    let _loan = Loan(batch);
    run()
}

/// Datagrams with one destination, of one size but the last.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    destination: Option<Destination>,
    /// Size of each datagram but the last.
    segment: usize,
    /// Datagrams that were added since the task's turn began.
    turn: usize,
    /// The socket is full.
    is_stuck: bool,
}

#[derive(Debug)]
struct Destination {
    route: Route,
    offload: Arc<UdpSocketState>,
    ecn: Option<EcnCodepoint>,
}

impl Batch {
    fn push(
        &mut self,
        route: &Route,
        offload: &Arc<UdpSocketState>,
        transmit: &Transmit<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_stuck || (!self.fits(route, transmit) && self.send().is_pending()) {
            return Poll::Pending;
        }
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        if self.destination.is_none() {
            self.segment = segment;
            self.destination =
                Some(Destination { route: route.clone(), offload: offload.clone(), ecn: transmit.ecn });
        }
        self.turn += transmit.contents.len().div_ceil(segment);
        self.bytes.extend_from_slice(transmit.contents);
        Poll::Ready(Ok(()))
    }

    fn fits(&self, route: &Route, transmit: &Transmit<'_>) -> bool {
        let Some(destination) = &self.destination else { return true };
        let length = transmit.contents.len();
        let most = destination.offload.max_gso_segments().get();
        let is_alike = match transmit.segment_size {
            Some(segment) => segment == self.segment,
            None => length <= self.segment,
        };
        is_alike
            && self.bytes.len().is_multiple_of(self.segment)
            && self.bytes.len() + length <= LARGEST.min(most * self.segment)
            && transmit.ecn == destination.ecn
            && route.is(&destination.route)
    }

    /// Sends all. Pending if the socket is full; then all is still there.
    fn send(&mut self) -> Poll<()> {
        let Some(Destination { route, offload, ecn }) = &self.destination else { return Poll::Ready(()) };
        let Self { bytes, segment, .. } = &*self;
        let transmit = Transmit {
            destination: route.remote,
            ecn: *ecn,
            contents: bytes,
            segment_size: (bytes.len() > *segment).then_some(*segment),
            src_ip: None,
        };
        match send_all(&route.socket, offload, &transmit) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_stuck = true;
                return Poll::Pending;
            }
            // A datagram that cannot leave is a lost datagram: QUIC sends its content again.
            Err(error) => tracing::trace!(%error, remote = %route.remote, "datagrams not sent"),
            Ok(()) => {}
        }
        self.forget();
        Poll::Ready(())
    }

    fn forget(&mut self) {
        (self.destination, self.is_stuck) = (None, false);
        self.bytes.clear();
    }
}

/// Sends in one call; one by one where the system has just found out that the device cannot do that.
fn send_all(socket: &Link, offload: &UdpSocketState, transmit: &Transmit<'_>) -> io::Result<()> {
    let sent = socket.try_send(offload, transmit);
    let (Some(segment), Err(error)) = (transmit.segment_size, &sent) else { return sent };
    if error.kind() == io::ErrorKind::WouldBlock || offload.max_gso_segments() > NonZeroUsize::MIN {
        return sent;
    }
    for contents in transmit.contents.chunks(segment) {
        // In the middle of a batch there is no way back: what the socket has no room for is lost.
        let _lost = socket.try_send(offload, &Transmit { contents, segment_size: None, ..*transmit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use pinhole_proto::puncher::SocketId;

    use super::*;
    use crate::mux::peer::PeerId;

    /// What the library hands out at most at a time.
    const AT_A_TIME: usize = 10;

    async fn destination() -> (tokio::net::UdpSocket, Route, Arc<UdpSocketState>) {
        let peer = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        let socket = Link::bind_udp(SocketId::MAIN, (Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
        let offload = Arc::new(socket.prepare_for_quic().expect("a socket for QUIC"));
        socket.udp().writable().await.expect("room");
        let remote = peer.local_addr().expect("bound");
        (peer, Route { peer: PeerId(1), remote, socket: Arc::new(socket) }, offload)
    }

    fn transmit(contents: &[u8], segment: usize) -> Transmit<'_> {
        let segment_size = (contents.len() > segment).then_some(segment);
        Transmit { destination: PeerId(1).address(), ecn: None, contents, segment_size, src_ip: None }
    }

    async fn next(peer: &tokio::net::UdpSocket) -> Vec<u8> {
        let mut datagram = vec![0; LARGEST];
        let length = peer.recv(&mut datagram).await.expect("a datagram");
        datagram.truncate(length);
        datagram
    }

    #[tokio::test]
    async fn whatever_is_gathered_arrives_datagram_by_datagram_and_in_order() {
        let (peer, route, offload) = destination().await;
        let mut batch = Batch::default();
        // Full ones, one with a shorter end, single ones of other sizes, and full ones again.
        for (length, segment) in
            [(6000, 1200), (2500, 1200), (1200, 1200), (40, 40), (1400, 1400), (2800, 1400)]
        {
            let contents: Vec<u8> = (0..length).map(|at| u8::try_from(at / segment).expect("few")).collect();
            assert!(batch.push(&route, &offload, &transmit(&contents, segment)).is_ready());
        }
        assert!(batch.send().is_ready());
        let mut seen = Vec::new();
        for _ in 0..5 + 3 + 1 + 1 + 1 + 2 {
            let datagram = next(&peer).await;
            seen.push((datagram.len(), datagram[0]));
        }
        let full = (0..5).map(|number| (1200, number)).chain([(1200, 0), (1200, 1), (100, 2), (1200, 0)]);
        let others = [(40, 0), (1400, 0), (1400, 0), (1400, 1)];
        assert_eq!(seen, full.chain(others).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn two_peers_at_one_address_are_never_in_one_batch() {
        let (peer, route, offload) = destination().await;
        let other = Route { peer: PeerId(2), ..route.clone() };
        let mut batch = Batch::default();
        for route in [&route, &other, &route] {
            assert!(batch.push(route, &offload, &transmit(&[7; 1200], 1200)).is_ready());
            assert_eq!(batch.bytes.len(), 1200);
        }
        assert_eq!((next(&peer).await.len(), next(&peer).await.len()), (1200, 1200));
    }

    #[tokio::test]
    async fn a_batch_is_never_larger_than_one_call_may_send() {
        let (_peer, route, offload) = destination().await;
        let most = offload.max_gso_segments().get();
        for segment in [300, 1200, 1452, 8000] {
            let contents = vec![0; segment * AT_A_TIME.min(LARGEST / segment)];
            let mut batch = Batch::default();
            for _ in 0..20 {
                assert!(batch.push(&route, &offload, &transmit(&contents, segment)).is_ready());
                assert!(batch.bytes.len() <= LARGEST && batch.bytes.len() / segment <= most.max(AT_A_TIME));
            }
            assert!(batch.send().is_ready());
        }
    }

    #[tokio::test]
    async fn what_a_task_sends_leaves_when_it_has_run_even_if_it_goes_on_forever() {
        let (peer, route, offload) = destination().await;
        let task = std::future::poll_fn(move |cx| {
            let sent = gather(&route, &offload, &transmit(b"word", 4)).expect("a task of the runtime");
            assert!(sent.is_ready());
            let _never_woken = cx;
            Poll::Pending
        });
        GatheringRuntime.spawn(Box::pin(task));
        assert_eq!(next(&peer).await, b"word");
    }
}
