//! What this machine, its network and the peer's do to a tunnel: measured, and judged in the words of RFC 4787.
//!
//! In the order of a life:
//!
//! 1. [`Machine::look`] asks this machine alone: addresses, the way out, the UDP port, buffers, the clock. No packet
//!    leaves.
//! 2. [`crate::hub::hops`] finds the first routers on the way to the peer, and so a carrier's NAT.

mod clock;
mod machine;
mod route;

pub use self::{
    clock::Clock,
    machine::{Address, Machine, Port},
    route::Gateway,
};
