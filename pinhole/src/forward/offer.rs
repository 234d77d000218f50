//! The side that has services, mostly the serve side: streams to services.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pinhole_proto::{
    control::Services,
    stream::{Reply, Request},
};
use tokio::{sync::watch, task::JoinSet};

use super::{
    ServeSpec,
    conn::Conn,
    conn_to_stream::SendFraming,
    splice::{Framing, splice},
    target::{Connected, Unresolved},
};
use crate::{
    Event, Peer, Tunnel,
    endpoint::{Compress, Events, TaskEnd},
    status::{Carried, Meter},
    tunnel::{Arrival, Shares, answer},
};

/// Time that a connection to the service may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Two services with one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two services are named {0:?}: give one of them another name with NAME=[HOST:]PORT")]
pub struct DuplicateService(pub String);

/// Services that are offered. Dropping it withdraws them; connections that stand go on.
#[derive(Debug)]
#[must_use = "dropping it withdraws the services at once"]
pub struct Offering {
    task: JoinSet<()>,
    _announced: Announced,
}

/// The announcement of the services to the peer; withdrawn when dropped.
#[derive(Debug)]
struct Announced(watch::Sender<Option<Arc<Services>>>);

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

impl Offering {
    /// Waits until services are offered no more: the endpoint has ended, or by a fault of ours.
    pub async fn ended(&mut self) -> TaskEnd {
        match self.task.join_next().await {
            Some(ended) => TaskEnd::new("offer", &ended),
            None => std::future::pending().await,
        }
    }
}

/// Offers services to the peer, who learns their names when the tunnel stands. An open side may offer some, too: those that
/// it has offered when a tunnel begins to stand can be reached over it.
///
/// # Errors
///
/// When two services have the same name.
pub fn offer(peer: &Peer, specs: &[ServeSpec]) -> Result<Offering, DuplicateService> {
    let mut services = BTreeMap::new();
    let events = peer.reporter();
    for spec in specs {
        let meter = events.recorder().add_forward(&spec.name, spec.target.describe());
        let service = Service { spec: spec.clone(), failed: AtomicBool::new(false), meter };
        if services.insert(spec.name.clone(), service).is_some() {
            return Err(DuplicateService(spec.name.clone()));
        }
    }
    let announced = Announced(peer.offered());
    announced.0.send_replace(Some(Arc::new(Services::new(specs.iter().map(|spec| spec.name.as_str())))));
    let table = Arc::new(ServiceTable { services, events, compress: peer.compress() });
    let mut task = JoinSet::new();
    task.spawn(serve(table, peer.tunnel()));
    Ok(Offering { task, _announced: announced })
}

struct Service {
    spec: ServeSpec,
    /// Whether the last connection to it failed; told when that changes.
    failed: AtomicBool,
    meter: Arc<Meter>,
}

/// The services that are offered, by name.
struct ServiceTable {
    services: BTreeMap<String, Service>,
    events: Events,
    compress: Compress,
}

async fn serve(table: Arc<ServiceTable>, mut tunnels: watch::Receiver<Option<Tunnel>>) {
    loop {
        let tunnel = match tunnels.wait_for(Option::is_some).await {
            Ok(tunnel) => tunnel.clone(),
            Err(_) => return,
        };
        if let Some(tunnel) = tunnel {
            table.serve_tunnel(&tunnel).await;
        }
        if tunnels.changed().await.is_err() {
            return;
        }
    }
}

impl ServiceTable {
    /// Takes streams until the tunnel ends. Each sees that end by itself, and outlives the offer.
    async fn serve_tunnel(self: &Arc<Self>, tunnel: &Tunnel) {
        tunnel.allow_streams();
        while let Ok(arrival) = tunnel.next_arrival().await {
            tokio::spawn(self.clone().serve_stream(arrival, tunnel.shares()));
        }
    }

    async fn serve_stream(self: Arc<Self>, arrival: Arrival, shares: Arc<Shares>) {
        let Arrival { request, mut send, recv } = arrival;
        let connected = self.connect(&request).await;
        let framing = self.framing(request.blocks);
        let usual = if framing.send.are_blocks() { Reply::ConnectedInBlocks } else { Reply::Connected };
        match connected {
            Ok((conn, carried)) => {
                if send.write_all(&[usual.code()]).await.is_ok() {
                    splice(conn, send, recv, &shares, &carried, framing).await;
                }
            }
            Err(why) => answer(&mut send, why).await,
        }
    }

    /// Blocks are answered by blocks, unless nothing shall be packed.
    fn framing(&self, received_in_blocks: bool) -> Framing {
        let send = if received_in_blocks && self.compress == Compress::Auto {
            SendFraming::in_blocks()
        } else {
            SendFraming::plain()
        };
        send.let_pack();
        Framing { send, received_in_blocks }
    }

    async fn connect(&self, request: &Request) -> Result<(Connected, Carried), Reply> {
        let service = self.find(request).ok_or(Reply::NoSuchService)?;
        let result = tokio::time::timeout(CONNECT_TIMEOUT, service.spec.target.connect()).await;
        let result = result.unwrap_or_else(|late| Err(late.into()));
        self.tell_change(service, result.as_ref().err());
        if let Err(error) = &result {
            tracing::debug!(%error, "service not reached");
        }
        match result {
            Ok(conn) => {
                conn.prepare();
                Ok((conn, service.meter.connection()))
            }
            Err(error) => Err(explain(&error)),
        }
    }

    fn find(&self, request: &Request) -> Option<&Service> {
        let only = || self.services.values().next().filter(|_| request.any && self.services.len() == 1);
        self.services.get(&request.service).or_else(only)
    }

    fn tell_change(&self, service: &Service, failure: Option<&io::Error>) {
        let failed_before = service.failed.swap(failure.is_some(), Ordering::Relaxed);
        let name = || service.spec.target.describe();
        match failure {
            Some(error) if !failed_before && is_exhausted(error) => {
                self.events.tell(Event::ConnectFailed { service: name(), why: error.to_string() });
            }
            Some(error) if !failed_before => {
                self.events.tell(Event::ServiceFailed { service: name(), reply: explain(error) });
            }
            None if failed_before => self.events.tell(Event::ServiceBack { service: name() }),
            Some(_) | None => {}
        }
    }
}

fn explain(error: &io::Error) -> Reply {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        Reply::Refused
    } else if is_exhausted(error) {
        Reply::Unavailable
    } else if error.get_ref().is_some_and(|inner| inner.is::<Unresolved>()) {
        Reply::Unresolved
    } else {
        Reply::Unreachable
    }
}

/// Whether we, and not the service, are at the end of our means: no descriptors, no memory, no ports.
fn is_exhausted(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    use rustix::io::Errno;
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL))
}
