//! Errors in a drawn phrase: which word is wrong, and which one was meant, as far as that can be known.
//!
//! One phrase of 7,776 passes the check word by chance. With one wrong word in it, only one or two words of the list
//! pass at its place, so the one that was meant is known; where the wrong word is in the list as well, every place is
//! tried, and what is left is told apart by how far it is from what was typed.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    PhraseError,
    words::{DRAWN_WORDS, PHRASE_WORDS, WORDS, are_drawn, check_word, is_listed},
};

/// Words that are suggested at most.
const MAX_MEANT: usize = 3;

/// Unknown words that are named at most. With more of them a text is not a drawn phrase with errors.
const MAX_UNKNOWN: usize = 2;

/// Longest unknown word that is named, bytes. The longest word of the list has nine letters.
const MAX_TYPED_BYTES: usize = 20;

/// Slips (a letter too much, too little, another one, two swapped) between a word that is in the list and the one
/// that was meant.
const MAX_SLIPS: usize = 2;

/// The same for a word that is not in the list.
const MAX_SLIPS_UNKNOWN: usize = 3;

/// A wrong word in a phrase.
#[derive(Clone, PartialEq, Eq)]
pub struct Typo {
    /// Its number, from 1.
    pub place: usize,
    /// What was typed. A part of the secret: not for a log.
    pub typed: Zeroizing<String>,
    /// Words of the list that may be meant, the most likely first. As secret as the phrase.
    pub meant: Vec<&'static str>,
}

impl fmt::Debug for Typo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typo").field("place", &self.place).finish_non_exhaustive()
    }
}

impl fmt::Display for Typo {
    /// Shows the words: for the user's own terminal alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "word {} is \"{}\"", self.place, self.typed.escape_debug())?;
        let meant: Vec<String> = self.meant.iter().map(|word| format!("\"{word}\"")).collect();
        if meant.is_empty() { Ok(()) } else { write!(f, ": is {} meant?", meant.join(" or ")) }
    }
}

/// Says what is wrong with words that are not those of a drawn phrase.
pub(super) fn find(words: &[&str]) -> PhraseError {
    let unknown: Vec<usize> = (0..words.len()).filter(|place| !is_listed(words[*place])).collect();
    let is_close = (PHRASE_WORDS - 2..=PHRASE_WORDS + 2).contains(&words.len())
        && unknown.len() <= MAX_UNKNOWN
        && unknown.iter().all(|place| words[*place].len() <= MAX_TYPED_BYTES);
    match unknown.as_slice() {
        [] if words.len() == PHRASE_WORDS => fails_check(words),
        [] => PhraseError::Count { words: words.len(), surplus: surplus(words) },
        _ if !is_close => PhraseError::Foreign,
        [place] if words.len() == PHRASE_WORDS => {
            PhraseError::Unknown(vec![typo(words, *place, fitting(words, *place))])
        }
        places => {
            PhraseError::Unknown(places.iter().map(|place| typo(words, *place, WORDS.to_vec())).collect())
        }
    }
}

/// All words are in the list, and do not belong together.
fn fails_check(words: &[&str]) -> PhraseError {
    for place in 0..DRAWN_WORDS {
        let mut swapped = words.to_vec();
        swapped.swap(place, place + 1);
        if are_drawn(&swapped) {
            return PhraseError::Swapped { first: place + 1 };
        }
    }
    let candidates = (0..PHRASE_WORDS).flat_map(|place| {
        let slips = move |word: &&'static str| strsim::osa_distance(words[place], word);
        fitting(words, place).into_iter().map(move |word| (slips(&word), place, word))
    });
    let mut likely: Vec<_> = candidates.filter(|(slips, ..)| *slips <= MAX_SLIPS).collect();
    likely.sort_unstable();
    let typos = likely.iter().take(MAX_MEANT).map(|(_, place, word)| Typo {
        place: place + 1,
        typed: Zeroizing::new(words[*place].to_owned()),
        meant: vec![word],
    });
    PhraseError::Check(typos.collect())
}

/// Returns the words with which the phrase passes the check if they stand at `place`.
fn fitting(words: &[&str], place: usize) -> Vec<&'static str> {
    if place == DRAWN_WORDS {
        return vec![check_word(&words[..DRAWN_WORDS])];
    }
    let mut tried = words.to_vec();
    let fits = |word: &&'static str| {
        tried[place] = word;
        check_word(&tried[..DRAWN_WORDS]) == tried[DRAWN_WORDS]
    };
    WORDS.iter().copied().filter(fits).collect()
}

