//! Events for one subscriber, as a stream.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::broadcast;
use tokio_stream::{
    Stream,
    wrappers::{BroadcastStream, errors::BroadcastStreamRecvError},
};

use super::Event;

/// Events of a peer: first what holds now, then what happens.
///
/// What holds is told by the events that would tell it: where the peer is searched, the path, the tunnel, the peer's
/// services, the local ports that reach them, troubles that stand. It ends when the peer handle and all that was made from
/// it are gone.
///
/// A subscriber that is too slow is told how many it has missed, and goes on.
///
/// ```no_run
/// use pinhole::{Event, Peer};
///
/// # async fn run(peer: Peer) {
/// let mut events = peer.events(); // a `futures_core::Stream` as well
/// while let Some(event) = events.next().await {
///     match event {
///         Ok(Event::TunnelUp { remote }) => println!("tunnel to {remote}"),
///         Ok(other) => println!("{}", other.name()),
///         Err(missed) => println!("{missed}"),
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct EventStream {
    standing: VecDeque<Event>,
    rest: BroadcastStream<Event>,
}

/// Says that a subscriber was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{count} events came faster than they were read")]
pub struct Missed {
    /// How many events are lost to it.
    pub count: u64,
}

impl EventStream {
    pub(super) fn new(standing: Vec<Event>, rest: broadcast::Receiver<Event>) -> Self {
        Self { standing: standing.into(), rest: BroadcastStream::new(rest) }
    }

    /// Waits for the next event. `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Event, Missed>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for EventStream {
    type Item = Result<Event, Missed>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(event) = self.standing.pop_front() {
            return Poll::Ready(Some(Ok(event)));
        }
        let next = ready!(Pin::new(&mut self.rest).poll_next(cx));
        Poll::Ready(
            next.map(|event| event.map_err(|BroadcastStreamRecvError::Lagged(count)| Missed { count })),
        )
    }
}
