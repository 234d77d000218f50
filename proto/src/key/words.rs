//! The words of drawn phrases: the EFF's long list, and the check word that proves a phrase to be drawn.

use diceware_wordlists::EFF_LONG_WORDLIST;
use sha2::{Digest, Sha256};

/// The EFF's long list: 7,776 words in alphabetical order, 12.9 bits each.
pub(super) static WORDS: &[&str] = &EFF_LONG_WORDLIST;

/// Number of words that are drawn: 6 × 12.92 bits = 77.5 bits.
pub(super) const DRAWN_WORDS: usize = 6;

/// Number of words of a drawn phrase: the drawn ones, and the check word that follows from them.
pub const PHRASE_WORDS: usize = DRAWN_WORDS + 1;

const CHECK_LABEL: &[u8] = b"pinhole v2 check word";

/// Returns the check word of the drawn words. It adds no strength; it tells a typing error.
pub(super) fn check_word(drawn: &[&str]) -> &'static str {
    let mut hash = Sha256::new_with_prefix(CHECK_LABEL);
    for (place, word) in drawn.iter().enumerate() {
        hash.update(if place == 0 { "" } else { "-" });
        hash.update(word);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let first = u64::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"));
    WORDS[usize::try_from(first % WORDS.len() as u64).expect("below the length of a list")]
}

/// Returns whether these are the words of a drawn phrase.
pub(super) fn are_drawn(words: &[&str]) -> bool {
    words.len() == PHRASE_WORDS
        && words.iter().all(|word| is_listed(word))
        && check_word(&words[..DRAWN_WORDS]) == words[DRAWN_WORDS]
}

pub(super) fn is_listed(word: &str) -> bool {
    WORDS.binary_search(&word).is_ok()
}

/// Splits a canonical spelling into words; four words of the list have a hyphen in them.
pub(super) fn split(canonical: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = canonical;
    while !rest.is_empty() {
        let mut ends = rest.match_indices('-').map(|(at, _)| at).chain([rest.len()]);
        let (first, second) = (ends.next(), ends.next());
        let hyphenated = second.filter(|end| is_listed(&rest[..*end]));
        let (word, others) = rest.split_at(hyphenated.or(first).expect("a text has an end"));
        words.push(word);
        rest = others.trim_start_matches('-');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two releases with different lists would refuse each other's keys: the list is part of the protocol.
    #[test]
    fn the_list_is_the_one_of_the_protocol_and_can_be_searched() {
        let lines: String = WORDS.iter().flat_map(|word| [word, "\n"]).collect();
        let digest: String = Sha256::digest(lines).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "6d557f0693958fb5e650b68b5bee585eb82cf4da32965505c789e924743bc522");
        assert_eq!(WORDS.len(), 7776);
        assert!(WORDS.is_sorted());
    }

    #[test]
    fn check_words_are_pinned() {
        let drawn = ["moonlight", "spotter", "shush", "theft", "relocate", "vending"];
        assert_eq!(check_word(&drawn), "affix");
        assert_eq!(check_word(&["yo-yo", "felt-tip", "t-shirt", "drop-down", "acorn", "zoom"]), "chrome");
    }

    #[test]
    fn every_spelling_has_one_reading() {
        for word in WORDS.iter().filter(|word| word.contains('-')) {
            assert!(!word.split('-').all(is_listed), "{word} could be read as two words");
            assert_eq!(split(&format!("{word}-acorn-{word}")), [word, "acorn", word]);
        }
        assert_eq!(split("drop-downy-zoom"), ["drop", "downy", "zoom"]);
        assert_eq!(split(""), [""; 0]);
    }
}
