//! The allocation of an attempt: how many mappings it may make, and what for.

use crate::puncher::{
    Limits, Method,
    budget::{MAX_FAN, MORE_FAN},
};

/// Divisor of an attempt's mappings: one in this many is a socket of the fan, as long as nobody knows which half will
/// meet the peer; and where the fan is known to do.
const EVEN_SHARE: usize = 3;

/// The same where the sweep is known to do, beside which the fan is not needed unless the NATs are others now; and where
/// fan and sweep are both for two ports.
const HALF_SHARE: usize = 4;

/// Further sockets of a fan that is known to do and whose first ones have missed: half of those that are drawn, for each
/// takes a descriptor.
const MORE: usize = MORE_FAN / 2;

/// One half of a birthday, fan or sweep: what of ours has met the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Fan,
    Sweep,
}

impl Half {
    pub(super) fn method(self) -> Method {
        match self {
            Self::Fan => Method::Fan,
            Self::Sweep => Method::Sweep,
        }
    }

    pub(super) fn of(method: Method) -> Option<Self> {
        match method {
            Method::Fan => Some(Self::Fan),
            Method::Sweep => Some(Self::Sweep),
            Method::Base | Method::Slot | Method::Reserve => None,
        }
    }
}

/// The part of a search's mappings that one attempt gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// All that a search may make.
    pub(super) all: usize,
    /// Those that are not taken: by addresses that were candidates, say.
    pub(super) room: usize,
    /// Whether the peer's name may soon give another address, which wants some of them.
    pub(super) awaits_name: bool,
    /// Candidates that take turns, one at least.
    pub(super) candidates: usize,
    /// Whether the attempt is for the best of them.
    pub(super) is_best: bool,
}

impl Part {
    /// Returns how many mappings it is: three fifths of what is not kept for another address for the best candidate, what
    /// is left for the others.
    fn size(self) -> usize {
        let free = self.free();
        let best = if self.candidates > 1 { free * 3 / 5 } else { free };
        let size = if self.is_best { best } else { (free - best) / self.candidates.saturating_sub(1).max(1) };
        size.min(self.room)
    }

    fn free(self) -> usize {
        if self.awaits_name { self.all * 3 / 5 } else { self.all }
    }

    /// Returns how many are to stay free for the address that the name may give.
    pub(super) fn kept_free(self) -> usize {
        self.all - self.free()
    }

    /// Whether it is all that there are, or nearly.
    pub(super) fn is_whole(self) -> bool {
        self.size() * 10 >= self.all * 9
    }
}

/// The allocation of the mappings of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allocation {
    /// Sockets of the fan, and whether each sends to the peer's reserve port as well.
    pub(super) fan: usize,
    pub(super) fans_to_reserve: bool,
    /// Most mappings of these: the peer's main port comes first.
    pub(super) fanned: usize,
    /// Further ones, later, toward the reserve port alone.
    pub(super) more_fan: usize,
    /// Ports that are swept, and how many of them, later, from the other one of the own two ports as well.
    pub(super) swept: usize,
    pub(super) swept_twice: usize,
}

impl Allocation {
    /// `half` is what is known to do; `is_later` if that has failed, where both sides have reserve ports. A small part
    /// is for what is known alone.
    pub(super) fn new(part: Part, half: Option<Half>, is_later: bool) -> Self {
        let (size, is_whole) = (part.size(), part.is_whole());
        let [even, less] = [EVEN_SHARE, HALF_SHARE].map(|share| (size / share).min(MAX_FAN));
        let one_target = |fan: usize| Self {
            fan,
            fans_to_reserve: false,
            fanned: fan,
            more_fan: 0,
            swept: size - fan,
            swept_twice: 0,
        };
        let two_targets = |fan: usize, more_fan: usize| {
            let fanned = (2 * fan).min(size);
            Self { fans_to_reserve: true, fanned, more_fan, swept: size - fanned, ..one_target(fan) }
        };
        match half {
            Some(Half::Fan) if is_whole => two_targets(even, MORE),
            Some(Half::Fan) => Self { swept: 0, ..two_targets(size.min(MAX_FAN), 0) },
            // A router that takes the peer's packets for its own may have moved our main port, and nobody tells us.
            Some(Half::Sweep) if is_whole => Self { swept_twice: less, ..one_target(less) },
            Some(Half::Sweep) => one_target(0),
            None if is_later => {
                let later = two_targets(less, 0);
                Self { swept: later.swept / 2, swept_twice: later.swept / 2, ..later }
            }
            None => one_target(even),
        }
    }
}

/// Most sockets that a fan has open at a time.
pub(in crate::puncher::search) fn most_sockets(limits: Limits) -> usize {
    let all = limits.search();
    let part = |awaits_name| Part { all, room: all, awaits_name, candidates: 1, is_best: true };
    let allocations = [None, Some(Half::Fan), Some(Half::Sweep)].into_iter().flat_map(|half| {
        [(false, false), (false, true), (true, false)]
            .map(|(awaits_name, is_later)| Allocation::new(part(awaits_name), half, is_later))
    });
    allocations.map(|allocation| allocation.fan + allocation.more_fan).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(awaits_name: bool, candidates: usize, is_best: bool) -> Part {
        let all = Limits::DEFAULT.search();
        Part { all, room: all, awaits_name, candidates, is_best }
    }

    #[test]
    fn the_default_bounds_leave_room_for_a_birthday_that_succeeds_in_999_of_1000_tries() {
        let allocation = Allocation::new(part(false, 1, true), None, false);
        assert_eq!((allocation.fan, allocation.swept), (477, 955));
        let failure: f64 = (0..955).map(|swept| 1.0 - 477.0 / (64_512.0 - f64::from(swept))).product();
        assert!(failure < 0.001, "{failure}");
    }

    #[test]
    fn the_parts_of_all_candidates_and_of_the_one_that_a_name_may_give_are_no_more_than_all() {
        for awaits_name in [false, true] {
            for candidates in 1..=16 {
                let others = (candidates - 1) * part(awaits_name, candidates, false).size();
                let sum =
                    part(awaits_name, candidates, true).size() + if candidates > 1 { others } else { 0 };
                let all = Limits::DEFAULT.search();
                assert!(sum <= if awaits_name { all * 3 / 5 } else { all }, "{candidates}: {sum}");
            }
        }
    }

    #[test]
    fn a_small_part_makes_no_more_mappings_than_it_is() {
        for half in [None, Some(Half::Fan), Some(Half::Sweep)] {
            for is_later in [false, true] {
                let small = part(true, 1, true);
                let allocation = Allocation::new(small, half, is_later);
                let sum = allocation.fanned + allocation.more_fan + allocation.swept + allocation.swept_twice;
                assert!(sum <= small.size(), "{half:?}, {is_later}: {allocation:?}");
            }
        }
    }
}
