//! Connection → stream: reads as much as is there, packs it where that pays, and writes it.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use noq::SendStream;
use pinhole_proto::{block::Head, stream::Request};
use tokio::time::Instant;

use super::{
    compression::{CompressionPolicy, LEAST_SAMPLE_BYTES, Level, Plan, Written},
    conn::{Conn, readable},
    pack,
    splice::Broken,
    urgency::Urgency,
};
use crate::{status::Carried, tunnel::SendScheduler};

/// Size in bytes of the first read of a connection that was idle: most interactive writes fit.
const FIRST_READ: usize = 4 << 10;

/// Size in bytes of the largest read: about what a socket hands out at once under load.
const LARGEST_READ: usize = 128 << 10;

/// Smallest chunk in bytes that is packed: less would not become much smaller.
const TOO_LITTLE: usize = 512;

/// Time without a byte after which a connection is packed no more.
const PAUSE: Duration = Duration::from_secs(1);

/// The framing of what this side sends: plain bytes, or blocks, which may be packed or not.
#[derive(Debug)]
pub(super) struct SendFraming {
    in_blocks: bool,
    may_pack: AtomicBool,
}

impl SendFraming {
    /// Makes the framing of plain bytes.
    pub(super) fn plain() -> Self {
        Self { in_blocks: false, may_pack: AtomicBool::new(false) }
    }

    /// Makes the framing in blocks that are not packed before [`SendFraming::let_pack`].
    pub(super) fn in_blocks() -> Self {
        Self { in_blocks: true, may_pack: AtomicBool::new(false) }
    }

    /// Makes the framing that a request announces.
    pub(super) fn of(request: &Request) -> Self {
        if request.blocks { Self::in_blocks() } else { Self::plain() }
    }

    /// Allows to pack: the other side has said that it takes packed blocks.
    pub(super) fn let_pack(&self) {
        self.may_pack.store(self.in_blocks, Relaxed);
    }

    /// Whether it is in blocks.
    pub(super) fn are_blocks(&self) -> bool {
        self.in_blocks
    }
}

/// Carries bytes until the connection's end has been passed on and the other side has all of it.
pub(super) async fn conn_to_stream(
    conn: &impl Conn,
    send: &mut SendStream,
    scheduler: &SendScheduler,
    carried: &Carried,
    framing: &SendFraming,
) -> Result<(), Broken> {
    let mut source = Source { conn, buffer: BytesMut::new(), size: FIRST_READ, end: None };
    let mut sink = Sink::new(send, scheduler, carried, framing)?;
    loop {
        let most = sink.prepare();
        if !source.wait(most.is_some()).await? {
            sink.pause();
            continue;
        }
        let Some(chunk) = source.take(most.unwrap_or(LARGEST_READ))? else { break };
        match most {
            // Boxed, like all that few connections need: each carries the size of its future with it.
            Some(most) => Box::pin(source.fill_while(most, sink.send(chunk))).await?,
            None => sink.send(chunk).await?,
        }
    }
    sink.finish().await
}

/// The connection.
struct Source<'a, C> {
    conn: &'a C,
    buffer: BytesMut,
    /// Of the next read, bytes.
    size: usize,
    end: Option<Result<(), Broken>>,
}

impl<C: Conn> Source<'_, C> {
    /// Waits until there is something to read, or to take. `false` if there is to be a limit to that, and it has passed.
    async fn wait(&mut self, is_limited: bool) -> Result<bool, Broken> {
        while self.buffer.is_empty() && self.end.is_none() {
            if self.buffer.capacity() == 0 {
                let ready = if is_limited {
                    let readable = Box::pin(tokio::time::timeout(PAUSE, readable(self.conn)));
                    let Ok(ready) = readable.await else { return Ok(false) };
                    ready
                } else {
                    readable(self.conn).await
                };
                ready.map_err(|_| Broken("connection not readable"))?;
            }
            self.read(LARGEST_READ);
        }
        Ok(true)
    }

    /// Reads what is there, once. An idle connection holds no buffer.
    fn read(&mut self, most: usize) {
        let size = self.size.min(most);
        self.buffer.reserve(size);
        match self.conn.try_read_into(&mut self.buffer) {
            Ok(0) => self.end = Some(Ok(())),
            Ok(read) => self.size = if read >= size { (size * 2).min(LARGEST_READ) } else { self.size },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                    self.size = FIRST_READ;
                }
            }
            Err(_) => self.end = Some(Err(Broken("connection read"))),
        }
    }

    /// Takes what has been read; `None` at the end.
    fn take(&mut self, most: usize) -> Result<Option<Bytes>, Broken> {
        if self.buffer.is_empty() {
            return self.end.unwrap_or(Ok(())).map(|()| None);
        }
        let chunk = if self.buffer.len() > most { self.buffer.split_to(most) } else { self.buffer.split() };
        Ok(Some(chunk.freeze()))
    }

    /// Reads on until there is a block while something else is done: the larger a block, the smaller what is left of it.
    async fn fill_while<T>(&mut self, most: usize, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        while self.end.is_none() && self.buffer.len() < most {
            tokio::select! {
                biased;
                done = &mut work => return done,
                ready = readable(self.conn) => match ready {
                    Ok(()) => self.read(most - self.buffer.len()),
                    Err(_) => self.end = Some(Err(Broken("connection not readable"))),
                },
            }
        }
        work.await
    }
}

