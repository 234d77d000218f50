//! Opening, closing, routes and adoption.

use std::{
    pin::pin,
    sync::{
        Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake},
};

use tokio::task::yield_now;

use super::*;
use crate::{
    bind::BindError,
    mux::{link::Link, receive::Arrival},
};

#[tokio::test]
async fn a_further_socket_sends_at_once_and_says_where_its_probes_arrive() {
    let (mux, mut arrivals) = mux();
    let (peer, remote) = peer().await;
    mux.open(FAN, ANY).expect("a socket");
    mux.send_probe(&probe(FAN, remote, None)).expect("sent without waiting");
    let (length, from) = receive(&peer).await;
    assert_eq!((length, from), (PROBE_BYTES, address(&mux, FAN)));
    peer.send_to(&[0x80; PROBE_BYTES], from).await.expect("send");
    assert_eq!(next(&mut arrivals).await.pair, Pair { socket: FAN, remote });
}

#[tokio::test]
async fn a_socket_can_be_had_on_a_port_of_choice_but_not_on_one_that_is_taken() {
    let (mux, _arrivals) = mux();
    let (taken, at) = peer().await;
    assert!(matches!(mux.open(FAN, at.port()), Err(BindError::InUse { .. })));
    drop(taken);
    mux.open(FAN, at.port()).expect("the port");
    assert_eq!(address(&mux, FAN), at);
}

