//! The one owner of an endpoint's UDP sockets.
//!
//! The QUIC library reads and writes through the [`Hub`] as if it were one socket. On the way in, the Hub tells
//! probes from QUIC by their first bits, for every segment of a coalesced read, and lets QUIC through only from
//! addresses that a proof has opened: a stranger's Initial never reaches the QUIC library and so gets no answer.
//! On the way out, it routes a datagram to the socket whose pair was proven for that address.
//!
//! Since probes and QUIC share the sockets at all times, a live tunnel can be punched again without a stop.

mod demux;
mod quic;
mod socket;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use pinhole_proto::{
    probe::MAX_PROBE_BYTES,
    puncher::{Pair, SocketId, Transmit},
};
use tokio::sync::mpsc;

pub(crate) use self::quic::QuicSocket;
use self::socket::UdpSocket;
pub use self::socket::{BufferSizes, WANTED_BUFFER_BYTES};
use crate::bind::BindError;

/// Probe-like datagrams that wait for the driver. A flood of lookalikes beyond that is dropped; the driver takes
/// about a microsecond for each.
const PROBE_QUEUE: usize = 1024;

/// Proven addresses kept open to QUIC at a time; the newest stay.
const MAX_ROUTES: usize = 16;

/// A probe-like datagram and where it arrived.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) pair: Pair,
    length: usize,
    bytes: [u8; MAX_PROBE_BYTES],
}

impl Arrival {
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Counts what arrived and was not let through.
#[derive(Debug, Default)]
pub struct HubCounters {
    /// QUIC datagrams from addresses that no proof has opened.
    pub strangers: AtomicU64,
    /// Datagrams that are neither QUIC nor a probe.
    pub noise: AtomicU64,
    /// Probes dropped because too many waited.
    pub overflow: AtomicU64,
}

/// Owns the sockets; shared by the driver and the QUIC library.
#[derive(Debug)]
pub struct Hub {
    main: Arc<UdpSocket>,
    routes: Mutex<Vec<Pair>>,
    probes: mpsc::Sender<Arrival>,
    counters: HubCounters,
}

impl Hub {
    /// Binds the main socket. Returns the Hub and the probes that will arrive.
    pub(crate) fn bind(address: SocketAddr) -> Result<(Arc<Self>, mpsc::Receiver<Arrival>), BindError> {
        let main = Arc::new(UdpSocket::bind(address)?);
        let (probes, arrivals) = mpsc::channel(PROBE_QUEUE);
        let hub = Self { main, routes: Mutex::default(), probes, counters: HubCounters::default() };
        Ok((Arc::new(hub), arrivals))
    }

    /// Opens a proven pair to QUIC; the oldest one beyond the bound is closed.
    pub(crate) fn admit(&self, pair: Pair) {
        let mut routes = self.routes();
        routes.retain(|route| route.remote != pair.remote);
        if routes.len() == MAX_ROUTES {
            routes.remove(0);
        }
        routes.push(pair);
    }

    /// Sends a probe, or drops it like any network would when the socket cannot take it.
    pub(crate) fn send_probe(&self, transmit: &Transmit) {
        if let Err(error) =
            self.socket(transmit.pair.socket).send_now(transmit.pair.remote, &transmit.payload)
        {
            tracing::debug!(%error, remote = %transmit.pair.remote, "probe not sent");
        }
    }

    /// Returns the main socket's address.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.main.local_address()
    }

    /// Returns the sizes of the main socket's buffers that the system has granted.
    #[must_use]
    pub fn buffer_sizes(&self) -> BufferSizes {
        self.main.buffer_sizes()
    }

    /// Returns the counts of what was not let through.
    #[must_use]
    pub fn counters(&self) -> &HubCounters {
        &self.counters
    }

    /// Takes a datagram for the driver.
    fn push_probe(&self, remote: SocketAddr, datagram: &[u8]) {
        let mut arrival = Arrival {
            pair: Pair { socket: SocketId::MAIN, remote },
            length: datagram.len(),
            bytes: [0; MAX_PROBE_BYTES],
        };
        arrival.bytes[..datagram.len()].copy_from_slice(datagram);
        if self.probes.try_send(arrival).is_err() {
            self.counters.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_proven(&self, remote: SocketAddr) -> bool {
        self.routes().iter().any(|route| route.remote == remote)
    }

    /// Returns the socket whose pair was proven for `remote`.
    fn route(&self, remote: SocketAddr) -> Arc<UdpSocket> {
        let id = self
            .routes()
            .iter()
            .find(|route| route.remote == remote)
            .map_or(SocketId::MAIN, |route| route.socket);
        self.socket(id).clone()
    }

    /// Returns the socket of that number. There is only the main one until fans are opened.
    fn socket(&self, _id: SocketId) -> &Arc<UdpSocket> {
        &self.main
    }

    fn routes(&self) -> MutexGuard<'_, Vec<Pair>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
