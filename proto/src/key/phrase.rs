//! The key as people see it: seven common words.

use std::{fmt, str::FromStr};

use rand_core::{Rng, SeedableRng};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    typo::{self, Typo},
    words::{self, DRAWN_WORDS, PHRASE_WORDS, WORDS},
};

/// Longest accepted phrase, bytes. Longer input is a wrong file, not a phrase.
const MAX_BYTES: usize = 512;

#[cfg(feature = "own-phrases")]
/// Guesses, as a power of two, that a phrase of the user's own must withstand by zxcvbn's estimate. Anybody who
/// records one probe can try phrases offline at the price of one Argon2id each.
const MIN_BITS: f64 = 50.0;

/// A key in words, in its one canonical spelling: lower case, words joined by single hyphens.
///
/// [`str::parse`] takes drawn phrases alone, as their check word proves them. [`Phrase::own`] takes other texts.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Phrase(String);

impl Phrase {
    /// Draws a phrase from 32 bytes of entropy: six words, 77.5 bits, and their check word.
    #[must_use]
    pub fn generate(entropy: [u8; 32]) -> Self {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed(entropy);
        let mut words = [""; DRAWN_WORDS];
        for word in &mut words {
            *word = WORDS[below(&mut rng, WORDS.len())];
        }
        let mut text = words.join("-");
        let check = words::check_word(&words);
        let mut phrase = Self(String::with_capacity(text.len() + 1 + check.len())); // never moved
        phrase.0.extend([text.as_str(), "-", check]);
        text.zeroize();
        phrase
    }

    #[cfg(feature = "own-phrases")]
    /// Takes a text of the user's own. It can be guessed from one recorded probe by whoever finds it in a list, and
    /// no check word tells a typing error: only for users who know that.
    ///
    /// # Errors
    ///
    /// Says why a text is no phrase, or how weak it is by an estimate, which knows words and patterns and no quotes.
    pub fn own(text: &str) -> Result<Self, PhraseError> {
        let phrase = Self::canonical(text)?;
        if !phrase.is_drawn() {
            phrase.check_strength()?;
        }
        Ok(phrase)
    }

    /// Returns the canonical spelling. It is the secret: print it only where the user asked for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the check word proves the phrase to be drawn and not made up.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        words::are_drawn(&words::split(&self.0))
    }

    fn canonical(text: &str) -> Result<Self, PhraseError> {
        if text.len() > MAX_BYTES {
            return Err(PhraseError::TooLong);
        }
        if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
            return Err(PhraseError::NotText);
        }
        let mut phrase = Self(String::with_capacity(2 * text.len())); // never moved: a copy would stay in memory
        let canonical = &mut phrase.0;
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
            _ => Ok(phrase),
        }
    }

    #[cfg(feature = "own-phrases")]
    fn check_strength(&self) -> Result<(), WeakPhrase> {
        let estimate = zxcvbn::zxcvbn(&self.0, &["pinhole"]);
        let bits = estimate.guesses_log10() * std::f64::consts::LOG2_10;
        if bits >= MIN_BITS {
            return Ok(());
        }
        let warning =
            estimate.feedback().and_then(zxcvbn::feedback::Feedback::warning).map(|w| w.to_string());
        Err(WeakPhrase { bits, warning })
    }
}

impl FromStr for Phrase {
    type Err = PhraseError;

    fn from_str(text: &str) -> Result<Self, PhraseError> {
        let phrase = Self::canonical(text)?;
        let words = words::split(&phrase.0);
        if words::are_drawn(&words) { Ok(phrase) } else { Err(typo::find(&words)) }
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phrase(secret)")
    }
}

/// The reason why a text is no phrase. Nothing of the text is in it but for [`PhraseError::with_words`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
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
    /// Nothing like a drawn phrase.
    #[error("this is no key that pinhole made: those are {PHRASE_WORDS} words of its list")]
    Foreign,
    /// Some words, one or two, are not in the list.
    #[error("{} of the key {} not in pinhole's list of words", places(.0), if .0.len() == 1 { "is" } else { "are" })]
    Unknown(Vec<Typo>),
    /// All words are in the list, and they are too few or too many.
    #[error(
        "the key has {words} words of pinhole's list, and {PHRASE_WORDS} are wanted{}",
        surplus.map(|place| format!(": word {place} is one too many")).unwrap_or_default()
    )]
    Count {
        /// How many there are. Version 1 of the protocol had six.
        words: usize,
        /// The number of the one that is too much, from 1, if that is known.
        surplus: Option<usize>,
    },
    /// Two words that follow each other are swapped.
    #[error("words {first} and {} of the key are swapped", first + 1)]
    Swapped {
        /// The number of the first of the two, from 1.
        first: usize,
    },
    /// All words are in the list, and at least one of them is wrong: perhaps one of these, the most likely first.
    #[error(
        "a word of the key is wrong: {}",
        if .0.is_empty() { "its last word does not belong to the others".into() } else { format!("perhaps {}", places(.0)) }
    )]
    Check(Vec<Typo>),
    /// A phrase of the user's own could be guessed from one recorded probe.
    #[error(transparent)]
    Weak(#[from] WeakPhrase),
}