#[tokio::test]
async fn a_closed_socket_gives_its_port_back_and_sends_no_more() {
    let (mux, _arrivals) = mux();
    mux.open(FAN, ANY).expect("a socket");
    let port = address(&mux, FAN).port();
    mux.close(FAN);
    let error = mux.send_probe(&probe(FAN, NOBODY, None)).expect_err("closed");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    within(async {
        while mux.open(FAN, port).is_err() {
            yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_proof_opens_its_own_socket_to_quic_and_no_other() {
    let (mux, _arrivals) = mux();
    let remote = NOBODY;
    mux.open(FAN, ANY).expect("a socket");
    mux.admit(Pair { socket: FAN, remote });
    let mut meta = RecvMeta::default();
    for (socket, passes) in [(FAN, true), (SocketId::MAIN, false), (SocketId(18), false)] {
        (meta.addr, meta.len, meta.stride) = (remote, 40, 40);
        assert_eq!(mux.sort(socket, &mut marked(0x40, 1, 40), &mut meta), passes, "{socket:?}");
    }
}

#[tokio::test]
async fn what_quic_sends_takes_the_newest_proof() {
    let (mux, _arrivals) = mux();
    mux.open(FAN, ANY).expect("a socket");
    assert!(mux.route().is_none());
    let pairs = [(FAN, 1), (SocketId::MAIN, 1), (SocketId::MAIN, 2), (FAN, 1)];
    for (socket, port) in pairs {
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        mux.admit(Pair { socket, remote });
        assert_eq!(route(&mux), (socket, remote));
    }
}

fn route(mux: &PeerMux) -> (SocketId, SocketAddr) {
    let route = mux.route().expect("a proven pair");
    (route.socket.id(), route.remote)
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn adoption_wakes_the_library_that_waits_for_the_main_socket() {
    let (mux, _arrivals) = mux();
    let (peer, remote) = peer().await;
    mux.open(FAN, ANY).expect("a socket");
    let mut quic = QuicSocket::new(mux.mux().clone());
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = flag.clone().into();
    let (mut room, mut meta) = ([0; 2048], [RecvMeta::default()]);
    let first =
        quic.poll_recv(&mut Context::from_waker(&waker), &mut [IoSliceMut::new(&mut room)], &mut meta);
    assert!(first.is_pending() && !flag.0.load(Ordering::SeqCst));
    mux.admit(Pair { socket: FAN, remote });
    assert!(flag.0.load(Ordering::SeqCst));
    peer.send_to(&marked(0x40, 1, 40), address(&mux, FAN)).await.expect("send");
    assert_eq!(read(&mut quic).await, 0x40);
}

#[tokio::test]
async fn no_socket_starves_another() {
    let (mux, _arrivals) = mux();
    let ((one, one_at), (two, two_at)) = (peer().await, peer().await);
    mux.open(FAN, ANY).expect("a socket");
    mux.admit(Pair { socket: SocketId::MAIN, remote: one_at });
    mux.admit(Pair { socket: FAN, remote: two_at });
    for _ in 0..4 {
        one.send_to(&marked(0x41, 1, 40), mux.local_address()).await.expect("send");
        two.send_to(&marked(0x42, 2, 40), address(&mux, FAN)).await.expect("send");
    }
    for socket in [SocketId::MAIN, FAN] {
        let socket = mux.sockets().find(socket).expect("open").clone();
        within(socket.udp().readable()).await.expect("readable");
    }
    let mut quic = QuicSocket::new(mux.mux().clone());
    for _ in 0..4 {
        assert_eq!((read(&mut quic).await, read(&mut quic).await), (0x41, 0x42));
    }
}

#[tokio::test]
async fn an_adopted_socket_still_hands_probes_to_the_driver() {
    let (mux, mut arrivals) = mux();
    let (peer, remote) = peer().await;
    mux.open(FAN, ANY).expect("a socket");
    mux.admit(Pair { socket: FAN, remote });
    let mut quic = QuicSocket::new(mux.mux().clone());
    peer.send_to(&[0x80; PROBE_BYTES], address(&mux, FAN)).await.expect("send");
    let (mut room, mut meta) = ([0; 2048], [RecvMeta::default()]);
    let mut parts = [IoSliceMut::new(&mut room)];
    let mut arrival = pin!(next(&mut arrivals));
    let pair = poll_fn(|cx| {
        assert!(quic.poll_recv(cx, &mut parts, &mut meta).is_pending(), "nothing for QUIC");
        arrival.as_mut().poll(cx).map(|arrival| arrival.pair)
    })
    .await;
    assert_eq!(pair, Pair { socket: FAN, remote });
}

#[tokio::test]
async fn a_socket_that_the_puncher_closes_lives_until_its_route_is_replaced() {
    let (mux, _arrivals) = mux();
    let (remote, later) = (NOBODY, SocketAddr::from((Ipv4Addr::LOCALHOST, 2)));
    mux.open(FAN, ANY).expect("a socket");
    mux.admit(Pair { socket: FAN, remote });
    mux.close(FAN);
    assert_eq!(route(&mux), (FAN, remote));
    mux.admit(Pair { socket: SocketId::MAIN, remote: later });
    assert_eq!(route(&mux), (SocketId::MAIN, later));
    assert!(mux.sockets().find(FAN).is_none());
}

#[tokio::test]
async fn a_number_that_is_used_again_means_the_new_socket() {
    let (mux, _arrivals) = mux();
    let remote = NOBODY;
    mux.open(FAN, ANY).expect("a socket");
    mux.admit(Pair { socket: FAN, remote });
    let former = mux.route().expect("a proven pair").socket;
    mux.close(FAN);
    mux.open(FAN, ANY).expect("a socket");
    assert!(!Arc::ptr_eq(mux.sockets().find(FAN).expect("open"), &former));
    assert!(!mux.sockets().is_proven(FAN, remote), "that was the former one");
}

#[tokio::test]
async fn thousands_of_reconnects_leave_no_socket_behind() {
    let (mux, _arrivals) = mux();
    let mut quic = QuicSocket::new(mux.mux().clone());
    let mut sockets: Vec<Weak<Link>> = Vec::new();
    for n in 1..=3000 {
        let (id, remote) = (SocketId(n), SocketAddr::from((Ipv4Addr::LOCALHOST, n)));
        mux.open(id, ANY).expect("a socket");
        mux.admit(Pair { socket: id, remote });
        sockets.push(Arc::downgrade(mux.sockets().find(id).expect("open")));
        mux.close(id);
        poll_once(&mut quic).await;
    }
    within(async {
        while sockets.iter().filter(|socket| socket.strong_count() > 0).count() > 1 {
            yield_now().await; // the readers end
        }
    })
    .await;
}

#[tokio::test]
async fn the_oldest_route_makes_room_and_keeps_a_socket_that_the_puncher_holds() {
    let (mux, _arrivals) = mux();
    mux.open(FAN, ANY).expect("a socket");
    let remote = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    mux.admit(Pair { socket: FAN, remote: remote(1) });
    for port in 2..=17 {
        mux.admit(Pair { socket: SocketId::MAIN, remote: remote(port) });
    }
    assert!(!mux.sockets().is_proven(FAN, remote(1)));
    assert!(mux.sockets().find(FAN).is_some());
    mux.close(FAN);
    assert!(mux.sockets().find(FAN).is_none());
}

async fn poll_once(quic: &mut QuicSocket) {
    let (mut room, mut meta) = ([0; 2048], [RecvMeta::default()]);
    let mut parts = [IoSliceMut::new(&mut room)];
    let polled = poll_fn(|cx| Poll::Ready(quic.poll_recv(cx, &mut parts, &mut meta))).await;
    assert!(polled.is_pending());
}

async fn next(arrivals: &mut Arrivals) -> Arrival {
    within(arrivals.probes.recv()).await.expect("a probe")
}
