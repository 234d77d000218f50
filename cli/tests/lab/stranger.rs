//! A stranger who has recordings, noise and QUIC, but no key.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    thread,
};

use natlab::{Side, kernel::Host};

use crate::{
    ground::{Ground, LOCAL_PORT, between},
    page::{WEB_PORT, Web, fetch_page},
    program::{PATIENCE, Run},
};

const UDP_PORT: u16 = 5555;

/// TCP port of the echo service on host A.
const ECHO_PORT: u16 = 7000;

/// Recordings made of the serve side.
const RECORDINGS: usize = 8;

/// Echoes that must come right while the stranger sends; each is a barrier behind what was sent before.
const ROUNDS: usize = 40;

#[test]
fn a_stranger_without_the_key_gets_not_one_byte_and_a_transfer_goes_on() {
    let test = "a_stranger_without_the_key_gets_not_one_byte_and_a_transfer_goes_on";
    let Some(ground) = Ground::or_skip(test, between("open", "open")) else { return };
    let echo = ground.listen(Side::A, ECHO_PORT);
    thread::spawn(move || {
        for tcp in echo.incoming().flatten() {
            thread::spawn(move || io::copy(&mut &tcp, &mut &tcp));
        }
    });
    let recorded = record(&ground, ECHO_PORT);
    let _both = ground.connect(ECHO_PORT);
    let tcp = ground.dial(Side::B, LOCAL_PORT).expect("the local port accepts");
    let strangers = [0, UDP_PORT].map(|port| bind(ground.lab.stranger(), port));
    let weapons = [recorded.clone(), truncated(&recorded), noise(), initials(&ground)].concat();

    for round in 0..ROUNDS {
        for (stranger, side) in strangers.iter().zip([Side::A, Side::B]) {
            let victim = (ground.lab.side(side).public_ip(), UDP_PORT);
            let other = (ground.lab.side(side.other()).public_ip(), UDP_PORT);
            for weapon in &weapons {
                stranger.send_to(weapon, victim).expect("sent");
                stranger.send_to(weapon, other).expect("sent");
            }
        }
        echoes(&tcp, round);
    }

    for stranger in strangers {
        stranger.set_nonblocking(true).expect("settable");
        let error = stranger.recv_from(&mut [0; 2048]).expect_err("nobody answers a stranger");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn a_waiting_side_does_not_answer_a_stranger_and_lets_its_peer_in_all_the_same() {
    let test = "a_waiting_side_does_not_answer_a_stranger_and_lets_its_peer_in_all_the_same";
    let Some(ground) = Ground::or_skip(test, between("open", "open")) else { return };
    let _web = Web::start(&ground);
    let recorded = record(&ground, WEB_PORT);
    let mut serve = Run::start(ground.serve(WEB_PORT));
    serve.says("Still trying");
    let stranger = bind(ground.lab.stranger(), 0);
    let victim = (ground.lab.side(Side::A).public_ip(), UDP_PORT);
    for weapon in [recorded.clone(), truncated(&recorded), noise(), initials(&ground)].concat() {
        stranger.send_to(&weapon, victim).expect("sent");
    }

    let mut open = Run::start(ground.open());
    open.says("tunnel up");
    fetch_page(&ground);
    stranger.set_nonblocking(true).expect("settable");
    let error = stranger.recv_from(&mut [0; 2048]).expect_err("nobody answers a stranger");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(!serve.interrupt().stderr.contains("both sides"), "a recording is no peer");
}

#[test]
fn a_recording_played_by_a_stranger_does_not_end_a_side_that_has_just_started() {
    let test = "a_recording_played_by_a_stranger_does_not_end_a_side_that_has_just_started";
    let Some(ground) = Ground::or_skip(test, between("open", "open")) else { return };
    let _web = Web::start(&ground);
    let recorded = record(&ground, WEB_PORT);
    let mut serve = Run::start(ground.serve(WEB_PORT));
    serve.says("waiting for the peer");
    let peer = bind(ground.lab.host(Side::B), UDP_PORT);
    let mut own = [0; 2048];
    let (length, _) = peer.recv_from(&mut own).expect("it probes the peer");
    drop(peer);
    let stranger = bind(ground.lab.stranger(), 0);
    let victim = (ground.lab.side(Side::A).public_ip(), UDP_PORT);
    for weapon in recorded.iter().map(Vec::as_slice).chain([&own[..length]]) {
        stranger.send_to(weapon, victim).expect("sent");
    }

    let mut open = Run::start(ground.open());
    open.says("tunnel up");
    fetch_page(&ground);
}

/// Sends a word and waits for its echo.
fn echoes(mut tcp: &std::net::TcpStream, round: usize) {
    let sent = vec![round as u8; 64 << 10];
    let mut got = vec![0; sent.len()];
    tcp.write_all(&sent).expect("the transfer goes on");
    tcp.read_exact(&mut got).expect("the transfer goes on");
    assert!(got == sent, "round {round}");
}

/// Records what a serve side, which is ended again, sends to its peer's public address.
fn record(ground: &Ground, port: u16) -> Vec<Vec<u8>> {
    let peer = bind(ground.lab.host(Side::B), UDP_PORT);
    let serve = Run::start(ground.serve(port));
    let recorded = (0..RECORDINGS).map(|_| receive(&peer)).collect();
    assert_eq!(serve.interrupt().code, Some(0));
    recorded
}

fn truncated(probes: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let probe = &probes[0];
    (0..probe.len()).step_by(7).map(|length| probe[..length].to_vec()).collect()
}

/// Every first byte there is, in datagrams of many lengths.
fn noise() -> Vec<Vec<u8>> {
    let byte = |seed: usize| (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    let datagram = |first: usize| {
        let mut bytes: Vec<u8> = (0..=first * 5).map(|at| byte(first << 16 | at)).collect();
        bytes[0] = first as u8;
        bytes
    };
    (0..=255).map(datagram).collect()
}

/// The first datagram of a real QUIC client, and the same for a version that nobody speaks.
fn initials(ground: &Ground) -> Vec<Vec<u8>> {
    let server = bind(ground.lab.stranger(), 4433);
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 4433));
    ground.lab.stranger().enter(|| dial_quic(to, &server)).expect("entered")
}

fn dial_quic(to: SocketAddr, server: &UdpSocket) -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider speaks TLS 1.3")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let crypto = noq::crypto::rustls::QuicClientConfig::try_from(tls).expect("the provider speaks QUIC");
    let client = noq::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let config = noq::ClientConfig::new(Arc::new(crypto));
    let dialling = client.connect_with(config, to, "stranger").expect("dialled");
    let initial = runtime.block_on(async {
        tokio::select! {
            _ = dialling => panic!("nobody answers"),
            initial = tokio::task::spawn_blocking({
                let server = server.try_clone().expect("cloneable");
                move || receive(&server)
            }) => initial.expect("received"),
        }
    });
    assert!(initial.len() >= 1200, "QUIC pads its first datagram");
    let mut unknown = initial.clone();
    unknown[1..5].copy_from_slice(&0x1a2a_3a4a_u32.to_be_bytes());
    vec![initial, unknown]
}

fn bind(host: &Host, port: u16) -> UdpSocket {
    let socket = host.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))).expect("entered");
    let socket = socket.expect("the port is free");
    socket.set_read_timeout(Some(PATIENCE)).expect("settable");
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    let (length, _) = socket.recv_from(&mut buffer).expect("a datagram arrives");
    buffer.truncate(length);
    buffer
}
