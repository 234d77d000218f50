//! The setup of QUIC, and why it is so.
//!
//! | setting | value | reason |
//! |---|---|---|
//! | stream window | from 256 KiB to [`STREAM_WINDOW_BYTES`], with what is read | a stream that nobody reads holds little; a busy one has twice what 300 Mbit/s over 100 ms have in flight: a round trip's worth arrives behind a lost packet |
//! | connection window | [`CONNECTION_WINDOW_BYTES`] | what a peer can make this side hold; a stream gets a quarter of what is left, so stalled ones do not hold up the others |
//! | grease of the QUIC bit | off | that bit tells QUIC from probes on one port (RFC 9287 is for others) |
//! | congestion control | BBRv3, begun anew for each path; CUBIC below a round trip of 0.5 ms | 1 % of random loss costs CUBIC 97 % of a 100 Mbit/s × 50 ms link, and BBRv3 20 %; BBRv3 is slow where there is no network |
//! | idle timeout | none | the Puncher watches over the path, and the session has the patience |
//! | keepalive | none | the same: path liveness is tested by the Puncher |
//! | largest datagram | what this machine would send to the peer, up to [`LARGEST_DATAGRAM`]; found out by QUIC (RFC 8899) | Ethernet's 1,472 bytes are 1.4 % more than the library's 1,452 |
//! | multipath | off | the Mux changes the path, and QUIC sees one that never changes (docs/design.md) |

use std::{sync::Arc, time::Duration};

use noq_proto::{
    ClientConfig, EndpointConfig, MtuDiscoveryConfig, RemoteConfig, ServerConfig, TransportConfig, VarInt,
};
use pinhole_proto::key::Instances;

use super::{congestion::ControllerFeedback, credentials::Credentials, initial::Opened};

/// Unread bytes of one stream that the peer may have sent, at first.
const FIRST_STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// Unread bytes of one stream that the peer may have sent, at the most.
pub const STREAM_WINDOW_BYTES: u32 = 8 << 20;

/// Most gaps in a stream, beyond which the library ends the connection: a full window with every second of the smallest
/// packets lost must stay within it. The released noq-proto has no such constant, and less room: see vendor/README.md.
const GAPS: usize = noq_proto::MAX_STREAM_PIECES;
const SMALLEST_PACKET_BYTES: usize = 1200 - 50;
const _: () = assert!(STREAM_WINDOW_BYTES as usize / SMALLEST_PACKET_BYTES / 2 < GAPS);

/// Unread bytes of all streams together. Bounds memory against a peer that holds the key; docs/security.md has the sum.
pub const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// Handshakes of all peers of an endpoint whose first packets wait to be looked at: one peer cannot fill it faster than it is
/// emptied.
const MAX_INCOMING: usize = 64;

/// Bytes of further packets of such a handshake that are kept until then: a client sends its first flight in two datagrams.
const INCOMING_BYTES: u64 = 16 << 10;

/// Bytes handed to the library and not yet acknowledged, for all streams: this much memory a sender holds at most. Less
/// on a path that has less in flight; see the send scheduler of the tunnel.
pub const SEND_WINDOW_BYTES: u64 = 16 << 20;

/// The largest datagram, bytes of UDP payload: Ethernet's. Between two NATs there are no jumbo frames, and with 8,972 bytes
/// within one machine the library took a burst's loss for a black hole, and stayed at 1,200.
pub const LARGEST_DATAGRAM: u16 = 1500 - 28;

/// Size of datagrams that every path of QUIC takes (RFC 9000 §14).
const LEAST_DATAGRAM: u16 = 1200;

/// The search for the largest datagram ends when it is this near, bytes. A line by PPPoE takes 8 less than Ethernet.
const NEAR_ENOUGH: u16 = 8;

/// TCP connections at the same time. Each costs up to 8 KiB (`cargo bench --bench memory`).
pub const MAX_STREAMS: u32 = 10_240;

/// Unidirectional streams at the same time: the control stream, and room for later versions.
const UNI_STREAMS: VarInt = VarInt::from_u32(4);

/// Bounds of the first guess of the round trip's time, which decides when a lost first packet is sent again.
const INITIAL_RTT: std::ops::RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_millis(333);

/// Configures what all connections of an endpoint share. The QUIC bit is not greased: the Mux needs it.
pub fn endpoint(credentials: &Credentials) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.grease_quic_bit(false);
    config.max_udp_payload_size(LARGEST_DATAGRAM).expect("within QUIC's bounds");
    let ids = credentials.ids().clone();
    config.cid_generator(Arc::new(move || Box::new(ids.clone())));
    config
}

