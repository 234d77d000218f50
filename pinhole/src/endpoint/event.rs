//! The events that an endpoint reports: states, troubles, and the fate of connections.

mod json;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use pinhole_proto::{
    control::Services,
    puncher::{Connected, Loss, Trouble},
    session,
    stream::Reply,
};
use serde::Serialize;
use tokio::sync::broadcast;

pub(crate) use self::json::Lost;
use super::{EventStream, PeerAddress};
use crate::{
    status::Recorder,
    tunnel::{HandshakeError, TunnelEnd},
};

/// Events kept for a reader that is slow; it misses the oldest beyond that.
pub(super) const KEPT: usize = 256;

/// Something that a user may want to know.
///
/// As JSON it is one object: the variant's name in `event`, and flat fields with names and types that do not change.
/// docs/reference/events.md is made from what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(tag = "event", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Event {
    /// The search for the peer has begun, or begun again.
    Searching {
        /// The peer as named, with its port.
        peer: String,
        /// The addresses that are tried.
        addresses: Vec<SocketAddr>,
    },
    /// The first word of the peer in this search: one direction works.
    Heard {
        /// Where it came from.
        from: SocketAddr,
    },
    /// A pair of addresses is proven both ways. The tunnel follows.
    #[serde(serialize_with = "json::punched")]
    #[cfg_attr(feature = "schema", schemars(with = "json::Punched"))]
    Punched(Connected),
    /// The tunnel stands.
    TunnelUp {
        /// The peer's address.
        remote: SocketAddr,
    },
    /// The serve side has told what it offers. Told by the open side, soon after [`tunnel_up`](Event::TunnelUp).
    #[serde(serialize_with = "json::offer")]
    #[cfg_attr(feature = "schema", schemars(with = "json::Offer"))]
    PeerServices(Arc<Services>),
    /// A local port reaches a service of the peer. Follows [`peer_services`](Event::PeerServices).
    PortReaches {
        /// The local port.
        listener: SocketAddr,
        /// The service's name.
        service: String,
    },
    /// A local port reaches nothing: the peer does not offer what it is for. Follows
    /// [`peer_services`](Event::PeerServices).
    ServiceMissing {
        /// The local port.
        listener: SocketAddr,
        /// The service that it is for.
        service: String,
        /// What the peer offers.
        #[serde(serialize_with = "json::names")]
        #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
        offered: Arc<Services>,
    },
    /// The pair carries packets, and the tunnel did not come up over it; the search begins again.
    HandshakeFailed {
        /// A sentence.
        #[serde(serialize_with = "json::sentence")]
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        why: HandshakeError,
    },
    /// The tunnel has no path at the moment, and waits while another one is searched; connections wait.
    PathLost {
        /// Why. `None` is the peer's loss: it has noticed first.
        #[serde(rename = "why", serialize_with = "json::lost")]
        #[cfg_attr(
            feature = "schema",
            schemars(with = "json::Lost", description = "Why the path is given up.")
        )]
        loss: Option<Loss>,
    },
    /// The tunnel has a path again; connections go on.
    #[serde(serialize_with = "json::back")]
    #[cfg_attr(feature = "schema", schemars(with = "json::Back"))]
    PathBack {
        /// The path.
        connected: Connected,
        /// Time without one, as far as we knew.
        after: Duration,
    },
    /// A nearer path has taken the place of the one in use, without a pause.
    #[serde(serialize_with = "json::path")]
    #[cfg_attr(feature = "schema", schemars(with = "json::Path"))]
    PathChanged(Connected),
    /// Another run on our side with this key has taken this one's place, and this one waits; connections were reset.
    Displaced,
    /// The peer's program ran on this machine and has ended without a goodbye (its port is closed); connections were
    /// reset.
    PeerGone,
    /// The tunnel has ended without a goodbye; connections were reset.
    #[serde(serialize_with = "json::ended")]
    #[cfg_attr(feature = "schema", schemars(with = "json::Ended"))]
    TunnelLost(TunnelEnd),
    /// The peer has said goodbye; connections were reset.
    PeerLeft,
    /// A new run of the peer's program has taken over; connections were reset.
    PeerRestarted,
    /// Something is wrong that has a name. Told once in a search; `no_path` once for each cause.
    #[serde(serialize_with = "json::wrong")]
    #[cfg_attr(feature = "schema", schemars(with = "json::Wrong"))]
    Trouble(Trouble),
    /// The peer's name does not resolve any more, or again.
    Resolved {
        /// The name.
        host: String,
        /// Whether it resolves now.
        ok: bool,
    },
    /// A local connection was refused for lack of a tunnel.
    ConnectionRefused {
        /// The local port.
        listener: SocketAddr,
        /// Whether too many waited already; otherwise it had waited too long.
        too_many: bool,
    },
    /// The service that a connection asked for could not be reached. The serve side tells the first failure only, until
    /// [`service_back`](Event::ServiceBack).
    ServiceFailed {
        /// The service.
        service: String,
        /// A sentence.
        #[serde(rename = "why", serialize_with = "json::sentence")]
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        reply: Reply,
    },
    /// The service answers again after it had failed. Told by the serve side.
    ServiceBack {
        /// The service.
        service: String,
    },
    /// The serve side is out of means, no descriptors left for example, and could not even ask the service.
    ConnectFailed {
        /// The service.
        service: String,
        /// The system's words.
        why: String,
    },
    /// A local port takes no connections at the moment, no descriptors left for example, and tries again.
    AcceptFailed {
        /// The local port.
        listener: SocketAddr,
        /// The system's words.
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
        self.into()
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
