//! What the two NATs do, found out by both sides together over a pair that carries a tunnel.
//!
//! One side controls the check: it asks the [`Survey`] for the next [`Round`], has both sides carry out their
//! [`Orders`] at the same time, and hands back what each has heard. Probes go out by UDP and are never answered by UDP;
//! what arrived is told over the tunnel. In the order of a life:
//!
//! 1. *Filtering*: two sockets that the other side never sent to write to the tunnel's outside address. Do they get in?
//! 2. *Ports kept*: four new sockets write to the tunnel's outside address. From which ports do they come? Probes with
//!    a low TTL open both NATs first, so that no router takes the other side's probe for its own.
//! 3. *Mapping*: the tunnel's socket writes to two further ports of the other side. From the same outside port?
//! 4. *Port assignment*, where ports are not kept: from a few dozen new sockets. Where the other side's filter is exact,
//!    it first opens it for a sample of ports near the known one: sequences and blocks are met there, chance is not.
//! 5. *Loss*: a hundred probes each way.
//!
//! Where a user wants it, [`Lifetime`] then finds out how long both NATs keep a mapping without traffic.
//!
//! Some things cannot be known with one address on each side, and are not claimed: see [`Seen`]. There is no time in
//! here: the shell waits for probes to arrive before it reports.

mod allowance;
mod judge;
mod lifetime;
mod message;
mod plan;
mod samples;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use self::{
    allowance::{Allowance, MAX_DATAGRAMS_IN_ALL, MAX_ROUNDS},
    judge::{Agreement, FilteringSeen, MappingSeen, PortsSeen, Seen},
    lifetime::{
        Due, LEAST_LIFETIME, LIFETIME_MAPPINGS, Lifetime, LifetimeSeen, MOST_LIFETIME, SILENCES, Since,
    },
    message::{Figures, Hello, MAX_MESSAGE_BYTES, Message, Outcome, Transfer},
    plan::Survey,
};

/// Most mappings that one side makes for a survey, without [`LIFETIME_MAPPINGS`]. A side whose search keeps that many
/// back never exceeds its bound.
pub const MAX_MAPPINGS: u16 = 256;

/// Most sockets that one side opens for a survey.
pub const MAX_SOCKETS: u16 = 76;

/// Most probes in the orders of one round.
pub const MAX_PROBES: usize = 320;

/// Most datagrams of one round, repeats included.
pub const MAX_DATAGRAMS: usize = 1024;

/// Most times that the probes of one round are sent.
pub const MAX_REPEATS: u16 = 100;

/// Names a socket of a side in a survey: 0 is the one that the tunnel runs over, others are new ones in the order in
/// which they were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Socket(pub u16);

impl Socket {
    /// The one that the tunnel runs over.
    pub const PAIR: Self = Self(0);
}

/// A datagram to be sent to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurveyProbe {
    /// From which socket.
    pub from: Socket,
    /// Where to: always the other side's IP.
    pub to: SocketAddr,
    /// Whether it is to open our NAT and not to reach theirs.
    pub is_low: bool,
}

/// What one side does in a round.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Orders {
    /// New sockets to open before anything is sent.
    pub open: u16,
    /// What to send, in this order.
    pub probes: Vec<SurveyProbe>,
    /// How often to send all of it.
    pub repeats: u16,
}

impl Orders {
    /// Whether whoever got these from the other side may carry them out: they are bounded, and lead to its IP alone.
    #[must_use]
    pub fn are_modest(&self, peer: SocketAddr) -> bool {
        self.open <= MAX_SOCKETS
            && self.probes.len() <= MAX_PROBES
            && self.repeats <= MAX_REPEATS
            && self.datagrams() <= MAX_DATAGRAMS
            && self.probes.iter().all(|probe| probe.to.ip() == peer.ip() && probe.to.port() != 0)
    }

    /// Returns how many datagrams they make.
    pub(crate) fn datagrams(&self) -> usize {
        self.probes.len() * usize::from(self.repeats)
    }
}

/// What both sides do at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Its number, which its probes carry.
    pub number: u32,
    /// The orders of both sides, by [`index`].
    pub orders: [Orders; 2],
}

/// A probe that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Its place in the sender's orders.
    pub probe: u16,
    /// The socket at which it arrived.
    pub at: Socket,
    /// Where it came from.
    pub from: SocketAddr,
    /// How many of its repeats arrived.
    pub count: u16,
}

/// What one side tells of a round.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The local ports of the sockets that it opened in this round.
    pub ports: Vec<u16>,
    /// What it heard of the other side's probes of this round.
    pub heard: Vec<Heard>,
}

/// Where the tunnel's socket of one side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// Its own address, as the side itself knows it.
    pub inside: SocketAddr,
    /// Its address as the other side sees it.
    pub outside: SocketAddr,
}

/// The place of a role in arrays of both sides.
#[must_use]
pub fn index(role: crate::Role) -> usize {
    match role {
        crate::Role::Serve => 0,
        crate::Role::Open => 1,
    }
}

/// The token of a probe: its round and its place in the orders.
#[must_use]
pub fn token(round: u32, probe: u16) -> u64 {
    u64::from(round) << 16 | u64::from(probe)
}

/// Reads a token.
#[must_use]
pub fn of_token(token: u64) -> (u32, u16) {
    ((token >> 16 & u64::from(u32::MAX)) as u32, (token & 0xffff) as u16)
}
