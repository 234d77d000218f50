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

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    net::Shutdown,
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::{Buf, Bytes};
use noq::{ReadError, RecvStream, SendStream, Stopped};
use pinhole_proto::{piece::BadPiece, stream::Reply};
use tokio::{io::Interest, net::TcpStream, sync::Semaphore};

use super::{
    unpack::Unpacker,
    upward::{Terms, upward},
};
use crate::{
    status::Carried,
    tunnel::{Gate, RESET},
};

/// Parts of a stream that are read at a time.
const PARTS: usize = 64;

/// Parts that are written to a socket at a time: heads of pieces cut some of the above in two.
const WRITTEN: usize = PARTS + 8;

/// Bytes that are read from a stream where its connection may hold no more: a packet at the most.
const FEW: usize = 2048;

/// Connections of this program that may hold [`PARTS`] parts that their TCP does not take; all others hold one. What is
/// read from a stream makes room in its window, so this is memory that no window bounds.
static HANDS: Semaphore = Semaphore::const_new(64);

/// A fast receiver makes room within this time. What waits so long without being copied holds no more memory than arrives
/// in it: 12 MiB at 10 Gbit/s.
const SOON: Duration = Duration::from_millis(10);

/// Silence on a TCP connection after which the system asks whether its peer still lives.
const TCP_KEEPALIVE: Duration = Duration::from_secs(120);

/// A direction broke, and the whole connection with it; says where, for the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broken(pub(super) &'static str);

/// Which directions of a connection come in pieces.
#[derive(Debug)]
pub(super) struct Form {
    /// What we send.
    pub(super) terms: Terms,
    /// What the other side sends.
    pub(super) comes_in_pieces: bool,
}

/// Carries bytes in both directions until both have ended or one has broken.
pub(super) async fn splice(
    tcp: TcpStream,
    send: SendStream,
    recv: RecvStream,
    gate: &Gate,
    carried: &Carried,
    form: Form,
) {
    let mut ends = Ends { send, recv, clean: false };
    let ended = {
        let unwanted = ends.send.stopped();
        // Pinned here: whatever is moved from future to future has room in each of them.
        let down = pin!(downward(&mut ends.recv, &tcp, carried, form.comes_in_pieces));
        let up = pin!(upward(&tcp, &mut ends.send, gate, carried, &form.terms));
        tokio::select! {
            both = try_join(down, up) => both,
            broken = broken(&tcp, unwanted) => Err(broken),
        }
    };
    ends.conclude(&tcp, ended);
}

/// The same for the open side, whose stream begins with a reply. `refused` is called if that is a refusal. Returns
/// whether both directions have ended as they should.
pub(super) async fn splice_behind_reply(
    tcp: TcpStream,
    send: SendStream,
    recv: RecvStream,
    gate: &Gate,
    carried: &Carried,
    terms: &Terms,
    refused: impl FnOnce(Reply),
) -> bool {
    let mut ends = Ends { send, recv, clean: false };
    let ended = {
        let unwanted = ends.send.stopped();
        let down = pin!(async {
            match read_reply(&mut ends.recv).await {
                Some(Reply::Connected) => downward(&mut ends.recv, &tcp, carried, false).await,
                Some(Reply::ConnectedInPieces) if terms.are_pieces() => {
                    terms.let_pack();
                    downward(&mut ends.recv, &tcp, carried, true).await
                }
                Some(Reply::ConnectedInPieces) => Err(Broken("pieces that nobody asked for")),
                Some(reply) => {
                    refused(reply);
                    Err(Broken("refused"))
                }
                None => Err(Broken("no reply")),
            }
        });
        let up = pin!(upward(&tcp, &mut ends.send, gate, carried, terms));
        // Biased: a refusal comes before the stop that follows it, and its reason must not get lost.
        tokio::select! {
            biased;
            both = try_join(down, up) => both,
            broken = broken(&tcp, unwanted) => Err(broken),
        }
    };
    let is_clean = ended.is_ok();
    ends.conclude(&tcp, ended);
    is_clean
}

/// Sets a TCP connection up for a tunnel: no delay for small writes, no eternal half-open connections, and RST when it
/// is dropped: only a clean end takes that back, so that whatever cuts it, it does not look finished.
pub(super) fn prepare(tcp: &TcpStream) {
    let socket = socket2::SockRef::from(tcp);
    let keepalive = socket2::TcpKeepalive::new().with_time(TCP_KEEPALIVE);
    let options = [tcp.set_nodelay(true), socket.set_tcp_keepalive(&keepalive), tcp.set_zero_linger()];
    for error in options.into_iter().filter_map(Result::err).chain(pace_nothing(tcp).err()) {
        tracing::debug!(%error, "TCP option refused");
    }
}

