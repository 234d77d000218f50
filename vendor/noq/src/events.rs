//! What an endpoint hands to one of its connections, in order: a channel in which datagrams take a bounded amount of memory.
//!
//! Not in the release, where they wait without a bound for a connection that is slower than the network.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use crate::ConnectionEvent;

/// Most bytes of datagrams that wait for one connection, beyond which they are lost as in a socket's buffer.
pub(crate) const MAX_QUEUED: usize = 4 << 20;

/// What a datagram takes beside its contents; a small one is counted for that much at the least.
const OVERHEAD: usize = 256;

/// Makes the channel of one connection.
pub(crate) fn event_channel() -> (EventSender, EventReceiver) {
    let (send, recv) = mpsc::unbounded_channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let sender = EventSender { send, queued: queued.clone() };
    (sender, EventReceiver { recv, queued })
}

/// The endpoint's end of the channel.
#[derive(Debug)]
pub(crate) struct EventSender {
    send: mpsc::UnboundedSender<Queued>,
    queued: Arc<AtomicUsize>,
}

/// An event, and the bytes for which it is counted.
#[derive(Debug)]
struct Queued(ConnectionEvent, usize);

impl EventSender {
    /// Hands on what no peer can cause at will. An error says that the connection is gone.
    pub(crate) fn send(&self, event: ConnectionEvent) -> Result<(), ()> {
        self.send.send(Queued(event, 0)).map_err(|_| ())
    }

    /// Hands on a datagram of that size, or throws it away where too many wait.
    pub(crate) fn send_datagram(&self, event: proto::ConnectionEvent, size: usize) -> Result<(), ()> {
        self.send_counted(ConnectionEvent::Proto(event), size + OVERHEAD)
    }

    fn send_counted(&self, event: ConnectionEvent, size: usize) -> Result<(), ()> {
        // Only the endpoint adds, under its lock: what is seen here can only have become less.
        if self.queued.load(Ordering::Relaxed) + size > MAX_QUEUED {
            return Ok(());
        }
        self.queued.fetch_add(size, Ordering::Relaxed);
        self.send.send(Queued(event, size)).map_err(|_| ())
    }
}

/// The connection's end of the channel.
#[derive(Debug)]
pub(crate) struct EventReceiver {
    recv: mpsc::UnboundedReceiver<Queued>,
    queued: Arc<AtomicUsize>,
}

impl EventReceiver {
    /// Takes the next event; `None` when the endpoint is gone.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<ConnectionEvent>> {
        self.recv.poll_recv(cx).map(|next| {
            next.map(|Queued(event, size)| {
                self.queued.fetch_sub(size, Ordering::Relaxed);
                event
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn event() -> ConnectionEvent {
        ConnectionEvent::LocalAddressChanged(None)
    }

    #[test]
    fn datagrams_beyond_the_bound_are_lost_and_other_events_are_not() {
        let (sender, mut receiver) = event_channel();
        let size = MAX_QUEUED / 4;
        for _ in 0..10 {
            sender.send_counted(event(), size).unwrap();
        }
        sender.send(event()).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..5 {
            assert!(receiver.poll_recv(&mut context).is_ready());
        }
        assert!(receiver.poll_recv(&mut context).is_pending());
        sender.send_counted(event(), size).unwrap();
        assert!(receiver.poll_recv(&mut context).is_ready(), "there is room again");
    }
}
