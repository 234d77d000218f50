//! Everything that differs by operating system, and what is done where a system has nothing for it.
//!
//! The rest of the crate knows no system. A further one is a further folder with the items of `portable`, which says for
//! each what is lost without it. `PINHOLE_PORTABLE=1` in the environment of `cargo` builds and tests the portable side on
//! Linux as well.

#[cfg(not(pinhole_portable))]
#[path = "linux/mod.rs"]
mod system;

#[cfg(pinhole_portable)]
#[path = "portable.rs"]
mod system;

pub(crate) use self::system::{Network, addresses, clock, gateway, is_closed, leads_to, mtu, pace_nothing};
