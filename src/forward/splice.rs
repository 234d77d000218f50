//! Carries one TCP connection over one stream, faithfully.
//!
//! | here | there |
//! |---|---|
//! | FIN from the TCP peer | the stream finishes, the other side shuts down writing; the other direction goes on |
//! | RST from the TCP peer | the stream is reset and stopped; the other side answers with RST |
//! | the TCP peer reads no more | the stream's window fills, the other side stops reading its TCP |
//! | the tunnel ends | RST: a cut connection must not look like a finished one |
//!
//! An idle connection holds no buffer: one is taken when bytes are there to be read.

use std::{io, time::Duration};

use bytes::BytesMut;
use noq::{RecvStream, SendStream};
use pinhole_proto::stream::Reply;
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use super::listen::read_reply;
use crate::tunnel::RESET;

/// First read of a connection that was idle, bytes. Most interactive writes fit.
const FIRST_READ: usize = 4 << 10;

/// Largest read, bytes: about what a socket hands out at once under load.
const LARGEST_READ: usize = 128 << 10;

/// Largest piece taken from the stream at a time, bytes.
const LARGEST_WRITE: usize = 128 << 10;

/// Silence on a TCP connection after which the system asks whether its peer still lives.
const TCP_KEEPALIVE: Duration = Duration::from_secs(120);

/// A direction broke, and the whole connection with it.
#[derive(Debug)]
struct Broken;

/// Carries bytes in both directions until both have ended or one has broken.
pub(super) async fn splice(mut tcp: TcpStream, mut send: SendStream, mut recv: RecvStream) {
    let (mut read, mut write) = tcp.split();
    let both = tokio::try_join!(upward(&mut read, &mut send), downward(&mut recv, &mut write));
    conclude(tcp, send, recv, both.is_ok());
}

/// The same for the open side, whose stream begins with a reply. `refused` is called if that is a refusal.
pub(super) async fn splice_behind_reply(
    mut tcp: TcpStream,
    mut send: SendStream,
    mut recv: RecvStream,
    refused: impl FnOnce(Reply),
) {
    let (mut read, mut write) = tcp.split();
    let down = async {
        match read_reply(&mut recv).await {
            Some(Reply::Connected) => downward(&mut recv, &mut write).await,
            Some(reply) => {
                refused(reply);
                Err(Broken)
            }
            None => Err(Broken),
        }
    };
    let both = tokio::try_join!(upward(&mut read, &mut send), down);
    conclude(tcp, send, recv, both.is_ok());
}

/// Sets a TCP connection up for a tunnel: no delay for small writes, and no eternal half-open connections.
pub(super) fn prepare(tcp: &TcpStream) {
    let socket = socket2::SockRef::from(tcp);
    let keepalive = socket2::TcpKeepalive::new().with_time(TCP_KEEPALIVE);
    if let Err(error) = tcp.set_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive)) {
        tracing::debug!(%error, "TCP options refused");
    }
}

/// Ends a TCP connection with RST.
pub(super) fn reset(tcp: TcpStream) {
    if let Err(error) = tcp.set_zero_linger() {
        tracing::debug!(%error, "no RST possible");
    }
    drop(tcp);
}

fn conclude(tcp: TcpStream, mut send: SendStream, mut recv: RecvStream, clean: bool) {
    if clean {
        return;
    }
    // Either may be closed already; then there is nothing left to say.
    let _closed = send.reset(RESET);
    let _closed = recv.stop(RESET);
    reset(tcp);
}

/// TCP → stream, until the TCP peer's FIN has been passed on and the other side has all of it.
async fn upward(tcp: &mut ReadHalf<'_>, send: &mut SendStream) -> Result<(), Broken> {
    let mut size = FIRST_READ;
    let mut buffer = BytesMut::new();
    loop {
        if buffer.capacity() == 0 {
            tcp.readable().await.map_err(|_| Broken)?;
        }
        buffer.reserve(size);
        match tcp.try_read_buf(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                size = if read == size { (size * 2).min(LARGEST_READ) } else { size };
                send.write_chunk(buffer.split().freeze()).await.map_err(|_| Broken)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                buffer = BytesMut::new();
                size = FIRST_READ;
            }
            Err(_) => return Err(Broken),
        }
    }
    send.finish().map_err(|_| Broken)?;
    tokio::select! {
        stopped = send.stopped() => match stopped {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(Broken),
        },
        // RST after FIN: nobody reads any more, so only the error itself tells.
        _ = tcp.ready(Interest::ERROR) => Err(Broken),
    }
}

/// Stream → TCP, until the other side's FIN has been passed on.
async fn downward(recv: &mut RecvStream, tcp: &mut WriteHalf<'_>) -> Result<(), Broken> {
    while let Some(chunk) = recv.read_chunk(LARGEST_WRITE).await.map_err(|_| Broken)? {
        tcp.write_all(&chunk).await.map_err(|_| Broken)?;
    }
    tcp.shutdown().await.map_err(|_| Broken)
}
