//! Targets: what a service of the serve side is connected to.
//!
//! Whoever adds a kind adds a variant of [`Target`] with its grammar (`text`), a file that connects it, and a variant of
//! [`Connected`]; nobody else knows kinds.

mod tcp;
mod text;

use std::{
    future::Future,
    io::{IoSlice, Result},
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::net::TcpStream;

use super::{conn::Conn, spec::SpecError};

pub use self::text::Target;
pub(super) use self::text::{parse_port, parts};

/// The name of the service's machine does not resolve.
#[derive(Debug, thiserror::Error)]
#[error("the name does not resolve")]
pub(super) struct Unresolved;

impl Target {
    /// Connects to it.
    ///
    /// # Errors
    ///
    /// When that fails; [`Unresolved`] inside when its name means nothing.
    pub(super) async fn connect(&self) -> Result<Connected> {
        match self {
            Self::Tcp { host, port } => tcp::connect(host.as_deref(), *port).await.map(Connected::Tcp),
        }
    }
}

/// A connection to a target, of the kind that it has.
#[derive(Debug)]
pub(super) enum Connected {
    Tcp(TcpStream),
}

impl Conn for Connected {
    fn prepare(&self) {
        match self {
            Self::Tcp(tcp) => tcp.prepare(),
        }
    }

    fn conclude(&self) {
        match self {
            Self::Tcp(tcp) => tcp.conclude(),
        }
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_readable(cx),
        }
    }

    fn try_read_into(&self, buffer: &mut BytesMut) -> Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_read_into(buffer),
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_write(cx, parts),
        }
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_flush(cx),
        }
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_shutdown(cx),
        }
    }

    fn broken(&self) -> impl Future<Output = ()> + Send {
        match self {
            Self::Tcp(tcp) => tcp.broken(),
        }
    }

    fn is_broken(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_broken(),
        }
    }
}
