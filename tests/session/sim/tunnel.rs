//! The settings of the program's own QUIC, as they are.

#[path = "../../../src/tunnel/congestion.rs"]
pub(super) mod congestion;
#[path = "../../../src/tunnel/signs.rs"]
mod signs;
#[path = "../../../src/tunnel/tls.rs"]
mod tls;
#[path = "../../../src/tunnel/transport.rs"]
pub(super) mod transport;
