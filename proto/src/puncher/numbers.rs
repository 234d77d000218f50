//! The sequence numbers of one run of the peer's program that have been seen, and over which pairs.
//!
//! Whoever sees a probe may copy it, and the copy may come first, over any pair. So a number that was seen over one pair
//! still counts over another one: the copy gets its answer where it came from, and the probe itself gets its own. A
//! number counts once over a pair, and over a few pairs ([`MOST_PAIRS`]) of each [`Origin`] beyond the first. What an
//! attacker's copies take from each other, they never take from the path in use, nor from an address that the user
//! named toward our main port: these have a turn of their own.

use std::collections::VecDeque;

use super::{Pair, SocketId, replay::ReplayWindow};

/// Pairs over which one sequence number counts, for each kind of origin.
const MOST_PAIRS: usize = 4;

/// Numbers of which the pairs are remembered; older ones count over no more pairs.
const MAX_SEEN: usize = 512;

/// The origin of a probe, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// An address and port that the user named.
    Named,
    /// Another port of such an address.
    NamedIp,
    Elsewhere,
}

/// The arrival of a probe: over which pair, and from where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) pair: Pair,
    pub(super) origin: Origin,
    /// Whether the pair is in use, or was last in use.
    pub(super) is_path: bool,
    /// Whether a tunnel's path is in use: what arrived over it, or from a better place, is no more let in from elsewhere.
    pub(super) is_settled: bool,
}

/// Which turn of its number a probe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// From as good a place as it came from now, it is the first one.
    First,
    /// It has come from there before, over another pair: one of them is a copy.
    Again,
}

/// The sequence numbers of one instance that have been seen, and over which pairs; see the module's text.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    /// From elsewhere, from a named IP, and from an address that the user named or over the path in use; or from a better
    /// place.
    ranks: [ReplayWindow; 3],
    /// The pair in use, and what came over it.
    path: Option<(Pair, ReplayWindow)>,
    /// The pairs of the last numbers, the oldest first.
    seen: VecDeque<(u64, Pair, usize)>,
    /// Numbers below this one are not in `seen` any more.
    seen_from: u64,
}

impl Numbers {
    pub(super) fn new() -> Self {
        let ranks = std::array::from_fn(|_| ReplayWindow::new());
        Self { ranks, path: None, seen: VecDeque::new(), seen_from: 0 }
    }

    /// Makes one in which all numbers up to `sequence` count as seen, over all pairs.
    pub(super) fn after(sequence: u64) -> Self {
        let ranks = std::array::from_fn(|_| ReplayWindow::after(sequence));
        Self { ranks, seen_from: sequence.saturating_add(1), ..Self::new() }
    }

    /// Records a number; `None` when it was seen over that pair, or over too many others.
    pub(super) fn accept(&mut self, sequence: u64, arrival: &Arrival) -> Option<Turn> {
        let rank = match arrival.origin {
            _ if arrival.is_path => 2,
            Origin::Named => 2,
            Origin::NamedIp => 1,
            Origin::Elsewhere => 0,
        };
        if self.is_known(sequence, arrival.pair) {
            return None;
        }
        let is_new_on_path = arrival.is_path && self.accept_on_path(sequence, arrival.pair);
        let turn = if self.ranks[rank].accept(sequence) {
            self.ranks[..rank].iter_mut().for_each(|worse| {
                worse.accept(sequence);
            });
            Turn::First
        } else if is_new_on_path || self.may_come_again(sequence, arrival, rank) {
            Turn::Again
        } else {
            return None;
        };
        self.note(sequence, arrival.pair, rank);
        Some(turn)
    }

    fn is_known(&self, sequence: u64, pair: Pair) -> bool {
        self.seen.iter().any(|(number, over, _)| (*number, *over) == (sequence, pair))
    }

    /// Records a number in the window of the path in use; a new path begins with what is remembered of its pair.
    fn accept_on_path(&mut self, sequence: u64, pair: Pair) -> bool {
        if self.path.as_ref().is_none_or(|(path, _)| *path != pair) {
            let before = self.seen_from.checked_sub(1);
            self.path = Some((pair, before.map_or_else(ReplayWindow::new, ReplayWindow::after)));
        }
        self.path.as_mut().is_some_and(|(_, window)| window.accept(sequence))
    }

