//! The snapshot of a running endpoint: plain data, the same for a program that reads JSON and for a view.
//!
//! The schema grows by fields alone: a reader ignores those that it does not know, and a field keeps its meaning.
//! Anything else is another [`SCHEMA`].

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use pinhole_proto::Role;
use serde::{Deserialize, Serialize};

/// The version of this schema.
pub const SCHEMA: u32 = 1;

/// A running endpoint and its forwards at one moment. Bytes are those of the forwarded TCP connections unless a name
/// says "wire"; "sent" is toward the peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SCHEMA`] of the program that made it.
    pub schema: u32,
    /// Version of that program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Which side it is.
    pub role: Side,
    /// The peer as the user named it, `HOST:PORT`.
    pub peer: String,
    /// Where the peer is looked for.
    pub addresses: Vec<SocketAddr>,
    /// When the snapshot was made, milliseconds since 1970.
    pub taken_unix_ms: u64,
    /// When the endpoint was started.
    pub started: Timestamp,
    /// What it does.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// The path in use.
    pub path: Option<Path>,
    /// The tunnel that stands, with or without a path.
    pub tunnel: Option<Tunnel>,
    /// The names of the services that the peer offers, as it has told over the tunnel that stands; `None` on the serve
    /// side.
    #[serde(default)]
    pub peer_services: Option<Vec<String>>,
    /// What is known of the networks between.
    pub network: Network,
    /// The local ports or services, in the order in which they were named.
    pub forwards: Vec<Forward>,
    /// What all of them have carried.
    pub traffic: Traffic,
    /// How often each event was told since the start, by the names that `--json` gives them.
    pub events: BTreeMap<String, u64>,
    /// The last events of the path and the tunnel, the oldest first.
    pub history: Vec<HistoryEntry>,
    /// What is wrong now.
    pub troubles: Vec<TroubleEntry>,
}

/// Which side an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The side with the services.
    Serve,
    /// The side with the local ports.
    Open,
}

impl From<Role> for Side {
    fn from(role: Role) -> Self {
        match role {
            Role::Serve => Self::Serve,
            Role::Open => Self::Open,
        }
    }
}

/// The state of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It looks for the peer; there is no tunnel.
    Searching,
    /// A pair is proven, and the tunnel comes up.
    Connecting,
    /// The tunnel stands and has a path.
    Connected,
    /// The tunnel stands and waits while both sides punch again.
    PathLost,
    /// Another run on this side has taken this one's place.
    Displaced,
    /// A state of a later version.
    #[serde(other)]
    Other,
}

impl State {
    /// All that this version knows.
    pub const ALL: [Self; 5] =
        [Self::Searching, Self::Connecting, Self::Connected, Self::PathLost, Self::Displaced];

    /// Names it for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::PathLost => "path_lost",
            Self::Displaced => "displaced",
            Self::Other => "other",
        }
    }
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timestamp {
    /// What the wall clock said then, milliseconds since 1970.
    pub unix_ms: u64,
    /// How long ago that was when the snapshot was made, in seconds that the machine was awake.
    pub ago_s: f64,
}

/// A proven pair that carries the tunnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// Since when it is in use.
    pub since: Timestamp,
    /// Our address and port on this machine.
    pub local: Option<SocketAddr>,
    /// Whether it begins at the main port, and not at a socket that a search has opened.
    pub from_main_port: bool,
    /// The peer's address, as it looks from here.
    pub remote: SocketAddr,
    /// How the pair was found, by the name of its `Method`: `base`, `slot` and so on.
    pub method: String,
    /// Why it is the one in use.
    pub chosen: Chosen,
    /// Time that finding it took, seconds: since the search began, or since the former path was lost.
    pub found_after_s: Option<f64>,
    /// The round trip's time now, milliseconds: QUIC's estimate while something is carried, that of the liveness tests
    /// at rest.
    pub rtt_ms: Option<f64>,
    /// The least that was seen since the path is in use, milliseconds.
    pub rtt_least_ms: Option<f64>,
    /// The round trip's time as QUIC estimates it, milliseconds; an old one where nothing is carried.
    pub quic_rtt_ms: Option<f64>,
    /// The round trip's time as the liveness tests measure it, milliseconds.
    pub keeper_rtt_ms: Option<f64>,
    /// Share of the last liveness tests that were not answered, 0 to 1.
    pub keeper_loss: Option<f64>,
    /// Silence after which a path at rest is tested, seconds.
    pub keepalive_s: Option<f64>,
}

