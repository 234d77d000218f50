//! Paths that the network ends at a certain age, whatever passes over them.
//!
//! Some carriers do so, after ten minutes or a day. Two paths in a row that died at the same age are taken for such a
//! network: from then on a path is renewed before it comes to that age.

use std::time::Duration;

/// Younger deaths say nothing about age.
const SHORTEST: Duration = Duration::from_secs(60);

/// Two ages are the same if they differ by less than this share: a path at rest is looked at rarely.
const TOLERANCE: u32 = 10;

/// Refreshes after which the rule must show again.
const REFRESHES: u32 = 50;

#[derive(Debug, Default)]
pub(in crate::puncher) struct Lifetime {
    last: Option<Duration>,
    known: Option<Duration>,
    /// Refreshes since it is known.
    refreshes: u32,
}

impl Lifetime {
    /// Records the age at which a path fell silent.
    pub(in crate::puncher) fn handle_death(&mut self, age: Duration) {
        let before = self.last.replace(age);
        let same =
            before.filter(|before| age >= SHORTEST && age.abs_diff(*before) < age.max(*before) / TOLERANCE);
        if let Some(before) = same {
            (self.known, self.refreshes) = (Some(age.min(before)), 0);
        }
    }

    /// Records that a path is renewed. Once in a while it is tried whether that is still needed.
    pub(in crate::puncher) fn handle_refresh(&mut self) {
        self.refreshes += 1;
        if self.refreshes == REFRESHES {
            *self = Self::default();
        }
    }

    /// The age at which a path is to be renewed, if it is to be.
    pub(in crate::puncher) fn refresh_after(&self) -> Option<Duration> {
        self.known.map(|known| known * 4 / 5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_deaths_at_one_age_are_a_rule_and_others_are_accidents() {
        let mut lifetime = Lifetime::default();
        for age in [600, 30, 30, 5000, 610] {
            lifetime.handle_death(Duration::from_secs(age));
            assert_eq!(lifetime.refresh_after(), None);
        }
        lifetime.handle_death(Duration::from_secs(600));
        assert_eq!(lifetime.refresh_after(), Some(Duration::from_secs(480)));
        (0..REFRESHES).for_each(|_| lifetime.handle_refresh());
        assert_eq!(lifetime.refresh_after(), None);
    }
}