/// Describes an unknown word by the nearest of some words of the list.
fn typo(words: &[&str], place: usize, meant: Vec<&'static str>) -> Typo {
    let typed = words[place];
    let mut near: Vec<_> = meant.into_iter().map(|word| (strsim::osa_distance(typed, word), word)).collect();
    near.retain(|(slips, _)| *slips <= MAX_SLIPS_UNKNOWN);
    near.sort_unstable();
    let nearest = near.first().map_or(0, |(slips, _)| *slips);
    let meant = near.iter().take_while(|(slips, _)| *slips == nearest).map(|(_, word)| *word);
    Typo { place: place + 1, typed: Zeroizing::new(typed.to_owned()), meant: meant.take(MAX_MEANT).collect() }
}

/// Returns the number of the one word that is too much, from 1.
fn surplus(words: &[&str]) -> Option<usize> {
    (words.len() == PHRASE_WORDS + 1)
        .then(|| (0..words.len()).find(|place| are_drawn(&[&words[..*place], &words[place + 1..]].concat())))
        .flatten()
        .map(|place| place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHRASE: [&str; 7] = ["moonlight", "spotter", "shush", "theft", "relocate", "vending", "affix"];

    fn with(place: usize, word: &'static str) -> Vec<&'static str> {
        let mut words = PHRASE.to_vec();
        words[place - 1] = word;
        words
    }

    fn typo(place: usize, typed: &str, meant: &[&'static str]) -> Typo {
        Typo { place, typed: Zeroizing::new(typed.into()), meant: meant.into() }
    }

    #[test]
    fn the_word_that_is_meant_is_known_however_it_is_misspelt() {
        for typed in ["spoter", "psotrer", "spottrr"] {
            let error = find(&with(2, typed));
            assert_eq!(error, PhraseError::Unknown(vec![typo(2, typed, &["spotter"])]), "{typed}");
        }
        assert_eq!(find(&with(7, "afix")), PhraseError::Unknown(vec![typo(7, "afix", &["affix"])]));
    }

    #[test]
    fn a_wrong_word_that_is_in_the_list_is_found_by_the_check_word() {
        let wrong = [(2, "spotted", "spotter"), (3, "slush", "shush"), (4, "theme", "theft")];
        for (place, typed, meant) in wrong.into_iter().chain([(7, "affair", "affix")]) {
            let error = find(&with(place, typed));
            assert_eq!(error, PhraseError::Check(vec![typo(place, typed, &[meant])]), "{typed}");
        }
        assert_eq!(find(&with(6, "vendor")), PhraseError::Check(vec![]), "nothing near: no guess");
    }

    #[test]
    fn swapped_neighbours_are_found() {
        for place in 0..DRAWN_WORDS {
            let mut words = PHRASE;
            words.swap(place, place + 1);
            assert_eq!(find(&words), PhraseError::Swapped { first: place + 1 });
        }
    }

    #[test]
    fn too_few_and_too_many_words_are_counted() {
        for count in [1, 5, 6] {
            assert_eq!(find(&PHRASE[..count]), PhraseError::Count { words: count, surplus: None });
        }
        let twice = [&PHRASE[..3], &PHRASE[2..]].concat();
        assert_eq!(find(&twice), PhraseError::Count { words: 8, surplus: Some(3) });
        let nine = [&PHRASE[..], &["zoom", "zoom"]].concat();
        assert_eq!(find(&nine), PhraseError::Count { words: 9, surplus: None });
    }

    #[test]
    fn a_misspelt_word_among_too_few_gets_the_nearest_of_the_list() {
        let words = ["moonlight", "spotter", "shush", "theft", "relocatte"];
        assert_eq!(find(&words), PhraseError::Unknown(vec![typo(5, "relocatte", &["relocate"])]));
    }

    #[test]
    fn a_text_of_other_words_is_no_drawn_phrase_with_errors() {
        for text in ["hunter2", "to be or not to be", "correct horse battery staple", "gT7!kq92-Lw#xVz0"] {
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(find(&words), PhraseError::Foreign, "{text}");
        }
        let long = "x".repeat(MAX_TYPED_BYTES + 1);
        assert_eq!(find(&[&PHRASE[..6], &[long.as_str()]].concat()), PhraseError::Foreign);
    }

    #[test]
    fn only_what_is_for_the_users_terminal_has_words_in_it() {
        let mut errors = vec![find(&with(2, "spotter2")), find(&with(3, "slush")), find(&PHRASE[..5])];
        let mut swapped = PHRASE;
        swapped.swap(0, 1);
        errors.push(find(&swapped));
        for error in errors {
            for text in [error.to_string(), format!("{error:?}")] {
                let told = [&PHRASE[..], &["spotter2", "slush"]].concat();
                assert!(!told.iter().any(|word| text.contains(word)), "{text}");
            }
        }
        let shown = find(&with(2, "spotted")).with_words().to_string();
        assert!(shown.contains("spotted") && shown.contains("spotter"), "{shown}");
        assert!(!shown.contains("moonlight"), "only the wrong word: {shown}");
    }
}
