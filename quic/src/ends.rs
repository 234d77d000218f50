//! The ends of connections and handshakes: codes on the wire, and our own terms for what the library reports.

use noq_proto::ConnectionError;
use pinhole_proto::session::{HandshakeError, TunnelEnd};

/// The reason why a side closes the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The program ends.
    Leaving,
    /// The connection is of no use any more: the peer has restarted, or searches again.
    Replaced,
}

impl CloseReason {
    /// Returns the code on the wire. Not 0: the library says that of itself when a connection is dropped.
    pub fn code(self) -> u32 {
        match self {
            Self::Leaving => 1,
            Self::Replaced => 2,
        }
    }
}

/// Returns in our own words why a handshake failed, never in those of the other side.
pub fn handshake_error(error: &ConnectionError) -> HandshakeError {
    match error {
        ConnectionError::TimedOut => HandshakeError::Late,
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::LocallyClosed
        | ConnectionError::Reset
        | ConnectionError::CidsExhausted => HandshakeError::Ended,
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_) => HandshakeError::Disagreed,
    }
}

/// Returns how a connection ended.
pub fn tunnel_end(error: &ConnectionError) -> TunnelEnd {
    match error {
        ConnectionError::ApplicationClosed(close)
            if close.error_code == CloseReason::Leaving.code().into() =>
        {
            TunnelEnd::PeerLeft
        }
        ConnectionError::ApplicationClosed(_) => TunnelEnd::Replaced,
        ConnectionError::LocallyClosed => TunnelEnd::Closed,
        ConnectionError::TimedOut
        | ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::Reset
        | ConnectionError::CidsExhausted => TunnelEnd::Broken,
    }
}
