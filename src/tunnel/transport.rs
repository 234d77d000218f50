//! How QUIC is set up, and why.
//!
//! | setting | value | reason |
//! |---|---|---|
//! | stream window | [`STREAM_WINDOW_BYTES`] | twice what 300 Mbit/s over 100 ms have in flight: a round trip's worth arrives behind a lost packet |
//! | connection window | [`CONNECTION_WINDOW_BYTES`] | a stalled stream must not hold up the others: room for 128 of them |
//! | grease of the QUIC bit | off | that bit tells QUIC from probes on one port (RFC 9287 is for others) |
//! | congestion control | BBRv3, begun anew for each path; CUBIC below a round trip of 0.5 ms | 1 % of random loss costs CUBIC 97 % of a 100 Mbit/s × 50 ms link, and BBRv3 20 %; BBRv3 is slow where there is no network |
//! | idle timeout | none | the Puncher watches over the path, and the supervisor has the patience |
//! | keepalive | none | the same: one keeper is enough |
//! | largest datagram | what this machine would send to the peer, up to [`LARGEST_DATAGRAM`]; found out by QUIC (RFC 8899) | Ethernet's 1,472 bytes are 1.4 % more than the library's 1,452 |
//! | multipath | off | the Hub changes the path, and QUIC sees one that never changes (docs/design.md) |

use std::{sync::Arc, time::Duration};

use noq::{ClientConfig, EndpointConfig, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};
use pinhole_proto::Key;

use super::{congestion::PathCount, tls};

/// Unread bytes of one stream that the peer may have sent.
pub const STREAM_WINDOW_BYTES: u32 = 8 << 20;

/// Beyond so many gaps in a stream the library ends the connection: a full window with every second of the smallest
/// packets lost must stay within it. The released noq-proto has no such constant, and less room: see vendor/README.md.
const GAPS: usize = noq_proto::MAX_STREAM_PIECES;
const SMALLEST_PACKET_BYTES: usize = 1200 - 50;
const _: () = assert!(STREAM_WINDOW_BYTES as usize / SMALLEST_PACKET_BYTES / 2 < GAPS);

/// Unread bytes of all streams together.
pub const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;

/// Bytes handed to the library and not yet acknowledged, for all streams: this much memory a sender holds at most. Less
/// on a path that has less in flight; see the gate.
pub const SEND_WINDOW_BYTES: u64 = 16 << 20;

/// The largest datagram, bytes of UDP payload: Ethernet's. Between two NATs there are no jumbo frames, and with 8,972 bytes
/// within one machine the library took a burst's loss for a black hole, and stayed at 1,200.
pub(crate) const LARGEST_DATAGRAM: u16 = 1500 - 28;

/// Size of datagrams that every path of QUIC takes (RFC 9000 §14).
const LEAST_DATAGRAM: u16 = 1200;

/// The search for the largest datagram ends when it is this near, bytes. A line by PPPoE takes 8 less than Ethernet.
const NEAR_ENOUGH: u16 = 8;

/// TCP connections at the same time.
pub const MAX_STREAMS: u32 = 16_384;

/// Unidirectional streams at the same time: the control stream, and room for later versions.
const UNI_STREAMS: VarInt = VarInt::from_u32(4);

/// Bounds of the first guess of the round trip's time, which decides when a lost first packet is sent again.
const INITIAL_RTT: std::ops::RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_millis(333);

/// Configures what both sides share. The QUIC bit is not greased: the Hub needs it.
pub(crate) fn endpoint() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.grease_quic_bit(false);
    config.max_udp_payload_size(LARGEST_DATAGRAM).expect("within QUIC's bounds");
    config
}

/// What is known of a path before QUIC takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// Its round trip, as the punch has measured it.
    pub(crate) rtt: Duration,
    /// The largest datagram that this machine would send, bytes of UDP payload.
    pub(crate) largest_datagram: Option<u16>,
}

impl Way {
    /// For what nothing is known of yet.
    pub(crate) const UNKNOWN: Self = Self { rtt: Duration::MAX, largest_datagram: None };
}

/// Configures a connection of the open side.
pub(crate) fn client(key: &Key, way: Way, paths: &PathCount) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::new(Arc::new(tls::client(key)?));
    config.transport_config(Arc::new(transport(way, 0, paths)));
    Ok(config)
}

/// Configures the serve side's answer.
pub(crate) fn server(key: &Key, way: Way, paths: &PathCount) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::with_crypto(Arc::new(tls::server(key)?));
    config.transport_config(Arc::new(transport(way, MAX_STREAMS, paths))).max_incoming(4);
    Ok(config)
}

/// `streams` is the number that the peer may open: only the open side opens any.
fn transport(way: Way, streams: u32, paths: &PathCount) -> TransportConfig {
    let mut config = TransportConfig::default();
    let largest = way.largest_datagram.unwrap_or(LARGEST_DATAGRAM).clamp(LEAST_DATAGRAM, LARGEST_DATAGRAM);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(largest).minimum_change(NEAR_ENOUGH);
    let guess = (way.rtt.min(*INITIAL_RTT.end()) * 3 / 2).clamp(*INITIAL_RTT.start(), *INITIAL_RTT.end());
    config
        .initial_rtt(guess)
        .mtu_discovery_config(Some(discovery))
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(SEND_WINDOW_BYTES)
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(UNI_STREAMS)
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
        let way = Way { rtt: Duration::from_millis(20), largest_datagram: None };
        let shown = format!("{:?}", transport(way, 1, &PathCount::default()));
        for setting in [
            "stream_receive_window: 8388608",
            "initial_rtt: 30ms",
            "max_idle_timeout: None",
            "upper_bound: 1472",
            "minimum_change: 8",
        ] {
            assert!(shown.contains(setting), "{setting} in {shown}");
        }
    }
}
