//! What other programs and an instance tell each other over its local socket: any line, from either.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};

use self::wire::{Answer, MAX_LINE_BYTES, Told, Wanted, from_hex, hex, to_line};

// The file, not the crate: `pinhole` brings QUIC, TLS and an assembler along.
#[path = "../../cli/src/control/wire.rs"]
mod wire;

fuzz_target!(|line: &str| {
    if line.len() as u64 > MAX_LINE_BYTES {
        return;
    }
    round_trip::<Answer>(line);
    round_trip::<Told>(line);
    if let Some(Wanted::Carry(request)) = round_trip::<Wanted>(line) {
        let key = request.key.as_deref().and_then(from_hex);
        assert!(key.is_none_or(|key| from_hex(&hex(&key)) == Some(key)));
        assert!(request.peer.leads_to(&request.peer));
    }
});

/// What is read is written in one line that reads the same.
fn round_trip<T: DeserializeOwned + Serialize + Debug>(line: &str) -> Option<T> {
    let read: T = serde_json::from_str(line).ok()?;
    let written = to_line(&read);
    assert_eq!(written.matches('\n').count(), 1);
    let again: T = serde_json::from_str(&written).expect("what we write we read");
    assert_eq!(format!("{again:?}"), format!("{read:?}"));
    Some(read)
}
