//! Whether the system's clock is kept right by something, as the kernel sees it.

use std::time::Duration;

use crate::sys;

/// The state of the kernel's clock (adjtimex(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Something keeps it right, within this bound.
    Synchronised {
        /// The largest error that is thought possible.
        within: Duration,
    },
    /// Nothing has set it right for long.
    Unsynchronised,
    /// The system does not say.
    Unknown,
}

impl Clock {
    /// Asks the kernel. Changes nothing.
    #[must_use]
    pub fn read() -> Self {
        sys::clock()
    }
}
