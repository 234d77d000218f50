//! Whether the peer answers the streams of this side.

use std::{sync::Arc, time::Duration};

use pinhole_proto::{
    Role,
    control::{Reached, Services},
    stream::{Reply, Request},
};
use tokio::sync::watch;

use crate::{Peer, Tunnel};

/// Time for the peer to say what it offers: a round trip after the tunnel stands, mostly.
const HELLO: Duration = Duration::from_secs(30);

/// Whether the peer answers streams. A serve side answers each one, and refuses by itself; an open side answers where
/// it has said so.
#[derive(Debug, Clone)]
pub(super) struct Answering {
    own_role: Role,
    services: watch::Receiver<Option<Arc<Services>>>,
}

/// The reason why a request need not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Useless {
    /// The peer would refuse it.
    Refused(Reply),
    /// The tunnel has ended, or the peer does not say what it offers.
    Ended,
}

impl Answering {
    pub(super) fn new(peer: &Peer) -> Self {
        Self { own_role: peer.role(), services: peer.watch_peer_services() }
    }

    /// Waits until it is known that the peer answers a request over a tunnel.
    pub(super) async fn check(&self, tunnel: &Tunnel, request: &Request) -> Result<(), Useless> {
        if self.own_role == Role::Open {
            return Ok(());
        }
        let mut services = self.services.clone();
        let told = tokio::select! {
            told = services.wait_for(Option::is_some) => told.ok().and_then(|told| told.clone()),
            _end = tunnel.closed() => None,
            () = tokio::time::sleep(HELLO) => None,
        };
        match told.map(|told| told.reached(&request.service, request.any) == Reached::Nothing) {
            Some(false) => Ok(()),
            Some(true) => Err(Useless::Refused(Reply::NoSuchService)),
            None => Err(Useless::Ended),
        }
    }
}
