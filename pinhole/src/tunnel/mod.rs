//! One authenticated QUIC connection. Everything of the QUIC library is behind this module.
//!
//! The open side dials over the nominated pair and the serve side answers. Each TCP connection is one bidirectional
//! stream; a stream that breaks is reset with a code, the whole tunnel is closed with a [`CloseReason`].
//!
//! The connection knows nothing of paths. When the one in use dies, the Mux sends by another one sooner or later;
//! until then nothing is acknowledged, and the streams wait.

mod control;
mod heads;
mod scheduler;
mod shares;
mod stream;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use noq::VarInt;

pub use pinhole_proto::session::{HandshakeError, TunnelEnd};

pub use pinhole_quic::{
    CONNECTION_WINDOW_BYTES, CloseReason, MAX_STREAMS, SEND_WINDOW_BYTES, STREAM_WINDOW_BYTES,
};
use pinhole_quic::{ControllerFeedback, tunnel_end};

use self::heads::Heads;
pub use self::stream::{AskedStream, RecvStream, SendStream, StreamError};
pub(crate) use self::{heads::Arrival, scheduler::SendScheduler, shares::Shares, stream::answer};

/// Ends a stream whose TCP connection was reset, in either direction.
pub(crate) const RESET: VarInt = VarInt::from_u32(1);

/// A tunnel that stands. Cheap to clone; all clones are the same tunnel.
///
/// ```no_run
/// use pinhole::Peer;
///
/// # async fn run(peer: Peer) -> Option<()> {
/// let tunnel = peer.connected().await?;
/// println!("tunnel to {}, round trip {:?}", tunnel.remote(), tunnel.rtt());
/// println!("it has ended: {}", tunnel.closed().await);
/// # Some(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Tunnel {
    connection: noq::Connection,
    path: Arc<Mutex<Path>>,
    shares: Arc<Shares>,
    heads: Arc<Heads>,
}

/// A weak handle of a tunnel, which is not kept alive by this.
#[derive(Debug, Clone)]
pub(crate) struct WeakTunnel {
    connection: noq::WeakConnectionHandle,
    path: Arc<Mutex<Path>>,
    shares: Weak<Shares>,
    heads: Weak<Heads>,
}

impl WeakTunnel {
    /// Returns the tunnel, if it is still there.
    pub(crate) fn upgrade(&self) -> Option<Tunnel> {
        let (connection, shares) = (self.connection.upgrade()?, self.shares.upgrade()?);
        Some(Tunnel { connection, path: self.path.clone(), shares, heads: self.heads.upgrade()? })
    }
}

/// QUIC's figures of the path to the peer. Counts are since the tunnel stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) rtt: Duration,
    pub(crate) mtu_bytes: u16,
    pub(crate) sent_packets: u64,
    pub(crate) lost_packets: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) window_bytes: u64,
}

/// The path of a tunnel's datagrams.
#[derive(Debug)]
struct Path {
    /// The peer's address, by the path in use or last in use.
    remote: SocketAddr,
    is_there: bool,
}

impl Tunnel {
    pub(crate) fn new(connection: noq::Connection, remote: SocketAddr, feedback: ControllerFeedback) -> Self {
        let path = Arc::new(Mutex::new(Path { remote, is_there: true }));
        let shares = Arc::new(Shares::new(connection.clone(), feedback));
        Self { connection, path, shares, heads: Arc::default() }
    }

    /// Opens a stream to a service of the peer, which is the serve side. Waits while the peer allows no more of them, and
    /// for the peer's answer.
    ///
    /// # Errors
    ///
    /// When the name is none that a service can have, the peer refuses, or the tunnel ends.
    pub async fn open_stream(&self, service: &str) -> Result<(SendStream, RecvStream), StreamError> {
        stream::open(self, service).await
    }

    /// Waits for the next stream that the peer opens, and for the name that it asks for. Streams come to
    /// [`forward::offer`](crate::forward::offer) or to this, whichever asks first: use one of them.
    ///
    /// Streams come in the order in which their names have arrived, so one whose name is slow or never comes holds up no
    /// other; it is refused after 60 s. No more than [`MAX_STREAMS`] wait, since QUIC lets the peer open no more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing, so it may be one of several in a `select!` in a loop: the streams, and what has come
    /// of their names, are kept for the next call.
    ///
    /// # Errors
    ///
    /// When the tunnel has ended.
    pub async fn accept_stream(&self) -> Result<AskedStream, TunnelEnd> {
        self.next_arrival().await.map(AskedStream::from)
    }

