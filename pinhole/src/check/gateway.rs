//! The way out of this machine's network.

use std::net::Ipv4Addr;

use crate::sys;

/// The router that everything goes to for which there is no other way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its address; `None` on a line that has just one other end.
    pub ip: Option<Ipv4Addr>,
    /// The interface that leads to it.
    pub interface: String,
}

impl Gateway {
    /// Asks the system, where it tells.
    #[must_use]
    pub fn find() -> Option<Self> {
        sys::gateway()
    }
}
