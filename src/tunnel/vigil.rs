//! Stays awake for a moment where the next word is expected at once.
//!
//! Within a machine, or across a cable of one's own, an exchange of small words costs little more than the wake-ups: a
//! processor that has gone to sleep needs some 30 µs to run the thread that a word was for, several times its work. So
//! whoever has carried a small word keeps looking for the next one for [`LASTS`], and leaves the processor to every other
//! program that wants it. A look in vain makes the next ones rarer, down to one for each [`RAREST`] words: who types, or
//! talks one way alone, pays nearly nothing for this.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long the next word is awaited: longer than an exchange within a machine takes.
const LASTS: Duration = Duration::from_micros(100);

/// Words for which there is one vigil, if all of them were in vain.
const RAREST: u32 = 64;

/// The vigil of one tunnel.
#[derive(Debug, Default)]
pub(super) struct Vigil(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    luck: Luck,
}

/// A vigil that is kept at this time.
#[derive(Debug)]
struct Kept {
    until: Instant,
    /// Another word has come.
    has_paid: bool,
}

impl Vigil {
    /// A small word was carried.
    pub(super) fn keep(self: &Arc<Self>) {
        let until = Instant::now() + LASTS;
        let mut state = self.state();
        if let Some(kept) = &mut state.kept {
            *kept = Kept { until, has_paid: true };
        } else if state.luck.is_worth_it() {
            state.kept = Some(Kept { until, has_paid: false });
            tokio::spawn(self.clone().look());
        }
    }

    /// The runtime looks at its sockets whenever all its tasks have had a turn, so it is enough to have another one.
    async fn look(self: Arc<Self>) {
        while self.goes_on() {
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }

    fn goes_on(&self) -> bool {
        let mut state = self.state();
        if let Some(over) = state.kept.take_if(|kept| kept.until <= Instant::now()) {
            state.luck.note(over.has_paid);
        }
        state.kept.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says for which words there is a vigil.
#[derive(Debug)]
struct Luck {
    /// There is one for each so many words.
    every: u32,
    /// Words since the last one.
    words: u32,
}

impl Default for Luck {
    fn default() -> Self {
        Self { every: 1, words: 0 }
    }
}

impl Luck {
    /// Counts a word.
    fn is_worth_it(&mut self) -> bool {
        self.words += 1;
        self.words >= self.every
    }

    /// Takes note of how a vigil has ended.
    fn note(&mut self, has_paid: bool) {
        let every = if has_paid { 1 } else { (self.every * 2).min(RAREST) };
        *self = Self { every, words: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vigils for so many words, each of which pays or not.
    fn vigils(luck: &mut Luck, words: u32, pay: bool) -> u32 {
        let mut vigils = 0;
        for _ in 0..words {
            if luck.is_worth_it() {
                vigils += 1;
                luck.note(pay);
            }
        }
        vigils
    }

    #[test]
    fn who_talks_one_way_alone_has_a_vigil_for_few_words_and_who_is_answered_for_all() {
        let mut luck = Luck::default();
        assert_eq!(vigils(&mut luck, 1000, true), 1000);
        let in_vain = vigils(&mut luck, 6400, false);
        assert!((100..=106).contains(&in_vain), "{in_vain}");
        assert!(vigils(&mut luck, 1000, true) >= 1000 - RAREST, "it is noticed when that changes");
    }

    #[tokio::test]
    async fn a_vigil_ends_and_one_in_vain_makes_the_next_ones_rarer() {
        let vigil = Arc::new(Vigil::default());
        for (words, every) in [(2, 1), (1, 2), (1, 2), (2, 1)] {
            // Nothing else runs between them.
            for _ in 0..words {
                vigil.keep();
            }
            while vigil.state().kept.is_some() {
                tokio::task::yield_now().await;
            }
            assert_eq!(vigil.state().luck.every, every, "after {words}");
        }
    }
}
