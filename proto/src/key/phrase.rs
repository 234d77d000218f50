//! The key as people see it: a few common words.

use std::{fmt, str::FromStr};

use diceware_wordlists::EFF_LONG_WORDLIST as WORDS;
use rand_core::{Rng, SeedableRng};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Number of words in a phrase of our own making: 6 × 12.92 bits = 77.5 bits.
pub const GENERATED_WORDS: usize = 6;

/// Longest accepted phrase, bytes. Longer input is a wrong file, not a phrase.
const MAX_BYTES: usize = 512;

/// Guesses, as a power of two, that a phrase of the user's own must withstand. Anybody who records one probe can
/// try phrases offline at the price of one Argon2id each.
const MIN_BITS: f64 = 50.0;

/// A key in words, in its one canonical spelling: lower case, words joined by single hyphens.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Phrase(String);

impl Phrase {
    /// Makes a phrase of [`GENERATED_WORDS`] words from 32 bytes of entropy.
    #[must_use]
    pub fn generate(entropy: [u8; 32]) -> Self {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed(entropy);
        let words: Vec<&str> = (0..GENERATED_WORDS).map(|_| WORDS[below(&mut rng, WORDS.len())]).collect();
        Self(words.join("-"))
    }

    /// Returns the canonical spelling. It is the secret: print it only where the user asked for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Refuses a phrase that could be guessed from one recorded probe.
    ///
    /// # Errors
    ///
    /// Says how weak the phrase is, and what was recognised in it.
    pub fn check_strength(&self) -> Result<(), WeakPhrase> {
        if self.looks_generated() {
            return Ok(());
        }
        let estimate = zxcvbn::zxcvbn(&self.0, &["pinhole"]);
        let bits = estimate.guesses_log10() * std::f64::consts::LOG2_10;
        if bits >= MIN_BITS {
            return Ok(());
        }
        let warning =
            estimate.feedback().and_then(zxcvbn::feedback::Feedback::warning).map(|w| w.to_string());
        Err(WeakPhrase { bits, warning })
    }

    /// Whether this could be a phrase of our own making: enough different words, all from the list.
    fn looks_generated(&self) -> bool {
        let mut rest = self.0.as_str();
        let mut found: Vec<&str> = Vec::new();
        while !rest.is_empty() {
            let Some(word) = first_word(rest) else { return false };
            rest = rest[word.len()..].trim_start_matches('-');
            found.push(word);
        }
        found.sort_unstable();
        found.dedup();
        found.len() >= GENERATED_WORDS
    }
}

impl FromStr for Phrase {
    type Err = PhraseError;

    fn from_str(text: &str) -> Result<Self, PhraseError> {
        if text.len() > MAX_BYTES {
            return Err(PhraseError::TooLong);
        }
        if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
            return Err(PhraseError::NotText);
        }
        let mut canonical = String::with_capacity(2 * text.len()); // never moved: a copy would stay in memory
        for word in text.split(|c: char| c.is_whitespace() || c == '-' || c == '_').filter(|w| !w.is_empty())
        {
            if !canonical.is_empty() {
                canonical.push('-');
            }
            canonical.extend(word.chars().flat_map(char::to_lowercase));
        }
        match canonical.len() {
            0 => Err(PhraseError::Empty),
            // Some letters are longer in lower case.
            length if length > MAX_BYTES => Err(PhraseError::TooLong),
            _ => Ok(Self(canonical)),
        }
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phrase(secret)")
    }
}

/// Says why a text is no phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Nothing but blanks.
    #[error("the key is empty")]
    Empty,
    /// Over 512 bytes.
    #[error("the key is longer than 512 bytes: this does not look like a key")]
    TooLong,
    /// Control characters: a binary file, perhaps.
    #[error("the key has control characters in it: this does not look like a key")]
    NotText,
}

/// Says why a phrase is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the key is too easy to guess: about 2^{bits:.0} guesses, at least 2^50 are wanted{}",
    .warning.as_ref().map(|w| format!(" ({})", w.trim_end_matches('.'))).unwrap_or_default())]
pub struct WeakPhrase {
    /// Estimated guesses as a power of two.
    pub bits: f64,
    /// What was recognised, in words.
    pub warning: Option<String>,
}

/// Draws a number below `n` without bias.
fn below(rng: &mut impl Rng, n: usize) -> usize {
    let n = u32::try_from(n).expect("lists are short");
    let limit = u32::MAX - u32::MAX % n;
    loop {
        let draw = rng.next_u32();
        if draw < limit {
            return (draw % n) as usize;
        }
    }
}

/// Finds the list's word at the start of `text`, the longest one where hyphenated words overlap ("yo-yo").
fn first_word(text: &str) -> Option<&'static str> {
    let ends = text.match_indices('-').map(|(i, _)| i).take(2).chain([text.len()]);
    ends.filter_map(|end| WORDS.binary_search(&&text[..end]).ok().map(|i| WORDS[i])).max_by_key(|w| w.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(text: &str) -> Phrase {
        text.parse().expect("a phrase")
    }

    #[test]
    fn a_generated_phrase_has_six_words_of_the_list_and_passes_its_own_check() {
        for seed in 0..200 {
            let phrase = Phrase::generate([seed; 32]);
            let repeated = {
                let mut w: Vec<_> = phrase.as_str().split('-').collect();
                w.sort_unstable();
                w.windows(2).any(|p| p[0] == p[1])
            };
            assert!(phrase.looks_generated() || repeated, "{}", phrase.as_str());
            assert_eq!(phrase.check_strength(), Ok(()));
        }
    }

    #[test]
    fn the_list_is_sorted_so_that_it_can_be_searched() {
        assert!(WORDS.is_sorted());
        assert_eq!(WORDS.len(), 7776);
    }

    #[test]
    fn case_blanks_and_hyphens_do_not_matter() {
        assert_eq!(phrase("  Correct Horse\tbattery_staple \n"), phrase("correct-horse-battery-staple"));
    }

    #[test]
    fn hyphenated_words_of_the_list_are_found() {
        assert!(phrase("yo-yo felt-tip drop-down acorn zoom abacus").looks_generated());
    }

    #[test]
    fn weak_phrases_are_refused_with_the_reason() {
        for weak in ["password", "qwertyuiop", "12345678", "letmein please", "zoom zoom zoom zoom zoom zoom"]
        {
            let refused = phrase(weak).check_strength().expect_err(weak);
            assert!(refused.to_string().contains("too easy to guess"), "{refused}");
        }
    }

    #[test]
    fn a_long_random_text_of_the_users_own_is_accepted() {
        assert_eq!(phrase("gT7!kq92-Lw#xVz0").check_strength(), Ok(()));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!("".parse::<Phrase>(), Err(PhraseError::Empty));
        assert_eq!(" - \n".parse::<Phrase>(), Err(PhraseError::Empty));
        assert_eq!("a\0b".parse::<Phrase>(), Err(PhraseError::NotText));
        assert_eq!("a".repeat(513).parse::<Phrase>(), Err(PhraseError::TooLong));
        assert_eq!("İ".repeat(256).parse::<Phrase>(), Err(PhraseError::TooLong));
    }

    #[test]
    fn debug_shows_nothing_of_the_phrase() {
        assert_eq!(format!("{:?}", phrase("secret words")), "Phrase(secret)");
    }
}
