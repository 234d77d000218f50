//! The configuration of an endpoint and its peers, and why one cannot be made.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use pinhole_proto::{
    Key, Role,
    probe::ProbeSeal,
    puncher::{self, LastSuccess, Limits},
};

use super::{Endpoint, PeerAddress, PeerError};
use crate::{bind::BindError, mux::NoPlace};

/// UDP port of both sides unless told otherwise.
pub const DEFAULT_PORT: u16 = 5555;

/// Time that a tunnel waits for a path unless told otherwise.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(3600);

/// The builder of an [`Endpoint`]; see [`Endpoint::builder`].
#[derive(Debug, Clone)]
#[must_use = "it makes no endpoint before `build`"]
pub struct Builder {
    pub(super) key: Key,
    pub(super) address: SocketAddr,
    pub(super) limits: Limits,
}

impl Builder {
    pub(super) fn new(key: Key) -> Self {
        let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), DEFAULT_PORT);
        Self { key, address, limits: Limits::DEFAULT }
    }

    /// Sets the main UDP port, [`DEFAULT_PORT`] unless told otherwise; 0 for one of the system's choice, which a peer can
    /// hardly know.
    pub fn bind(mut self, port: u16) -> Self {
        self.address.set_port(port);
        self
    }

    /// Sets the own IP to send from, any unless told otherwise.
    pub fn bind_ip(mut self, ip: IpAddr) -> Self {
        self.address.set_ip(ip);
        self
    }

    /// Sets what the searches of all peers together may ask of the NATs on the way.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Opens the main UDP port. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the UDP port cannot be had.
    #[expect(
        clippy::unused_async,
        reason = "what will have to be asked of the network first is waited for here"
    )]
    pub async fn build(self) -> Result<Endpoint, StartError> {
        Endpoint::new(self)
    }
}

/// The configuration of a [`Peer`](super::Peer).
///
/// ```
/// use std::time::Duration;
///
/// use pinhole::{PeerConfig, Role, endpoint::{Compress, PeerAddress}};
///
/// let config = PeerConfig::new(Role::Serve, PeerAddress::new("home.example", 6000))
///     .patience(Duration::from_secs(600))
///     .compress(Compress::Off);
/// assert_eq!(config.address.to_string(), "home.example:6000");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerConfig {
    /// Which side this one is toward the peer.
    pub role: Role,
    /// Where the peer is.
    pub address: PeerAddress,
    /// The secret that this peer shares; `None` for the endpoint's.
    pub key: Option<Key>,
    /// The last success with this peer, if one is known.
    pub last_success: Option<LastSuccess>,
    /// How long a tunnel waits for a path before its connections are reset.
    pub patience: Duration,
    /// What the tunnel is for.
    pub purpose: Purpose,
    /// Whether forwarded connections may be compressed.
    pub compress: Compress,
}

impl PeerConfig {
    /// Makes the usual configuration. `address` is a name or an address, at the [`DEFAULT_PORT`]; or a [`PeerAddress`].
    #[must_use]
    pub fn new(role: Role, address: impl Into<PeerAddress>) -> Self {
        Self {
            role,
            address: address.into(),
            key: None,
            last_success: None,
            patience: DEFAULT_PATIENCE,
            purpose: Purpose::Forward,
            compress: Compress::Auto,
        }
    }

    /// Sets the secret that this peer shares, if it is not the endpoint's.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the last success with this peer, which the search tries first.
    #[must_use]
    pub fn last_success(mut self, last_success: Option<LastSuccess>) -> Self {
        self.last_success = last_success;
        self
    }

    /// Sets how long a tunnel waits for a path, [`DEFAULT_PATIENCE`] unless told otherwise.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets what the tunnel is for.
    #[must_use]
    pub fn purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Sets whether forwarded connections may be compressed.
    #[must_use]
    pub fn compress(mut self, compress: Compress) -> Self {
        self.compress = compress;
        self
    }
}

/// Whether forwarded connections may be compressed. What one side forbids neither does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compress {
    /// Where it pays: the bytes compress, and the path is the limit and not the processor.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// The purpose of a tunnel. Endpoints of different purposes never answer each other, though they have one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Carries streams.
    Forward,
    /// Lets two checks talk.
    Check,
}

impl Purpose {
    /// Derives the key of the purpose.
    pub(super) fn key(self, shared: &Key) -> Key {
        match self {
            Self::Forward => shared.clone(),
            Self::Check => shared.for_check(),
        }
    }

    pub(super) fn sibling(self, shared: &Key) -> puncher::Sibling {
        let (other, checks) = match self {
            Self::Forward => (Self::Check, true),
            Self::Check => (Self::Forward, false),
        };
        puncher::Sibling { seal: ProbeSeal::new(&other.key(shared)), checks }
    }
}

/// The reason why an endpoint cannot start, or a peer of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The UDP port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The peer cannot be used as named.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The TLS library refused its configuration.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system gives no randomness.
    #[error("the system gives no random numbers")]
    Entropy,
    /// The QUIC library could not start.
    #[error("QUIC cannot be started")]
    Quic(#[source] std::io::Error),
    /// The endpoint has [`MAX_PEERS`](crate::mux::MAX_PEERS) peers.
    #[error("the endpoint has {} peers, and takes no more", crate::mux::MAX_PEERS)]
    TooManyPeers,
    /// Another peer of the endpoint has the key: it is the key that tells them apart.
    #[error("another peer of this endpoint has this key: give each peer a key of its own")]
    KeyTaken,
    /// The endpoint was closed.
    #[error("the endpoint was closed")]
    Closed,
}

impl From<NoPlace> for StartError {
    fn from(why: NoPlace) -> Self {
        match why {
            NoPlace::TooMany => Self::TooManyPeers,
            NoPlace::KeyTaken => Self::KeyTaken,
        }
    }
}
