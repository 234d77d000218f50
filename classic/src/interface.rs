//! What goes into the machine and what comes out.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::packer::Ratio;
use pinhole_proto::Role;

/// What a [`Classic`](super::Classic) is made from.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Serve: `-c`. Open: `-l`.
    pub role: Role,
    /// The peer's address as the user named it.
    pub peer: SocketAddr,
    /// Most bytes of TCP data in one datagram, 1 to [`MAX_DATA_BYTES`](super::MAX_DATA_BYTES).
    pub max_data: usize,
    /// Entropy for the rhythm of heartbeats.
    pub seed: [u8; 32],
}

/// What a [`Classic`](super::Classic) wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram.
    Transmit(Transmit),
    /// Take note.
    Event(Event),
    /// Nothing more to do until then, unless something arrives.
    Timeout(Instant),
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// The datagram.
    pub payload: Vec<u8>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The first word of the peer, or the first one since it was lost.
    Heard {
        /// Where it came from.
        from: SocketAddr,
    },
    /// The peer's IP sends sealed probes: it runs `pinhole -c` or `pinhole -l`, and not the script.
    Pinhole {
        /// Where they come from.
        from: SocketAddr,
    },
    /// The peer is silent for ten heartbeats.
    Lost,
    /// Serve side: the peer has a local client. Connect to the service, and say [`open`](super::Classic::open) or
    /// [`refuse`](super::Classic::refuse).
    Wanted,
    /// A session has begun: bytes flow.
    Began,
    /// The peer still holds its end of a former session. Asked to end, it did not.
    Busy,
    /// The session is over.
    Ended(Summary),
    /// Large datagrams evidently do not arrive, small ones do; at most so many bytes are sent at a time now.
    Cut {
        /// Bytes of TCP data.
        size: usize,
    },
    /// The running ratio of packed to original bytes, every few minutes.
    Ratio(Ratio),
}

/// One session, when it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Why it is over.
    pub end: End,
    /// What the peer has sent and was acked, and has not been read: the last bytes for the local program.
    pub rest: Vec<Vec<u8>>,
    /// What we have sent.
    pub ratio: Ratio,
    /// Bytes that came from the peer.
    pub received: u64,
    /// How long it lasted.
    pub lasted: Duration,
}

/// The reason why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The local TCP connection has ended.
    Local,
    /// The peer says that its TCP connection has ended, after everything that we have got.
    Peer,
    /// The peer says so, but something is missing; or it could not reach its service.
    PeerBroken,
    /// The peer's program has been started again.
    Restarted,
    /// The peer does not ack.
    Unacked,
    /// The peer is silent for ten heartbeats.
    Silent,
}

/// Counts what arrived and was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Came from elsewhere.
    pub strangers: u64,
    /// Were of no known kind, or too short.
    pub unknown: u64,
    /// Were data whose length or digest is wrong.
    pub broken: u64,
    /// Datagrams of ours that were not sent, because nobody polled.
    pub unsent: u64,
}
