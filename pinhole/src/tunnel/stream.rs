//! Streams for whoever speaks the tunnel's protocol without forwards: a head that names a service, then bytes both ways.
//!
//! The head is that of a forwarded connection ([`pinhole_proto::stream`]), so either side may be the program.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use pinhole_proto::stream::{Reply, Request, valid_name};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Arrival, RESET, Tunnel, TunnelEnd};

/// The writing half of a stream.
///
/// [`AsyncWriteExt::shutdown`](tokio::io::AsyncWriteExt::shutdown) ends it, and the peer reads an end of file. Dropped
/// without that, it is reset, and the peer reads an error: what was cut does not look finished.
#[derive(Debug)]
pub struct SendStream {
    stream: noq::SendStream,
    is_finished: bool,
}

/// The reading half of a stream. Dropped before its end, it tells the peer that nobody reads any more, whose writes then
/// fail.
#[derive(Debug)]
pub struct RecvStream(noq::RecvStream);

/// The reason why a stream to a service was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// No service can have that name: see [`valid_name`].
    #[error("{0:?} is not the name of a service")]
    BadName(String),
    /// The peer has refused.
    #[error("{0}")]
    Refused(Reply),
    /// There is no tunnel any more.
    #[error("the tunnel has ended: {0}")]
    Ended(#[from] TunnelEnd),
    /// The peer has ended the stream, and not the tunnel, without an answer.
    #[error("the peer has ended the stream without an answer")]
    Broken,
    /// The peer handle's endpoint was closed.
    #[error("the endpoint was closed")]
    Closed,
}

/// A stream that the peer has opened and that waits for an answer. Dropped without one, it is reset.
///
/// ```no_run
/// use pinhole::{Peer, proto::stream::Reply};
/// use tokio::io::{AsyncWriteExt, copy};
///
/// # async fn run(peer: Peer) -> Result<(), Box<dyn std::error::Error>> {
/// loop {
///     let asked = peer.accept_stream().await?;
///     if asked.service() != "echo" {
///         asked.refuse(Reply::NoSuchService).await;
///         continue;
///     }
///     let (mut to, mut from) = asked.accept().await?;
///     copy(&mut from, &mut to).await?;
///     to.shutdown().await?; // without it the peer reads an error
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it resets the stream"]
pub struct AskedStream {
    request: Request,
    streams: Option<(noq::SendStream, noq::RecvStream)>,
}

impl AskedStream {
    /// Returns the name of the service that the peer asks for.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.request.service
    }

    /// Tells the peer that the service is there. What it has written can be read.
    ///
    /// # Errors
    ///
    /// When the stream or the tunnel has ended.
    pub async fn accept(mut self) -> Result<(SendStream, RecvStream), StreamError> {
        let (mut send, recv) = self.streams.take().ok_or(StreamError::Broken)?;
        send.write_all(&[Reply::Connected.code()]).await.map_err(|_| StreamError::Broken)?;
        Ok((SendStream::new(send), RecvStream(recv)))
    }

    /// Tells the peer why it gets nothing, and waits until that has arrived.
    pub async fn refuse(mut self, why: Reply) {
        if let Some((mut send, recv)) = self.streams.take() {
            answer(&mut send, why).await;
            drop(recv); // stops the peer, which must not come before the reason
        }
    }
}

impl From<Arrival> for AskedStream {
    fn from(Arrival { request, send, recv }: Arrival) -> Self {
        Self { request, streams: Some((send, recv)) }
    }
}

impl Drop for AskedStream {
    fn drop(&mut self) {
        if let Some((mut send, _)) = self.streams.take() {
            let _already_closed = send.reset(RESET);
        }
    }
}

/// Opens a stream to a service and waits for the answer.
pub(super) async fn open(tunnel: &Tunnel, service: &str) -> Result<(SendStream, RecvStream), StreamError> {
    if !valid_name(service) {
        return Err(StreamError::BadName(service.to_owned()));
    }
    let request = Request { service: service.to_owned(), any: false, blocks: false };
    let (send, mut recv) = tunnel.open_bare().await?;
    let mut send = SendStream::new(send);
    let broken = || tunnel.end().map_or(StreamError::Broken, StreamError::Ended);
    // A refusal comes before the stop that follows it: the answer alone tells.
    let asked = send.stream.write_all(&request.encode()).await;
    let mut code = [0];
    recv.read_exact(&mut code).await.map_err(|_| broken())?;
    match Reply::from_code(code[0]) {
        Reply::Connected => asked.map_err(|_| broken()).map(|()| (send, RecvStream(recv))),
        Reply::ConnectedInBlocks => Err(StreamError::Broken), // nobody has asked for them
        refusal @ (Reply::NoSuchService
        | Reply::Refused
        | Reply::Unreachable
        | Reply::Unavailable
        | Reply::Unresolved) => Err(StreamError::Refused(refusal)),
    }
}

/// Answers a stream that gets nothing.
pub(crate) async fn answer(send: &mut noq::SendStream, why: Reply) {
    if send.write_all(&[why.code()]).await.is_ok() {
        // The reason must arrive before the stop that dropping the stream sends.
        let _already_closed = send.finish();
        let _arrived_or_ended = send.stopped().await;
    }
}

impl SendStream {
    fn new(stream: noq::SendStream) -> Self {
        Self { stream, is_finished: false }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.is_finished {
            let _already_closed = self.stream.reset(RESET);
        }
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.stream), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.stream), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = AsyncWrite::poll_shutdown(Pin::new(&mut self.stream), cx);
        self.is_finished |= shut.is_ready();
        shut
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.0), cx, buffer)
    }
}
