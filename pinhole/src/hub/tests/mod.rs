//! The Hub with real sockets: on loopback, and through a laboratory's routers.

#[cfg(target_os = "linux")]
mod icmp;
#[cfg(target_os = "linux")]
mod lab;
mod quic;
mod sockets;

use std::{
    future::{Future, poll_fn},
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use noq::{AsyncUdpSocket, udp::RecvMeta};
use pinhole_proto::{
    probe::PROBE_BYTES,
    puncher::{Pair, SocketId, Transmit},
};
use tokio::net::UdpSocket;

use super::{
    Arrivals, Filter, GatheringRuntime, Hub, QuicSocket,
    filter::tests::{key, marked},
};
use pinhole_quic::Opened;

const FAN: SocketId = SocketId(17);
/// The system picks the port.
const ANY: u16 = 0;
const DEADLINE: Duration = Duration::from_secs(20);

/// Nobody listens there.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

pub(super) fn hub() -> (Arc<Hub>, Arrivals) {
    hub_at((Ipv4Addr::LOCALHOST, 0).into())
}

fn hub_at(address: SocketAddr) -> (Arc<Hub>, Arrivals) {
    Hub::bind(address, Filter::new(&key()), Opened::default()).expect("a socket")
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

fn address(hub: &Hub, id: SocketId) -> SocketAddr {
    hub.sockets().find(id).expect("an open socket").local_address()
}

async fn receive(peer: &UdpSocket) -> (usize, SocketAddr) {
    within(peer.recv_from(&mut [0; 2048])).await.expect("a datagram")
}

/// Reads one datagram as the QUIC library does, and returns its first byte.
async fn read(quic: &mut QuicSocket) -> u8 {
    let (mut room, mut meta) = ([0; 2048], [RecvMeta::default()]);
    let mut parts = [IoSliceMut::new(&mut room)];
    let received = within(poll_fn(|cx| quic.poll_recv(cx, &mut parts, &mut meta))).await;
    assert_eq!((received.expect("a read"), meta[0].addr, meta[0].dst_ip), (1, super::PEER, None));
    room[0]
}
