//! How often a path at rest is used so that no NAT on the way forgets it.
//!
//! Nobody says how long a NAT remembers: RFC 4787 §4.3 asks for 2 min and more, some carriers forget after 30 s. The
//! interval begins where nearly all remember and grows while they do; once a path has died in its sleep, it returns
//! to the beginning and stays well below for a day.

use std::time::{Duration, Instant};

/// The interval at first.
pub(in crate::puncher) const START: Duration = Duration::from_secs(15);

/// The longest interval: so long a path that died in its sleep may stay unnoticed.
const LONGEST: Duration = Duration::from_secs(60);

/// The interval grows by this much.
const STEP: Duration = Duration::from_secs(5);

/// Answers at one interval before it grows.
const ANSWERS: u32 = 12;

/// For this long an interval that was too long is not tried again.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(in crate::puncher) struct Keepalive {
    interval: Duration,
    /// Answers since the interval last changed.
    answers: u32,
    /// The interval that must not be reached, and when that was learned.
    ceiling: Option<(Duration, Instant)>,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: START, answers: 0, ceiling: None }
    }
}

impl Keepalive {
    /// The silence after which something must be sent.
    pub(in crate::puncher) fn interval(&self) -> Duration {
        self.interval
    }

    /// The path has answered after a silence of the whole interval.
    pub(in crate::puncher) fn handle_answer(&mut self, now: Instant) {
        self.ceiling = self.ceiling.filter(|(_, learned)| now < *learned + REMEMBERED);
        self.answers += 1;
        let longest = self.ceiling.map_or(LONGEST, |(ceiling, _)| ceiling - STEP);
        if self.answers >= ANSWERS && self.interval + STEP <= longest {
            self.interval += STEP;
            self.answers = 0;
        }
    }

    /// The path did not answer after a silence of the whole interval.
    pub(in crate::puncher) fn handle_death(&mut self, now: Instant) {
        if self.interval > START {
            self.ceiling = Some((self.interval, now));
        }
        (self.interval, self.answers) = (START, 0);
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
                keepalive.handle_death(now);
            } else {
                keepalive.handle_answer(now);
            }
        }
        assert!(deaths.len() <= 4, "one a day: {deaths:?}");
        assert!(deaths[1] - deaths[0] >= REMEMBERED);
    }
}
