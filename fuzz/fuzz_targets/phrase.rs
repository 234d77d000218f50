//! The key as a user types it, or as a file holds it: any text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pinhole_proto::key::{Phrase, PhraseError};

/// Longest phrase whose strength is estimated, bytes: that takes milliseconds, and past 100 characters zxcvbn does not
/// look.
const ESTIMATED_BYTES: usize = 128;

fuzz_target!(|text: &str| {
    match text.parse::<Phrase>() {
        Ok(phrase) => {
            assert!(phrase.is_drawn());
            check_spellings(&phrase, str::parse);
        }
        Err(error) => check_error(text, &error),
    }
    if text.len() > ESTIMATED_BYTES {
        return;
    }
    match Phrase::own(text) {
        Ok(phrase) => check_spellings(&phrase, Phrase::own),
        Err(PhraseError::Weak(weak)) => assert!((0.0..50.0).contains(&weak.bits), "{weak}"),
        Err(_) => {}
    }
});

/// However it is spelt, it is the same key.
fn check_spellings(phrase: &Phrase, take: impl Fn(&str) -> Result<Phrase, PhraseError>) {
    let canonical = phrase.as_str();
    for spelling in [canonical.to_owned(), canonical.replace('-', " "), canonical.to_ascii_uppercase()] {
        let again = take(&spelling);
        let again = again.as_ref().map(Phrase::as_str); // its Debug hides the text
        assert_eq!(again, Ok(canonical), "the spelling {spelling:?} makes another key");
    }
}

/// Nothing of what was typed is told, but for the words on the user's own terminal; what is meant there helps.
fn check_error(text: &str, error: &PhraseError) {
    let told = format!("{error} {error:?}");
    let secret = text.split_whitespace().find(|word| word.len() > 12);
    assert!(!secret.is_some_and(|word| told.contains(word)), "{told}");
    let _shown = error.with_words().to_string();
}
