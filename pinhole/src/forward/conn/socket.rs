//! Connections that the system makes.

use std::{
    io::{ErrorKind, IoSlice, Result},
    net::Shutdown,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
};

use super::Conn;
use crate::sys;

/// Silence on a TCP connection after which the system asks whether its peer still lives.
const TCP_KEEPALIVE: Duration = Duration::from_secs(120);

/// The operations that both kinds of socket have in common: tokio gives them one interface without a trait for it.
macro_rules! readiness {
    () => {
        fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
            self.poll_read_ready(cx)
        }

        fn try_read_into(&self, buffer: &mut BytesMut) -> Result<usize> {
            self.try_read_buf(buffer)
        }

        fn poll_write(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
            loop {
                match self.try_write_vectored(parts) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        ready!(self.poll_write_ready(cx))?;
                    }
                    written => return Poll::Ready(written),
                }
            }
        }

        fn poll_shutdown(&self, _cx: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(socket2::SockRef::from(self).shutdown(Shutdown::Write))
        }

        async fn broken(&self) {
            let _broken_or_of_no_use = self.ready(Interest::ERROR).await;
        }

        fn is_broken(&self) -> bool {
            !matches!(self.take_error(), Ok(None))
        }
    };
}

impl Conn for TcpStream {
    /// No delay for small writes, no eternal half-open connections, and RST when it is dropped: whatever cuts it, it does
    /// not look finished.
    fn prepare(&self) {
        let socket = socket2::SockRef::from(self);
        let keepalive = socket2::TcpKeepalive::new().with_time(TCP_KEEPALIVE);
        let options = [self.set_nodelay(true), socket.set_tcp_keepalive(&keepalive), self.set_zero_linger()];
        for error in options.into_iter().filter_map(Result::err).chain(sys::pace_nothing(self).err()) {
            tracing::debug!(%error, "TCP option refused");
        }
    }

    fn conclude(&self) {
        if let Err(error) = socket2::SockRef::from(self).set_linger(None) {
            tracing::debug!(%error, "TCP option refused");
        }
    }

    readiness!();
}

impl Conn for UnixStream {
    readiness!();
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
        tcp.prepare();
        let carried = tokio::spawn(async move {
            let _held = tcp;
            panic!("as the test wants it")
        });
        assert!(carried.await.is_err());
        let error = client.read_u8().await.expect_err("no bytes");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
