//! The handle of one peer: a tunnel to it that is kept up for as long as the handle lives.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use pinhole_proto::{
    Role, Session,
    control::Services,
    puncher::{self, SearchReport},
    session,
};
use pinhole_quic::{CloseReason, Credentials, Shared};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
};

use super::{
    Compress, EventStream, PeerAddress, PeerConfig, StartError, TaskEnd,
    connections::Connections,
    control::{Control, Offered},
    driver::{Command, Driver, HealthAsker, Owner},
    event::{Event, Events, KEPT},
    inner::{Inner, leave, random, within_close_time},
    life::Life,
    status::{Recorder, Status},
};
use crate::{
    clock,
    mux::{Mux, PeerMux},
    tunnel::{AskedStream, RecvStream, SendStream, StreamError, Tunnel},
};

/// Requests that may wait for the driver.
const COMMANDS: usize = 64;

/// First packets of handshakes that may wait for the driver.
const INCOMING: usize = 8;

/// One peer of an [`Endpoint`](super::Endpoint): punches, connects, and does so again whenever the tunnel is lost.
///
/// It keeps the endpoint alive. Dropping it ends the tunnel without a goodbye; [`Self::close`] says one.
///
/// ```no_run
/// use pinhole::{Endpoint, Key, PeerConfig, Role};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # async fn run(key: Key) -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint = Endpoint::builder(key).build().await?;
/// let peer = endpoint.peer(PeerConfig::new(Role::Open, "203.0.113.9")).await?;
/// let (mut to, mut from) = peer.open_stream("echo").await?;
/// to.write_all(b"hello").await?;
/// to.shutdown().await?;
/// let mut echoed = Vec::new();
/// from.read_to_end(&mut echoed).await?;
/// peer.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Peer {
    inner: Arc<Inner>,
    role: Role,
    address: PeerAddress,
    compress: Compress,
    mux: Arc<PeerMux>,
    commands: mpsc::Sender<Command>,
    life: Life,
    tunnel: watch::Receiver<Option<Tunnel>>,
    offered: watch::Sender<Offered>,
    peer_services: watch::Receiver<Offered>,
    events: Events,
    status: Status,
    /// Takes samples for it.
    _sampler: JoinSet<()>,
    /// Has heard everything since the start.
    first_listener: Mutex<Option<broadcast::Receiver<Event>>>,
}

impl Peer {
    /// Looks the peer up, and starts to search for it.
    pub(super) async fn start(inner: &Arc<Inner>, config: PeerConfig) -> Result<Self, StartError> {
        let shared_key = config.key.clone().unwrap_or_else(|| inner.key.clone());
        let (key, sibling) = (config.purpose.key(&shared_key), config.purpose.sibling(&shared_key));
        let addresses = config.address.resolve().await?;
        PeerAddress::check_foreign(&addresses, inner.mux.local_address())?;
        let credentials = Credentials::new(&key, random()?).map_err(|error| StartError::Tls(error.into()))?;
        let shared = Shared::new(credentials);
        let (mux, arrivals, seal) = inner.mux.join(&key, shared.opened.clone())?;
        let (commands, from_owner) = mpsc::channel(COMMANDS);
        let (handshakes, incoming) = mpsc::channel(INCOMING);
        inner.add(mux.id(), commands.downgrade(), handshakes)?;
        let puncher = puncher::Config {
            role: config.role,
            seal,
            schedule: puncher::Schedule::new(&key),
            seed: random()?,
            port: inner.mux.local_address().port(),
            limits: inner.limits,
            last_success: config.last_success,
            sibling: Some(sibling),
            shared: Some(inner.budget.clone()),
        };
        let (is_named, patience) = (config.address.is_name(), config.patience);
        let session = session::Config { puncher, addresses: addresses.clone(), is_named, patience };
        let session = Session::new(session, clock::now());
        let (published, tunnel) = watch::channel(None);
        let recorder = Arc::new(Recorder::new(config.role, addresses));
        let events = Events::new(recorder.clone());
        let (offered, own_services) = watch::channel(None);
        let (heard, peer_services) = watch::channel(None);
        let control = Control::new(&config, own_services, heard, events.clone());
        let owner = Owner { commands: from_owner, published, control, events: events.clone() };
        let PeerConfig { role, address, compress, .. } = config;
        let status = Status::new(recorder.clone(), address.clone(), &mux, HealthAsker::new(&commands));
        let first_listener = Mutex::new(Some(events.listen()));
        let connections = Connections::new(inner.quic.clone(), shared, mux.clone(), incoming);
        let driver =
            Driver::new(session, (role, address.clone()), (mux.clone(), arrivals), connections, owner);
        let life = Life::of([("driver", tokio::spawn(driver.run()))]);
        let mut sampler = JoinSet::new();
        sampler.spawn(async move { recorder.sample().await });
        let inner = inner.clone();
        Ok(Self {
            inner,
            role,
            address,
            compress,
            mux,
            commands,
            life,
            tunnel,
            offered,
            peer_services,
            events,
            status,
            _sampler: sampler,
            first_listener,
        })
    }

    /// Waits until a tunnel stands. Returns `None` once the endpoint is closed.
    pub async fn connected(&self) -> Option<Tunnel> {
        let mut tunnel = self.tunnel.clone();
        let standing = tunnel.wait_for(Option::is_some).await.ok()?;
        standing.clone()
    }

