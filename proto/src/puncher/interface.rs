//! The interface of a puncher: what goes in and what comes out.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Limits, Schedule, SharedBudget, Trouble};
use crate::{
    Role,
    key::Instances,
    probe::{PROBE_BYTES, ProbeSeal},
};

/// Names one of the endpoint's UDP sockets. The main one is number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SocketId(pub u16);

impl SocketId {
    /// The socket on the main port, which lives as long as the endpoint.
    pub const MAIN: Self = Self(0);
}

/// One of our sockets and one address of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Ours.
    pub socket: SocketId,
    /// The peer's, as it looks from here.
    pub remote: SocketAddr,
}

/// The configuration of a [`Puncher`](super::Puncher).
#[derive(Debug)]
pub struct Config {
    /// The role of this side.
    pub role: Role,
    /// Made from the shared key.
    pub seal: ProbeSeal,
    /// Made from the shared key as well.
    pub schedule: Schedule,
    /// Entropy for tokens, nonces and the instance number. Never use one twice.
    pub seed: [u8; 32],
    /// The main socket's port.
    pub port: u16,
    /// What this side may ask of the NATs on the way.
    pub limits: Limits,
    /// The last success with this peer, if one is known.
    pub last_success: Option<LastSuccess>,
    /// How to know a peer that has the key and runs another verb.
    pub sibling: Option<Sibling>,
    /// What all peers of an endpoint may ask of the NATs together; `None` for a lone one.
    pub shared: Option<SharedBudget>,
}

impl Config {
    /// Makes one with the usual bounds, and nothing known of the peer.
    #[must_use]
    pub fn new(role: Role, seal: ProbeSeal, schedule: Schedule, seed: [u8; 32], port: u16) -> Self {
        let (limits, last_success, sibling, shared) = (Limits::DEFAULT, None, None, None);
        Self { role, seal, schedule, seed, port, limits, last_success, sibling, shared }
    }
}

/// The seal of the other verbs: those that bring up a tunnel and those that check never answer each other.
#[derive(Debug)]
pub struct Sibling {
    /// What the others seal with.
    pub seal: ProbeSeal,
    /// Whether the others check.
    pub checks: bool,
}

/// The last success with a peer: tried first the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSuccess {
    /// How the pair was found.
    pub method: Method,
    /// The peer's outside port of that pair.
    pub peer_port: u16,
}

/// The method by which a pair was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "method"))]
pub enum Method {
    /// From main port to main port, as the user named them, or in answer to such a probe.
    Base,
    /// By a slot's fresh pair of ports, which both sides draw from the key and the time.
    Slot,
    /// By the ports that both sides have kept in reserve since their last path.
    #[serde(rename = "spare")]
    #[strum(serialize = "spare")]
    Reserve,
    /// By one of many sockets of ours toward the peer's main port.
    Fan,
    /// By probing many ports of the peer.
    Sweep,
}

impl Method {
    /// All of them, in the order in which a search begins with them.
    pub const ALL: [Self; 5] = [Self::Base, Self::Slot, Self::Reserve, Self::Fan, Self::Sweep];

    /// Names it for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Finds it by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// An ICMP error about a datagram of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp<'a> {
    /// The pair of the datagram that it is about.
    pub pair: Pair,
    /// What it says.
    pub kind: IcmpKind,
    /// The router or host that says so.
    pub offender: IpAddr,
    /// As much of the datagram's payload as it quotes; may be nothing (RFC 792 asks for 8 bytes of UDP's header).
    pub quoted: &'a [u8],
}

/// The kind of an ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpKind {
    /// The TTL ran out on the way.
    TtlExceeded,
    /// Nobody listens on that port (RFC 792, type 3 code 3): the packet has reached a machine that answers for itself.
    PortUnreachable,
    /// A filter refuses it (RFC 1812 §5.2.7.1, type 3 codes 9, 10, 13).
    Prohibited,
    /// There is no way to that network or host (type 3, other codes).
    Unreachable,
}

/// An output of a [`Puncher`](super::Puncher): what it wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram.
    Transmit(Transmit),
    /// Open a UDP socket of that number; on failure say so by
    /// [`Puncher::handle_open_failed`](super::Puncher::handle_open_failed).
    Open {
        /// The number, unused so far.
        socket: SocketId,
        /// The local port it must have.
        port: u16,
    },
    /// Close that socket: nothing will be sent from it any more.
    Close(SocketId),
    /// Something has happened.
    Event(Event),
    /// Nothing more to do until then, unless something arrives.
    Timeout(Option<Instant>),
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// From where to where.
    pub pair: Pair,
    /// How many hops it may take, if not the system's usual number: it is to open our NAT, but not to reach theirs.
    pub ttl: Option<u8>,
    /// The sealed probe.
    pub payload: [u8; PROBE_BYTES],
}

/// Counts of what the tunnel has sent and received over the pair in use, since ever: signs of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Datagrams, or batches of them, that have left.
    pub sent: u64,
    /// Datagrams, or batches of them, that have come.
    pub received: u64,
}

/// The reason why a path is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It has answered nothing for so long.
    Silent(Duration),
    /// This machine sends from another address of its own.
    Rerouted,
    /// It lives, but the network ends paths of its age: it is renewed before.
    Aged,
    /// Our NAT has given us another address, which the peer's tunnel does not know yet.
    Moved,
    /// It carries probes, and nothing of the tunnel.
    Blocked,
}

/// An event in the life of a puncher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The first probe or ack of the peer in this search: one direction works.
    Heard {
        /// Where it came from.
        from: SocketAddr,
    },
    /// A pair is proven and nominated: the tunnel's path from now on.
    Connected(Connected),
    /// The path in use is given up; we search. The tunnel may live on until there is another one.
    PathLost(Loss),
    /// The peer has given the path up and searches; so do we now.
    PeerSearching,
    /// The peer's program ran on this very machine, and nobody has its port any more: it has ended.
    PeerGone,
    /// Another run of the peer's program has taken the place of the former; we search.
    PeerRestarted,
    /// The peer said that it leaves; we search, calmly.
    PeerLeft,
    /// The peer says that another run on our side has taken this one's place; we wait, calmly.
    Displaced,
    /// The search has seen something that the user should know.
    Trouble(Trouble),
}

/// A pair that carries packets both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// The pair.
    pub pair: Pair,
    /// How it was found.
    pub method: Method,
    /// Its round trip's time, as the proof measured it.
    pub rtt: Duration,
    /// Time since our start, or since the peer's first word where we had waited for that.
    pub took: Duration,
    /// Our own address as the peer sees it: what our NAT made of it.
    pub observed: Option<SocketAddr>,
    /// The runs of the program on both sides.
    pub instances: Instances,
}

/// Counts what arrived and was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Did not open with our key.
    pub unopened: u64,
    /// Opened, but seen before, too old, or of a run that has ended.
    pub replayed: u64,
    /// Opened, but of no use: an ack to no probe, an unknown kind, our own role.
    pub useless: u64,
    /// Datagrams of ours that were not sent: a bound forbade it, or nobody polled.
    pub unsent: u64,
}
