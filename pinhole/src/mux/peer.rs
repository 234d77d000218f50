//! One peer's part of the mux.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use noq::udp::UdpSocketState;
use pinhole_proto::{
    Role,
    probe::ProbeSeal,
    puncher::{Pair, SocketId, Traffic, Transmit},
};
use pinhole_quic::Opened;
use tokio::sync::{Notify, mpsc};

use super::{
    Mux,
    filter::Filter,
    link::Link,
    receive::{ReceiveQueues, SurveyArrival},
    sockets::{Route, Sockets},
};
use crate::{
    bind::{BindError, Protocol},
    sys,
};

/// Most IPs that are remembered of those that the main socket has sent probes to: those of a peer, and of its NAT.
const MAX_IPS: usize = 32;

/// Names a peer of a Mux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerId(pub(super) u16);

impl PeerId {
    /// Returns where the peer is, as the QUIC library sees it: an address for documents (RFC 5737), to which nothing is ever
    /// sent. It never changes, and no other peer has it.
    pub(crate) fn address(self) -> SocketAddr {
        SocketAddr::new(super::PEERS, self.0)
    }

    /// Whether its number can be a port.
    pub(super) fn is_valid(self) -> bool {
        self.0 != 0
    }
}

/// The state of one peer; shared with those that read the main socket and send for QUIC.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) id: PeerId,
    pub(super) filter: Arc<Filter>,
    pub(super) queues: Arc<ReceiveQueues>,
    sockets: Mutex<Sockets>,
    /// IPs to which the main socket has sent probes, the oldest first.
    ips: Mutex<Vec<IpAddr>>,
    traffic: Meter,
    opened: Opened,
    /// What the QUIC library knows about the kernel, for the path in use.
    offload: RwLock<Arc<UdpSocketState>>,
    /// Each datagram leaves by itself and without marks.
    is_without_offload: AtomicBool,
}

/// Counts what the QUIC library sends.
#[derive(Debug, Default)]
struct Meter {
    sent: AtomicU64,
    /// Somebody wants to know of the next datagram that leaves.
    is_awaited: AtomicBool,
    leaves: Notify,
}

impl Share {
    pub(super) fn new(
        id: PeerId,
        (filter, queues): (Arc<Filter>, Arc<ReceiveQueues>),
        sockets: Sockets,
        opened: Opened,
        offload: Arc<UdpSocketState>,
    ) -> Self {
        let (ips, traffic) = Default::default();
        Self {
            id,
            filter,
            queues,
            sockets: Mutex::new(sockets),
            ips,
            traffic,
            opened,
            offload: RwLock::new(offload),
            is_without_offload: AtomicBool::new(false),
        }
    }

    /// Counts a datagram that has left.
    pub(super) fn count_sent(&self) {
        let Meter { sent, is_awaited, leaves } = &self.traffic;
        sent.fetch_add(1, Ordering::Relaxed);
        if is_awaited.load(Ordering::Relaxed) && is_awaited.swap(false, Ordering::Relaxed) {
            leaves.notify_one();
        }
    }

    /// Returns the path that QUIC takes now.
    pub(super) fn route(&self) -> Option<Route> {
        self.sockets().route().cloned()
    }

    pub(super) fn is_without_offload(&self) -> bool {
        self.is_without_offload.load(Ordering::Relaxed)
    }

