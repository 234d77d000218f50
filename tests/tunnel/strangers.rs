//! Whoever does not hold the key gets no answer, and disturbs nobody.

use std::time::Duration;

use pinhole::Role;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
};

use crate::rig::{OPEN_IP, Rig, SERVE_IP, free_port, service, start, within};

/// Long enough for any answer on loopback, and for several of the searching side's probes.
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// A QUIC Initial's first bytes (version 1, connection IDs of 8 bytes), as long as one must be.
fn initial() -> Vec<u8> {
    let mut packet =
        vec![0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0x44, 0x96];
    packet.resize(1200, 0x5a);
    packet
}

/// A long header of a version nobody knows: a QUIC server would answer with the ones it knows.
fn unknown_version() -> Vec<u8> {
    let mut packet = initial();
    packet[1..5].copy_from_slice(&[0x1a, 0x2a, 0x3a, 0x4a]);
    packet
}

/// A short header with a connection ID nobody has: a QUIC endpoint would answer with a stateless reset.
fn short_header() -> Vec<u8> {
    vec![0x41; 600]
}

async fn hears_nothing(stranger: &UdpSocket) -> bool {
    tokio::time::timeout(ANSWER_TIME, stranger.recv_from(&mut [0; 2048])).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_not_one_byte() {
    let udp = free_port().await;
    let serve = start(Role::Serve, udp).await;
    let stranger = UdpSocket::bind("127.0.0.3:0").await.expect("a socket");
    for packet in
        [initial(), unknown_version(), short_header(), vec![0x81; 101], vec![0x81; 40], vec![0; 20], vec![]]
    {
        stranger.send_to(&packet, (SERVE_IP, udp)).await.expect("send");
    }
    assert!(hears_nothing(&stranger).await);
    serve.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_probes_are_not_answered() {
    let udp = free_port().await;
    let recorder = UdpSocket::bind((OPEN_IP, udp)).await.expect("a socket");
    let serve = start(Role::Serve, udp).await;
    let mut probe = [0; 2048];
    let (length, _) = within(recorder.recv_from(&mut probe)).await.expect("a probe");
    drop(recorder);
    let stranger = UdpSocket::bind("127.0.0.3:0").await.expect("a socket");
    for _ in 0..10 {
        stranger.send_to(&probe[..length], (SERVE_IP, udp)).await.expect("send");
    }
    assert!(hears_nothing(&stranger).await, "its own probe is answered");

    let open = start(Role::Open, udp).await;
    within(open.connected()).await.expect("a tunnel");
    stranger.send_to(&probe[..length], (OPEN_IP, udp)).await.expect("send");
    assert!(hears_nothing(&stranger).await, "a probe sealed before this side had started is answered");
    open.close().await;
    serve.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_of_a_standing_tunnel_is_silent_to_strangers_too() {
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    let stranger = UdpSocket::bind("127.0.0.3:0").await.expect("a socket");
    for packet in [initial(), unknown_version(), short_header()] {
        stranger.send_to(&packet, (SERVE_IP, rig.udp)).await.expect("send");
        stranger.send_to(&packet, (OPEN_IP, rig.udp)).await.expect("send");
    }
    assert!(hears_nothing(&stranger).await);
    let (mut client, mut server) = rig.pair(&service).await;
    client.write_all(b"undisturbed").await.expect("write");
    within(server.read_exact(&mut [0; 11])).await.expect("read");
    rig.close().await;
}
