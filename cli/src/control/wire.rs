//! What other programs and an instance tell each other over the instance's socket: a line of JSON each.
//!
//! ```text
//! status     Wanted::Status
//! instance   the snapshot, and the end
//!
//! pipe       Wanted::Carry
//! instance   Answer::Other, and the end; or Answer::Yes
//! pipe       one byte, with the descriptor of one end of a pair of Unix sockets; and Told, when stdin has ended
//! instance   Answer::Waiting, if there is no tunnel yet; then Answer::Done or Answer::Failed, and the end
//!
//! another    Wanted::Leave
//! instance   Answer::Done or Answer::Other, and the end
//! ```
//!
//! A release may add fields; what is not known is left alone.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Longest line, bytes.
pub(crate) const MAX_LINE_BYTES: u64 = 16 << 10;

/// What somebody wants of an instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    /// Tell what you do.
    Status,
    /// Carry a connection.
    Carry(Request),
    /// Give the UDP port up, if you are there for pipes alone and have none.
    Leave {
        /// The port.
        port: u16,
    },
}

/// What a pipe says of the connection that it has handed over.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// All that it had to write is written: the end that is read there is one.
    Ended,
}

/// What a pipe wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    #[serde(rename = "way")]
    pub(crate) peer: PeerRef,
    /// The tag of the key, if the user has named one.
    pub(crate) key: Option<String>,
    pub(crate) service: String,
    /// How long a tunnel may take.
    pub(crate) wait_ms: u64,
}

/// Which peer is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerRef {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the name means now; empty as long as it was not looked up.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl PeerRef {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, addresses: Vec::new() }
    }

    /// Returns whether both mean the same peer.
    pub(crate) fn leads_to(&self, other: &Self) -> bool {
        let bare = |peer: &Self| peer.host.trim_end_matches('.').to_ascii_lowercase();
        let shares = || self.addresses.iter().any(|address| other.addresses.contains(address));
        self.port == other.port && (bare(self) == bare(other) || shares())
    }
}

/// What an instance says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub(crate) enum Answer {
    /// It has a tunnel to another peer, or with another key.
    Other,
    /// It carries the connection.
    Yes,
    /// There is no tunnel yet.
    Waiting {
        /// For people.
        text: String,
    },
    /// Both directions have ended as they should.
    Done,
    /// The connection was cut.
    Failed {
        /// For people.
        why: String,
    },
}

/// Writes a line.
pub(crate) fn to_line<T: Serialize>(said: &T) -> String {
    let mut line = serde_json::to_string(said).unwrap_or_default();
    line.push('\n');
    line
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`hex`] wrote.
pub(crate) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_the_same_by_name_or_by_address_and_never_by_another_port() {
        let peer = |host: &str, port, ip: [u8; 4]| PeerRef {
            addresses: vec![(ip, port).into()],
            ..PeerRef::new(host, port)
        };
        let home = peer("home.example.org", 5555, [192, 0, 2, 1]);
        assert!(peer("Home.Example.Org.", 5555, [192, 0, 2, 2]).leads_to(&home));
        assert!(peer("192.0.2.1", 5555, [192, 0, 2, 1]).leads_to(&home));
        assert!(!peer("home.example.org", 5556, [192, 0, 2, 1]).leads_to(&home));
        assert!(!peer("192.0.2.2", 5555, [192, 0, 2, 2]).leads_to(&home));
    }

    #[test]
    fn what_is_no_tag_is_none() {
        let tag = [0xa5; 32];
        assert_eq!(from_hex(&hex(&tag)), Some(tag));
        for bad in ["", "a5", &"g".repeat(64), &"é".repeat(32), &"a".repeat(65)] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}
