//! The one owner of an endpoint's UDP sockets.
//!
//! The QUIC library reads and writes through the [`Hub`] as if it were one socket. On the way in, the Hub tells
//! probes from QUIC by their first bits, for every segment of a coalesced read, and lets QUIC through only from
//! pairs that a proof has opened: a stranger's Initial never reaches the QUIC library and so gets no answer.
//! On the way out, it takes the pair that was proven last.
//!
//! To the QUIC library the peer has one address that never changes, `PEER`: which path carries a datagram is the
//! Hub's business alone. A path that changes looks like loss and another round trip's time, and nothing else.
//!
//! The main socket lives as long as the Hub. Hundreds of others come and go with the puncher's methods; each is
//! cheap until a proven pair needs it for QUIC.
//!
//! Since probes and QUIC share the sockets at all times, a live tunnel can be punched again without a stop.

mod batch;
mod demux;
mod filter;
mod icmp;
mod intake;
mod mtu;
mod quic;
mod reader;
mod segments;
mod socket;
mod sockets;
mod trace;
mod ttl;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
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

pub(crate) use self::{
    batch::GatheringRuntime,
    filter::Filter,
    intake::{Arrivals, LetterArrival},
    quic::QuicSocket,
};
pub use self::{
    intake::HubCounters,
    socket::{BufferSizes, KEPT_DESCRIPTORS, WANTED_BUFFER_BYTES},
    trace::{HOPS, Hop, hops},
};
use self::{
    intake::Intake,
    reader::Reader,
    socket::UdpSocket,
    sockets::{Route, Sockets},
};
use crate::bind::{BindError, Protocol};

/// Where the peer is, as the QUIC library sees it (an address for documents, RFC 5737; nothing is ever sent there).
pub(crate) const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1);

/// Opens a port as a main socket has it, and closes it again. Returns the sizes of the buffers that it was granted.
pub(crate) fn try_port(address: SocketAddr) -> Result<BufferSizes, BindError> {
    let socket = UdpSocket::bind(SocketId::MAIN, address)?;
    socket.prepare_for_quic().map_err(|source| BindError::new(Protocol::Udp, address, source))?;
    Ok(socket.buffer_sizes())
}

/// Owns the sockets; shared by the driver and the QUIC library.
#[derive(Debug)]
pub struct Hub {
    main: Arc<UdpSocket>,
    /// What the QUIC library knows about the kernel: one for all sockets.
    offload: RwLock<Arc<UdpSocketState>>,
    sockets: Mutex<Sockets>,
    intake: Arc<Intake>,
    filter: Arc<Filter>,
    traffic: Meter,
    opened: Opened,
    /// Each datagram leaves by itself and without marks.
    is_plain: AtomicBool,
    _main_errors: Reader,
}

/// Counts what the QUIC library sends.
#[derive(Debug, Default)]
struct Meter {
    sent: AtomicU64,
    /// Somebody wants to know of the next datagram that leaves.
    is_awaited: AtomicBool,
    leaves: Notify,
}

impl Meter {
    fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if self.is_awaited.load(Ordering::Relaxed) && self.is_awaited.swap(false, Ordering::Relaxed) {
            self.leaves.notify_one();
        }
    }
}

impl Hub {
    /// Binds the main socket. Returns the Hub and what will arrive: as much of it as the filter lets in. What QUIC opens
    /// is counted by `opened`.
    pub(crate) fn bind(
        address: SocketAddr,
        filter: Filter,
        opened: Opened,
    ) -> Result<(Arc<Self>, Arrivals), BindError> {
        let main = Arc::new(UdpSocket::bind(SocketId::MAIN, address)?);
        let offload =
            main.prepare_for_quic().map_err(|source| BindError::new(Protocol::Udp, address, source))?;
        let filter = Arc::new(filter);
        let (intake, arrivals) = Intake::new(filter.clone());
        let intake = Arc::new(intake);
        let sockets = Mutex::new(Sockets::new(main.clone(), intake.clone()));
        let errors = Reader::of_errors(main.clone(), intake.clone());
        let traffic = Meter::default();
        Ok((
            Arc::new(Self {
                main,
                offload: RwLock::new(Arc::new(offload)),
                sockets,
                intake,
                filter,
                traffic,
                opened,
                is_plain: AtomicBool::new(false),
                _main_errors: errors,
            }),
            arrivals,
        ))
    }

