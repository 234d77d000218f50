//! The content of the peer cache: for each peer the method that worked last, and the peer's port.

use std::fmt;

use pinhole_proto::puncher::{LastSuccess, Method};
use serde_json::{Map, Value, json};

/// Most peers in the cache; beyond that the first in the alphabet is forgotten.
pub(super) const MAX_PEERS: usize = 64;

/// The content of the file. What is in it and not understood is left alone.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Known(Map<String, Value>);

impl Known {
    /// Reads the file's bytes; `None` if they are no JSON object.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        match serde_json::from_slice(bytes).ok()? {
            Value::Object(entries) => Some(Self(entries)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
        }
    }

    /// Returns what is known of a peer.
    pub(super) fn get(&self, name: &str) -> Option<LastSuccess> {
        let entry = self.0.get(name)?;
        let method = Method::named(entry.get("method")?.as_str()?)?;
        let peer_port = u16::try_from(entry.get("port")?.as_u64()?).ok().filter(|port| *port != 0)?;
        Some(LastSuccess { method, peer_port })
    }

    /// Records what is known of a peer, and makes room for it. Returns whether that was news.
    pub(super) fn insert(&mut self, name: &str, last: LastSuccess) -> bool {
        let entry = json!({"method": last.method.name(), "port": last.peer_port});
        if self.0.get(name) == Some(&entry) {
            return false;
        }
        while self.0.len() >= MAX_PEERS && !self.0.contains_key(name) {
            let Some(first) = self.0.keys().next().cloned() else { break };
            self.0.remove(&first);
        }
        self.0.insert(name.to_owned(), entry);
        true
    }
}

impl fmt::Display for Known {
    /// Writes the file's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        serde_json::to_string(&self.0).map_err(|_| fmt::Error)?.fmt(f)
    }
}