/// Within a machine there is nothing to pace for: a system whose TCP is BBR lets two fifths of the speed lie there
/// (measured: 2.6 Gbit/s through a tunnel, and 4.4 with this). Reno is what every user may choose.
#[cfg(target_os = "linux")]
fn pace_nothing(tcp: &TcpStream) -> io::Result<()> {
    if tcp.peer_addr()?.ip().is_loopback() {
        socket2::SockRef::from(tcp).set_tcp_congestion(b"reno")?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn pace_nothing(_tcp: &TcpStream) -> io::Result<()> {
    Ok(())
}

/// Our ends of a stream; reset when dropped before a clean end, for the library would finish them.
struct Ends {
    send: SendStream,
    recv: RecvStream,
    clean: bool,
}

impl Ends {
    fn conclude(mut self, tcp: &TcpStream, ended: Result<((), ()), Broken>) {
        match ended {
            Ok(_) => {
                self.clean = true;
                if let Err(error) = socket2::SockRef::from(tcp).set_linger(None) {
                    tracing::debug!(%error, "TCP option refused");
                }
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

/// Waits for an RST of the TCP peer, or the other side's word of one there. Reading and writing would show both, but
/// after a FIN nobody reads any more, and while the stream's window is full nobody reads yet.
async fn broken(tcp: &TcpStream, unwanted: Stopped) -> Broken {
    let stopped = async {
        match unwanted.await {
            Ok(Some(_)) | Err(_) => Broken("stopped by the other side"),
            Ok(None) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tcp.ready(Interest::ERROR) => Broken("TCP error"),
        broken = stopped => broken,
    }
}

/// Stream → TCP, until the other side's FIN has been passed on.
async fn downward(
    recv: &mut RecvStream,
    tcp: &TcpStream,
    carried: &Carried,
    comes_in_pieces: bool,
) -> Result<(), Broken> {
    let mut unpacker = comes_in_pieces.then(Unpacker::new);
    while let Some(first) = recv.read_chunk(FEW).await.map_err(|_| Broken("stream read"))? {
        let mut parts = vec![first];
        let mut hand = None;
        loop {
            // One that gets no hand goes on with few bytes.
            hand = hand.or_else(|| HANDS.try_acquire().ok());
            if hand.is_some() {
                read_ready(recv, &mut parts).await.map_err(|_| Broken("stream read"))?;
            }
            if parts.is_empty() {
                break;
            }
            match &mut unpacker {
                Some(unpacker) => deliver(unpacker, &mut parts, tcp, carried).await?,
                None => deliver_all(&mut parts, tcp, carried).await?,
            }
            parts.clear();
            if hand.is_none() {
                break;
            }
        }
    }
    if unpacker.is_some_and(|unpacker| !unpacker.is_between_pieces()) {
        return Err(Broken("end within a piece"));
    }
    socket2::SockRef::from(tcp).shutdown(Shutdown::Write).map_err(|_| Broken("TCP shutdown"))
}

/// Writes what is in pieces.
async fn deliver(
    unpacker: &mut Unpacker,
    parts: &mut [Bytes],
    tcp: &TcpStream,
    carried: &Carried,
) -> Result<(), Broken> {
    let mut ready = Vec::with_capacity(WRITTEN);
    let mut rest = parts;
    while !rest.is_empty() {
        unpacker.wait_for_place().await;
        rest = unpack_some(unpacker, rest, &mut ready, carried).map_err(|_| Broken("malformed piece"))?;
        deliver_all(&mut ready, tcp, carried).await?;
        ready.clear();
        unpacker.give_place_back();
    }
    Ok(())
}

/// Unpacks one packed piece, or plain ones as long as there is room. Returns what is left.
fn unpack_some<'a>(
    unpacker: &mut Unpacker,
    mut parts: &'a mut [Bytes],
    ready: &mut Vec<Bytes>,
    carried: &Carried,
) -> Result<&'a mut [Bytes], BadPiece> {
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
            return Ok(parts); // a packed piece begins, and needs a place
        }
        parts = &mut parts[1..];
    }
    Ok(parts)
}

async fn deliver_all(parts: &mut [Bytes], tcp: &TcpStream, carried: &Carried) -> Result<(), Broken> {
    let bytes = parts.iter().map(Bytes::len).sum();
    write_all(tcp, parts).await.map_err(|_| Broken("TCP write"))?;
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
async fn write_all(tcp: &TcpStream, parts: &mut [Bytes]) -> io::Result<()> {
    let mut rest = parts;
    let mut are_copies = false;
    while !rest.is_empty() {
        match write_some(tcp, rest) {
            Ok(written) => rest = advance(rest, written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !are_copies {
                    if let Ok(writable) = tokio::time::timeout(SOON, tcp.writable()).await {
                        writable?;
                        continue;
                    }
                    rest.iter_mut().for_each(|part| *part = Bytes::copy_from_slice(part));
                    are_copies = true;
                }
                tcp.writable().await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_some(tcp: &TcpStream, parts: &[Bytes]) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); WRITTEN];
    let count = parts.len().min(WRITTEN);
    for (slice, part) in slices.iter_mut().zip(parts) {
        *slice = IoSlice::new(part);
    }
    tcp.try_write_vectored(&slices[..count])
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

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn a_fault_while_a_connection_is_carried_does_not_make_it_look_finished() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(address).await.expect("it accepts");
        let (tcp, _) = listener.accept().await.expect("just connected");
        prepare(&tcp);
        let carried = tokio::spawn(async move {
            let _held = tcp;
            panic!("as the test wants it")
        });
        assert!(carried.await.is_err());
        let error = client.read_u8().await.expect_err("no bytes");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
