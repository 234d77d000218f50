//! The side that reaches services, mostly the open side: local TCP ports.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use pinhole_proto::{
    control::{Reached, Services},
    stream::Request,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

use super::{
    OpenSpec,
    answering::{Answering, Useless},
    conn::Conn,
    conn_to_stream::SendFraming,
    splice,
};
use crate::{
    Event, Peer, Tunnel,
    bind::{BindError, Protocol},
    endpoint::{Compress, Events, TaskEnd},
    status::Meter,
};

/// Most local connections that wait for the tunnel at a time, for each listener.
pub const HELD_CONNECTIONS: usize = 128;

/// Time that a local connection waits for the tunnel before it is refused.
pub const HELD_FOR: Duration = Duration::from_secs(60);

/// Connections that the system may complete before we accept them; it caps this at `net.core.somaxconn`. With the
/// usual 128, some of a thousand clients at once are reset by SYN cookies that went wrong.
const BACKLOG: u32 = 4096;

/// Pause after a failed accept: there are no descriptors left, most likely, and connections must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A local port that is open. Dropping it closes the port and all its connections.
#[derive(Debug)]
#[must_use = "dropping it closes the port at once"]
pub struct Listening {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Listening {
    /// Returns the address that local clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the port takes no connections any more, which comes of a fault of ours alone.
    pub async fn ended(&mut self) -> TaskEnd {
        match self.tasks.join_next().await {
            Some(ended) => TaskEnd::new("local port", &ended),
            None => std::future::pending().await,
        }
    }
}

/// Opens a local port whose connections reach a service of the peer.
///
/// # Errors
///
/// When the port cannot be had.
pub fn listen(peer: &Peer, spec: &OpenSpec) -> Result<Listening, BindError> {
    let wanted = SocketAddr::new(spec.bind.unwrap_or(Ipv4Addr::LOCALHOST.into()), spec.port);
    let main = bind(wanted)?;
    let address = main.local_addr().map_err(|source| BindError::new(Protocol::Tcp, wanted, source))?;
    let second = if spec.bind.is_none() { bind_second(address.port())? } else { None };
    let events = peer.reporter();
    let meter = events.recorder().add_forward(&spec.service, address.to_string());
    let mut tasks = JoinSet::new();
    tasks.spawn(tell_reached(peer.watch_peer_services(), spec.clone(), address, events.clone()));
    for listener in [Some(main), second].into_iter().flatten() {
        let blocks = peer.compress() == Compress::Auto;
        let request = Request { service: spec.service.clone(), any: spec.any, blocks };
        let (tunnel, events, meter) = (peer.tunnel(), events.clone(), meter.clone());
        let local = Local { address, request, tunnel, answering: Answering::new(peer), events, meter };
        tasks.spawn(accept(listener, Arc::new(local)));
    }
    Ok(Listening { address, tasks })
}

/// Takes the port of the IPv6 loopback address, which "localhost" is to many programs: whoever has it instead of us gets
/// what is meant for the peer. A machine without IPv6 can do without.
fn bind_second(port: u16) -> Result<Option<TcpListener>, BindError> {
    match bind(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port)) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.is_no_such_address() => Ok(None),
        Err(error) => Err(error),
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listener = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listener().map_err(|source| BindError::new(Protocol::Tcp, address, source))
}

/// Says what the port reaches, each time that the peer has told what it offers. Never ends.
async fn tell_reached(
    mut services: watch::Receiver<Option<Arc<Services>>>,
    spec: OpenSpec,
    listener: SocketAddr,
    events: Events,
) {
    services.mark_changed();
    while services.changed().await.is_ok() {
        let Some(offered) = services.borrow_and_update().clone() else { continue };
        match offered.reached(&spec.service, spec.any) {
            Reached::Service(service) => {
                events.tell(Event::PortReaches { listener, service: service.to_owned() });
            }
            Reached::Nothing => {
                let service = spec.service.clone();
                events.tell(Event::ServiceMissing { listener, service, offered });
            }
            Reached::Unknown => {}
        }
    }
    std::future::pending().await
}

/// A local port: what all its connections share.
struct Local {
    address: SocketAddr,
    request: Request,
    tunnel: watch::Receiver<Option<Tunnel>>,
    answering: Answering,
    events: Events,
    meter: Arc<Meter>,
}

async fn accept(listener: TcpListener, local: Arc<Local>) {
    let held = Arc::new(Semaphore::new(HELD_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // An ended connection holds its memory until it is joined.
            Some(_ended) = connections.join_next() => continue,
        };
        match accepted {
            Ok((tcp, _)) => {
                failing = false;
                // In the order in which they come: it is the last one that is refused.
                let permit = held.clone().try_acquire_owned().ok();
                connections.spawn(local.clone().proxy(tcp, permit));
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    local
                        .events
                        .tell(Event::AcceptFailed { listener: local.address, why: error.to_string() });
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Local {
    async fn proxy(self: Arc<Self>, tcp: TcpStream, permit: Option<OwnedSemaphorePermit>) {
        tcp.prepare();
        let Some(tunnel) = self.wait_for_tunnel(permit).await else { return };
        // One that has only finished writing is still there to listen.
        if tcp.is_broken() {
            return;
        }
        let service = &self.request.service;
        let refused = |reply| self.events.tell(Event::ServiceFailed { service: service.clone(), reply });
        match self.answering.check(&tunnel, &self.request).await {
            Ok(()) => {}
            Err(Useless::Refused(reply)) => return refused(reply),
            Err(Useless::Ended) => return,
        }
        let Ok((mut send, recv)) = tunnel.open_bare().await else { return };
        let shares = tunnel.shares();
        if shares.send.write(&mut send, &mut [self.request.encode().into()]).await.is_err() {
            return;
        }
        let carried = self.meter.connection();
        let framing = SendFraming::of(&self.request);
        let _is_clean =
            splice::splice_behind_reply(tcp, send, recv, &shares, &carried, &framing, refused).await;
    }

    /// Waits for a tunnel that stands, with a permit for that; `None` without a permit, or when it takes too long.
    async fn wait_for_tunnel(&self, permit: Option<OwnedSemaphorePermit>) -> Option<Tunnel> {
        if let Some(tunnel) = self.tunnel.borrow().clone() {
            return Some(tunnel);
        }
        let Some(_permit) = permit else {
            self.events.tell(Event::ConnectionRefused { listener: self.address, too_many: true });
            return None;
        };
        let mut tunnel = self.tunnel.clone();
        match tokio::time::timeout(HELD_FOR, tunnel.wait_for(Option::is_some)).await {
            Ok(Ok(tunnel)) => tunnel.clone(),
            Ok(Err(_)) => None,
            Err(_) => {
                self.events.tell(Event::ConnectionRefused { listener: self.address, too_many: false });
                None
            }
        }
    }
}
