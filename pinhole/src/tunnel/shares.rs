//! What the streams of a tunnel share: the scheduler by which they write, and how much of what they have read they may hold.

use pinhole_quic::ControllerFeedback;
use tokio::sync::Semaphore;

use super::SendScheduler;

/// Streams that may hold many parts that their connection does not take; all others hold one. What is read from a stream makes
/// room in its window, so this is memory that no window bounds.
const MUCH: usize = 64;

/// Streams that take a packed block in at a time. One of ours that packs has a permit for that, of which its program has half
/// as many: between two of ours nobody waits here.
const BLOCKS: usize = 64;

/// Each tunnel has its own: whoever holds one peer's key takes nothing from the connections of another.
#[derive(Debug)]
pub(crate) struct Shares {
    pub(crate) send: SendScheduler,
    /// Permits to hold much.
    pub(crate) much: Semaphore,
    /// Permits to take a packed block in.
    pub(crate) blocks: Semaphore,
}

impl Shares {
    pub(super) fn new(connection: noq::Connection, feedback: ControllerFeedback) -> Self {
        Self {
            send: SendScheduler::new(connection, feedback),
            much: Semaphore::new(MUCH),
            blocks: Semaphore::new(BLOCKS),
        }
    }
}