    /// Waits for the peer's next stream whose head was read. Cancel-safe.
    pub(crate) async fn next_arrival(&self) -> Result<Arrival, TunnelEnd> {
        self.heads.next(&self.connection).await.map_err(|error| tunnel_end(&error))
    }

    /// Opens a stream without a head. Waits while the peer allows no more of them.
    pub(crate) async fn open_bare(&self) -> Result<(noq::SendStream, noq::RecvStream), TunnelEnd> {
        self.connection.open_bi().await.map_err(|error| tunnel_end(&error))
    }

    /// Lets the peer open streams, which an open side does not without being told.
    pub(crate) fn allow_streams(&self) {
        self.connection.set_max_concurrent_bi_streams(MAX_STREAMS.into());
    }

    /// Returns what the tunnel's streams share.
    pub(crate) fn shares(&self) -> Arc<Shares> {
        self.shares.clone()
    }

    /// Waits for the peer's next stream, whose head is not read yet.
    pub(crate) async fn accept_bare(&self) -> Result<(noq::SendStream, noq::RecvStream), TunnelEnd> {
        self.connection.accept_bi().await.map_err(|error| tunnel_end(&error))
    }

    /// Closes the tunnel and tells the peer why. Streams end at once.
    pub fn close(&self, reason: CloseReason) {
        self.connection.close(reason.code().into(), b"");
    }

    /// Waits until the tunnel has ended.
    pub async fn closed(&self) -> TunnelEnd {
        tunnel_end(&self.connection.closed().await)
    }

    /// Returns how the tunnel has ended, if it has.
    fn end(&self) -> Option<TunnelEnd> {
        self.connection.close_reason().map(|error| tunnel_end(&error))
    }

    /// Returns whether the tunnel still stands.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Returns the peer's address, by the path in use or last in use.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.path().remote
    }

    /// Returns whether there is a path, or the tunnel waits for one.
    #[must_use]
    pub fn has_path(&self) -> bool {
        self.path().is_there
    }

    /// Records another path, or that there is none.
    pub(crate) fn set_path(&self, remote: Option<SocketAddr>) {
        let mut path = self.path();
        path.is_there = remote.is_some();
        path.remote = remote.unwrap_or(path.remote);
    }

    fn path(&self) -> MutexGuard<'_, Path> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has QUIC go on under new keys, derived from the present ones, which are forgotten (RFC 9001 §6).
    pub(crate) fn rekey(&self) {
        self.connection.force_key_update();
    }

    /// Returns a handle that does not keep it alive.
    pub(crate) fn downgrade(&self) -> WeakTunnel {
        WeakTunnel {
            connection: self.connection.weak_handle(),
            path: self.path.clone(),
            shares: Arc::downgrade(&self.shares),
            heads: Arc::downgrade(&self.heads),
        }
    }

    /// Returns what QUIC knows of the way. Tests of the largest datagram are meant to get lost, and do not count.
    pub(crate) fn numbers(&self) -> Option<Numbers> {
        let path = self.connection.path_stats(noq::PathId::ZERO)?;
        Some(Numbers {
            rtt: path.rtt,
            mtu_bytes: path.current_mtu,
            sent_packets: path.sent_packets.saturating_sub(path.sent_plpmtud_probes),
            lost_packets: path.lost_packets.saturating_sub(path.lost_plpmtud_probes),
            sent_bytes: path.udp_tx.bytes,
            received_bytes: path.udp_rx.bytes,
            window_bytes: path.cwnd,
        })
    }

    /// Returns the size of the largest datagram that QUIC knows to pass, bytes of UDP payload.
    pub(crate) fn datagram_bytes(&self) -> Option<u16> {
        self.connection.path_stats(noq::PathId::ZERO).map(|path| path.current_mtu)
    }

    /// Returns the round trip's time of the first path, as QUIC estimates it.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.connection.rtt(noq::PathId::ZERO)
    }
}
