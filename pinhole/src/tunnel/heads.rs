//! Heads of the streams that the peer opens: read beside each other, each within its time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use noq::{ConnectionError, RecvStream, SendStream};
use pinhole_proto::stream::{Reply, Request};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::Notify,
    task::JoinSet,
};

use super::stream::answer;

/// Time for a stream's head to arrive in full. It may wait behind a full send window on a slow link.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A stream of the peer whose head was read, and which has no answer yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) request: Request,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

/// Streams that the peer has opened and nobody has taken yet.
///
/// A task reads each head. So a head that is slow or never comes holds up no other stream, and no stream is lost with the
/// future that waits for it. QUIC bounds the tasks and what waits: until a stream has its answer, it is one of
/// [`MAX_STREAMS`](super::MAX_STREAMS).
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// Dropped with the tunnel, as the streams must not keep its connection alive.
    readers: Mutex<JoinSet<()>>,
    ready: Arc<Ready>,
}

/// Streams whose heads were read, the first one first.
#[derive(Debug, Default)]
struct Ready {
    arrivals: Mutex<VecDeque<Arrival>>,
    more: Notify,
}

impl Heads {
    /// Waits for the next stream whose head was read. Any number of tasks may wait; one that stops to wait loses nothing.
    pub(super) async fn next(&self, connection: &noq::Connection) -> Result<Arrival, ConnectionError> {
        loop {
            if let Some(arrival) = self.ready.arrivals().pop_front() {
                return Ok(arrival);
            }
            tokio::select! {
                () = self.ready.more.notified() => {}
                streams = connection.accept_bi() => self.read(streams?),
            }
        }
    }

    /// Reads a head, and refuses the stream if it is malformed or late.
    fn read(&self, (mut send, mut recv): (SendStream, RecvStream)) {
        let ready = self.ready.clone();
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        while readers.try_join_next().is_some() {} // those that have ended take no room
        readers.spawn(async move {
            match read_request(&mut recv).await {
                Some(request) => ready.add(Arrival { request, send, recv }),
                None => answer(&mut send, Reply::Unavailable).await,
            }
        });
    }
}

impl Ready {
    fn add(&self, arrival: Arrival) {
        self.arrivals().push_back(arrival);
        self.more.notify_one();
    }

    fn arrivals(&self) -> MutexGuard<'_, VecDeque<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the head of a stream, if it comes in time.
async fn read_request(recv: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    tokio::time::timeout(REQUEST_TIMEOUT, read_head(recv)).await.ok().flatten()
}

async fn read_head(recv: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut head = [0; 2];
    recv.read_exact(&mut head).await.ok()?;
    let mut bytes = head.to_vec();
    bytes.resize(2 + Request::name_length(head).ok()?, 0);
    recv.read_exact(&mut bytes[2..]).await.ok()?;
    Request::decode(&bytes).ok()
}

#[cfg(test)]
mod tests;
