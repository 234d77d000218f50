//! What an instance of another user says of itself: any JSON. Nothing of it does anything to a terminal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use self::snapshot::Snapshot;

// The files, not the crate: `pinhole` brings QUIC, TLS and an assembler along.
#[path = "../../cli/src/sanitize.rs"]
mod sanitize;
#[path = "../../pinhole/src/endpoint/status/snapshot.rs"]
mod snapshot;

fuzz_target!(|json: &str| {
    assert!(is_plain(&sanitize::one_line(json)));
    let Ok(value) = serde_json::from_str::<Value>(json) else { return };
    let line = sanitize::json_line(json);
    assert!(is_plain(&line));
    assert_eq!(serde_json::from_str::<Value>(&line).expect("it is JSON still"), value, "it means the same");
    let Ok(snapshot) = serde_json::from_value::<Snapshot>(sanitize::value(value)) else { return };
    check_texts(&serde_json::to_value(&snapshot).expect("what was read can be written"));
});

fn check_texts(value: &Value) {
    match value {
        Value::String(text) => assert!(is_plain(text), "{text:?}"),
        Value::Array(all) => all.iter().for_each(check_texts),
        Value::Object(all) => all.iter().for_each(|(key, value)| {
            assert!(is_plain(key), "{key:?}");
            check_texts(value);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Nothing of Unicode's controls and of its explicit marks of direction.
fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| {
        c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
    })
}
