//! The file of what worked last: any bytes in it, any name asked for or kept.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pinhole_proto::puncher::{LastSuccess, Method};
use serde_json::{Map, Value};

use self::content::{Known, MAX_PEERS};

// The file, not the crate: `pinhole` brings QUIC, TLS and an assembler along.
#[path = "../../cli/src/peer_cache/content.rs"]
mod content;

fuzz_target!(|bytes: &[u8]| {
    let read = Known::read(bytes);
    let mut known = read.unwrap_or_default();
    for name in std::str::from_utf8(bytes).iter().flat_map(|text| text.split('"')).take(16) {
        assert!(known.get(name).is_none_or(|last_success| last_success.peer_port != 0));
        let last_success = LastSuccess { method: Method::Slot, peer_port: 5555 };
        let before = entries(&known);
        known.insert(name, last_success);
        assert!(known.get(name) == Some(last_success));
        assert!(!known.insert(name, last_success), "the same is no news");
        let written = known.to_string();
        assert!(
            Known::read(written.as_bytes()).as_ref() == Some(&known),
            "what is written is read: {written}"
        );
        assert!(entries(&known) <= before.max(MAX_PEERS), "the file grows without bound");
    }
});

fn entries(known: &Known) -> usize {
    let written: Value = serde_json::from_str(&known.to_string()).expect("what is written is JSON");
    written.as_object().map_or(0, Map::len)
}
