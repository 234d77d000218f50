//! The settings of the program's own QUIC, as they are.

#[path = "../../../src/tunnel/congestion.rs"]
pub(super) mod congestion;
#[path = "../../../src/tunnel/credentials.rs"]
pub(super) mod credentials;
#[path = "../../../src/tunnel/ids.rs"]
mod ids;
#[path = "../../../src/tunnel/initial.rs"]
mod initial;
#[path = "../../../src/tunnel/signs.rs"]
mod signs;
#[path = "../../../src/tunnel/tls.rs"]
mod tls;
#[path = "../../../src/tunnel/transport.rs"]
pub(super) mod transport;
