//! pinhole's protocol as sans-IO state machines.
//!
//! Nothing here opens a socket, reads a clock or asks the operating system for chance: `now` and a seed
//! come in; datagrams, events and deadlines come out. That makes every rule of the protocol testable with a
//! virtual clock, and reproducible from a seed.
//!
//! In the order of a life:
//!
//! 1. [`key`]: a phrase becomes a [`Key`], from which everything secret is derived.
//! 2. [`probe`]: sealed datagrams that test whether a pair of addresses carries packets both ways.
//! 3. [`puncher`]: the machine that sends and answers probes until a pair is proven and nominated.
//! 4. [`session`]: the machine that brings a tunnel up over such a pair, and keeps it.
//! 5. [`control`]: what each side tells the other of itself when the tunnel stands.
//! 6. [`stream`]: the few bytes at the head of each tunnelled TCP connection; [`block`]: what may follow.
//! 7. [`survey`]: what the two NATs do, found out by both sides together.
//!
//! [`nat`] is the vocabulary for what stands in between.

pub mod block;
pub mod control;
pub mod key;
pub mod nat;
pub mod probe;
pub mod puncher;
pub mod session;
pub mod stream;
pub mod survey;

mod time;

pub use key::Key;
pub use puncher::Puncher;
pub use session::Session;
pub use time::Now;

/// The side of the tunnel that a program plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Runs beside the TCP service (`-c` in the old script).
    Serve,
    /// Opens a local port (`-l` in the old script).
    Open,
}

impl Role {
    /// Returns the role that the peer must have.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Serve => Self::Open,
            Self::Open => Self::Serve,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Serve => "serve",
            Self::Open => "open",
        })
    }
}