impl Path {
    /// Takes the round trip's time from where it is known best.
    pub(super) fn with_rtt_now(mut self, is_at_rest: bool) -> Self {
        let (quic, tests) = (self.quic_rtt_ms, self.keeper_rtt_ms);
        self.rtt_ms = if is_at_rest { tests.or(quic) } else { quic.or(tests) };
        self
    }
}

/// The reason why a path is the one in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// It was the first that was proven for this tunnel.
    First,
    /// It was the first that was proven after the former one was lost.
    Again,
    /// It is nearer than the one before.
    Nearer,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

/// One authenticated QUIC connection. Packets are QUIC's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Since when it stands.
    pub since: Timestamp,
    /// Largest datagram that it sends now, bytes.
    pub mtu_bytes: u16,
    /// Packets sent.
    pub sent_packets: u64,
    /// Those of them that got lost.
    pub lost_packets: u64,
    /// Share of those sent in the last [`RING_SECONDS`](super::RING_SECONDS) seconds that got lost, 0 to 1; `None` if
    /// few were sent.
    pub loss: Option<f64>,
    /// Bytes of UDP sent.
    pub sent_wire_bytes: u64,
    /// Bytes of UDP received.
    pub received_wire_bytes: u64,
    /// Bytes that may be under way at a time.
    pub window_bytes: u64,
}

/// The networks between the two machines, as far as they are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// This machine's own address toward the peer.
    pub local: Option<IpAddr>,
    /// The main UDP port.
    pub port: u16,
    /// Under which address the peer sees us: what our NAT makes of ours.
    pub observed: Option<SocketAddr>,
    /// Whether there is a NAT on our side; `None` while that is not known.
    pub is_behind_nat: Option<bool>,
    /// Whether our NAT keeps the port of the path in use.
    pub keeps_port: Option<bool>,
    /// Whether the peer is seen at the port that the user named.
    pub peer_keeps_port: Option<bool>,
    /// What the system lets us receive ahead, bytes.
    pub receive_buffer_bytes: usize,
    /// What the system lets us send ahead, bytes.
    pub send_buffer_bytes: usize,
}

/// One local port, or one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forward {
    /// The service's name.
    pub service: String,
    /// Where local clients connect to, or where the service is.
    pub target: String,
    /// Open side: the peer's service that the port reaches, as far as the peer has told.
    #[serde(default)]
    pub reaches: Option<String>,
    /// Connections now.
    pub open: u64,
    /// Connections since the start.
    pub total: u64,
    /// Bytes sent to the peer.
    pub sent_bytes: u64,
    /// Bytes received from the peer.
    pub received_bytes: u64,
    /// Bytes sent that compression has saved.
    #[serde(default)]
    pub sent_saved_bytes: u64,
    /// Bytes received that compression has saved.
    #[serde(default)]
    pub received_saved_bytes: u64,
}

/// Traffic of all forwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Connections now.
    pub open: u64,
    /// Connections since the start.
    pub total: u64,
    /// Bytes sent to the peer since the start.
    pub sent_bytes: u64,
    /// Bytes received from the peer since the start.
    pub received_bytes: u64,
    /// Bytes sent that compression has saved.
    #[serde(default)]
    pub sent_saved_bytes: u64,
    /// Bytes received that compression has saved.
    #[serde(default)]
    pub received_saved_bytes: u64,
    /// The same per second, over the last [`RATE_SECONDS`](super::RATE_SECONDS) seconds.
    pub sent_rate: u64,
    /// The same for what was received.
    pub received_rate: u64,
    /// The last [`RING_SECONDS`](super::RING_SECONDS) seconds.
    pub seconds: Seconds,
}

/// Figures for each of the last seconds, the oldest first; all lists have the same length.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seconds {
    /// Bytes sent to the peer.
    pub sent: Vec<u64>,
    /// Bytes received from the peer.
    pub received: Vec<u64>,
    /// The round trip's time, microseconds; 0 where it was not measured.
    pub rtt_us: Vec<u32>,
}

/// An event in the life of the path or the tunnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// What, by the name that `--json` gives it: `punched`, `path_lost` and so on.
    pub event: String,
    /// How the pair was found.
    pub method: Option<String>,
    /// The peer's address.
    pub remote: Option<SocketAddr>,
    /// How long it took, or for how long nothing was heard, seconds.
    pub seconds: Option<f64>,
    /// Why.
    pub why: Option<String>,
    /// The sentence for a user.
    pub text: String,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TroubleEntry {
    /// What, for programs: a `kind` of the event `trouble`, or the name of another event.
    pub kind: String,
    /// Why, where the kind is `no_path`.
    pub cause: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// The sentence for a user, with the way out.
    pub text: String,
}
