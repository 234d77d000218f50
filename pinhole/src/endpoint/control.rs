//! What the two sides tell each other when a tunnel stands: the serve side its services.

use std::sync::Arc;

use pinhole_proto::{
    Role,
    control::{Hello, Services},
};
use tokio::{sync::watch, task::JoinSet};

use super::{Event, Events, PeerConfig, Purpose};
use crate::Tunnel;

/// What is offered by this side, none as long as nothing is.
pub(super) type Offered = Option<Arc<Services>>;

/// Exchanges a Hello over each tunnel.
#[derive(Debug)]
pub(super) struct Control {
    /// Whether this side's Hello waits until services are offered.
    waits: bool,
    /// Whether the peer's services are of interest.
    is_open_side: bool,
    own: watch::Receiver<Offered>,
    peers: watch::Sender<Offered>,
    events: Events,
    task: JoinSet<()>,
}

impl Control {
    /// `own` is what this side offers; what the peer offers goes to `peers`.
    pub(super) fn new(
        config: &PeerConfig,
        own: watch::Receiver<Offered>,
        peers: watch::Sender<Offered>,
        events: Events,
    ) -> Self {
        let forwards = config.purpose == Purpose::Forward;
        Self {
            waits: forwards && config.role == Role::Serve,
            is_open_side: forwards && config.role == Role::Open,
            own,
            peers,
            events,
            task: JoinSet::new(),
        }
    }

    /// Begins with a tunnel that stands. The end of the former one is told before.
    pub(super) fn start(&mut self, tunnel: Tunnel) {
        let (waits, mut own) = (self.waits, self.own.clone());
        let own = async move {
            if !waits {
                return Hello::new(Services::default());
            }
            let offered = own.wait_for(Option::is_some).await.ok().and_then(|offered| offered.clone());
            match offered {
                Some(services) => Hello::new((*services).clone()),
                None => std::future::pending().await,
            }
        };
        let (is_open_side, peers, events) = (self.is_open_side, self.peers.clone(), self.events.clone());
        let heard = move |hello: Hello| {
            tracing::debug!(version = hello.version, features = hello.features, "the peer says Hello");
            if is_open_side {
                let services = Arc::new(hello.services);
                events.tell(Event::PeerServices(services.clone()));
                peers.send_replace(Some(services));
            }
        };
        self.task.spawn(tunnel.exchange_hello(own, heard));
    }

    /// The tunnel is gone, and what the peer offered with it.
    pub(super) fn stop(&mut self) {
        self.task = JoinSet::new();
        self.peers.send_replace(None);
    }
}
