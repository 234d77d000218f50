//! The path in use: watched, kept alive, given up; renewed and replaced by a nearer one where that is better.

pub(in crate::puncher) mod health;
pub(in crate::puncher) mod keepalive;
pub(in crate::puncher) mod keeper;
pub(in crate::puncher) mod lifetime;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::probe::Probe;
use crate::puncher::{
    Event, Loss, Now, Pair, Puncher, Role, SocketId, State,
    checks::PROMPT,
    path::keeper::{Care, PathKeeper},
    path::lifetime::Lifetime,
    search::SearchMode,
    transmits::OutgoingProbe,
};

/// Tests in a row that the peer must have seen come from another address before our NAT is taken to have moved us.
const MOVED_TESTS: usize = 3;

/// After so long a path is compared with the peer's other addresses; from the last one on again and again.
const SURVEYS: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(30), Duration::from_secs(600)];

/// The path in use.
#[derive(Debug)]
pub(in crate::puncher) struct Link {
    pub(in crate::puncher) pair: Pair,
    pub(in crate::puncher) peer_epoch: u32,
    /// Our address as the peer saw it when the pair was proven.
    pub(in crate::puncher) observed: Option<SocketAddr>,
    /// Where the peer has seen our last tests come from, if that was another address: which, and the tests.
    moved: Option<(SocketAddr, Vec<u64>)>,
    since: Instant,
    /// When to look whether another of the peer's addresses is nearer, and how often that was done.
    survey: (Instant, usize),
    pub(in crate::puncher) keeper: PathKeeper,
}

impl Link {
    /// Begins to use a pair.
    pub(in crate::puncher) fn new(
        pair: Pair,
        peer_epoch: u32,
        observed: Option<SocketAddr>,
        keeper: PathKeeper,
        now: Instant,
    ) -> Self {
        Self { pair, peer_epoch, observed, moved: None, since: now, survey: (now + SURVEYS[0], 1), keeper }
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

/// See [`Link::has_moved`].
#[derive(Debug, PartialEq, Eq)]
enum Moved {
    No,
    Perhaps,
    Yes,
}

impl Puncher {
    /// Watches over the path in use: tests it, gives it up, looks for a better one.
    pub(in crate::puncher) fn watch_path(&mut self, now: Now) {
        let State::Connected(link) = &mut self.state else { return };
        match link.keeper.poll(&self.keepalive, now.instant) {
            Care::None => {}
            Care::Test => self.send_path_test(now),
            Care::Dead { silent, rested } => {
                let age = now.instant.saturating_duration_since(link.since);
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
        let State::Connected(link) = &mut self.state else { return };
        let token = self.transmits.random();
        link.keeper.handle_sent(token, &self.keepalive, now.instant);
        let probe = OutgoingProbe::new(link.pair, token);
        self.send(probe, now);
    }

    /// Looks for a path that is nearer, or younger where the network ends old ones. The open side does, since it
    /// chooses.
    fn improve(&mut self, now: Now) {
        let State::Connected(link) = &mut self.state else { return };
        if link.refresh_at(&self.lifetime).is_some_and(|at| now.instant >= at) {
            self.lifetime.handle_refresh();
            return self.lose_path(Loss::Aged, now);
        }
        let (at, times) = link.survey;
        if now.instant < at {
            return;
        }
        link.survey = (now.instant + SURVEYS[times.min(SURVEYS.len() - 1)], times + 1);
        for remote in self.context.candidates.all() {
            let pair = Pair { socket: SocketId::MAIN, remote };
            if pair != link.pair {
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

    /// Takes an ack of the keeper's; false if it is none.
    pub(in crate::puncher) fn handle_path_ack(&mut self, pair: Pair, probe: &Probe, now: Now) -> bool {
        let State::Connected(link) = &mut self.state else { return false };
        if link.pair != pair {
            return false;
        }
        let is_prompt = link.keeper.awaits(probe.token, now.instant);
        let moved = if is_prompt { link.has_moved(probe.token, probe.observed) } else { Moved::No };
        if moved == Moved::Perhaps {
            return true; // the test stays unanswered, so others follow soon
        }
        let Some((rtt, rested)) = link.keeper.handle_ack(probe.token, &self.keepalive, now.instant) else {
            return false;
        };
        match rested {
            // The peer had lost the path: this test has opened our NAT anew.
            Some(silence) if probe.epoch > link.peer_epoch => {
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
        if self.peers.believe(probe.instance) {
            self.handle_restart(now);
        } else if moved == Moved::Yes {
            self.lose_path(Loss::Moved, now);
        }
        true
    }

    pub(in crate::puncher) fn link_deadline(&self, link: &Link) -> Instant {
        let kept = link.keeper.deadline();
        match self.context.role {
            Role::Serve => kept,
            Role::Open => {
                let refresh_at = link.refresh_at(&self.lifetime);
                refresh_at.into_iter().fold(kept.min(link.survey.0), Instant::min)
            }
        }
    }
}
