//! Whether the system's clock is kept right by something, as the kernel sees it.

use std::time::Duration;

/// What the kernel says of its clock (adjtimex(2)).
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
        system::read()
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::{mem::MaybeUninit, time::Duration};

    use nix::libc;

    use super::Clock;

    #[expect(unsafe_code, reason = "no crate here reads adjtimex(2) safely")]
    pub(super) fn read() -> Clock {
        // SAFETY: a `timex` is plain numbers, for which zeroes are values; `modes` of 0 asks and sets nothing.
        let (state, timex) = unsafe {
            let mut timex = MaybeUninit::<libc::timex>::zeroed().assume_init();
            (libc::adjtimex(&raw mut timex), timex)
        };
        let is_unsynchronised = state == libc::TIME_ERROR || timex.status & libc::STA_UNSYNC != 0;
        match u64::try_from(timex.maxerror) {
            _ if state < 0 => Clock::Unknown,
            _ if is_unsynchronised => Clock::Unsynchronised,
            Ok(us) => Clock::Synchronised { within: Duration::from_micros(us) },
            Err(_) => Clock::Unknown,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn read() -> super::Clock {
        super::Clock::Unknown
    }
}
