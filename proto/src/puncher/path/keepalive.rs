//! The keepalive: how often a path at rest is used so that no NAT on the way forgets it.
//!
//! Nobody says how long a NAT remembers: RFC 4787 §4.3 asks for 2 min and more, some carriers forget after 30 s. The
//! interval begins where nearly all remember and grows while they do; once a path has died in its sleep, it returns
//! to the beginning and stays well below for a day. Where it dies sooner, twice in a row without an answer in between, some
//! router forgets faster than that, and the interval becomes shorter.

use std::time::{Duration, Instant};

/// The interval at first.
pub(in crate::puncher) const START: Duration = Duration::from_secs(15);

/// The shortest interval: no router that forgets faster is known.
pub(in crate::puncher) const LEAST: Duration = Duration::from_secs(5);

/// The longest interval: a path that died in its sleep may stay unnoticed for as long.
const LONGEST: Duration = Duration::from_secs(60);

/// Step by which the interval grows.
const STEP: Duration = Duration::from_secs(5);

/// Answers at one interval before it grows.
const ANSWERS: u32 = 12;

/// Time for which an interval that was too long is not tried again.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(in crate::puncher) struct Keepalive {
    interval: Duration,
    /// Answers since the interval last changed.
    answers: u32,
    /// After such a silence the path has died, and not answered since.
    failed: Option<Duration>,
    /// The interval that must not be reached, and when that was learned.
    ceiling: Option<(Duration, Instant)>,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: START, answers: 0, failed: None, ceiling: None }
    }
}

impl Keepalive {
    /// Returns the silence after which something must be sent.
    pub(in crate::puncher) fn interval(&self) -> Duration {
        self.interval
    }

    /// Records that the path has answered after such a silence.
    pub(in crate::puncher) fn handle_answer(&mut self, silence: Duration, now: Instant) {
        self.failed = self.failed.filter(|failed| silence < *failed);
        if silence < self.interval {
            return;
        }
        self.ceiling = self.ceiling.filter(|(_, learned)| now < *learned + REMEMBERED);
        self.answers += 1;
        let longest = self.ceiling.map_or(LONGEST, |(ceiling, _)| ceiling - STEP);
        if self.answers >= ANSWERS && self.interval + STEP <= longest {
            self.interval += STEP;
            self.answers = 0;
        }
    }

    /// Records that the path did not answer after such a silence.
    pub(in crate::puncher) fn handle_death(&mut self, silence: Duration, now: Instant) {
        if self.interval > START && silence >= self.interval {
            self.ceiling = Some((self.interval, now));
            (self.interval, self.answers) = (START, 0);
            return;
        }
        let silence = silence.min(self.interval);
        let Some(failed) = self.failed.take() else {
            return self.failed = Some(silence); // a router may have been off
        };
        self.interval = failed.min(silence).saturating_sub(STEP).max(LEAST);
        self.ceiling = Some((self.interval + STEP, now));
        self.answers = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
    fn it_learns_a_nat_s_timer_by_one_death_and_remembers_it() {
        let timer = Duration::from_secs(42);
        let mut now = Instant::now();
        let mut keepalive = Keepalive::default();
        let mut deaths = Vec::new();
        let began = now;
        while now < began + 3 * REMEMBERED {
            now += keepalive.interval();
            if keepalive.interval() > timer {
                deaths.push(now - began);
                keepalive.handle_death(keepalive.interval(), now);
            } else {
                keepalive.handle_answer(keepalive.interval(), now);
            }
        }
        assert!(deaths.len() <= 4, "one a day: {deaths:?}");
        assert!(deaths[1] - deaths[0] >= REMEMBERED);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
    fn it_shrinks_for_a_nat_that_forgets_sooner_than_it_begins_and_not_for_a_router_that_was_off() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let mut keepalive = Keepalive::default();
        for _ in 0..2 {
            keepalive.handle_death(seconds(11), now);
            keepalive.handle_answer(seconds(11), now);
        }
        assert_eq!(keepalive.interval(), START);
        for _ in 0..2 {
            keepalive.handle_answer(seconds(7), now);
            keepalive.handle_death(seconds(11), now);
        }
        assert_eq!(keepalive.interval(), seconds(6));
        for _ in 0..1000 {
            keepalive.handle_answer(keepalive.interval(), now);
        }
        assert_eq!(keepalive.interval(), seconds(6));
    }
}
