//! The path in use: watched, kept alive, given up; renewed and replaced by a nearer one where that is better.

pub(in crate::puncher) mod health;
pub(in crate::puncher) mod keepalive;
pub(in crate::puncher) mod lifetime;
pub(in crate::puncher) mod liveness;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::probe::Probe;
use crate::puncher::{
    Event, Loss, Now, Pair, Puncher, Role, SocketId, State,
    budget::Purpose,
    checks::PROMPT,
    path::lifetime::Lifetime,
    path::liveness::{Action, PathLiveness},
    search::SearchMode,
    transmits::OutgoingProbe,
};

/// Number of tests in a row that the peer must have seen come from another address before our NAT is taken to have
/// moved us.
const MOVED_TESTS: usize = 3;

/// Times between re-evaluations of a path: comparisons with the peer's other addresses. The last one repeats.
const REEVALUATIONS: [Duration; 3] =
    [Duration::from_secs(3), Duration::from_secs(30), Duration::from_secs(600)];

/// The selected pair (RFC 8445 §2): the path in use.
#[derive(Debug)]
pub(in crate::puncher) struct SelectedPair {
    pub(in crate::puncher) pair: Pair,
    pub(in crate::puncher) peer_epoch: u32,
    /// Our address as the peer saw it when the pair was proven.
    pub(in crate::puncher) observed: Option<SocketAddr>,
    /// Where the peer has seen our last tests come from, if that was another address: which, and the tests.
    moved: Option<(SocketAddr, Vec<u64>)>,
    since: Instant,
    /// When the path is re-evaluated next, and how often that was done.
    reevaluation: (Instant, usize),
    pub(in crate::puncher) liveness: PathLiveness,
}

impl SelectedPair {
    /// Begins to use a pair.
    pub(in crate::puncher) fn new(
        pair: Pair,
        peer_epoch: u32,
        observed: Option<SocketAddr>,
        liveness: PathLiveness,
        now: Instant,
    ) -> Self {
        Self {
            pair,
            peer_epoch,
            observed,
            moved: None,
            since: now,
            reevaluation: (now + REEVALUATIONS[0], 1),
            liveness,
        }
    }

    /// Whether our NAT has given us another address, by what the peer has seen of a test. Somebody on the way may send a copy
    /// of a test from an address of his own, and hand on the answer; the answer to the test itself then comes as
    /// well. So [`MOVED_TESTS`] tests in a row must have been seen there, and none where we were before.
    fn has_moved(&mut self, token: u64, observed: Option<SocketAddr>) -> Moved {
        let Some((seen, _)) = observed.zip(self.observed).filter(|(seen, before)| seen != before) else {
            self.moved = None;
            return Moved::No;
        };
        let (_, tests) = match &mut self.moved {
            Some(moved) if moved.0 == seen => moved,
            moved => moved.insert((seen, Vec::new())),
        };
        if !tests.contains(&token) {
            tests.push(token);
        }
        if tests.len() < MOVED_TESTS { Moved::Perhaps } else { Moved::Yes }
    }

    fn refresh_at(&self, lifetime: &Lifetime) -> Option<Instant> {
        lifetime.refresh_after().map(|age| self.since + age)
    }
}

/// See [`SelectedPair::has_moved`].
#[derive(Debug, PartialEq, Eq)]
enum Moved {
    No,
    Perhaps,
    Yes,
}

impl Puncher {
    /// Watches over the path in use: tests it, gives it up, looks for a better one.
    pub(in crate::puncher) fn watch_path(&mut self, now: Now) {
        let State::Connected(selected) = &mut self.state else { return };
        match selected.liveness.poll(&self.keepalive, now.instant) {
            Action::None => {}
            Action::Test => self.send_path_test(now),
            Action::Dead { silent, rested } => {
                let age = now.instant.saturating_duration_since(selected.since);
                match rested {
                    Some(silence) => self.keepalive.handle_death(silence, now.instant),
                    None => self.lifetime.handle_death(age.saturating_sub(silent)),
                }
                return self.lose_path(Loss::Silent(silent), now);
            }
        }
        if self.context.role == Role::Open {
            self.improve(now);
        }
    }

