//! The events that an endpoint reports: states, troubles, and the fate of connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use pinhole_proto::{
    control::Services,
    puncher::{Connected, Loss, Trouble},
    session,
    stream::Reply,
};
use tokio::sync::broadcast;

use super::{EventStream, PeerAddress};
use crate::{
    status::Recorder,
    tunnel::{HandshakeError, TunnelEnd},
};

/// Events kept for a reader that is slow; it misses the oldest beyond that.
pub(super) const KEPT: usize = 256;

/// Something that a user may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The search for the peer has begun, or begun again.
    Searching {
        /// The peer as named.
        peer: String,
        /// The addresses that are tried.
        addresses: Vec<SocketAddr>,
    },
    /// The first word of the peer arrived: one direction works.
    Heard {
        /// Where it came from.
        from: SocketAddr,
    },
    /// A pair of addresses is proven both ways.
    Punched(Connected),
    /// The tunnel stands.
    TunnelUp {
        /// The peer's address.
        remote: SocketAddr,
    },
    /// The peer has told what it offers. On the open side, soon after [`Event::TunnelUp`].
    PeerServices(Arc<Services>),
    /// A local port reaches that service of the peer.
    PortReaches {
        /// The local port.
        listener: SocketAddr,
        /// The service's name.
        service: String,
    },
    /// A local port reaches nothing: the peer does not offer what it is for.
    ServiceMissing {
        /// The local port.
        listener: SocketAddr,
        /// The service that it is for.
        service: String,
        /// What the peer offers.
        offered: Arc<Services>,
    },
    /// The QUIC handshake over the proven pair failed; the search begins again.
    HandshakeFailed {
        /// Why.
        why: HandshakeError,
    },
    /// The tunnel has no path at the moment, and waits while another one is punched.
    PathLost {
        /// Why; `None` if the peer has noticed first.
        loss: Option<Loss>,
    },
    /// The tunnel has a path again.
    PathBack {
        /// The path.
        connected: Connected,
        /// Time without one, as far as we knew.
        after: Duration,
    },
    /// The tunnel has moved to a better path.
    PathChanged(Connected),
    /// Another run on our side, with the same key, has taken this one's place; this one waits.
    Displaced,
    /// The peer's program ran on this machine and has ended without a goodbye: its port is closed.
    PeerGone,
    /// The tunnel ended without a goodbye.
    TunnelLost(TunnelEnd),
    /// The peer said goodbye.
    PeerLeft,
    /// A new run of the peer's program has taken over.
    PeerRestarted,
    /// Something is wrong that has a name.
    Trouble(Trouble),
    /// The peer's name does not resolve any more, or again.
    Resolved {
        /// The name.
        host: String,
        /// Whether it resolves now.
        ok: bool,
    },
    /// A local connection waited in vain for the tunnel and was refused.
    ConnectionRefused {
        /// The local listener.
        listener: SocketAddr,
        /// Whether too many waited already (or, if not, it waited too long).
        too_many: bool,
    },
    /// The serve side could not connect to the service that a connection asked for.
    ServiceFailed {
        /// The service.
        service: String,
        /// What went wrong.
        reply: Reply,
    },
    /// The service answers again after it had failed.
    ServiceBack {
        /// The service.
        service: String,
    },
    /// The serve side is out of means (no descriptors left, for example) and could not even ask the service.
    ConnectFailed {
        /// The service.
        service: String,
        /// Why.
        why: String,
    },
    /// A listener cannot accept at the moment (no descriptors left, for example) and tries again.
    AcceptFailed {
        /// The local listener.
        listener: SocketAddr,
        /// Why.
        why: String,
    },
}

impl Event {
    /// Makes it of what the session with that peer reports.
    pub(super) fn new(event: session::Event, peer: &PeerAddress) -> Self {
        match event {
            session::Event::Searching { addresses } => Self::Searching { peer: peer.to_string(), addresses },
            session::Event::Heard { from } => Self::Heard { from },
            session::Event::Punched(connected) => Self::Punched(connected),
            session::Event::TunnelUp { over, .. } => Self::TunnelUp { remote: over.pair.remote },
            session::Event::HandshakeFailed { why } => Self::HandshakeFailed { why },
            session::Event::PathLost { loss } => Self::PathLost { loss },
            session::Event::PathBack { connected, after } => Self::PathBack { connected, after },
            session::Event::PathChanged(connected) => Self::PathChanged(connected),
            session::Event::Displaced => Self::Displaced,
            session::Event::PeerGone => Self::PeerGone,
            session::Event::TunnelLost(end) => Self::TunnelLost(end),
            session::Event::PeerLeft => Self::PeerLeft,
            session::Event::PeerRestarted => Self::PeerRestarted,
            session::Event::Trouble(trouble) => Self::Trouble(trouble),
            session::Event::Resolved { ok } => Self::Resolved { host: peer.host.clone(), ok },
        }
    }

    /// Names it for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Searching { .. } => "searching",
            Self::Heard { .. } => "heard",
            Self::Punched(_) => "punched",
            Self::TunnelUp { .. } => "tunnel_up",
            Self::PeerServices(_) => "peer_services",
            Self::PortReaches { .. } => "port_reaches",
            Self::ServiceMissing { .. } => "service_missing",
            Self::HandshakeFailed { .. } => "handshake_failed",
            Self::PathLost { .. } => "path_lost",
            Self::PathBack { .. } => "path_back",
            Self::PathChanged(_) => "path_changed",
            Self::Displaced => "displaced",
            Self::PeerGone => "peer_gone",
            Self::TunnelLost(_) => "tunnel_lost",
            Self::PeerLeft => "peer_left",
            Self::PeerRestarted => "peer_restarted",
            Self::Trouble(_) => "trouble",
            Self::Resolved { .. } => "resolved",
            Self::ConnectionRefused { .. } => "connection_refused",
            Self::ServiceFailed { .. } => "service_failed",
            Self::ServiceBack { .. } => "service_back",
            Self::ConnectFailed { .. } => "connect_failed",
            Self::AcceptFailed { .. } => "accept_failed",
        }
    }

    /// Returns the path that it tells of.
    #[must_use]
    pub fn connected(&self) -> Option<&Connected> {
        if let Self::Punched(connected) | Self::PathBack { connected, .. } | Self::PathChanged(connected) =
            self
        {
            return Some(connected);
        }
        None
    }
}

/// The channel by which events are reported; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    listeners: broadcast::Sender<Event>,
    recorder: Arc<Recorder>,
}

impl Events {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        Self { listeners: broadcast::channel(KEPT).0, recorder }
    }

    pub(crate) fn tell(&self, event: Event) {
        tracing::debug!(?event, "event");
        // Both at once: a subscriber has the event either in the state that it begins with or behind it.
        self.recorder.handle_event(&event.clone(), || {
            let _nobody_listens = self.listeners.send(event);
        });
    }

    /// Listens to what is told from now on, and not to what holds.
    pub(super) fn listen(&self) -> broadcast::Receiver<Event> {
        self.listeners.subscribe()
    }

    /// Begins with what holds now.
    pub(super) fn subscribe(&self) -> EventStream {
        let (standing, rest) = self.recorder.standing(|| self.listen());
        EventStream::new(standing, rest)
    }

    /// Returns what is noted of the endpoint.
    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }
}
