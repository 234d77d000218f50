//! How pinhole sets QUIC up: the QUIC library's settings and cryptography, without sockets and runtime.
//!
//! - [`Credentials`]: what both sides pin, and the keys of QUIC's first packets, which follow from the shared key.
//! - [`Shared`]: settings of endpoints, handshakes and connections, and why; [`PathEstimate`] is what is known of a path before.
//! - [`ControllerFeedback`]: congestion control, begun anew for each path, and what it reports.
//! - [`CloseReason`], [`tunnel_end`], [`handshake_error`]: how connections end.

mod congestion;
mod credentials;
mod ends;
mod ids;
mod initial;
mod random_loss;
mod tls;
mod transport;
#[cfg(test)]
mod vectors;

pub use self::{
    congestion::ControllerFeedback,
    credentials::Credentials,
    ends::{CloseReason, handshake_error, tunnel_end},
    initial::Opened,
    transport::{
        CONNECTION_WINDOW_BYTES, LARGEST_DATAGRAM, MAX_STREAMS, PathEstimate, SEND_WINDOW_BYTES,
        STREAM_WINDOW_BYTES, Shared, endpoint,
    },
};