/// A path as it is known before QUIC takes it.
#[derive(Debug, Clone, Copy)]
pub struct PathEstimate {
    /// Its round trip, as the punch has measured it.
    pub rtt: Duration,
    /// The largest datagram that this machine would send, bytes of UDP payload.
    pub largest_datagram: Option<u16>,
}

impl PathEstimate {
    /// For what nothing is known of yet.
    pub const UNKNOWN: Self = Self { rtt: Duration::MAX, largest_datagram: None };
}

/// The part of connections to one peer that they share, over all its paths.
#[derive(Debug, Clone)]
pub struct Shared {
    /// From the key.
    pub credentials: Credentials,
    /// The feedback between congestion control and the tunnel.
    pub feedback: ControllerFeedback,
    /// Counts what was opened.
    pub opened: Opened,
}

impl Shared {
    /// Begins to count with those credentials.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, feedback: ControllerFeedback::default(), opened: Opened::default() }
    }

    /// Configures a connection of the open side.
    pub fn client(&self, instances: Instances, path: PathEstimate) -> ClientConfig {
        let mut config = ClientConfig::new(self.credentials.client(instances, self.opened.clone()));
        let ids = self.credentials.ids().clone();
        config
            .transport_config(Arc::new(transport(path, 0, &self.feedback)))
            .initial_dst_cid_provider(Arc::new(move || ids.next()));
        config
    }

    /// Configures what is this peer's alone in an endpoint of several: answers over one path, and connection IDs.
    pub fn remote(&self, instances: Instances, path: PathEstimate) -> RemoteConfig {
        let server_config = Arc::new(self.server(instances, path));
        RemoteConfig { server_config, cid_generator: Box::new(self.credentials.ids().clone()) }
    }

    /// Configures the serve side's answers over one path.
    pub fn server(&self, instances: Instances, path: PathEstimate) -> ServerConfig {
        let crypto = self.credentials.server(instances, self.opened.clone());
        let mut config = ServerConfig::with_crypto(crypto);
        config
            .transport_config(Arc::new(transport(path, MAX_STREAMS, &self.feedback)))
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size(INCOMING_BYTES)
            .incoming_buffer_size_total(INCOMING_BYTES * MAX_INCOMING as u64);
        config
    }
}

/// `streams` is the number that the peer may open: only the open side opens any.
fn transport(path: PathEstimate, streams: u32, feedback: &ControllerFeedback) -> TransportConfig {
    let mut config = TransportConfig::default();
    let largest = path.largest_datagram.unwrap_or(LARGEST_DATAGRAM).clamp(LEAST_DATAGRAM, LARGEST_DATAGRAM);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(largest).minimum_change(NEAR_ENOUGH);
    let guess = (path.rtt.min(*INITIAL_RTT.end()) * 3 / 2).clamp(*INITIAL_RTT.start(), *INITIAL_RTT.end());
    config
        .initial_rtt(guess)
        .mtu_discovery_config(Some(discovery))
        .stream_receive_window(FIRST_STREAM_WINDOW_BYTES.into())
        .stream_receive_window_max(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(SEND_WINDOW_BYTES)
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(UNI_STREAMS)
        .datagram_receive_buffer_size(None)
        .allow_spin(false)
        .max_idle_timeout(None)
        .congestion_controller_factory(Arc::new(feedback.clone()));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quic_bit_is_never_greased() {
        let key = pinhole_proto::Key::stretch(&pinhole_proto::key::Phrase::generate([1; 32]));
        let credentials = Credentials::new(&key, [0; 16]).expect("TLS takes it");
        assert!(format!("{:?}", endpoint(&credentials)).contains("grease_quic_bit: false"));
    }

    #[test]
    fn the_transport_has_the_settings_of_the_table() {
        let path = PathEstimate { rtt: Duration::from_millis(20), largest_datagram: None };
        let shown = format!("{:?}", transport(path, 1, &ControllerFeedback::default()));
        for setting in [
            "stream_receive_window: 262144",
            "stream_receive_window_max: Some(8388608)",
            "initial_rtt: 30ms",
            "max_idle_timeout: None",
            "upper_bound: 1472",
            "minimum_change: 8",
        ] {
            assert!(shown.contains(setting), "{setting} in {shown}");
        }
    }
}
