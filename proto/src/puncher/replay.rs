//! The replay window: tells datagrams seen before from new ones, in bounded memory (the idea of RFC 4303 §3.4.3).

/// Sequence numbers that may arrive late and still count.
pub(super) const WINDOW: u64 = 1024;

/// The sequence numbers of one peer instance that have been seen.
#[derive(Debug, Clone)]
pub(super) struct ReplayWindow {
    /// One past the highest number seen.
    next: u64,
    /// One bit for each of the last [`WINDOW`] numbers, by number modulo the window.
    seen: [u64; (WINDOW / 64) as usize],
}

impl ReplayWindow {
    pub(super) fn new() -> Self {
        Self { next: 0, seen: [0; (WINDOW / 64) as usize] }
    }

    /// Makes one in which all numbers up to that one count as seen.
    pub(super) fn after(sequence: u64) -> Self {
        Self { next: sequence.saturating_add(1), seen: [u64::MAX; (WINDOW / 64) as usize] }
    }

    /// Records `sequence`; false when it was there before, or is too old to tell.
    pub(super) fn accept(&mut self, sequence: u64) -> bool {
        if sequence == u64::MAX || !self.reaches(sequence) {
            return false;
        }
        if sequence >= self.next {
            self.advance(sequence + 1);
        }
        let (word, bit) = Self::place(sequence);
        let fresh = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        fresh
    }

    /// Whether `sequence` is new enough to tell whether it was there before.
    pub(super) fn reaches(&self, sequence: u64) -> bool {
        sequence.saturating_add(WINDOW) >= self.next
    }

    /// Forgets what leaves the window.
    fn advance(&mut self, next: u64) {
        if next - self.next >= WINDOW {
            self.seen = [0; (WINDOW / 64) as usize];
        } else {
            for sequence in self.next..next {
                let (word, bit) = Self::place(sequence);
                self.seen[word] &= !bit;
            }
        }
        self.next = next;
    }

    fn place(sequence: u64) -> (usize, u64) {
        let index = sequence % WINDOW;
        ((index / 64) as usize, 1 << (index % 64))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_accepted_twice_and_everything_recent_once() {
        proptest!(|(steps in prop::collection::vec(0u64..4000, 0..400), base in 0..u64::MAX - 5000)| {
            let (mut window, mut seen, mut highest) = (ReplayWindow::new(), BTreeSet::new(), 0);
            for sequence in steps.into_iter().map(|s| base + s) {
                let late = sequence + WINDOW < highest;
                prop_assert_eq!(window.accept(sequence), seen.insert(sequence) && !late);
                highest = highest.max(sequence + 1);
            }
        });
    }

    #[test]
    fn a_window_that_begins_after_a_number_takes_nothing_up_to_it() {
        let mut window = ReplayWindow::after(5000);
        assert!((0..=5000).all(|sequence| !window.accept(sequence)));
        assert!(window.accept(5003) && window.accept(5001) && !window.accept(5003));
    }

    #[test]
    fn the_end_of_the_numbers_is_refused_and_not_an_overflow() {
        assert!(!ReplayWindow::new().accept(u64::MAX));
        assert!(ReplayWindow::new().accept(u64::MAX - 1));
    }
}