    /// Opens a further socket on the main one's IP, for probes. It replaces a former one of that number.
    pub(crate) fn open(&self, id: SocketId, port: u16) -> Result<(), BindError> {
        let address = SocketAddr::new(self.main.local_address().ip(), port);
        if id == SocketId::MAIN {
            return Err(BindError::InUse { protocol: Protocol::Udp, address: self.main.local_address() });
        }
        let socket = UdpSocket::bind(id, address)?;
        if socket.is_among_the_last_descriptors() {
            let source =
                io::Error::new(io::ErrorKind::QuotaExceeded, "the last descriptors are for connections");
            return Err(BindError::new(Protocol::Udp, address, source));
        }
        self.sockets().open(socket);
        Ok(())
    }

    /// Closes a further socket, soon; one that a route uses stays until that route is replaced.
    pub(crate) fn close(&self, id: SocketId) {
        self.sockets().close(id);
    }

    /// Opens a proven pair to QUIC, whose datagrams take it from now on. One whose socket is gone stays closed.
    pub(crate) fn admit(&self, pair: Pair) {
        let Some(socket) = self.sockets().admit(pair) else {
            return tracing::debug!(?pair, "a proven pair has lost its socket");
        };
        // Found out anew for each path: what the last one's device refused, this one's may be able to do.
        match socket.prepare_for_quic() {
            Ok(offload) => *self.offload.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(offload),
            Err(error) => tracing::warn!(%error, "a socket without offload"),
        }
    }

    /// Asks for ICMP errors about probes, or to be spared them: a search needs them, a tunnel does not.
    pub(crate) fn heed_icmp(&self, on: bool) {
        self.sockets().heed_icmp(on);
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
            let sockets = self.sockets();
            if transmit.ttl.is_some() && !ttl::BELONGS_TO_DATAGRAM && sockets.is_adopted(id) {
                return Err(io::ErrorKind::Unsupported.into());
            }
            sockets.find(id).cloned().ok_or(io::ErrorKind::NotFound)?
        };
        socket.send_now(remote, &transmit.payload, transmit.ttl)
    }

    /// Returns a check's letters as they arrive, from now on.
    pub(crate) fn letters(&self, seal: ProbeSeal, peer: Role) -> mpsc::Receiver<LetterArrival> {
        self.intake.listen_for_letters(seal, peer)
    }

    /// Returns the local port of a socket, if it is there.
    pub(crate) fn port(&self, id: SocketId) -> Option<u16> {
        self.sockets().find(id).map(|socket| socket.local_address().port())
    }

    /// Returns the main socket's address.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.main.local_address()
    }

    /// Returns the address of the socket that QUIC's datagrams leave from now.
    pub(crate) fn path_socket(&self) -> Option<SocketAddr> {
        self.route().map(|route| route.socket.local_address())
    }

    /// Returns the size of the largest datagram that this machine would send by that pair, bytes of UDP payload, if the
    /// system tells.
    pub(crate) fn largest_datagram(&self, pair: Pair) -> Option<u16> {
        let local = self.sockets().find(pair.socket)?.local_address();
        mtu::largest_datagram(local, pair.remote)
    }

    /// Returns the sizes of the main socket's buffers that the system has granted.
    #[must_use]
    pub fn buffer_sizes(&self) -> BufferSizes {
        self.main.buffer_sizes()
    }

    /// Returns the counts of what was not let through.
    #[must_use]
    pub fn counters(&self) -> &HubCounters {
        self.intake.counters()
    }

    /// Returns what the QUIC library has sent and received by now.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic { sent: self.traffic.sent.load(Ordering::Relaxed), received: self.opened.count() }
    }

    /// Waits until the QUIC library sends something.
    pub(crate) async fn sends(&self) {
        self.traffic.is_awaited.store(true, Ordering::Relaxed);
        self.traffic.leaves.notified().await;
    }

    /// Sets whether each datagram of the tunnel leaves by itself and without ECN marks. Slower; but there are devices that
    /// lose what is handed to them together (GSO), and networks that lose what is marked.
    pub(crate) fn set_plain(&self, is_plain: bool) {
        self.is_plain.store(is_plain, Ordering::Relaxed);
    }

    fn is_plain(&self) -> bool {
        self.is_plain.load(Ordering::Relaxed)
    }

    fn offload(&self) -> Arc<UdpSocketState> {
        self.offload.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the path that QUIC takes now.
    fn route(&self) -> Option<Route> {
        self.sockets().route().cloned()
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
