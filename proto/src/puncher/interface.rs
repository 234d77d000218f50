//! What goes into a puncher and what comes out.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::Trouble;
use crate::{
    Role,
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

/// What a [`Puncher`](super::Puncher) is made from.
#[derive(Debug)]
pub struct Config {
    /// The role of this side.
    pub role: Role,
    /// Made from the shared key.
    pub seal: ProbeSeal,
    /// Entropy for tokens, nonces and the instance number. Never use one twice.
    pub seed: [u8; 32],
}

/// What a [`Puncher`](super::Puncher) wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram.
    Transmit(Transmit),
    /// Take note.
    Event(Event),
    /// Nothing more to do until then, unless something arrives.
    Timeout(Option<Instant>),
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// From where to where.
    pub pair: Pair,
    /// The sealed probe.
    pub payload: [u8; PROBE_BYTES],
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The first word of the peer in this search: one direction works.
    Heard {
        /// Where it came from.
        from: SocketAddr,
    },
    /// A pair is proven and nominated. May come again for another pair.
    Connected(Connected),
    /// The peer lost the tunnel and searches; so do we now.
    PeerSearching,
    /// Another run of the peer's program has taken the place of the former; we search.
    PeerRestarted,
    /// The peer said that it leaves; we search, calmly.
    PeerLeft,
    /// The search has seen something that the user should know.
    Trouble(Trouble),
}

/// A pair that carries packets both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// The pair.
    pub pair: Pair,
    /// Its round trip's time, as the proof measured it.
    pub rtt: Duration,
    /// Time since our start, or since the peer's first word where we had waited for that.
    pub took: Duration,
    /// Our own address as the peer sees it: what our NAT made of it.
    pub observed: Option<SocketAddr>,
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
    /// Datagrams of ours that were dropped because nobody polled.
    pub unsent: u64,
}