    pub(super) fn offload(&self) -> Arc<UdpSocketState> {
        self.offload.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the main socket has to do with that IP.
    pub(super) fn knows(&self, ip: IpAddr) -> bool {
        self.ips().contains(&ip)
    }

    fn note_ip(&self, ip: IpAddr) {
        let mut ips = self.ips();
        if !ips.contains(&ip) {
            if ips.len() == MAX_IPS {
                ips.remove(0);
            }
            ips.push(ip);
        }
    }

    fn ips(&self) -> MutexGuard<'_, Vec<IpAddr>> {
        self.ips.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One peer's part of the Mux: its further sockets, its routes, and the main socket, which it shares. It ends with
/// this.
#[derive(Debug)]
pub(crate) struct PeerMux {
    pub(super) mux: Arc<Mux>,
    pub(super) share: Arc<Share>,
}

impl Drop for PeerMux {
    fn drop(&mut self) {
        self.mux.leave(&self.share);
    }
}

impl PeerMux {
    /// Opens a further socket on the main one's IP, for probes. It replaces a former one of that number.
    pub(crate) fn open(&self, id: SocketId, port: u16) -> Result<(), BindError> {
        let main = self.mux.local_address();
        let address = SocketAddr::new(main.ip(), port);
        if id == SocketId::MAIN {
            return Err(BindError::InUse { protocol: Protocol::Udp, address: main });
        }
        let socket = Link::bind_udp(id, address)?;
        if socket.is_among_the_last_descriptors() {
            let source =
                io::Error::new(io::ErrorKind::QuotaExceeded, "the last descriptors are for connections");
            return Err(BindError::new(Protocol::Udp, address, source));
        }
        self.share.sockets().open(socket);
        Ok(())
    }

    /// Closes a further socket, soon; one that a route uses stays until that route is replaced.
    pub(crate) fn close(&self, id: SocketId) {
        self.share.sockets().close(id);
    }

    /// Opens a proven pair to QUIC, whose datagrams take it from now on. One whose socket is gone stays closed.
    pub(crate) fn admit(&self, pair: Pair) {
        let Some(socket) = self.share.sockets().admit(pair) else {
            return tracing::debug!(?pair, "a proven pair has lost its socket");
        };
        // Found out anew for each path: what the last one's device refused, this one's may be able to do.
        match socket.prepare_for_quic() {
            Ok(offload) => {
                *self.share.offload.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(offload);
            }
            Err(error) => tracing::warn!(%error, "a socket without offload"),
        }
    }

    /// Subscribes to ICMP errors about probes, or unsubscribes: a search needs them, a tunnel does not.
    pub(crate) fn subscribe_icmp(&self, on: bool) {
        let is_news = self.share.sockets().subscribe_icmp(on);
        if is_news {
            self.mux.subscribe_icmp();
        }
    }

    /// Sends a probe, at once or not at all.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the socket's buffer is full, `NotFound` when the socket is gone, `Unsupported` for a TTL
    /// beside QUIC where the system cannot do that. Others are the system's: its firewall refuses, or there is no way.
    pub(crate) fn send_probe(&self, transmit: &Transmit) -> io::Result<()> {
        let Pair { socket: id, remote } = transmit.pair;
        let socket = {
            let sockets = self.share.sockets();
            if transmit.ttl.is_some() && !sys::TTL_BELONGS_TO_DATAGRAM && sockets.is_adopted(id) {
                return Err(io::ErrorKind::Unsupported.into());
            }
            sockets.find(id).cloned().ok_or(io::ErrorKind::NotFound)?
        };
        if id == SocketId::MAIN {
            self.share.note_ip(remote.ip());
        }
        socket.send_now(remote, &transmit.payload, transmit.ttl)
    }

    /// Returns survey probes as they arrive, from now on.
    pub(crate) fn survey_probes(&self, seal: ProbeSeal, peer: Role) -> mpsc::Receiver<SurveyArrival> {
        self.share.queues.receive_survey(seal, peer)
    }

    /// Returns the local port of a socket, if it is there.
    pub(crate) fn port(&self, id: SocketId) -> Option<u16> {
        self.share.sockets().find(id).map(|socket| socket.local_address().port())
    }

    /// Returns the address of the socket that QUIC's datagrams leave from now.
    pub(crate) fn path_socket(&self) -> Option<SocketAddr> {
        self.share.route().map(|route| route.socket.local_address())
    }

    /// Returns the size of the largest datagram that this machine would send by that pair, bytes of UDP payload, if the
    /// system tells.
    pub(crate) fn largest_datagram(&self, pair: Pair) -> Option<u16> {
        let link = self.share.sockets().find(pair.socket)?.clone();
        link.largest_datagram(pair.remote)
    }

    /// Returns what the QUIC library has sent and received by now.
    pub(crate) fn traffic(&self) -> Traffic {
        let Share { traffic, opened, .. } = &*self.share;
        Traffic { sent: traffic.sent.load(Ordering::Relaxed), received: opened.count() }
    }

    /// Waits until the QUIC library sends something.
    pub(crate) async fn sends(&self) {
        let Meter { is_awaited, leaves, .. } = &self.share.traffic;
        is_awaited.store(true, Ordering::Relaxed);
        leaves.notified().await;
    }

    /// Sets whether each datagram of the tunnel leaves by itself and without ECN marks. Slower; but there are devices that
    /// lose what is handed to them together (GSO), and networks that lose what is marked.
    pub(crate) fn set_without_offload(&self, is_without_offload: bool) {
        self.share.is_without_offload.store(is_without_offload, Ordering::Relaxed);
    }

    /// Returns the whole Mux.
    pub(crate) fn mux(&self) -> &Arc<Mux> {
        &self.mux
    }

    /// Returns the name of the peer, by which QUIC knows it.
    pub(crate) fn id(&self) -> PeerId {
        self.share.id
    }
}
