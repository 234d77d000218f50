//! Our end: the key, the sockets, and a tunnel to the peer that is kept up for as long as the endpoint lives.

mod connections;
mod control;
mod driver;
mod event;
mod life;
mod network;
mod peer;
mod ports;
pub mod status;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pinhole_proto::{
    Key, Role, Session,
    control::Services,
    key::Instances,
    probe::ProbeSeal,
    puncher::{self, Findings, Limits, Memory},
    session,
};
use pinhole_quic::{Credentials, Goodbye, Shared, Way};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
};

use self::{
    connections::Connections,
    control::{Control, Offered},
    driver::{Driver, Owner},
    life::Life,
    status::{Ledger, Status},
};
pub(crate) use self::{
    driver::{Command, HealthAsker},
    event::Events,
    peer::source_toward,
};
pub use self::{
    event::Event,
    life::TaskEnd,
    peer::{Peer, PeerError},
};
use crate::{
    bind::BindError,
    clock,
    hub::{Filter, GatheringRuntime, Hub, QuicSocket},
    tunnel::Tunnel,
};

/// UDP port of both sides unless told otherwise.
pub const DEFAULT_PORT: u16 = 5555;

/// How long a tunnel waits for a path unless told otherwise.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(3600);

/// Requests that may wait for the driver.
const COMMANDS: usize = 64;

/// Time that a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What an [`Endpoint`] is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which side this is.
    pub role: Role,
    /// The secret both sides share.
    pub key: Key,
    /// The other side.
    pub peer: Peer,
    /// Own IP to send from; unspecified for any.
    pub bind: IpAddr,
    /// Own main UDP port.
    pub port: u16,
    /// What the search may ask of the NATs on the way.
    pub limits: Limits,
    /// What is remembered of the last success with this peer.
    pub memory: Option<Memory>,
    /// How long a tunnel waits for a path before its connections are reset.
    pub patience: Duration,
    /// What the tunnel is for.
    pub purpose: Purpose,
    /// Whether forwarded connections may be compressed.
    pub compress: Compress,
}

/// Whether forwarded connections may be compressed. What one side forbids neither does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compress {
    /// Where it pays: the bytes compress, and the path is the limit and not the processor.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// What a tunnel is for. Endpoints of different purposes never answer each other, though they have one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Carries TCP connections.
    Forward,
    /// Lets two checks talk.
    Check,
}

impl Purpose {
    /// Derives the key of the purpose.
    fn key(self, shared: &Key) -> Key {
        match self {
            Self::Forward => shared.clone(),
            Self::Check => shared.for_check(),
        }
    }

    fn sibling(self, shared: &Key) -> puncher::Sibling {
        let (other, checks) = match self {
            Self::Forward => (Self::Check, true),
            Self::Check => (Self::Forward, false),
        };
        puncher::Sibling { seal: ProbeSeal::new(&other.key(shared)), checks }
    }
}

impl Config {
    /// Makes the usual configuration: any own IP, and the own port the same as the peer's.
    #[must_use]
    pub fn new(role: Role, key: Key, peer: Peer) -> Self {
        let port = peer.port;
        Self {
            role,
            key,
            peer,
            bind: Ipv4Addr::UNSPECIFIED.into(),
            port,
            limits: Limits::DEFAULT,
            memory: None,
            patience: DEFAULT_PATIENCE,
            purpose: Purpose::Forward,
            compress: Compress::Auto,
        }
    }
}

/// Says why an endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The UDP port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The peer cannot be used as named.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The TLS library refused its configuration.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The system gives no randomness.
    #[error("the system gives no random numbers")]
    Entropy,
    /// The QUIC library could not start.
    #[error("QUIC cannot be started")]
    Quic(#[source] std::io::Error),
}

/// Our end of the tunnel: punches, connects, and does so again whenever the tunnel is lost.
#[derive(Debug)]
pub struct Endpoint {
    role: Role,
    compress: Compress,
    hub: Arc<Hub>,
    quic: noq::Endpoint,
    commands: mpsc::Sender<Command>,
    life: Life,
    tunnel: watch::Receiver<Option<Tunnel>>,
    offered: watch::Sender<Offered>,
    peer_services: watch::Receiver<Offered>,
    events: Events,
    status: Status,
    /// Takes samples for it.
    _sampler: JoinSet<()>,
    /// Has heard everything since the start; the first who asks gets it.
    first_listener: Mutex<Option<broadcast::Receiver<Event>>>,
}

