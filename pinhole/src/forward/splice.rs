//! Carries one connection over one stream, faithfully.
//!
//! | here | there |
//! |---|---|
//! | the connection's end (TCP: FIN) | the stream finishes, the other side shuts down writing; the other direction goes on |
//! | it is reset (TCP: RST) | the stream is reset and stopped; the other side resets its connection |
//! | nobody reads from it any more | the stream's window fills, the other side stops reading its connection |
//! | the tunnel ends | reset: a cut connection must not look like a finished one |
//!
//! An idle connection holds no buffer: one is taken when bytes are there to be read.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use noq::{ReadError, RecvStream, SendStream, Stopped};
use pinhole_proto::{block::BadBlock, stream::Reply};
use tokio::time::timeout;

use super::{
    conn::{self, Conn},
    conn_to_stream::{SendFraming, conn_to_stream},
    unpack::Unpacker,
};
use crate::{
    status::Carried,
    tunnel::{RESET, Shares},
};

/// Most parts of a stream that are read at a time.
const PARTS: usize = 64;

/// Most parts that are written to a connection at a time: heads of blocks cut some of the above in two.
const WRITTEN: usize = PARTS + 8;

/// Bytes that are read from a stream without a permit to hold more ([`Shares::much`]): a packet at the most.
const FEW: usize = 2048;

/// Time within which a fast receiver makes room. What waits for as long without being copied holds no more memory than
/// arrives in it: 12 MiB at 10 Gbit/s.
const SOON: Duration = Duration::from_millis(10);

/// The break of a direction, and with it of the whole connection; says where, for the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broken(pub(super) &'static str);

/// The framing of both directions of a connection.
#[derive(Debug)]
pub(super) struct Framing {
    /// Of what this side sends.
    pub(super) send: SendFraming,
    /// Whether what the other side sends is in blocks.
    pub(super) received_in_blocks: bool,
}

/// Carries bytes in both directions until both have ended or one has broken.
pub(super) async fn splice(
    conn: impl Conn,
    send: SendStream,
    recv: RecvStream,
    shares: &Shares,
    carried: &Carried,
    framing: Framing,
) {
    let mut ends = Ends { send, recv, clean: false };
    let ended = {
        let unwanted = ends.send.stopped();
        // Pinned here: whatever is moved from future to future has room in each of them.
        let down = pin!(stream_to_conn(&mut ends.recv, &conn, shares, carried, framing.received_in_blocks));
        let up = pin!(conn_to_stream(&conn, &mut ends.send, &shares.send, carried, &framing.send));
        tokio::select! {
            both = try_join(down, up) => both,
            broken = broken(&conn, unwanted) => Err(broken),
        }
    };
    ends.conclude(&conn, ended);
}

/// The same for the open side, whose stream begins with a reply. `refused` is called if that is a refusal. Returns
/// whether both directions have ended as they should.
pub(super) async fn splice_behind_reply(
    conn: impl Conn,
    send: SendStream,
    recv: RecvStream,
    shares: &Shares,
    carried: &Carried,
    framing: &SendFraming,
    refused: impl FnOnce(Reply),
) -> bool {
    let mut ends = Ends { send, recv, clean: false };
    let ended = {
        let unwanted = ends.send.stopped();
        let down = pin!(async {
            match read_reply(&mut ends.recv).await {
                Some(Reply::Connected) => stream_to_conn(&mut ends.recv, &conn, shares, carried, false).await,
                Some(Reply::ConnectedInBlocks) if framing.are_blocks() => {
                    framing.let_pack();
                    stream_to_conn(&mut ends.recv, &conn, shares, carried, true).await
                }
                Some(Reply::ConnectedInBlocks) => Err(Broken("blocks that nobody asked for")),
                Some(reply) => {
                    refused(reply);
                    Err(Broken("refused"))
                }
                None => Err(Broken("no reply")),
            }
        });
        let up = pin!(conn_to_stream(&conn, &mut ends.send, &shares.send, carried, framing));
        // Biased: a refusal comes before the stop that follows it, and its reason must not get lost.
        tokio::select! {
            biased;
            both = try_join(down, up) => both,
            broken = broken(&conn, unwanted) => Err(broken),
        }
    };
    let is_clean = ended.is_ok();
    ends.conclude(&conn, ended);
    is_clean
}