/// The stream.
struct Sink<'a> {
    send: &'a mut SendStream,
    scheduler: &'a SendScheduler,
    carried: &'a Carried,
    framing: &'a SendFraming,
    urgency: Urgency,
    priority: i32,
    policy: CompressionPolicy,
    permit: Option<pack::Permit>,
}

impl<'a> Sink<'a> {
    fn new(
        send: &'a mut SendStream,
        scheduler: &'a SendScheduler,
        carried: &'a Carried,
        framing: &'a SendFraming,
    ) -> Result<Self, Broken> {
        let now = Instant::now();
        let (urgency, priority) = (Urgency::new(now), Urgency::at_first());
        set_priority(send, priority)?;
        Ok(Self {
            send,
            scheduler,
            carried,
            framing,
            urgency,
            priority,
            policy: CompressionPolicy::new(now),
            permit: None,
        })
    }

    /// Returns the largest chunk that should be packed, if one should be; holds a permit for as long.
    fn prepare(&mut self) -> Option<usize> {
        let Plan::Pack { block_bytes, .. } = self.policy.plan() else {
            self.permit = None;
            return None;
        };
        self.permit = self.permit.take().or_else(pack::permit);
        if self.permit.is_none() {
            self.pause();
        }
        self.permit.is_some().then_some(block_bytes)
    }

    /// Nothing has come for a while.
    fn pause(&mut self) {
        self.policy.handle_pause(Instant::now());
    }

    async fn send(&mut self, chunk: Bytes) -> Result<(), Broken> {
        let bytes = chunk.len();
        if !self.framing.in_blocks {
            self.write(&mut [chunk], bytes).await?;
            self.carried.sent(bytes);
            return Ok(());
        }
        let mut saved = 0;
        let packed = match self.level(bytes) {
            Some(level) => Box::pin(self.pack(chunk.clone(), level)).await,
            None => None,
        };
        let (head, chunk) = match packed {
            Some(packed) => {
                saved = bytes - packed.len();
                (Head::Packed { length: packed.len(), unpacked: bytes }, packed)
            }
            None => (Head::Plain(bytes), chunk),
        };
        let begun = Instant::now();
        self.write(&mut [head.encode().into(), chunk], bytes - saved).await?;
        self.carried.sent(bytes);
        if saved > 0 {
            self.carried.sent_saved(saved);
        }
        if self.framing.may_pack.load(Relaxed) {
            let now = Instant::now();
            let written = Written { bytes, waited: now - begun, by_all: self.scheduler.written() };
            self.policy.handle_written(written, now);
        }
        Ok(())
    }

    /// Returns the level at which that many bytes are packed, if at all.
    fn level(&mut self, bytes: usize) -> Option<Level> {
        if self.policy.plan() == Plan::Sample
            && bytes >= LEAST_SAMPLE_BYTES
            && let Some(speed) = pack::speed()
        {
            self.policy.handle_speed(speed, Instant::now());
        }
        match self.policy.plan() {
            Plan::Sample if bytes >= LEAST_SAMPLE_BYTES => Some(Level::Quick),
            Plan::Pack { level, .. } if bytes >= TOO_LITTLE => Some(level),
            Plan::Plain | Plan::Sample | Plan::Pack { .. } => None,
        }
    }

    /// Packs a chunk; `None` if nothing is saved by that.
    async fn pack(&mut self, chunk: Bytes, level: Level) -> Option<Bytes> {
        let bytes = chunk.len();
        let (is_sample, begun) = (self.policy.plan() == Plan::Sample, Instant::now());
        let Some((packed, outcome)) = pack::pack(chunk, level).await else {
            self.pause();
            return None;
        };
        if is_sample {
            pack::note_speed(outcome.speed());
        }
        let now = Instant::now();
        self.policy.handle_packed(outcome, now - begun, now);
        (packed.len() + pinhole_proto::block::MAX_HEAD_BYTES < bytes).then_some(packed)
    }

    async fn write(&mut self, chunks: &mut [Bytes], bytes: usize) -> Result<(), Broken> {
        let wanted = self.urgency.note(bytes, Instant::now());
        if std::mem::replace(&mut self.priority, wanted) != wanted {
            set_priority(self.send, wanted)?;
        }
        self.scheduler.write(self.send, chunks).await.map_err(|_| Broken("stream not writable"))
    }

    async fn finish(self) -> Result<(), Broken> {
        self.send.finish().map_err(|_| Broken("stream stopped"))?;
        match self.send.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(Broken("stream stopped at its end")),
        }
    }
}

fn set_priority(send: &SendStream, priority: i32) -> Result<(), Broken> {
    send.set_priority(priority).map_err(|_| Broken("stream stopped"))
}
