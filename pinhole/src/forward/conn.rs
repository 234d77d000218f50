//! Connections that can be forwarded: anything that reads and writes.
//!
//! | kind | a dropped one looks to its other end |
//! |---|---|
//! | [`TcpStream`] | reset, unless both directions have ended |
//! | [`UnixStream`] | ended: a Unix socket has no reset that comes by itself |
//! | [`Io`] of anything else | as dropping it does |
//!
//! A kind says when there is something to read, and reads then: so nothing holds a buffer while nothing comes.

mod io;
mod socket;

use std::{
    future::{Future, poll_fn},
    io::{IoSlice, Result},
    task::{Context, Poll},
};

use bytes::BytesMut;
#[cfg(doc)]
use tokio::net::{TcpStream, UnixStream};

pub use self::io::Io;

/// One end of a connection that a forward carries. Its two directions are used by one task.
pub trait Conn: Send + Sync + 'static {
    /// Sets it up: from now on dropping it resets it, as far as its kind has that.
    fn prepare(&self) {}

    /// Takes the reset back: both directions have ended as they should.
    fn conclude(&self) {}

    /// Returns when there is something to read: bytes, the end or an error.
    ///
    /// # Errors
    ///
    /// When nothing can be read.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Reads what is there, as far as the buffer has room. Returns the number of bytes, 0 at the end.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing is there; others when the connection is broken.
    fn try_read_into(&self, buffer: &mut BytesMut) -> Result<usize>;

    /// Writes some of the parts, and returns how many bytes that are.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    fn poll_write(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>>;

    /// Passes on what it may have held back of what was written.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    fn poll_flush(&self, _cx: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends what is written: the other end reads an end, and may go on writing.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Waits until the other end has reset it. Never returns where that shows by reading and writing alone.
    fn broken(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Returns whether the other end has reset it, as far as that shows without reading. An error is told once.
    fn is_broken(&self) -> bool {
        false
    }
}

/// Waits until there is something to read.
pub(super) async fn readable(conn: &impl Conn) -> Result<()> {
    poll_fn(|cx| conn.poll_readable(cx)).await
}

/// Passes on what was written.
pub(super) async fn flush(conn: &impl Conn) -> Result<()> {
    poll_fn(|cx| conn.poll_flush(cx)).await
}

/// Ends what is written.
pub(super) async fn shutdown(conn: &impl Conn) -> Result<()> {
    poll_fn(|cx| conn.poll_shutdown(cx)).await
}