    /// Tests the path in use.
    pub(in crate::puncher) fn send_path_test(&mut self, now: Now) {
        let State::Connected(selected) = &mut self.state else { return };
        let pair = selected.pair;
        let token = self.transmits.random();
        let has_left = self.send_for(Purpose::Path, OutgoingProbe::new(pair, token), now);
        let State::Connected(selected) = &mut self.state else { return };
        if has_left {
            selected.liveness.handle_sent(token, &self.keepalive, now.instant);
        } else {
            // What did not leave says nothing about the path.
            selected.liveness.handle_refused(now.instant);
        }
    }

    /// Looks for a path that is nearer, or younger where the network ends old ones. The open side does, since it
    /// chooses.
    fn improve(&mut self, now: Now) {
        let State::Connected(selected) = &mut self.state else { return };
        if selected.refresh_at(&self.lifetime).is_some_and(|at| now.instant >= at) {
            self.lifetime.handle_refresh();
            return self.lose_path(Loss::Aged, now);
        }
        let (at, times) = selected.reevaluation;
        if now.instant < at {
            return;
        }
        selected.reevaluation = (now.instant + REEVALUATIONS[times.min(REEVALUATIONS.len() - 1)], times + 1);
        for remote in self.context.candidates.all() {
            let pair = Pair { socket: SocketId::MAIN, remote };
            if pair != selected.pair {
                self.checks.add_reflexive(pair, now.instant);
            }
        }
    }

    pub(in crate::puncher) fn lose_path(&mut self, loss: Loss, now: Now) {
        self.transmits.emit(Event::PathLost(loss));
        let silent = if let Loss::Silent(silent) = loss { silent } else { Duration::ZERO };
        self.context.candidates.handle_loss(now.instant.checked_sub(silent).unwrap_or(now.instant));
        self.context.note_loss(matches!(loss, Loss::Moved | Loss::Rerouted), now.instant);
        let mode = if loss == Loss::Aged { SearchMode::Refresh } else { SearchMode::Reconnect };
        self.start_search(now, now.instant, mode, "the path is lost");
    }

    /// Takes an ack of a liveness test by the peer's current run; false if it is none.
    pub(in crate::puncher) fn handle_path_ack(&mut self, pair: Pair, probe: &Probe, now: Now) -> bool {
        let State::Connected(selected) = &mut self.state else { return false };
        if selected.pair != pair {
            return false;
        }
        let is_prompt = selected.liveness.awaits(probe.token, now.instant);
        let moved = if is_prompt { selected.has_moved(probe.token, probe.observed) } else { Moved::No };
        if moved == Moved::Perhaps {
            return true; // the test stays unanswered, so others follow soon
        }
        let Some((rtt, rested)) = selected.liveness.handle_ack(probe.token, &self.keepalive, now.instant)
        else {
            return false;
        };
        match rested {
            // The peer had lost the path: this test has opened our NAT anew.
            Some(silence) if probe.epoch > selected.peer_epoch => {
                self.keepalive.handle_death(silence, now.instant)
            }
            Some(silence) => self.keepalive.handle_answer(silence, now.instant),
            None => {}
        }
        if let Some(sent_at) = now.instant.checked_sub(rtt) {
            self.note_tunnel(probe, sent_at);
        }
        if rtt < PROMPT {
            self.note_clock(probe, rtt, now);
        }
        if moved == Moved::Yes {
            self.lose_path(Loss::Moved, now);
        }
        true
    }

    pub(in crate::puncher) fn path_deadline(&self, selected: &SelectedPair) -> Instant {
        let kept = selected.liveness.deadline();
        match self.context.role {
            Role::Serve => kept,
            Role::Open => {
                let refresh_at = selected.refresh_at(&self.lifetime);
                refresh_at.into_iter().fold(kept.min(selected.reevaluation.0), Instant::min)
            }
        }
    }
}
