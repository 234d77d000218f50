//! Two endpoints that know each other, a service, and a local port.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use pinhole::{
    Endpoint, Event, Key, Peer, PeerConfig, Phrase, Role,
    bind::BindError,
    endpoint::{Compress, EventStream, PeerAddress, StartError},
    forward::{self, Listening, Offering, OpenSpec, ServeSpec, Target},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream, UdpSocket},
};

/// A test that takes longer than this hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) const SERVE_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
pub(crate) const OPEN_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

static KEY: LazyLock<Key> = LazyLock::new(|| key(1));

/// Returns one of several keys.
pub(crate) fn key(number: u8) -> Key {
    Key::stretch(&Phrase::generate([number; 32]))
}

/// A tunnel with one service behind it.
pub(crate) struct Rig {
    pub(crate) serve: Peer,
    pub(crate) open: Peer,
    pub(crate) local: Listening,
    pub(crate) udp: u16,
    _offering: Offering,
}

impl Rig {
    /// Two endpoints whose tunnel stands, with a local port that leads to `service`.
    pub(crate) async fn to(service: SocketAddr) -> Self {
        Self::compressing(service, [Compress::Auto; 2]).await
    }

    /// The same, with what the serve side and the open side think of compression.
    pub(crate) async fn compressing(service: SocketAddr, compress: [Compress; 2]) -> Self {
        Self::at(free_port().await, service, compress).await
    }

    /// The same on that UDP port of both sides.
    pub(crate) async fn at(udp: u16, service: SocketAddr, [at_serve, at_open]: [Compress; 2]) -> Self {
        let serve = start_as(Role::Serve, udp, KEY.clone(), at_serve).await;
        let open = start_as(Role::Open, udp, KEY.clone(), at_open).await;
        let target = Target::Tcp { host: Some(service.ip().to_string()), port: service.port() };
        let spec = ServeSpec { name: "it".into(), target };
        let offering = forward::offer(&serve, &[spec]).expect("one service");
        let local = listen(&open);
        within(open.connected()).await.expect("a tunnel");
        within(serve.connected()).await.expect("a tunnel");
        Self { serve, open, local, udp, _offering: offering }
    }

    /// Connects a client to the local port.
    pub(crate) async fn client(&self) -> TcpStream {
        within(TcpStream::connect(self.local.address())).await.expect("the local port accepts")
    }

    /// A client and the service's end of its connection.
    pub(crate) async fn pair(&self, service: &TcpListener) -> (TcpStream, TcpStream) {
        let client = self.client().await;
        let (server, _) = within(service.accept()).await.expect("the service is asked");
        (client, server)
    }

    pub(crate) async fn close(self) {
        drop(self.local);
        self.open.close().await;
        self.serve.close().await;
    }
}

/// Starts one side with the usual key.
pub(crate) async fn start(role: Role, udp: u16) -> Peer {
    start_with(role, udp, KEY.clone()).await
}

pub(crate) async fn start_with(role: Role, udp: u16, key: Key) -> Peer {
    start_as(role, udp, key, Compress::Auto).await
}

async fn start_as(role: Role, udp: u16, key: Key, compress: Compress) -> Peer {
    let (own, peer) = match role {
        Role::Serve => (SERVE_IP, OPEN_IP),
        Role::Open => (OPEN_IP, SERVE_IP),
    };
    let builder = Endpoint::builder(key).bind(udp).bind_ip(own.into());
    let config = PeerConfig::new(role, PeerAddress::new(peer.to_string(), udp)).compress(compress);
    // The port of an endpoint that was closed a moment ago is free when the last of its tasks has ended.
    within(async {
        loop {
            match builder.clone().build().await {
                Err(StartError::Bind(BindError::InUse { .. })) => tokio::task::yield_now().await,
                built => return built.expect("an endpoint").peer(config).await.expect("a peer"),
            }
        }
    })
    .await
}

pub(crate) fn listen(open: &Peer) -> Listening {
    let spec = OpenSpec { bind: Some(SERVE_IP.into()), port: 0, service: "it".into(), any: true };
    forward::listen(open, &spec).expect("a local port")
}

pub(crate) async fn service() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((SERVE_IP, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// A UDP port that is free on both addresses. The tests of this program run at the same time, so each takes its own.
pub(crate) async fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + u16::try_from(std::process::id() % 20_000).expect("small");
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed);
        if UdpSocket::bind((SERVE_IP, port)).await.is_ok() && UdpSocket::bind((OPEN_IP, port)).await.is_ok() {
            return port;
        }
    }
}

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("in time")
}

/// Waits for an event that satisfies `wanted`.
pub(crate) async fn event(events: &mut EventStream, wanted: impl Fn(&Event) -> bool) -> Event {
    within(async {
        loop {
            let event = events.next().await.expect("an event").expect("none is missed");
            if wanted(&event) {
                return event;
            }
        }
    })
    .await
}

/// Returns the events that were told by now.
pub(crate) fn told(events: &mut EventStream) -> Vec<Event> {
    let mut cx = Context::from_waker(Waker::noop());
    let next = || match pin!(events.next()).poll(&mut cx) {
        Poll::Ready(event) => event?.ok(),
        Poll::Pending => None,
    };
    std::iter::from_fn(next).collect()
}

/// Connects, and returns the RST that must come: before the connection is seen, or after.
pub(crate) async fn refusal(address: SocketAddr) -> io::Error {
    let error = match within(TcpStream::connect(address)).await {
        Ok(mut tcp) => within(tcp.read_u8()).await.expect_err("no bytes"),
        Err(error) => error,
    };
    assert!(is_reset(&error), "{error:?}");
    error
}

pub(crate) fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
