//! How QUIC is set up, and why.
//!
//! | setting | value | reason |
//! |---|---|---|
//! | stream window | [`STREAM_WINDOW_BYTES`] | noq 1.4 keeps at most 1,024 chunks of a stream in disorder and kills the connection beyond; 2 MiB of 1,200-byte packets with every second one lost are 874 |
//! | connection window | [`CONNECTION_WINDOW_BYTES`] | a stalled stream must not hold up the others: room for 512 of them |
//! | grease of the QUIC bit | off | that bit tells QUIC from probes on one port (RFC 9287 is for others) |
//! | congestion control | BBRv3, begun anew for each path; CUBIC below a round trip of 0.5 ms | 1 % of random loss costs CUBIC 97 % of a 100 Mbit/s × 50 ms link, and BBRv3 20 %; BBRv3 is slow where there is no network |
//! | idle timeout | none | the Puncher watches over the path, and the supervisor has the patience |
//! | keepalive | none | the same: one keeper is enough |
//! | multipath | off | the Hub changes the path, and QUIC sees one that never changes (docs/design.md) |

use std::{sync::Arc, time::Duration};

use noq::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use pinhole_proto::Key;

use super::{congestion::PathCount, tls};

/// Unread bytes of one stream that the peer may have sent. Must stay at 2 MiB or below; see the module's table.
pub const STREAM_WINDOW_BYTES: u32 = 2 << 20;

/// noq 1.4's bound on chunks of a stream in disorder (`MAX_CHUNKS` in its assembler), beyond which it ends the
/// connection: a full window with every second of the smallest packets lost must stay within it.
const CHUNKS_IN_DISORDER: u32 = 1024;
const SMALLEST_PACKET_BYTES: u32 = 1200;
const _: () = assert!(STREAM_WINDOW_BYTES / SMALLEST_PACKET_BYTES / 2 < CHUNKS_IN_DISORDER);

/// Unread bytes of all streams together.
pub const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;

/// Bytes sent and not yet acknowledged, for all streams: this much memory a sender holds at most.
pub const SEND_WINDOW_BYTES: u64 = 16 << 20;

/// TCP connections at the same time.
pub const MAX_STREAMS: u32 = 16_384;

/// Bounds of the first guess of the round trip's time, which decides when a lost first packet is sent again.
const INITIAL_RTT: std::ops::RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_millis(333);

/// Configures what both sides share. The QUIC bit is not greased: the Hub needs it.
pub(crate) fn endpoint() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.grease_quic_bit(false);
    config
}

/// Configures a connection of the open side over a path whose round trip was measured by the punch.
pub(crate) fn client(key: &Key, rtt: Duration, paths: &PathCount) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::new(Arc::new(tls::client(key)?));
    config.transport_config(Arc::new(transport(rtt, 0, paths)));
    Ok(config)
}

/// Configures the serve side's answer over such a path.
pub(crate) fn server(key: &Key, rtt: Duration, paths: &PathCount) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::with_crypto(Arc::new(tls::server(key)?));
    config.transport_config(Arc::new(transport(rtt, MAX_STREAMS, paths))).max_incoming(4);
    Ok(config)
}

/// `streams` is the number that the peer may open: only the open side opens any.
fn transport(rtt: Duration, streams: u32, paths: &PathCount) -> TransportConfig {
    let mut config = TransportConfig::default();
    let guess = (rtt.min(*INITIAL_RTT.end()) * 3 / 2).clamp(*INITIAL_RTT.start(), *INITIAL_RTT.end());
    config
        .initial_rtt(guess)
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(SEND_WINDOW_BYTES)
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .allow_spin(false)
        .max_idle_timeout(None)
        .congestion_controller_factory(Arc::new(paths.clone()));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quic_bit_is_never_greased() {
        assert!(format!("{:?}", endpoint()).contains("grease_quic_bit: false"));
    }

    #[test]
    fn the_transport_has_the_settings_of_the_table() {
        let shown = format!("{:?}", transport(Duration::from_millis(20), 1, &PathCount::default()));
        for setting in ["stream_receive_window: 2097152", "initial_rtt: 30ms", "max_idle_timeout: None"] {
            assert!(shown.contains(setting), "{setting} in {shown}");
        }
    }
}