    /// Returns the tunnel that stands now, if one does.
    #[must_use]
    pub fn current(&self) -> Option<Tunnel> {
        self.tunnel.borrow().clone()
    }

    /// Opens a stream to a service of the peer, which is the serve side. Waits for a tunnel if there is none, while the peer
    /// allows no more streams, and for the peer's answer.
    ///
    /// # Errors
    ///
    /// When the name is none that a service can have, the peer refuses, the tunnel ends, or the endpoint is closed.
    pub async fn open_stream(&self, service: &str) -> Result<(SendStream, RecvStream), StreamError> {
        self.connected().await.ok_or(StreamError::Closed)?.open_stream(service).await
    }

    /// Waits for the next stream that the peer opens, and for the name that it asks for: a serve side that answers by itself.
    /// Streams come to [`forward::offer`](crate::forward::offer) or to this: use one of them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing. This, order and bounds are those of [`Tunnel::accept_stream`].
    ///
    /// # Errors
    ///
    /// When the endpoint is closed. The end of a tunnel is none: the next one's streams follow.
    pub async fn accept_stream(&self) -> Result<AskedStream, StreamError> {
        let mut tunnels = self.tunnel.clone();
        loop {
            let tunnel = tunnels.wait_for(Option::is_some).await.map_err(|_| StreamError::Closed)?.clone();
            if let Some(tunnel) = tunnel
                && let Ok(asked) = tunnel.accept_stream().await
            {
                return Ok(asked);
            }
            tunnels.changed().await.map_err(|_| StreamError::Closed)?;
        }
    }

    /// Returns the services that the peer offers, once it has told: a round trip after the tunnel stands. An open side mostly
    /// offers none.
    #[must_use]
    pub fn peer_services(&self) -> Option<Arc<Services>> {
        self.peer_services.borrow().clone()
    }

    /// Returns events: what holds now, and what happens from now on. The first who asks gets everything since the start,
    /// unless that is more than is kept.
    #[must_use]
    pub fn events(&self) -> EventStream {
        let first = self.first_listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first.filter(|first| first.len() <= KEPT) {
            Some(first) => EventStream::new(Vec::new(), first),
            None => self.events.subscribe(),
        }
    }

    /// Returns what tells how it goes, now and for as long as the peer handle lives.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Returns what the search has found out about the way to the peer; `None` while a pair is in use.
    pub async fn search_report(&self) -> Option<SearchReport> {
        let (answer, found) = oneshot::channel();
        self.commands.send(Command::SearchReport(answer)).await.ok()?;
        found.await.ok().flatten()
    }

    /// Looks the peer's name up at once, and returns the addresses that are known then: the former ones if the name
    /// does not resolve now. `None` once the endpoint has ended.
    pub async fn look_up(&self) -> Option<Vec<SocketAddr>> {
        let (answer, found) = oneshot::channel();
        self.commands.send(Command::LookUp(answer)).await.ok()?;
        found.await.ok()
    }

    /// Waits until the peer's task has answered: proof that it lives and gets its turn. Never returns when it hangs,
    /// and `false` when it has ended.
    pub async fn answers(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::SearchReport(answer)).await.is_ok() && answered.await.is_ok()
    }

    /// Waits until the peer's task has ended, which it does not by itself: the handle is of no use any more, and its
    /// owner should make another endpoint, or end.
    pub async fn ended(&self) -> TaskEnd {
        self.life.ended().await
    }

    /// Returns which side this one is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns where the peer is, as it was named.
    #[must_use]
    pub fn address(&self) -> &PeerAddress {
        &self.address
    }

    /// Returns the owner of the endpoint's sockets.
    #[must_use]
    pub fn mux(&self) -> &Mux {
        &self.inner.mux
    }

    /// Ends all streams to the peer, says goodbye, and waits until that is under way: a second at the very most. Other peers
    /// of the endpoint go on.
    pub async fn close(self) {
        let address = self.mux.id().address();
        within_close_time(async {
            // The puncher first: as long as it answers, the peer would connect to us again.
            leave(&self.commands).await;
            self.inner.quic.close_to(address, CloseReason::Leaving.code().into(), b"");
            self.inner.quic.wait_draining_to(address).await;
        })
        .await;
    }

    pub(crate) fn compress(&self) -> Compress {
        self.compress
    }

    pub(crate) fn shared_mux(&self) -> Arc<PeerMux> {
        self.mux.clone()
    }

    pub(crate) fn tunnel(&self) -> watch::Receiver<Option<Tunnel>> {
        self.tunnel.clone()
    }

    /// Where what this side offers is announced to the peer.
    pub(crate) fn offered(&self) -> watch::Sender<Option<Arc<Services>>> {
        self.offered.clone()
    }

    /// What the peer offers, now and later.
    pub(crate) fn watch_peer_services(&self) -> watch::Receiver<Option<Arc<Services>>> {
        self.peer_services.clone()
    }

    pub(crate) fn commands(&self) -> mpsc::WeakSender<Command> {
        self.commands.downgrade()
    }

    pub(crate) fn reporter(&self) -> Events {
        self.events.clone()
    }
}
