//! A small task for each socket that QUIC does not read, and one for the main socket's ICMP errors.
//!
//! A task sleeps until its socket has something, holds no buffer meanwhile, and ends with its [`Reader`].

use std::{io, net::SocketAddr, sync::Arc};

use pinhole_proto::{probe::MAX_PROBE_BYTES, puncher::Pair};
use tokio::{
    io::Interest,
    task::{AbortHandle, yield_now},
};

use super::{
    demux::Demux,
    link::Link,
    receive::{IcmpArrival, ReceiveQueues},
};

/// Reads in a row before the runtime gets its turn: a flood must not starve the rest.
const READS: usize = 32;

/// The receiver of what is read.
#[derive(Debug, Clone)]
pub(super) enum Sink {
    /// To the one peer whose socket it is.
    Peer(Arc<ReceiveQueues>),
    /// To the peer that it is for: from the main socket.
    Any(Arc<Demux>),
}

impl Sink {
    fn push_icmp(&self, icmp: IcmpArrival) {
        match self {
            Self::Peer(queues) => queues.push_icmp(icmp),
            Self::Any(demux) => demux.push_icmp(&icmp),
        }
    }

    fn pass_on(&self, socket: &Link, remote: SocketAddr, datagram: &[u8]) {
        match self {
            Self::Peer(queues) => queues.pass_on(Pair { socket: socket.id(), remote }, datagram),
            Self::Any(demux) => demux.pass_on(remote, datagram),
        }
    }
}

/// Ends its task when dropped.
#[derive(Debug)]
pub(super) struct Reader(AbortHandle);

impl Reader {
    /// Takes all that arrives on a socket, and the ICMP errors about what left from it.
    pub(super) fn of_everything(socket: Arc<Link>, sink: Sink) -> Self {
        Self(tokio::spawn(read(socket, sink, Interest::READABLE | Interest::ERROR)).abort_handle())
    }

    /// Takes just the ICMP errors.
    pub(super) fn of_errors(socket: Arc<Link>, sink: Sink) -> Self {
        Self(tokio::spawn(read(socket, sink, Interest::ERROR)).abort_handle())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read(socket: Arc<Link>, sink: Sink, interest: Interest) {
    loop {
        let ready = match socket.ready(interest).await {
            Ok(ready) => ready,
            Err(error) => return tracing::debug!(%error, socket = socket.id().0, "socket no longer read"),
        };
        let errors = !ready.is_error() || read_errors(&socket, &sink);
        let datagrams = !ready.is_readable() || read_datagrams(&socket, &sink);
        if !(errors && datagrams) {
            yield_now().await;
        }
    }
}

/// Returns whether nothing is left.
fn read_errors(socket: &Link, sink: &Sink) -> bool {
    for _ in 0..READS {
        match socket.take_icmp() {
            Ok(Some(arrival)) => sink.push_icmp(arrival),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) => tracing::trace!(%error, "an ICMP error cannot be read"),
        }
    }
    false
}

/// Returns whether nothing is left. Reads one byte more than a probe may have: what fills the buffer is none.
fn read_datagrams(socket: &Link, sink: &Sink) -> bool {
    let mut buffer = [0; MAX_PROBE_BYTES + 1];
    for _ in 0..READS {
        match socket.try_recv(&mut buffer) {
            Ok((length, remote)) => sink.pass_on(socket, remote, &buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) => tracing::trace!(%error, "nothing read"), // most likely an ICMP error, which is read elsewhere
        }
    }
    false
}
