//! The send scheduler: which streams may write into the connection's send window, and how large that is.
//!
//! All streams share one window of unacknowledged bytes. When it is full, the QUIC library wakes every blocked
//! stream on every acknowledgement, and most of them in vain: a thousand busy connections would spend the CPU on
//! waking each other (1,000 × 1 MiB both ways took minutes, `cli/tests/lab/crowd.rs`). So only a few streams wait inside
//! the library, and the others wait here, in order.
//!
//! A stream may also be blocked by its own window, because its reader has stopped. From outside both look alike; a
//! permit that is not used within [`PATIENCE`] is therefore given to the next, and the stream waits on without it.
//!
//! The window follows what the path may have in flight: what is more only waits, and a copy that has filled it keeps
//! everybody else's bytes out. Small writes have a [`RESERVE`] beyond it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use noq::{SendStream, WriteError};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use pinhole_quic::{ControllerFeedback, SEND_WINDOW_BYTES};

/// Most streams with much to write that wait inside the library at a time.
const BULK_PERMITS: usize = 16;

/// Most streams with little to write that do: a keystroke must not queue behind copies.
const SMALL_PERMITS: usize = 64;

/// Writes up to this size are small, bytes.
const SMALL: usize = 4 << 10;

/// Time after which a blocked stream gives its permit back.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes beyond the send window that small writes may fill.
const RESERVE: u64 = 1 << 20;

/// Least send window, bytes: two of the largest blocks that a connection hands over.
const LEAST_WINDOW: u64 = 256 << 10;

/// The send scheduler of one tunnel: lets its streams write in order.
#[derive(Debug)]
pub(crate) struct SendScheduler {
    connection: noq::Connection,
    feedback: ControllerFeedback,
    /// The send window that was set last.
    window: Mutex<u64>,
    bulk: Semaphore,
    small: Semaphore,
    /// Bytes that all streams have written.
    written: AtomicU64,
}

impl SendScheduler {
    pub(super) fn new(connection: noq::Connection, feedback: ControllerFeedback) -> Self {
        Self {
            connection,
            feedback,
            window: Mutex::new(SEND_WINDOW_BYTES),
            bulk: Semaphore::new(BULK_PERMITS),
            small: Semaphore::new(SMALL_PERMITS),
            written: AtomicU64::new(0),
        }
    }

    /// Writes chunks in their entirety.
    pub(crate) async fn write(&self, send: &mut SendStream, chunks: &mut [Bytes]) -> Result<(), WriteError> {
        let bytes: usize = chunks.iter().map(Bytes::len).sum();
        let is_small = bytes <= SMALL;
        let permits = if is_small { &self.small } else { &self.bulk };
        let mut rest = chunks;
        {
            // Before the first attempt: one in vain is a stream that the library wakes from then on.
            let _permit = permits.acquire().await;
            if is_small {
                self.write_at_once(send, &mut rest).await?;
            } else {
                self.adapt();
            }
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
        self.written.fetch_add(bytes as u64, Relaxed);
        Ok(())
    }

    /// Returns how many bytes all streams of the tunnel have written since it stands.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Writes what there is room for without waiting, the reserve included.
    async fn write_at_once(&self, send: &mut SendStream, rest: &mut &mut [Bytes]) -> Result<(), WriteError> {
        let written = poll_fn(|cx| {
            let written = pin!(send.write_many_chunks(rest)).poll(cx);
            if written.is_ready() {
                return Poll::Ready(written);
            }
            let window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            self.connection.set_send_window(*window + RESERVE);
            let written = pin!(send.write_many_chunks(rest)).poll(cx);
            self.connection.set_send_window(*window);
            Poll::Ready(written)
        })
        .await;
        match written {
            Poll::Ready(written) => written.map(drop),
            Poll::Pending => Ok(()),
        }
    }

    /// Lets the send window follow the path.
    fn adapt(&self) {
        let Some(in_flight) = self.feedback.window() else { return };
        let wanted = send_window(in_flight);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.abs_diff(*window) > *window / 8 {
            *window = wanted;
            self.connection.set_send_window(wanted);
        }
    }
}

/// Twice what may be in flight: the next round trip's bytes are there when this one's are acknowledged.
fn send_window(in_flight: u64) -> u64 {
    in_flight.saturating_mul(2).saturating_add(LEAST_WINDOW).min(SEND_WINDOW_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_send_window_follows_the_path_within_its_bounds() {
        assert_eq!(send_window(0), LEAST_WINDOW);
        assert_eq!(send_window(4 << 20), (8 << 20) + LEAST_WINDOW);
        assert_eq!(send_window(u64::MAX), SEND_WINDOW_BYTES);
    }
}
