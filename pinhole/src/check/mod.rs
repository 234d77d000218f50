//! Checks: what this machine, its network and the peer's do to a tunnel, measured, and judged in the words of RFC 4787.
//!
//! In the order of a life:
//!
//! 1. [`Machine::look`] asks this machine alone: addresses, the way out, the UDP port, buffers, the clock. No packet
//!    leaves.
//! 2. [`crate::mux::hops`] finds the first routers on the way to the peer, and so a carrier's NAT.
//!    A STUN server may be asked as well (`ask_stun`, of the feature `stun`), if the user names one.
//! 3. An endpoint of the purpose [`Check`](crate::endpoint::Purpose::Check) punches, and brings up a tunnel.
//! 4. [`both_sides`] surveys both NATs over it ([`pinhole_proto::survey`]), and measures the path;
//!    and how long the NATs keep a mapping, if the user wants to know.

mod clock;
mod executor;
mod gateway;
mod machine;
mod messages;
mod session;
#[cfg(feature = "stun")]
mod stun;

#[cfg(test)]
mod tests;

#[cfg(feature = "stun")]
pub use self::stun::{StunError, StunSeen, ask_stun};
pub use self::{
    clock::Clock,
    gateway::Gateway,
    machine::{Address, Machine, Port},
    session::{Plan, Progress, both_sides, low_ttl},
};
use crate::tunnel::TunnelEnd;

/// The reason why a check of both sides came to no end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The tunnel has ended.
    #[error("the tunnel of the check ended: {0}")]
    Ended(#[from] TunnelEnd),
    /// The stream of the check has ended.
    #[error("the other side ended the check")]
    Broken,
    /// Nothing came for a minute.
    #[error("the other side fell silent during the check")]
    Silent,
    /// The peer takes no check.
    #[error("the other side takes no check: use the same release on both sides")]
    Refused,
    /// The peer's messages are of another version.
    #[error("the other side speaks another version of the check: use the same release on both sides")]
    OtherVersion,
    /// The peer says what makes no sense, or asks for too much.
    #[error("the other side does not keep to the rules of a check: use the same release on both sides")]
    Nonsense,
    /// The system gives no randomness.
    #[error("the system gives no random numbers")]
    Entropy,
    /// A socket cannot be had.
    #[error("no further socket can be had ({0})")]
    Socket(String),
}
