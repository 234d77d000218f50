//! The interface of a session: what goes in and what comes out.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::puncher::{self, Connected, Loss, SocketId, Traffic, Transmit, Trouble};

/// The configuration of a [`Session`](super::Session).
#[derive(Debug)]
pub struct Config {
    /// How it searches.
    pub puncher: puncher::Config,
    /// The addresses of the peer that are known at the start.
    pub addresses: Vec<SocketAddr>,
    /// Whether they come from a name, which may mean others later.
    pub is_named: bool,
    /// How long a tunnel waits for a path before it ends.
    pub patience: Duration,
}

/// Names one QUIC connection of a session: a handshake, and later the tunnel. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionHandle(pub(super) u64);

/// What QUIC knows of the tunnel at this moment; without a tunnel, the last known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vitals {
    /// Datagrams sent and opened, counted since the start.
    pub traffic: Traffic,
    /// Packets that the peer has acknowledged, counted since the start.
    pub acknowledged: u64,
    /// The tunnel's round trip, as QUIC estimates it.
    pub rtt: Option<Duration>,
}

/// An output of a [`Session`](super::Session): what it wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this probe.
    Transmit(Transmit),
    /// Open a UDP socket of that number; report a failure by
    /// [`Session::handle_open_failed`](super::Session::handle_open_failed).
    Open {
        /// The number, unused so far.
        socket: SocketId,
        /// The local port it must have.
        port: u16,
    },
    /// Close that socket: no probe will be sent from it any more.
    Close(SocketId),
    /// Report the own address by [`Session::set_local`](super::Session::set_local): the path is another one now.
    Locate,
    /// Open this pair to QUIC, whose datagrams take it from now on. On the serve side, first packets of those two runs
    /// are answered from now on, and no others: set that before the pair is open.
    Admit(Connected),
    /// Begin a handshake with the run of the peer's program that was met.
    Dial {
        /// Its name from now on.
        connection: ConnectionHandle,
        /// The path, and the two runs.
        over: Connected,
    },
    /// Set whether QUIC's datagrams leave one by one and without ECN marks: a whole handshake got lost where probes
    /// came through, as behind devices that lose batches (GSO) or marked packets.
    SetWithoutOffload(bool),
    /// Forget a handshake.
    Abandon(ConnectionHandle),
    /// Close the tunnel, and tell the peer that it is of no use any more.
    End {
        /// The tunnel.
        connection: ConnectionHandle,
        /// Why; `None` where the event before this has told.
        end: Option<TunnelEnd>,
    },
    /// Have the tunnel's controller begin anew: it knows nothing of the path that it has now.
    ResetController,
    /// Have the tunnel send again at once what is unanswered, and not when a timer ends that has backed off.
    Wake,
    /// Renew the tunnel's keys.
    Rekey,
    /// Look the peer's name up, and report by [`Session::handle_resolved`](super::Session::handle_resolved).
    LookUp,
    /// Report to the user.
    Event(Event),
    /// Nothing more to do until then, unless something arrives.
    Timeout(Option<Instant>),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The search has begun, or begun again.
    Searching {
        /// The addresses that are tried.
        addresses: Vec<SocketAddr>,
    },
    /// The first word of the peer arrived: one direction works.
    Heard {
        /// Where it came from.
        from: SocketAddr,
    },
    /// A pair is proven both ways; there is no tunnel yet.
    Punched(Connected),
    /// A handshake has succeeded: this is the tunnel from now on.
    TunnelUp {
        /// The tunnel.
        connection: ConnectionHandle,
        /// The path.
        over: Connected,
    },
    /// The handshake failed; the search begins again.
    HandshakeFailed {
        /// Why.
        why: HandshakeError,
    },
    /// The tunnel has no path at the moment, and waits while another one is searched.
    PathLost {
        /// Why; `None` if the peer has noticed first.
        loss: Option<Loss>,
    },
    /// The tunnel has a path again.
    PathBack {
        /// The path.
        connected: Connected,
        /// Time without one, as far as this side knew.
        after: Duration,
    },
    /// The tunnel has moved to a better path.
    PathChanged(Connected),
    /// Another run on this side, with the same key, has taken this one's place; this one waits.
    Displaced,
    /// The peer's program ran on this machine and has ended without a goodbye.
    PeerGone,
    /// The tunnel ended without a goodbye.
    TunnelLost(TunnelEnd),
    /// The peer said goodbye.
    PeerLeft,
    /// A new run of the peer's program has taken over.
    PeerRestarted,
    /// The search has seen something that the user should know.
    Trouble(Trouble),
    /// The peer's name does not resolve any more, or again.
    Resolved {
        /// Whether it resolves now.
        ok: bool,
    },
}

/// The reason why a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(strum::VariantArray))]
pub enum TunnelEnd {
    /// The peer said that it leaves.
    #[error("the peer left")]
    PeerLeft,
    /// One of the two sides replaced the tunnel by a new one.
    #[error("replaced by a new tunnel")]
    Replaced,
    /// This side closed it.
    #[error("closed")]
    Closed,
    /// There was no path for as long as the tunnel was to wait for one.
    #[error("no path to the peer for too long")]
    NoPath,
    /// The QUIC library reported an error, or the peer does not know the connection.
    #[error("the connection broke")]
    Broken,
}

/// The reason why a handshake over a proven pair failed: in words of this side, never in those of the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Nothing came back for as long as an answer may take.
    #[error("no answer in time")]
    Late,
    /// The other side, or this one, ended it.
    #[error("one side ended it")]
    Ended,
    /// The two sides could not agree: they are of different versions, or one of them is faulty.
    #[error("the two sides do not understand each other; is the same version of pinhole on both?")]
    Disagreed,
}
