//! The kernel's clock and what it knows of its error (adjtimex(2)).

use std::{mem::MaybeUninit, time::Duration};

use nix::libc;

use crate::check::Clock;

/// Asks the kernel. Sets nothing.
#[expect(unsafe_code, reason = "no crate here reads adjtimex(2) safely")]
pub(crate) fn clock() -> Clock {
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
