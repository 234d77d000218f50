//! Who may wait for the connection's send window.
//!
//! All streams share one window of unacknowledged bytes. When it is full, the QUIC library wakes every blocked
//! stream on every acknowledgement, and most of them in vain: a thousand busy connections would spend the CPU on
//! waking each other (1,000 × 1 MiB both ways took minutes, `tests/lab/crowd.rs`). So only a few streams wait inside
//! the library, and the others wait here, in order.
//!
//! A stream may also be blocked by its own window, because its reader has stopped. From outside both look alike; a
//! place that is not used within [`PATIENCE`] is therefore given to the next, and the stream waits on without it.

use std::time::Duration;

use bytes::Bytes;
use noq::{SendStream, WriteError};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// Streams with much to write that wait inside the library at a time.
const BULK_PLACES: usize = 16;

/// Streams with little to write that do: a keystroke must not queue behind copies.
const SMALL_PLACES: usize = 64;

/// Writes up to this size are small, bytes.
const SMALL: usize = 4 << 10;

/// Time after which a blocked stream gives its place away.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lets streams of one tunnel write in order.
#[derive(Debug)]
pub(crate) struct Gate {
    bulk: Semaphore,
    small: Semaphore,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { bulk: Semaphore::new(BULK_PLACES), small: Semaphore::new(SMALL_PLACES) }
    }

    /// Writes a chunk in its entirety.
    pub(crate) async fn write(&self, send: &mut SendStream, chunk: Bytes) -> Result<(), WriteError> {
        let places = if chunk.len() <= SMALL { &self.small } else { &self.bulk };
        let mut chunks = [chunk];
        let mut rest = &mut chunks[..];
        {
            let _place = places.acquire().await;
            let until = Instant::now() + PATIENCE;
            while !rest.is_empty() {
                match timeout_at(until, send.write_many_chunks(&mut rest)).await {
                    Ok(written) => drop(written?),
                    Err(_) => break,
                }
            }
        }
        while !rest.is_empty() {
            send.write_many_chunks(&mut rest).await?;
        }
        Ok(())
    }
}