impl Endpoint {
    /// Opens the socket, looks the peer up, and starts to search for it. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the UDP port cannot be had or the peer cannot be used as named.
    pub async fn start(mut config: Config) -> Result<Self, StartError> {
        let sibling = config.purpose.sibling(&config.key);
        config.key = config.purpose.key(&config.key);
        let addresses = config.peer.resolve().await?;
        let credentials = Credentials::new(&config.key, random()?)?;
        let shared = Shared::new(credentials);
        let address = SocketAddr::new(config.bind, config.port);
        let filter = Filter::new(&config.key);
        let seal = filter.seal();
        let (hub, arrivals) = Hub::bind(address, filter, shared.opened.clone())?;
        Peer::check_foreign(&addresses, hub.local_address())?;
        let quic = quic_endpoint(&shared, &hub)?;
        let seed = random()?;
        let puncher = puncher::Config {
            role: config.role,
            seal,
            schedule: puncher::Schedule::new(&config.key),
            seed,
            port: hub.local_address().port(),
            limits: config.limits,
            memory: config.memory,
            sibling: Some(sibling),
        };
        let (is_named, patience) = (config.peer.is_name(), config.patience);
        let session = session::Config { puncher, addresses: addresses.clone(), is_named, patience };
        let session = Session::new(session, clock::now());
        let (commands, from_owner) = mpsc::channel(COMMANDS);
        let (published, tunnel) = watch::channel(None);
        let ledger = Arc::new(Ledger::new(config.role, addresses));
        let events = Events::new(ledger.clone());
        let (offered, own_services) = watch::channel(None);
        let (heard, peer_services) = watch::channel(None);
        let control = Control::new(&config, own_services, heard, events.clone());
        let owner = Owner { commands: from_owner, published, control, events: events.clone() };
        let status = Status::new(ledger.clone(), config.peer.clone(), &hub, HealthAsker::new(&commands));
        let first_listener = Mutex::new(Some(events.subscribe()));
        let (role, compress) = (config.role, config.compress);
        let connections = Connections::new(quic.clone(), shared, hub.clone());
        let driver = Driver::new(session, (role, config.peer), (hub.clone(), arrivals), connections, owner);
        let life = Life::of([("driver", tokio::spawn(driver.run()))]);
        let mut sampler = JoinSet::new();
        sampler.spawn(async move { ledger.sample().await });
        Ok(Self {
            role,
            compress,
            hub,
            quic,
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

    /// Waits until a tunnel stands. Returns none once the endpoint is closed.
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

    /// Returns the services that the peer offers, once it has told: a round trip after the tunnel stands. None on the
    /// serve side.
    #[must_use]
    pub fn peer_services(&self) -> Option<Arc<Services>> {
        self.peer_services.borrow().clone()
    }

    /// Returns what is told: since the start to the first who asks, from now on to all others.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        let first = self.first_listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| self.events.subscribe())
    }

    /// Returns what tells how it goes, now and for as long as the endpoint lives.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Returns what the search has found out about the way to the peer; none while a pair is in use.
    pub async fn findings(&self) -> Option<Findings> {
        let (answer, found) = oneshot::channel();
        self.commands.send(Command::Findings(answer)).await.ok()?;
        found.await.ok().flatten()
    }

    /// Looks the peer's name up at once, and returns the addresses that are known then: the former ones if the name
    /// does not resolve now. None once the endpoint has ended.
    pub async fn look_up(&self) -> Option<Vec<SocketAddr>> {
        let (answer, found) = oneshot::channel();
        self.commands.send(Command::LookUp(answer)).await.ok()?;
        found.await.ok()
    }

    /// Waits until the endpoint's task has answered: proof that it lives and gets its turn. Never returns when it hangs,
    /// and `false` when it has ended.
    pub async fn answers(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Findings(answer)).await.is_ok() && answered.await.is_ok()
    }

    /// Waits until the endpoint's task has ended, which it does not by itself: the endpoint is of no use any more, and its
    /// owner should start another, or end.
    pub async fn ended(&self) -> TaskEnd {
        self.life.ended().await
    }

    /// Returns which side this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the owner of the sockets.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Ends all streams, says goodbye to the peer, and waits until that is under way: a second at the very most. The
    /// UDP port is free soon after.
    pub async fn close(self) {
        let (done, left) = oneshot::channel();
        let goodbye = async {
            // The puncher first: as long as it answers, the peer would connect to us again.
            if self.commands.send(Command::Leave(done)).await.is_ok() {
                let _driver_is_gone = left.await;
            }
            self.quic.close(Goodbye::Leaving.code(), b"");
            self.quic.wait_all_draining().await;
        };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            tracing::debug!("the goodbye took too long");
        }
    }

    pub(crate) fn compress(&self) -> Compress {
        self.compress
    }

    pub(crate) fn shared_hub(&self) -> Arc<Hub> {
        self.hub.clone()
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

/// Draws bytes from the system.
fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut drawn = [0; N];
    getrandom::fill(&mut drawn).map_err(|_| StartError::Entropy)?;
    Ok(drawn)
}

/// Makes QUIC's endpoint. It is a server for nobody yet: the serve side's driver lets it answer with each path.
/// The open side's is one as well, and ignores everybody: the library would answer with a stateless reset.
fn quic_endpoint(shared: &Shared, hub: &Arc<Hub>) -> Result<noq::Endpoint, StartError> {
    let answer = Some(shared.server(Instances::default(), Way::UNKNOWN));
    let socket = Box::new(QuicSocket::new(hub.clone()));
    let config = pinhole_quic::endpoint(&shared.credentials);
    noq::Endpoint::new_with_abstract_socket(config, answer, socket, Arc::new(GatheringRuntime))
        .map_err(StartError::Quic)
}
