//! The control messages that the two sides exchange when a tunnel stands: their services. An open side mostly has none.

use std::sync::Arc;

use pinhole_proto::{
    Role,
    control::{ANSWERS_STREAMS, Hello, Services},
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
    /// Whether the tunnel is for forwards.
    forwards: bool,
    role: Role,
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
            forwards,
            role: config.role,
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
                let offered = own.borrow().clone();
                return match offered {
                    Some(services) => Hello::answering((*services).clone()),
                    None => Hello::new(Services::default()),
                };
            }
            let offered = own.wait_for(Option::is_some).await.ok().and_then(|offered| offered.clone());
            match offered {
                Some(services) => Hello::new((*services).clone()),
                None => std::future::pending().await,
            }
        };
        let (forwards, role) = (self.forwards, self.role);
        let (peers, events) = (self.peers.clone(), self.events.clone());
        let heard = move |hello: Hello| {
            tracing::debug!(version = hello.version, features = hello.features, "the peer says Hello");
            if !forwards {
                return;
            }
            let services = if role == Role::Open || hello.features & ANSWERS_STREAMS != 0 {
                let services = Arc::new(hello.services);
                events.tell(Event::PeerServices(services.clone()));
                services
            } else {
                Arc::default()
            };
            peers.send_replace(Some(services));
        };
        self.task.spawn(tunnel.exchange_hello(own, heard));
    }

    /// The tunnel is gone, and what the peer offered with it.
    pub(super) fn stop(&mut self) {
        self.task = JoinSet::new();
        self.peers.send_replace(None);
    }
}
