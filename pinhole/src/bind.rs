//! The error of a local port that cannot be bound.

use std::{fmt, io, net::SocketAddr};

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// For the tunnel.
    Udp,
    /// For local clients.
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// The reason why a local port cannot be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another program has the port.
    #[error("{protocol} port {} is in use on {}", .address.port(), .address.ip())]
    InUse {
        /// The port's protocol.
        protocol: Protocol,
        /// Where.
        address: SocketAddr,
    },
    /// A port below 1024 without the right to it.
    #[error("no permission for {protocol} port {}", .address.port())]
    Permission {
        /// The port's protocol.
        protocol: Protocol,
        /// Where.
        address: SocketAddr,
    },
    /// The address is not one of this machine's.
    #[error("{} is not an address of this machine", .address.ip())]
    NotLocal {
        /// Where.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot open {protocol} {address}")]
    Other {
        /// The port's protocol.
        protocol: Protocol,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl BindError {
    /// Says what an error of the system means for a port.
    #[must_use]
    pub fn new(protocol: Protocol, address: SocketAddr, source: io::Error) -> Self {
        let kind = source.kind();
        if kind == io::ErrorKind::AddrInUse {
            Self::InUse { protocol, address }
        } else if kind == io::ErrorKind::PermissionDenied {
            Self::Permission { protocol, address }
        } else if kind == io::ErrorKind::AddrNotAvailable {
            Self::NotLocal { address }
        } else {
            Self::Other { protocol, address, source }
        }
    }

    /// Whether this machine has no such address, or none of its whole family: no IPv6, for example.
    pub(crate) fn is_no_such_address(&self) -> bool {
        match self {
            Self::NotLocal { .. } => true,
            Self::Other { source, .. } => {
                source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
            }
            Self::InUse { .. } | Self::Permission { .. } => false,
        }
    }
}