/// Our ends of a stream; reset when dropped before a clean end, for the library would finish them.
struct Ends {
    send: SendStream,
    recv: RecvStream,
    clean: bool,
}

impl Ends {
    fn conclude(mut self, conn: &impl Conn, ended: Result<((), ()), Broken>) {
        match ended {
            Ok(_) => {
                self.clean = true;
                conn.conclude();
            }
            Err(Broken(cause)) => tracing::debug!(cause, stream = %self.send.id(), "connection reset"),
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if !self.clean {
            // Either may be closed already; then there is nothing left to say.
            let _closed = self.send.reset(RESET);
            let _closed = self.recv.stop(RESET);
        }
    }
}

/// Waits until the connection is reset, or the other side tells of that there. Reading and writing would show both, but
/// after the end nobody reads any more, and while the stream's window is full nobody reads yet.
async fn broken(conn: &impl Conn, unwanted: Stopped) -> Broken {
    let stopped = async {
        match unwanted.await {
            Ok(Some(_)) | Err(_) => Broken("stopped by the other side"),
            Ok(None) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = conn.broken() => Broken("connection reset"),
        broken = stopped => broken,
    }
}

/// Stream → connection, until the other side's end has been passed on.
async fn stream_to_conn(
    recv: &mut RecvStream,
    conn: &impl Conn,
    shares: &Shares,
    carried: &Carried,
    received_in_blocks: bool,
) -> Result<(), Broken> {
    let mut unpacker = received_in_blocks.then(|| Unpacker::new(&shares.blocks));
    while let Some(first) = recv.read_chunk(FEW).await.map_err(|_| Broken("stream read"))? {
        let mut parts = vec![first];
        let mut permit = None;
        loop {
            // Without a permit it goes on with few bytes.
            permit = permit.or_else(|| shares.much.try_acquire().ok());
            if permit.is_some() {
                read_ready(recv, &mut parts).await.map_err(|_| Broken("stream read"))?;
            }
            if parts.is_empty() {
                break;
            }
            match &mut unpacker {
                Some(unpacker) => deliver(unpacker, &mut parts, conn, carried).await?,
                None => deliver_all(&mut parts, conn, carried).await?,
            }
            parts.clear();
            if permit.is_none() {
                break;
            }
        }
        conn::flush(conn).await.map_err(|_| Broken("connection not writable"))?;
    }
    if unpacker.is_some_and(|unpacker| !unpacker.is_between_blocks()) {
        return Err(Broken("end within a block"));
    }
    conn::shutdown(conn).await.map_err(|_| Broken("connection not ended"))
}

/// Writes what is in blocks.
async fn deliver(
    unpacker: &mut Unpacker<'_>,
    parts: &mut [Bytes],
    conn: &impl Conn,
    carried: &Carried,
) -> Result<(), Broken> {
    let mut ready = Vec::with_capacity(WRITTEN);
    let mut rest = parts;
    while !rest.is_empty() {
        if !unpacker.may_go_on() {
            // What waits for long must not hold the memory of all that was read together with it.
            copy_all(rest);
            unpacker.wait_for_permit().await;
        }
        rest = unpack_some(unpacker, rest, &mut ready, carried).map_err(|_| Broken("malformed block"))?;
        deliver_all(&mut ready, conn, carried).await?;
        ready.clear();
        unpacker.give_permit_back();
    }
    Ok(())
}

/// Unpacks one packed block, or plain ones as long as there is room. Returns what is left.
fn unpack_some<'a>(
    unpacker: &mut Unpacker<'_>,
    mut parts: &'a mut [Bytes],
    ready: &mut Vec<Bytes>,
    carried: &Carried,
) -> Result<&'a mut [Bytes], BadBlock> {
    while let Some(part) = parts.first_mut() {
        while let Some(unpacked) = unpacker.next(part)? {
            ready.push(unpacked.bytes);
            if unpacked.saved > 0 {
                carried.received_saved(unpacked.saved);
            }
            if unpacked.saved > 0 || ready.len() == WRITTEN {
                return Ok(parts);
            }
        }
        if !part.is_empty() {
            return Ok(parts); // a packed block begins, and needs a permit
        }
        parts = &mut parts[1..];
    }
    Ok(parts)
}