    /// Whether a number that was seen has a turn left over another pair.
    fn may_come_again(&self, sequence: u64, arrival: &Arrival, rank: usize) -> bool {
        let is_remembered = sequence >= self.seen_from && self.ranks[rank].reaches(sequence);
        if !is_remembered || arrival.is_settled || arrival.is_path {
            return false;
        }
        let is_main = arrival.origin == Origin::Named && arrival.pair.socket == SocketId::MAIN;
        let others = self.seen.iter().filter(|(number, _, of)| (*number, *of) == (sequence, rank)).count();
        is_main || others < MOST_PAIRS
    }

    fn note(&mut self, sequence: u64, pair: Pair, rank: usize) {
        if self.seen.len() == MAX_SEEN
            && let Some((forgotten, ..)) = self.seen.pop_front()
        {
            self.seen_from = self.seen_from.max(forgotten.saturating_add(1));
        }
        self.seen.push_back((sequence, pair, rank));
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{super::replay::WINDOW, *};

    fn elsewhere(port: u16) -> Arrival {
        let pair = Pair { socket: SocketId::MAIN, remote: SocketAddr::from(([192, 0, 2, 66], port)) };
        Arrival { pair, origin: Origin::Elsewhere, is_path: false, is_settled: false }
    }

    #[test]
    fn a_number_counts_once_over_a_pair_and_over_a_few_pairs() {
        let mut numbers = Numbers::new();
        let mut turns = |port| numbers.accept(7, &elsewhere(port));
        assert_eq!(turns(1), Some(Turn::First));
        let again: Vec<_> = (1..20).chain(1..20).filter_map(&mut turns).collect();
        assert_eq!(again, [Turn::Again; MOST_PAIRS - 1]);
    }

    #[test]
    fn copies_over_all_other_pairs_leave_the_path_and_the_named_address_their_turns() {
        let mut numbers = Numbers::new();
        let path = Arrival { is_path: true, ..elsewhere(1) };
        let named = Arrival { origin: Origin::Named, ..elsewhere(2) };
        for sequence in 0..2000 {
            for port in 3..20 {
                numbers.accept(sequence, &elsewhere(port));
                numbers.accept(sequence, &Arrival { origin: Origin::Named, ..elsewhere(port) });
            }
            for arrival in [&path, &named] {
                assert!(numbers.accept(sequence, arrival).is_some(), "{sequence}");
                assert_eq!(numbers.accept(sequence, arrival), None, "{sequence}");
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_forgotten_counts_no_more() {
        let mut numbers = Numbers::new();
        for sequence in 0..10 * WINDOW {
            assert_eq!(numbers.accept(sequence, &elsewhere(1)), Some(Turn::First));
        }
        assert_eq!(numbers.seen.len(), MAX_SEEN);
        let again = (0..10 * WINDOW).filter(|sequence| numbers.accept(*sequence, &elsewhere(2)).is_some());
        assert!(again.count() <= MAX_SEEN);
        assert!((0..10 * WINDOW).all(|sequence| numbers.accept(sequence, &elsewhere(1)).is_none()));
    }

    #[test]
    fn over_a_path_that_was_in_use_before_nothing_counts_again() {
        let mut numbers = Numbers::new();
        let first = Arrival { is_path: true, ..elsewhere(1) };
        let second = Arrival { is_path: true, ..elsewhere(2) };
        assert!(numbers.accept(7, &first).is_some() && numbers.accept(8, &second).is_some());
        assert_eq!(numbers.accept(7, &first), None);
        assert_eq!(numbers.accept(7, &elsewhere(1)), None);
        assert!(numbers.accept(9, &elsewhere(1)).is_some());
        assert_eq!(numbers.accept(9, &first), None, "nor where the pair is in use only now");
    }

    #[test]
    fn while_a_path_is_in_use_copies_from_elsewhere_that_come_later_do_not_count() {
        let mut numbers = Numbers::new();
        let path = Arrival { is_path: true, is_settled: true, ..elsewhere(1) };
        assert!(numbers.accept(7, &path).is_some());
        assert_eq!(numbers.accept(7, &Arrival { is_settled: true, ..elsewhere(2) }), None);
    }
}
