//! The Mux with real sockets: on loopback, and through a laboratory's routers.

#[cfg(not(pinhole_portable))]
mod icmp;
#[cfg(not(pinhole_portable))]
mod lab;
mod quic;
mod sockets;

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, MutexGuard},
    time::Duration,
};

use noq::{AsyncUdpSocket, udp::RecvMeta};
use pinhole_proto::{
    Key,
    probe::PROBE_BYTES,
    puncher::{Pair, SocketId, Transmit},
};
use tokio::net::UdpSocket;

use super::{
    Arrivals, GatheringRuntime, Mux, PeerId, PeerMux, QuicSocket,
    filter::tests::{key, marked},
    sockets::{Route, Sockets},
};
use pinhole_quic::Opened;

const FAN: SocketId = SocketId(17);
/// The system picks the port.
const ANY: u16 = 0;
const DEADLINE: Duration = Duration::from_secs(20);

/// Nobody listens there.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// A Mux with one peer.
pub(super) fn mux() -> (Arc<PeerMux>, Arrivals) {
    mux_at((Ipv4Addr::LOCALHOST, 0).into())
}

fn mux_at(address: SocketAddr) -> (Arc<PeerMux>, Arrivals) {
    joined(&Mux::bind(address).expect("a socket"), &key(), Opened::default())
}

fn joined(mux: &Arc<Mux>, key: &Key, opened: Opened) -> (Arc<PeerMux>, Arrivals) {
    let (peer, arrivals, _) = mux.join(key, opened).expect("room for a peer");
    (peer, arrivals)
}

impl PeerMux {
    /// Sorts a read as [`QuicSocket`] does.
    pub(super) fn sort(&self, socket: SocketId, buffer: &mut [u8], meta: &mut RecvMeta) -> bool {
        let owner = Some(&self.share).filter(|_| socket != SocketId::MAIN);
        self.mux.demux.sort(owner, socket, (buffer, meta), &mut VecDeque::new())
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.share.sockets()
    }

    fn route(&self) -> Option<Route> {
        self.share.route()
    }

    fn local_address(&self) -> SocketAddr {
        self.mux.local_address()
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("in time")
}

fn probe(socket: SocketId, remote: SocketAddr, ttl: Option<u8>) -> Transmit {
    let mut payload = [7; PROBE_BYTES];
    payload[0] = 0x80;
    Transmit { pair: Pair { socket, remote }, ttl, payload }
}

async fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

fn address(mux: &PeerMux, id: SocketId) -> SocketAddr {
    mux.sockets().find(id).expect("an open socket").local_address()
}

async fn receive(peer: &UdpSocket) -> (usize, SocketAddr) {
    within(peer.recv_from(&mut [0; 2048])).await.expect("a datagram")
}

/// Reads one datagram as the QUIC library does, and returns its first byte.
async fn read(quic: &mut QuicSocket) -> u8 {
    let (mut room, mut meta) = ([0; 2048], [RecvMeta::default()]);
    let mut parts = [IoSliceMut::new(&mut room)];
    let received = within(poll_fn(|cx| quic.poll_recv(cx, &mut parts, &mut meta))).await;
    assert_eq!((received.expect("a read"), meta[0].addr, meta[0].dst_ip), (1, PeerId(1).address(), None));
    room[0]
}