async fn deliver_all(parts: &mut [Bytes], conn: &impl Conn, carried: &Carried) -> Result<(), Broken> {
    let bytes = parts.iter().map(Bytes::len).sum();
    write_all(conn, parts).await.map_err(|_| Broken("connection not writable"))?;
    carried.received(bytes);
    Ok(())
}

/// Adds what the stream has at this moment.
async fn read_ready(recv: &mut RecvStream, parts: &mut Vec<Bytes>) -> Result<(), ReadError> {
    let before = parts.len();
    parts.resize(before + PARTS, Bytes::new());
    let read = {
        let mut reading = pin!(recv.read_many_chunks(&mut parts[before..]));
        poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await
    };
    let count = match read {
        Poll::Ready(read) => read?.unwrap_or(0),
        Poll::Pending => 0,
    };
    parts.truncate(before + count);
    Ok(())
}

/// Writes all parts, many of them at a time: a part is a packet at most, and a system call for each would cost more
/// than all else. Parts that must wait longer than [`SOON`] are copied: a packet of a few bytes may hold the memory of all
/// that were read together with it.
async fn write_all(conn: &impl Conn, parts: &mut [Bytes]) -> io::Result<()> {
    let mut rest = parts;
    let mut are_copies = false;
    while !rest.is_empty() {
        let written = match poll_fn(|cx| Poll::Ready(poll_write(conn, cx, rest))).await {
            Poll::Ready(written) => written?,
            Poll::Pending if are_copies => poll_fn(|cx| poll_write(conn, cx, rest)).await?,
            Poll::Pending => {
                let Ok(written) = timeout(SOON, poll_fn(|cx| poll_write(conn, cx, rest))).await else {
                    copy_all(rest);
                    are_copies = true;
                    continue;
                };
                written?
            }
        };
        rest = advance(rest, written);
    }
    Ok(())
}

fn copy_all(parts: &mut [Bytes]) {
    parts.iter_mut().for_each(|part| *part = Bytes::copy_from_slice(part));
}

fn poll_write(conn: &impl Conn, cx: &mut Context<'_>, parts: &[Bytes]) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); WRITTEN];
    let count = parts.len().min(WRITTEN);
    for (slice, part) in slices.iter_mut().zip(parts) {
        *slice = IoSlice::new(part);
    }
    conn.poll_write(cx, &slices[..count])
}

/// Takes what was written off the front.
fn advance(parts: &mut [Bytes], mut written: usize) -> &mut [Bytes] {
    let mut done = 0;
    while let Some(part) = parts.get_mut(done) {
        if written < part.len() {
            part.advance(written);
            break;
        }
        written -= part.len();
        *part = Bytes::new(); // its packet's memory is free from now on
        done += 1;
    }
    &mut parts[done..]
}

/// Polls both, the first one first, until both have ended or one has broken.
async fn try_join<F, G>(first: F, second: G) -> Result<((), ()), Broken>
where
    F: Future<Output = Result<(), Broken>>,
    G: Future<Output = Result<(), Broken>>,
{
    tokio::try_join!(biased; first, second)
}

/// Reads the reply byte.
async fn read_reply(recv: &mut RecvStream) -> Option<Reply> {
    let mut code = [0];
    recv.read_exact(&mut code).await.ok()?;
    Some(Reply::from_code(code[0]))
}
