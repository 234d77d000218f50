//! Anything that reads and writes as a connection: stdin and stdout, a child process, a pair in memory.

use std::{
    future::Future,
    io::{ErrorKind, IoSlice, Result},
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::Conn;

/// Bytes that are read to see whether something is there.
const FEW: usize = 2048;

/// A connection of anything that reads and writes. Two halves become one with [`tokio::io::join`].
#[derive(Debug)]
pub struct Io<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    io: T,
    /// What came when it was looked whether something is there, and is not read yet.
    early: BytesMut,
    /// The end or the error that came then.
    end: Option<Result<()>>,
}

impl<T> Io<T> {
    /// Makes a connection.
    #[must_use]
    pub fn new(io: T) -> Self {
        Self(Mutex::new(State { io, early: BytesMut::new(), end: None }))
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Conn for Io<T> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let state = &mut *self.state();
        if state.early.is_empty() && state.end.is_none() {
            // Nothing but reading shows whether something is there. On the stack: what is idle holds no buffer.
            let mut few = [MaybeUninit::uninit(); FEW];
            let mut few = ReadBuf::uninit(&mut few);
            match ready!(Pin::new(&mut state.io).poll_read(cx, &mut few)) {
                Ok(()) if few.filled().is_empty() => state.end = Some(Ok(())),
                Ok(()) => state.early.extend_from_slice(few.filled()),
                Err(error) => state.end = Some(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn try_read_into(&self, buffer: &mut BytesMut) -> Result<usize> {
        let state = &mut *self.state();
        if !state.early.is_empty() {
            let room = buffer.capacity() - buffer.len();
            let early = state.early.split_to(state.early.len().min(room));
            if state.early.is_empty() {
                state.early = BytesMut::new();
            }
            buffer.extend_from_slice(&early);
            return Ok(early.len());
        }
        if let Some(end) = state.end.take() {
            return end.map(|()| 0);
        }
        // Who wants to be woken asks whether there is something to read.
        let mut nobody = Context::from_waker(Waker::noop());
        match pin!(state.io.read_buf(buffer)).poll(&mut nobody) {
            Poll::Ready(read) => read,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        Pin::new(&mut self.state().io).poll_write_vectored(cx, parts)
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.state().io).poll_flush(cx)
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.state().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn all_that_is_written_is_read_and_then_the_end_and_nothing_is_held_while_nothing_comes() {
        let sent: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let (mut theirs, ours) = duplex(1000);
        let conn = Io::new(ours);
        let copy = sent.clone();
        let writes = tokio::spawn(async move { theirs.write_all(&copy).await.map(|()| theirs) });
        let mut got = Vec::new();
        let mut writes = Some(writes);
        loop {
            poll_fn(|cx| conn.poll_readable(cx)).await.expect("it is there");
            let mut buffer = BytesMut::with_capacity(300);
            match conn.try_read_into(&mut buffer) {
                Ok(0) => break,
                Ok(read) => assert!(read == buffer.len() && read <= 300, "{read}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            got.extend_from_slice(&buffer);
            if got.len() == sent.len()
                && let Some(writes) = writes.take()
            {
                let _theirs = writes.await.expect("no panic").expect("all is taken");
                assert_eq!(conn.state().early.capacity(), 0);
            }
        }
        assert!(got == sent);
    }
}
