//! The real clocks: reading them, and waiting by them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pinhole_proto::Now;
use tokio::time::Instant;

/// Reads both clocks.
pub(crate) fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Now { instant: std::time::Instant::now(), unix }
}

/// Waits until that time, or for ever where there is none. A millisecond late at the most, but for a busy machine.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