impl PhraseError {
    /// Returns the sentence with the words that are wrong and those that may be meant: for the user's own terminal.
    #[must_use]
    pub fn with_words(&self) -> impl fmt::Display {
        let typos: &[Typo] = match self {
            Self::Unknown(typos) | Self::Check(typos) => typos,
            Self::Empty
            | Self::TooLong
            | Self::NotText
            | Self::Foreign
            | Self::Count { .. }
            | Self::Swapped { .. }
            | Self::Weak(_) => &[],
        };
        let shown: Vec<String> = typos.iter().map(Typo::to_string).collect();
        if shown.is_empty() { self.to_string() } else { format!("{self} ({})", shown.join("; ")) }
    }
}

fn places(typos: &[Typo]) -> String {
    let mut places: Vec<String> = typos.iter().map(|typo| typo.place.to_string()).collect();
    places.dedup();
    match places.as_slice() {
        [one] => format!("word {one}"),
        several => format!("words {}", several.join(" and ")),
    }
}

/// Says why a phrase of the user's own is refused.
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

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWN: &str = "moonlight-spotter-shush-theft-relocate-vending-affix";

    #[test]
    fn a_generated_phrase_has_seven_words_and_is_taken_back() {
        for seed in 0..200 {
            let phrase = Phrase::generate([seed; 32]);
            assert_eq!(words::split(phrase.as_str()).len(), PHRASE_WORDS);
            assert_eq!(phrase.as_str().parse(), Ok(phrase));
        }
    }

    #[test]
    fn case_blanks_and_hyphens_do_not_matter() {
        let spelt = "  Moonlight spotter\tSHUSH_theft relocate--vending affix \n";
        assert_eq!(spelt.parse::<Phrase>().expect("a phrase").as_str(), DRAWN);
    }

    #[test]
    fn a_phrase_of_ones_own_is_taken_only_as_one() {
        let own = "gT7!kq92-Lw#xVz0";
        assert_eq!(own.parse::<Phrase>(), Err(PhraseError::Foreign));
        let phrase = Phrase::own(own).expect("strong enough");
        assert!(!phrase.is_drawn());
        assert!(Phrase::own(DRAWN).expect("a drawn one is no worse").is_drawn());
    }

    #[test]
    fn what_any_list_of_quotes_has_is_not_taken_for_drawn() {
        let quotes = [
            "to be or not to be that is the question",
            "correct horse battery staple",
            "may the force be with you always",
            "the quick brown fox jumps over the lazy dog",
            "never gonna give you up never gonna let you down",
            "in the beginning god created the heaven and the earth",
            "MyDogRexWasBornIn2019!",
            "abacus abdomen abdominal abide abiding ability",
            "abacus abdomen abdominal abide abiding ability ablaze",
            "zoom zoom zoom zoom zoom zoom zoom",
        ];
        for quote in quotes {
            assert!(quote.parse::<Phrase>().is_err(), "{quote}");
        }
    }

    #[test]
    fn weak_phrases_are_refused_with_the_reason() {
        for weak in ["password", "qwertyuiop", "12345678", "letmein please", "zoom zoom zoom zoom zoom zoom"]
        {
            let refused = Phrase::own(weak).expect_err(weak);
            assert!(refused.to_string().contains("too easy to guess"), "{refused}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for take in [Phrase::own, str::parse::<Phrase>] {
            assert_eq!(take(""), Err(PhraseError::Empty));
            assert_eq!(take(" - \n"), Err(PhraseError::Empty));
            assert_eq!(take("a\0b"), Err(PhraseError::NotText));
            assert_eq!(take(&"a".repeat(513)), Err(PhraseError::TooLong));
            assert_eq!(take(&"İ".repeat(256)), Err(PhraseError::TooLong));
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_phrase() {
        assert_eq!(format!("{:?}", Phrase::generate([1; 32])), "Phrase(secret)");
    }
}
