//! QUIC over sockets that are not the main one.

use std::net::Ipv6Addr;
#[cfg(not(pinhole_portable))]
use std::sync::atomic::Ordering;

use noq::Endpoint;
use pinhole_proto::key::Instances;
#[cfg(not(pinhole_portable))]
use tokio::task::AbortHandle;
use tokio::task::yield_now;

use super::*;
use pinhole_quic::{Credentials, LARGEST_DATAGRAM, PathEstimate, Shared};

const PATH: PathEstimate = PathEstimate { rtt: Duration::from_millis(1), largest_datagram: None };
const BYTES: usize = 5_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_stands_on_a_further_socket_of_the_open_side() {
    Pairing::new(Ipv4Addr::LOCALHOST, SocketId::MAIN, FAN).await.exchange().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_stands_on_a_further_socket_of_the_serve_side() {
    Pairing::new(Ipv4Addr::LOCALHOST, FAN, SocketId::MAIN).await.exchange().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_stands_on_further_sockets_of_both_sides() {
    Pairing::new(Ipv4Addr::LOCALHOST, FAN, FAN).await.exchange().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_stands_on_further_sockets_that_are_bound_to_no_address() {
    Pairing::new(Ipv4Addr::UNSPECIFIED, FAN, FAN).await.exchange().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_stands_on_further_sockets_of_ipv6() {
    if std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return; // a machine without IPv6
    }
    Pairing::new(Ipv6Addr::LOCALHOST, FAN, FAN).await.exchange().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_outlives_the_puncher_s_interest_in_its_socket() {
    let pairing = Pairing::new(Ipv4Addr::LOCALHOST, FAN, FAN).await;
    pairing.ends.iter().for_each(|end| end.mux.close(FAN));
    pairing.exchange().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_goes_on_under_new_keys_and_what_they_open_counts() {
    let pairing = Pairing::new(Ipv4Addr::LOCALHOST, SocketId::MAIN, SocketId::MAIN).await;
    let least = (BYTES / usize::from(LARGEST_DATAGRAM)) as u64;
    let opened = pairing.exchange_under(50).await;
    assert!(opened.iter().all(|count| *count > least), "{opened:?} packets for {least} full ones each way");
}

#[cfg(not(pinhole_portable))]
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_icmp_errors_does_not_hurt_a_tunnel_even_if_they_are_subscribed() {
    let pairing = Pairing::new(Ipv4Addr::LOCALHOST, SocketId::MAIN, SocketId::MAIN).await;
    let [serve, open] = &pairing.ends;
    let floods = [flood(serve.mux.clone()), flood(open.mux.clone())];
    let lost = || [serve, open].map(|end| end.mux.mux().counters().overflow.load(Ordering::Relaxed));
    within(async {
        while lost().contains(&0) {
            yield_now().await;
        }
    })
    .await;
    let before = lost();
    pairing.exchange().await;
    assert!(lost() > before, "more errors than the driver could take, to the end");
    floods.iter().for_each(AbortHandle::abort);
}

/// Has errors come back to the main socket, as fast as they can.
#[cfg(not(pinhole_portable))]
fn flood(mux: Arc<PeerMux>) -> AbortHandle {
    mux.subscribe_icmp(true);
    let nonsense = probe(SocketId::MAIN, NOBODY, None);
    let flood = async move {
        loop {
            for _ in 0..8 {
                let _whatever = mux.send_probe(&nonsense);
            }
            yield_now().await;
        }
    };
    tokio::spawn(flood).abort_handle()
}

/// Two ends that are about to connect: the serve side, the open side.
struct Pairing {
    ends: [End; 2],
}

struct End {
    mux: Arc<PeerMux>,
    quic: Endpoint,
    shared: Shared,
    /// Where the other end finds it.
    at: SocketAddr,
    _arrivals: Arrivals,
}

impl Pairing {
    async fn new(ip: impl Into<IpAddr>, serve: SocketId, open: SocketId) -> Self {
        let ip = ip.into();
        let ends = [End::new(ip, serve, true), End::new(ip, open, false)];
        yield_now().await; // the library waits for the main sockets already
        for (end, socket, remote) in [(&ends[0], serve, ends[1].at), (&ends[1], open, ends[0].at)] {
            end.mux.admit(Pair { socket, remote });
        }
        Self { ends }
    }

    /// Connects, and sends much in both directions.
    async fn exchange(&self) {
        self.exchange_under(1).await;
    }

    /// The same under so many keys, one after the other. Returns what each side has opened.
    async fn exchange_under(&self, keys: usize) -> [u64; 2] {
        let [serve, open] = &self.ends;
        let config = open.shared.client(Instances::default(), PATH);
        let dialled = open.quic.connect_with(config, open.mux.id().address(), "x").expect("dial");
        let accepted = async { serve.quic.accept().await.expect("a connection").await };
        let (ours, theirs) = within(async { tokio::join!(dialled, accepted) }).await;
        let (ours, theirs) = (ours.expect("connected"), theirs.expect("connected"));
        let (mut there, mut back) = ours.open_bi().await.expect("a stream");
        let away = async {
            for part in vec![1; BYTES].chunks(BYTES.div_ceil(keys)) {
                there.write_all(part).await.expect("write");
                if keys > 1 {
                    ours.force_key_update();
                }
            }
            there.finish().expect("finish");
            assert!(back.read_to_end(BYTES).await.expect("read") == vec![2; BYTES]);
        };
        let answer = async {
            let (mut back, mut there) = theirs.accept_bi().await.expect("a stream");
            assert!(there.read_to_end(BYTES).await.expect("read") == vec![1; BYTES]);
            back.write_all(&vec![2; BYTES]).await.expect("write");
            back.finish().expect("finish");
            theirs.closed().await;
        };
        within(async {
            let close = async {
                away.await;
                ours.close(0u8.into(), b"");
            };
            tokio::join!(close, answer)
        })
        .await;
        [serve, open].map(|end| end.shared.opened.count())
    }
}

impl End {
    fn new(ip: IpAddr, socket: SocketId, serves: bool) -> Self {
        let shared = Shared::new(Credentials::new(&key(), [u8::from(serves); 16]).expect("TLS"));
        let (mux, arrivals) = mux_at((ip, 0).into());
        if socket != SocketId::MAIN {
            mux.open(socket, ANY).expect("a socket");
        }
        let answer = serves.then(|| shared.server(Instances::default(), PATH));
        let quic = Endpoint::new_with_abstract_socket(
            pinhole_quic::endpoint(&shared.credentials),
            answer,
            Box::new(QuicSocket::new(mux.mux().clone())),
            Arc::new(GatheringRuntime),
        );
        let here: IpAddr = if ip.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        let at = SocketAddr::new(here, address(&mux, socket).port());
        Self { mux, quic: quic.expect("an endpoint"), shared, at, _arrivals: arrivals }
    }
}
