//! A peer that holds the key and means harm: what it can make the other side hold has a ceiling.

mod forged;
mod peer;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pinhole::proto::{block::Head, stream::Request};
use socket2::{Domain, Socket, Type};

use self::peer::Hostile;
use crate::{
    loopback::{Loopback, with_key},
    program::{KEY, Run, pinhole},
};

/// The promise of docs/security.md, KiB.
const CEILING_KIB: u64 = 256 << 10;

/// Connections that a peer may have at a time, docs/protocol.md §13.
const STREAMS: usize = 10_240;

/// So many at least must reach the service: on a busy machine it may not take all within their 10 s.
const MOST: usize = STREAMS / 4 * 3;

/// Time for them to reach the service and to take what they get.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the service that nobody needs to reach is called.
const SERVICE: &str = "it";

/// A serve side whose service takes every connection and never reads, and its hostile peer.
struct Scene {
    serve: Run,
    peer: Hostile,
    ends: Loopback,
    /// Connections that the service has.
    accepted: Arc<AtomicUsize>,
}

impl Scene {
    fn new() -> Self {
        let ends = Loopback::new();
        let service = listener(ends.serve_ip);
        let address = service.local_addr().expect("an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = accepted.clone();
        thread::spawn(move || {
            let mut held = Vec::new();
            while let Ok((tcp, _)) = service.accept() {
                held.push(tcp);
                counted.store(held.len(), Ordering::Relaxed);
            }
        });
        let offer = format!("{SERVICE}={address}");
        let (own, other) = (ends.serve_ip.to_string(), ends.open_ip.to_string());
        let serve = ["serve", &offer, "--peer", &other, "--bind", &own];
        let mut serve = Run::start(with_key(pinhole(&serve), KEY));
        serve.says("waiting for the peer");
        let peer = Hostile::connect((ends.open_ip, 5555).into(), (ends.serve_ip, 5555).into(), KEY);
        serve.says("tunnel up");
        Self { serve, peer, ends, accepted }
    }

    /// Checks the ceiling, and that the serve side takes a peer that means well afterwards.
    fn conclude(mut self) {
        let peak = self.serve.peak_kib();
        assert!(peak <= CEILING_KIB, "the serve side has had {peak} KiB");
        drop(self.peer);
        let (own, other) = (self.ends.open_ip.to_string(), self.ends.serve_ip.to_string());
        let local = format!("{own}:2222:{SERVICE}");
        let open = ["open", &local, "--peer", &other, "--bind", &own];
        let _open = Run::start(with_key(pinhole(&open), KEY));
        self.serve.says("tunnel up");
    }
}

/// Listens with room for as many connections as the system lets wait.
fn listener(ip: Ipv4Addr) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((ip, 0)).into()).expect("a port");
    socket.listen(4096).expect("it listens");
    socket.into()
}

fn request() -> Request {
    Request { service: SERVICE.into(), any: false, blocks: false }
}

#[test]
fn ten_thousand_connections_that_nobody_reads_fill_no_more_than_the_ceiling() {
    let mut scene = Scene::new();
    let streams: Vec<_> = (0..STREAMS).map(|_| scene.peer.open(&request().encode())).collect();
    let block = vec![7; 64 << 10];
    // As much on each as the other side lets in, until it has let in nothing for two seconds.
    let begun = Instant::now();
    let mut grown_at = begun;
    let counted = scene.accepted.clone();
    let accepted = || counted.load(Ordering::Relaxed);
    while grown_at.elapsed() < Duration::from_secs(2) || accepted() < MOST {
        assert!(begun.elapsed() < PATIENCE, "{} of {STREAMS} connections reach the service", accepted());
        let before = scene.peer.acknowledged();
        for stream in &streams {
            scene.peer.write(*stream, &block);
        }
        scene.peer.talk(Duration::from_millis(100));
        if scene.peer.acknowledged() > before {
            grown_at = Instant::now();
        }
    }
    scene.conclude();
}

#[test]
fn streams_full_of_gaps_end_the_tunnel_before_they_fill_the_ceiling() {
    let mut scene = Scene::new();
    let streams: Vec<_> = (0..2000).map(|_| scene.peer.open(&request().encode())).collect();
    scene.peer.talk(Duration::from_secs(2));
    scene.peer.hear_nothing();
    for round in 0..64 {
        for stream in &streams {
            assert_eq!(scene.peer.write(*stream, &[round]), 1, "it may write");
        }
        // Every second byte of each stream gets lost.
        scene.peer.send(round % 2 == 0);
    }
    scene.serve.says("tunnel lost");
    scene.conclude();
}

#[test]
fn one_byte_of_each_large_read_does_not_keep_the_read_in_memory() {
    let mut scene = Scene::new();
    let streams: Vec<_> = (0..64).map(|_| scene.peer.open(&request().encode())).collect();
    scene.peer.talk(Duration::from_secs(1));
    scene.peer.hear_nothing();
    // 6,400 reads of 42 datagrams, 376 MB in all: each has one byte that must wait for the one before it.
    for round in 0..200 {
        for stream in &streams {
            assert_eq!(scene.peer.write(*stream, &[7]), 1, "it may write");
            if round % 2 == 0 { scene.peer.send(false) } else { scene.peer.send_copies(42) }
        }
    }
    scene.conclude();
}

/// 64 streams take a packed block in and never end it; all others wait for that, each with a part of one that begins.
#[test]
fn streams_that_wait_for_a_packed_block_hold_no_more_than_their_bytes() {
    let mut scene = Scene::new();
    let request = Request { blocks: true, ..request() }.encode();
    let streams: Vec<_> = (0..8000).map(|_| scene.peer.open(&request)).collect();
    let until = Instant::now() + PATIENCE;
    while scene.accepted.load(Ordering::Relaxed) < 6000 {
        assert!(Instant::now() < until, "{} connections", scene.accepted.load(Ordering::Relaxed));
        scene.peer.talk(Duration::from_millis(100));
    }
    scene.peer.hear_nothing();
    let head = Head::Packed { length: 1000, unpacked: 2000 }.encode();
    let begun = [&head[..], &[7, 7]].concat();
    for (index, stream) in streams.iter().enumerate() {
        assert_eq!(scene.peer.write(*stream, &begun), begun.len(), "it may write");
        scene.peer.send_copies(42);
        if index % 100 == 99 {
            scene.peer.talk(Duration::from_millis(20));
        }
    }
    scene.peer.talk(Duration::from_secs(1));
    scene.conclude();
}
