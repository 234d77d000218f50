//! Whoever does not hold the key gets no answer, and disturbs nobody.

use std::{
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use pinhole::{Event, Role, endpoint::Compress};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
};

use crate::rig::{OPEN_IP, Rig, SERVE_IP, free_port, service, start, told, within};

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
        [initial(), unknown_version(), short_header(), vec![0x82; 101], vec![0x82; 40], vec![0; 20], vec![]]
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

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_from_the_peers_forged_address_does_not_end_the_tunnel() {
    if !natlab::lab_or_skip("a_handshake_from_the_peers_forged_address_does_not_end_the_tunnel") {
        return; // forging takes a raw socket
    }
    let initials = recorded_initials().await;
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    let mut at_serve = rig.serve.events();
    let counted = || rig.serve.mux().counters().strangers.load(std::sync::atomic::Ordering::Relaxed);
    let before = counted();
    for _ in 0..20 {
        for initial in &initials {
            forge(SocketAddrV4::new(OPEN_IP, rig.udp), SocketAddrV4::new(SERVE_IP, rig.udp), initial);
        }
    }
    for _ in 0..100 {
        let (mut client, mut server) = rig.pair(&service).await;
        client.write_all(b"still here").await.expect("write");
        within(server.read_exact(&mut [0; 10])).await.expect("read");
    }
    assert_eq!(counted(), before + 20, "all have come, and none has the mark of a holder of the key");
    for event in told(&mut at_serve) {
        assert!(!matches!(event, Event::HandshakeFailed { .. } | Event::TunnelLost(_)), "{event:?}");
    }
    rig.close().await;
}

/// Forged datagrams that are sent in one go, and the time between two goes: 10,000 a second.
const BURST: usize = 20;
const BURST_EVERY: Duration = Duration::from_millis(2);

/// The promise: a tunnel that is due stands after that, however many forge the peer's address.
const STANDS_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_first_packets_does_not_hold_a_tunnel_up() {
    if !natlab::lab_or_skip("a_flood_of_forged_first_packets_does_not_hold_a_tunnel_up") {
        return; // forging takes a raw socket
    }
    let initial = recorded_initials().await.remove(0);
    let mut close = initial.clone();
    close[6] ^= 1; // another connection ID: the library would make another connection of it
    let udp = free_port().await;
    let flood = tokio::spawn(async move {
        let [serve, open] = [SERVE_IP, OPEN_IP].map(|ip| SocketAddrV4::new(ip, udp));
        let mut due = tokio::time::interval(BURST_EVERY);
        loop {
            due.tick().await;
            for _ in 0..BURST / 4 {
                for packet in [&initial, &close] {
                    forge(open, serve, packet);
                    forge(serve, open, packet);
                }
            }
        }
    });
    let (service, address) = service().await;
    let begun = tokio::time::Instant::now();
    let rig = Rig::at(udp, address, [Compress::Auto; 2]).await;
    assert!(begun.elapsed() < STANDS_WITHIN, "{:?}", begun.elapsed());
    let mut events = rig.serve.events();
    for _ in 0..100 {
        let (mut client, mut server) = rig.pair(&service).await;
        client.write_all(b"still here").await.expect("write");
        within(server.read_exact(&mut [0; 10])).await.expect("read");
    }
    flood.abort();
    for event in told(&mut events) {
        assert!(
            !matches!(event, Event::HandshakeFailed { .. } | Event::TunnelLost(_) | Event::PathLost { .. }),
            "{event:?}"
        );
    }
    rig.close().await;
}

/// Returns what a QUIC client that knows nothing of pinned keys sends first.
async fn recorded_initials() -> Vec<Vec<u8>> {
    let recorder = UdpSocket::bind("127.0.0.3:0").await.expect("a socket");
    let target = recorder.local_addr().expect("an address");
    let client = noq::Endpoint::client("127.0.0.3:0".parse().expect("an address")).expect("an endpoint");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    let quic = noq::crypto::rustls::QuicClientConfig::try_from(tls).expect("a QUIC suite");
    let config = noq::ClientConfig::new(Arc::new(quic));
    let _connecting = client.connect_with(config, target, "localhost").expect("a handshake begins");
    let mut datagram = [0; 2048];
    let (length, _) = within(recorder.recv_from(&mut datagram)).await.expect("an Initial");
    vec![datagram[..length].to_vec()]
}

/// A TLS client that never gets far enough to check anything.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Sends a datagram as if it came from `from`.
fn forge(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
    let udp_length = u16::try_from(8 + payload.len()).expect("short");
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp_length).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]); // the kernel fills in the checksum
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(udp_length.to_be_bytes());
    packet.extend([0, 0]); // no checksum, as IPv4 allows
    packet.extend(payload);
    let raw =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(socket2::Protocol::from(255)));
    let raw = raw.expect("root may");
    raw.send_to(&packet, &SocketAddr::V4(SocketAddrV4::new(*to.ip(), 0)).into()).expect("send");
}
