//! The key as a user types it, or as a file holds it: any text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pinhole_proto::key::Phrase;

/// Longest phrase whose strength is estimated, bytes: that takes milliseconds, and past 100 characters zxcvbn does not
/// look.
const ESTIMATED_BYTES: usize = 128;

fuzz_target!(|text: &str| {
    let Ok(phrase) = text.parse::<Phrase>() else { return };
    let canonical = phrase.as_str();
    for spelling in [canonical.to_owned(), canonical.replace('-', " "), canonical.to_ascii_uppercase()] {
        let again: Result<Phrase, _> = spelling.parse();
        let again = again.as_ref().map(Phrase::as_str); // its Debug hides the text
        assert_eq!(again, Ok(canonical), "the spelling {spelling:?} makes another key");
    }
    if canonical.len() > ESTIMATED_BYTES {
        return;
    }
    if let Err(weak) = phrase.check_strength() {
        assert!((0.0..50.0).contains(&weak.bits), "{weak}");
    }
});
