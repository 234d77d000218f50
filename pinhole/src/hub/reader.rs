//! A small task for each socket that QUIC does not read, and one for the main socket's ICMP errors.
//!
//! A task sleeps until its socket has something, holds no buffer meanwhile, and ends with its [`Reader`].

use std::{io, sync::Arc};

use pinhole_proto::probe::MAX_PROBE_BYTES;
use tokio::{
    io::Interest,
    task::{AbortHandle, yield_now},
};

use super::{icmp, intake::Intake, socket::UdpSocket};

/// Reads in a row before the runtime gets its turn: a flood must not starve the rest.
const READS: usize = 32;

/// Ends its task when dropped.
#[derive(Debug)]
pub(super) struct Reader(AbortHandle);

impl Reader {
    /// Takes all that arrives on a socket, and the ICMP errors about what left from it.
    pub(super) fn of_everything(socket: Arc<UdpSocket>, intake: Arc<Intake>) -> Self {
        Self(tokio::spawn(read(socket, intake, Interest::READABLE | Interest::ERROR)).abort_handle())
    }

    /// Takes just the ICMP errors.
    pub(super) fn of_errors(socket: Arc<UdpSocket>, intake: Arc<Intake>) -> Self {
        Self(tokio::spawn(read(socket, intake, Interest::ERROR)).abort_handle())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read(socket: Arc<UdpSocket>, intake: Arc<Intake>, interest: Interest) {
    loop {
        let ready = match socket.io().ready(interest).await {
            Ok(ready) => ready,
            Err(error) => return tracing::debug!(%error, socket = socket.id().0, "socket no longer read"),
        };
        let errors = !ready.is_error() || read_errors(&socket, &intake);
        let datagrams = !ready.is_readable() || read_datagrams(&socket, &intake);
        if !(errors && datagrams) {
            yield_now().await;
        }
    }
}

/// Returns whether nothing is left.
fn read_errors(socket: &UdpSocket, intake: &Intake) -> bool {
    for _ in 0..READS {
        match socket.io().try_io(Interest::ERROR, || icmp::take(socket)) {
            Ok(Some(arrival)) => intake.push_icmp(arrival),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) => tracing::trace!(%error, "an ICMP error cannot be read"),
        }
    }
    false
}

/// Returns whether nothing is left. Reads one byte more than a probe may have: what fills the buffer is none.
fn read_datagrams(socket: &UdpSocket, intake: &Intake) -> bool {
    let mut buffer = [0; MAX_PROBE_BYTES + 1];
    for _ in 0..READS {
        match socket.io().try_recv_from(&mut buffer) {
            Ok((length, remote)) => intake.divert(socket.id(), remote, &buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) => tracing::trace!(%error, "nothing read"), // most likely an ICMP error, which is read elsewhere
        }
    }
    false
}
