use std::time::{Duration, Instant};

/// The two clocks at one moment, read by the caller.
///
/// Deadlines live on `instant`, which never jumps. `unix` is what the wall clock claims; it may be wrong, and it
/// may jump: it is used only to tell an old probe from a fresh one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// The wall clock, as time since 1970-01-01 00:00 UTC.
    pub unix: Duration,
}

impl Now {
    /// Returns the same moment on both clocks, `by` later.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self { instant: self.instant + by, unix: self.unix + by }
    }

    /// Returns the wall clock in milliseconds, as probes carry it.
    pub(crate) fn unix_ms(self) -> u64 {
        u64::try_from(self.unix.as_millis()).unwrap_or(u64::MAX)
    }
}
