//! A datagram's TTL, and the errors that come back.

use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};

use pinhole_proto::{key::Phrase, puncher::IcmpKind};

use super::*;

#[tokio::test]
async fn a_ttl_is_that_of_one_datagram() {
    let (mux, _arrivals) = mux();
    let (peer, remote) = peer().await;
    setsockopt(&peer, sockopt::Ipv4RecvTtl, &true).expect("ttl");
    mux.open(FAN, ANY).expect("a socket");
    for socket in [SocketId::MAIN, FAN] {
        for (ttl, seen) in [(None, 64), (Some(3), 3), (Some(255), 255), (None, 64)] {
            mux.send_probe(&probe(socket, remote, ttl)).expect("sent");
            within(peer.readable()).await.expect("readable");
            let mut room = [0; 2048];
            let mut parts = [IoSliceMut::new(&mut room)];
            let mut control = vec![0; 128];
            let flags = MsgFlags::empty();
            let read =
                recvmsg::<SockaddrIn>(peer.as_raw_fd(), &mut parts, Some(&mut control), flags).expect("read");
            let control: Vec<_> = read.cmsgs().expect("whole").collect();
            assert_eq!(control, [ControlMessageOwned::Ipv4Ttl(seen)]);
        }
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_with_what_was_sent() {
    let (mux, mut arrivals) = mux();
    mux.open(FAN, ANY).expect("a socket");
    mux.subscribe_icmp(true);
    let remote = NOBODY;
    for socket in [SocketId::MAIN, FAN] {
        let sent = probe(socket, remote, None);
        mux.send_probe(&sent).expect("sent");
        let arrival = within(arrivals.icmp.recv()).await.expect("an error");
        let icmp = arrival.icmp();
        assert_eq!((icmp.pair, icmp.kind), (sent.pair, IcmpKind::PortUnreachable));
        assert_eq!((icmp.offender, icmp.quoted), (remote.ip(), &sent.payload[..]));
    }
}

#[tokio::test]
async fn an_error_is_told_to_the_peer_whose_datagram_it_is_about() {
    let (one, mut of_one) = mux();
    let other_key = Key::stretch(&Phrase::generate([2; 32]));
    let (two, mut of_two) = joined(one.mux(), &other_key, Opened::default());
    let elsewhere = SocketAddr::from(([127, 0, 0, 5], 1));
    for mux in [&one, &two] {
        mux.subscribe_icmp(true);
    }
    one.send_probe(&probe(SocketId::MAIN, NOBODY, None)).expect("sent");
    two.send_probe(&probe(SocketId::MAIN, elsewhere, None)).expect("sent");
    assert_eq!(within(of_one.icmp.recv()).await.expect("an error").pair.remote, NOBODY);
    assert_eq!(within(of_two.icmp.recv()).await.expect("an error").pair.remote, elsewhere);
    assert!(of_one.icmp.try_recv().is_err() && of_two.icmp.try_recv().is_err());
    drop(two);
    one.send_probe(&probe(SocketId::MAIN, NOBODY, None)).expect("sent");
    within(of_one.icmp.recv()).await.expect("the peer that is left still hears errors");
}

#[tokio::test]
async fn over_ipv6_probes_arrive_and_errors_are_told_as_well() {
    let here = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
    let Ok(peer) = UdpSocket::bind(here).await else {
        return natlab::skip(
            "over_ipv6_probes_arrive_and_errors_are_told_as_well",
            "this machine has no IPv6",
        );
    };
    let (mux, mut arrivals) = mux_at(here);
    mux.open(FAN, ANY).expect("a socket");
    mux.subscribe_icmp(true);
    let (there, nobody) = (peer.local_addr().expect("bound"), SocketAddr::new(here.ip(), 1));
    for socket in [SocketId::MAIN, FAN] {
        for ttl in [None, Some(1)] {
            mux.send_probe(&probe(socket, there, ttl)).expect("sent");
            let (length, from) = receive(&peer).await;
            assert_eq!((length, from), (PROBE_BYTES, address(&mux, socket)));
        }
        let sent = probe(socket, nobody, None);
        mux.send_probe(&sent).expect("sent");
        let arrival = within(arrivals.icmp.recv()).await.expect("an error");
        let icmp = arrival.icmp();
        assert_eq!((icmp.pair, icmp.kind), (sent.pair, IcmpKind::PortUnreachable));
        assert_eq!((icmp.offender, icmp.quoted), (nobody.ip(), &sent.payload[..]));
    }
}

#[tokio::test]
async fn sockets_that_are_opened_during_a_search_report_errors_as_well() {
    let (mux, mut arrivals) = mux();
    mux.subscribe_icmp(true);
    mux.open(FAN, ANY).expect("a socket");
    mux.send_probe(&probe(FAN, NOBODY, None)).expect("sent");
    assert_eq!(within(arrivals.icmp.recv()).await.expect("an error").pair.socket, FAN);
}

#[tokio::test]
async fn every_datagram_gets_through_between_errors_about_others() {
    let (mux, _arrivals) = mux();
    let (peer, remote) = peer().await;
    mux.subscribe_icmp(true);
    mux.open(FAN, ANY).expect("a socket");
    for socket in [SocketId::MAIN, FAN] {
        for _ in 0..200 {
            mux.send_probe(&probe(socket, NOBODY, None)).expect("sent, whatever became of others");
            mux.send_probe(&probe(socket, remote, None)).expect("sent, whatever became of others");
            receive(&peer).await;
        }
    }
}

#[tokio::test]
async fn errors_never_end_the_reading_of_quic() {
    let (mux, _arrivals) = mux();
    let (peer, remote) = peer().await;
    mux.subscribe_icmp(true);
    mux.admit(Pair { socket: SocketId::MAIN, remote });
    let mut quic = QuicSocket::new(mux.mux().clone());
    for _ in 0..200 {
        mux.send_probe(&probe(SocketId::MAIN, NOBODY, None)).expect("sent");
        peer.send_to(&marked(0x40, 1, 40), mux.local_address()).await.expect("send");
        assert_eq!(read(&mut quic).await, 0x40);
    }
}

#[tokio::test]
async fn without_a_search_errors_cost_nothing() {
    let (mux, mut arrivals) = mux();
    mux.subscribe_icmp(true);
    mux.open(FAN, ANY).expect("a socket");
    mux.subscribe_icmp(false);
    for socket in [SocketId::MAIN, FAN] {
        mux.send_probe(&probe(socket, NOBODY, None)).expect("sent");
        let socket = mux.sockets().find(socket).expect("open").clone();
        let error = socket2::SockRef::from(socket.udp()).take_error().expect("readable");
        assert!(error.is_none(), "{error:?}");
        let queued = socket.take_queued_icmp().map(drop).expect_err("empty");
        assert_eq!(queued.kind(), std::io::ErrorKind::WouldBlock);
    }
    assert!(arrivals.icmp.try_recv().is_err());
}

#[tokio::test]
async fn a_full_socket_that_has_seen_an_error_is_not_tried_again_at_once() {
    let (mux, mut arrivals) = mux();
    mux.subscribe_icmp(true);
    mux.send_probe(&probe(SocketId::MAIN, NOBODY, None)).expect("sent");
    within(arrivals.icmp.recv()).await.expect("an error");
    within(mux.mux().main.udp().writable()).await.expect("writable"); // once the runtime knows so, this never waits again
    let mut room = std::pin::pin!(mux.mux().main.clone().room());
    assert!(poll_fn(|cx| std::task::Poll::Ready(room.as_mut().poll(cx))).await.is_pending());
    within(room).await.expect("room");
}
