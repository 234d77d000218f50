//! A connection that a pipe has handed over.
//!
//! A program that is killed closes all that it has, and a Unix socket that is closed looks like one that has ended. So
//! an end counts when the pipe has said that it is one, over the socket by which it asked; if that socket closes before,
//! the connection is broken.

use std::{
    future::poll_fn,
    io::{ErrorKind, IoSlice, Result},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use pinhole::forward::Conn;
use tokio::net::UnixStream;

/// The connection.
#[derive(Debug)]
pub(super) struct Handed {
    stream: UnixStream,
    word: Word,
}

/// What the pipe has said of the connection's end.
#[derive(Debug, Clone, Default)]
pub(super) struct Word(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    said: Said,
    /// Whether all that was written has been read.
    is_at_end: bool,
    reader: Option<Waker>,
    watcher: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Said {
    #[default]
    Nothing,
    Ended,
    Gone,
}

impl Handed {
    pub(super) fn new(stream: UnixStream, word: Word) -> Self {
        Self { stream, word }
    }
}

impl Word {
    /// The pipe has written all that it had to.
    pub(super) fn ended(&self) {
        self.say(Said::Ended);
    }

    /// The pipe is gone.
    pub(super) fn gone(&self) {
        self.say(Said::Gone);
    }

    fn say(&self, said: Said) {
        let mut state = self.state();
        state.said = said;
        let woken = [state.reader.take(), state.watcher.take()];
        drop(state);
        woken.into_iter().flatten().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conn for Handed {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.word.state();
        match state.said {
            Said::Gone => Poll::Ready(Ok(())),
            Said::Nothing if state.is_at_end => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Said::Nothing | Said::Ended => self.stream.poll_readable(cx),
        }
    }

    fn try_read_into(&self, buffer: &mut BytesMut) -> Result<usize> {
        let mut state = self.word.state();
        match (state.said, self.stream.try_read_into(buffer)) {
            (Said::Gone, _) => Err(ErrorKind::ConnectionReset.into()),
            (Said::Nothing, Ok(0)) => {
                state.is_at_end = true;
                Err(ErrorKind::WouldBlock.into())
            }
            (Said::Nothing | Said::Ended, read) => read,
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        self.stream.poll_write(cx, parts)
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.stream.poll_shutdown(cx)
    }

    async fn broken(&self) {
        poll_fn(|cx| {
            let mut state = self.word.state();
            if state.said == Said::Gone {
                return Poll::Ready(());
            }
            state.watcher = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn read(conn: &Handed) -> Result<usize> {
        loop {
            poll_fn(|cx| conn.poll_readable(cx)).await?;
            match conn.try_read_into(&mut BytesMut::with_capacity(100)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    #[tokio::test]
    async fn an_end_counts_when_the_pipe_has_said_so_and_not_because_it_is_gone() {
        for is_killed in [false, true] {
            let (mut pipe, stream) = UnixStream::pair().expect("a pair");
            let word = Word::default();
            let conn = Handed::new(stream, word.clone());
            pipe.write_all(b"four").await.expect("room");
            drop(pipe);
            assert_eq!(read(&conn).await.map_err(|error| error.kind()), Ok(4));
            let last = tokio::spawn(async move { read(&conn).await });
            tokio::task::yield_now().await;
            assert!(!last.is_finished(), "it may have been killed");
            if is_killed {
                word.gone()
            } else {
                word.ended()
            }
            let last = last.await.expect("no panic").map_err(|error: Error| error.kind());
            assert_eq!(last, if is_killed { Err(ErrorKind::ConnectionReset) } else { Ok(0) });
        }
    }
}
