//! Our end: a UDP port, and peers to each of which a tunnel is kept up.
//!
//! 1. [`Endpoint::builder`] opens the main port; QUIC runs on it, once for all peers.
//! 2. [`Endpoint::peer`] adds a [`Peer`]: a driver of its own searches, connects and keeps the tunnel (`driver`). Peers may
//!    have different keys; each has its own budget, events and status.
//! 3. [`Peer::close`] says goodbye to one, [`Endpoint::close`] to all.

mod address;
mod config;
mod connections;
mod control;
mod driver;
mod event;
mod inner;
mod life;
mod peer;
pub mod status;
mod stream;

use std::sync::Arc;

use pinhole_proto::Key;

use self::inner::Inner;
pub(crate) use self::{
    address::source_toward,
    driver::{Command, HealthAsker},
    event::{Events, Lost},
};
pub use self::{
    address::{PeerAddress, PeerError},
    config::{Builder, Compress, DEFAULT_PATIENCE, DEFAULT_PORT, PeerConfig, Purpose, StartError},
    event::Event,
    life::TaskEnd,
    peer::Peer,
    stream::{EventStream, Missed},
};
use crate::mux::Mux;

/// Our end of all tunnels: a UDP port, and QUIC on it.
///
/// It lives as long as this and its peers' handles do. [`Self::close`] says goodbye to all peers.
///
/// ```no_run
/// use pinhole::{Endpoint, Key, PeerConfig, Phrase, Role, endpoint::PeerAddress, forward};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let key = Key::stretch(&std::env::var("PINHOLE_KEY")?.parse::<Phrase>()?);
/// let endpoint = Endpoint::builder(key).bind(5555).build().await?;
/// let home = endpoint.peer(PeerConfig::new(Role::Open, "home.example")).await?;
/// let office = PeerAddress::new("203.0.113.9", 6000);
/// let office = endpoint.peer(PeerConfig::new(Role::Open, office)).await?;
/// let _ssh_home = forward::listen(&home, &"2222:22".parse()?)?;
/// let _ssh_to_the_office = forward::listen(&office, &"2223:22".parse()?)?;
/// tokio::signal::ctrl_c().await?;
/// endpoint.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

impl Endpoint {
    /// Begins to make one. `key` is the secret that its peers share, but for those that have one of their own.
    pub fn builder(key: Key) -> Builder {
        Builder::new(key)
    }

    fn new(builder: Builder) -> Result<Self, StartError> {
        Ok(Self { inner: Arc::new(Inner::new(builder)?) })
    }

    /// Adds a peer: looks it up, and starts to search for it. Must be called within a tokio runtime.
    ///
    /// Each peer of an endpoint has a key of its own: the key tells them apart, and never an address, which can be forged.
    ///
    /// # Errors
    ///
    /// When the peer cannot be used as named, another peer has its key, there are too many, or the endpoint was closed.
    pub async fn peer(&self, config: PeerConfig) -> Result<Peer, StartError> {
        Peer::start(&self.inner, config).await
    }

    /// Returns the owner of the sockets.
    #[must_use]
    pub fn mux(&self) -> &Mux {
        &self.inner.mux
    }

    /// Ends all streams, says goodbye to all peers, and waits until that is under way: a second at the very most. The
    /// UDP port is free soon after, when the peers' handles are gone as well.
    pub async fn close(self) {
        self.inner.close().await;
    }
}
