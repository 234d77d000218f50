//! The machine that finds a pair of addresses which carries packets both ways.
//!
//! The life of a [`Puncher`], on either side:
//!
//! 1. *Search.* It probes the peer's main port from the own main port, fast and then slower, for as long as it is
//!    told to. Each probe opens the own NAT a little, so that the peer's next one may come in. At the same time it
//!    tries a fresh pair of ports in each slot of time (`slots`), and, should that not do, many pairs at once
//!    (`birthday`), so that no two NATs with at least one predictable port between them stay apart. All of it stays
//!    within hard bounds (`budget`).
//! 2. *Answer.* A probe that opens with the key is acked to where it came from, whatever the user had named
//!    (peer-reflexive, RFC 8445 §7.3.1.3), and that pair is tested too. Whoever has no key gets no answer, nor
//!    does a recording (the module's `peers` and `replay`).
//! 3. *Proof.* A pair is proven when an ack came back over it with the token of a probe that was sent over it.
//! 4. *Nomination.* The open side repeats its choice over a proven pair until the serve side, for which the pair
//!    must be proven too, agrees. Then both sides are connected.
//! 5. *Watch.* While connected it watches over the path (`path::liveness`) and keeps its mappings alive. It notices a
//!    new run of the peer's program, a peer that lost the path and searches again (its epoch has grown), and a NAT that
//!    has moved us. Whoever notices first searches; the other joins. The path that was in use is tried first.
//! 6. *Bye.* Whoever leaves says so; the other side searches on, calmly.
//!
//! Bad datagrams are dropped and counted, never an error. Every table has a named bound.

mod budget;
mod candidates;
mod checks;
mod context;
mod incoming;
mod interface;
mod numbers;
mod observations;
mod path;
mod peers;
mod place;
mod replay;
mod report;
mod search;
mod tokens;
mod transmits;
mod tunnel;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub use budget::{Limits, SharedBudget};
pub use candidates::{Candidate, CandidateKind, MAX_PEER_ADDRESSES};
pub use interface::{
    Config, Connected, Dropped, Event, Icmp, IcmpKind, LastSuccess, Loss, Method, Output, Pair, Sibling,
    SocketId, Traffic, Transmit,
};
#[cfg(feature = "schema")]
pub use observations::TroubleKind;
pub use observations::{SILENCE, Trouble};
pub use path::health::Health;
pub use peers::FRESH;
#[cfg(feature = "schema")]
pub use report::NoPathCauseKind;
pub use report::{NoPathCause, SearchReport};
pub use search::schedule::{SLOT, Schedule};

use self::{
    budget::{Budget, Purpose},
    checks::{Checks, HURRY, PACE, PACE_RECONNECT, PROMPT},
    context::Context,
    path::SelectedPair,
    path::keepalive::Keepalive,
    path::lifetime::Lifetime,
    path::liveness::PathLiveness,
    peers::Peers,
    search::{Search, SearchMode},
    transmits::{OutgoingProbe, TransmitQueue},
};
use crate::{
    Now, Role,
    probe::{Class, Kind, OpenError, ProbeSeal, classify},
};

/// Copies of a goodbye: nobody acks it.
const BYE_COPIES: usize = 3;

#[derive(Debug)]
enum State {
    /// Not started, or left.
    Idle,
    Searching(Box<Search>),
    Connected(Box<SelectedPair>),
}

/// Finds, proves and nominates a pair; see the module's text.
#[derive(Debug)]
pub struct Puncher {
    context: Context,
    seal: ProbeSeal,
    state: State,
    checks: Checks,
    peers: Peers,
    transmits: TransmitQueue,
    /// What worked the last time.
    last_success: Option<LastSuccess>,
    /// The pair in use, or last in use: its socket stays open until another one takes its place.
    used: Option<Pair>,
    /// Whether the peer has said that no NAT stands before it there.
    peer_is_direct: bool,
    /// The pairs over which a choice of another one came, the next to turn to first: copies, or that other one is a copy's.
    declined: VecDeque<Pair>,
    /// The path that was given up because it carried nothing of the tunnel, and until when it is not to be chosen.
    avoided: Option<(Pair, Instant)>,
    /// When the newest test left whose answer said that the peer has no tunnel, if none has said otherwise since.
    peer_lacks_tunnel: Option<Instant>,
    keepalive: Keepalive,
    lifetime: Lifetime,
    traffic: Traffic,
    sibling: Option<Sibling>,
    /// When the last eager search began.
    eager_at: Option<Instant>,
    /// When a change of the peer's name last began a search anew.
    renamed_at: Option<Instant>,
    /// When the path in use was last tested because this machine's network had changed.
    changed_at: Option<Instant>,
    dropped: Dropped,
}

impl Puncher {
    /// Makes a machine that does nothing until [`Puncher::search`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        let budget = Budget::new(config.limits, config.shared.as_ref());
        let transmits =
            TransmitQueue::new(config.role, config.seal.clone(), config.seed, config.port, budget);
        Self {
            context: Context::new(config.role, config.port, config.schedule),
            seal: config.seal,
            state: State::Idle,
            checks: Checks::default(),
            peers: Peers::new(),
            transmits,
            last_success: config.last_success,
            used: None,
            peer_is_direct: false,
            declined: VecDeque::new(),
            avoided: None,
            peer_lacks_tunnel: None,
            keepalive: Keepalive::default(),
            lifetime: Lifetime::default(),
            traffic: Traffic::default(),
            sibling: config.sibling,
            eager_at: None,
            renamed_at: None,
            changed_at: None,
            dropped: Dropped::default(),
        }
    }

    /// Records that something has changed in this machine's network: an interface, an address, a route. A search
    /// becomes fast again, and a path at rest is tested; at most once in 5 s.
    pub fn handle_network_change(&mut self, now: Now) {
        match &mut self.state {
            State::Searching(search) => {
                self.checks.hurry(now.instant);
                search.handle_network_change(self.context.local, now.instant);
            }
            State::Connected(selected) if selected.liveness.is_at_rest() => {
                if self.changed_at.is_some_and(|at| now.instant < at + HURRY) {
                    return;
                }
                self.changed_at = Some(now.instant);
                self.send_path_test(now);
            }
            State::Connected(_) | State::Idle => return,
        }
        self.handle_timeout(now);
    }

    /// Starts to search, or starts again because the tunnel over the last pair is lost.
    pub fn search(&mut self, now: Now) {
        self.peers.start(now);
        self.peers.forgive();
        self.start_search(now, now.instant, SearchMode::Initial, "command");
    }

    /// Records what the tunnel has sent and received by now. Wanted before each other call while a pair is in
    /// use; and at once when the tunnel sends after a rest, if [`Self::awaits_traffic`].
    pub fn handle_traffic(&mut self, traffic: Traffic, now: Now) {
        self.traffic = traffic;
        if let State::Connected(selected) = &mut self.state {
            selected.liveness.handle_traffic(traffic, &self.keepalive, now.instant);
        }
    }

    /// Whether the tunnel's next datagram is worth a call of [`Self::handle_traffic`].
    #[must_use]
    pub fn awaits_traffic(&self) -> bool {
        matches!(&self.state, State::Connected(selected) if selected.liveness.is_at_rest())
    }

    /// Says goodbye and stops.
    pub fn leave(&mut self, now: Now) {
        let connected = self.connected_pair();
        let mut pairs: Vec<Pair> =
            connected.into_iter().chain(self.checks.proven().take(BYE_COPIES)).collect();
        pairs.dedup();
        for pair in pairs {
            for _ in 0..BYE_COPIES {
                self.send(OutgoingProbe { kind: Kind::Bye, ..OutgoingProbe::new(pair, 0) }, now);
            }
        }
        self.checks.clear();
        self.transmits.close_all_but(None);
        self.set_state(State::Idle, "leaving");
    }

    /// Takes a datagram that arrived on one of our sockets.
    pub fn handle_datagram(&mut self, pair: Pair, datagram: &[u8], now: Now) {
        if matches!(self.state, State::Idle) || !self.transmits.is_open(pair.socket) {
            return;
        }
        if classify(datagram) == Class::OldScript {
            return self.handle_old_script(pair);
        }
        match self.seal.open(datagram) {
            Ok(probe) if probe.role == self.context.role => self.handle_own_role(pair, &probe, now),
            Ok(probe) => self.handle_probe(pair, &probe, now),
            Err(OpenError::Sealed { version }) => self.handle_unopened(pair, datagram, version, now),
            Err(OpenError::NoProbe | OpenError::Unknown) => self.dropped.useless += 1,
        }
    }

    /// Records what the network says about a datagram of ours. It is believed as far as it quotes what we sent: it
    /// changes how careful we are, how far our openers go, and what the user is told.
    pub fn handle_icmp(&mut self, icmp: &Icmp<'_>, now: Now) {
        let is_ours = self.transmits.is_ours(icmp.quoted);
        let main = self.context.candidates.main_of(icmp.offender);
        if let State::Searching(search) = &mut self.state {
            search.handle_icmp(icmp, is_ours, main, now.instant);
        }
    }

    /// Records that the system did not let us send: a local firewall, or no route.
    pub fn handle_send_refused(&mut self, now: Now) {
        if let State::Searching(search) = &mut self.state {
            search.observations.handle_send_refused(now.instant);
        }
    }

    /// Records that a socket could not be opened.
    pub fn handle_open_failed(&mut self, socket: SocketId) {
        self.transmits.forget(socket);
        self.checks.retain(|c| c.pair.socket != socket);
        if let State::Searching(search) = &mut self.state {
            search.handle_open_failed(socket);
        }
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.checks.expire(now.instant);
        for (pair, nominate) in self.checks.due(now.instant) {
            self.send_test(pair, nominate, now);
        }
        self.watch_path(now);
        self.work(now);
    }

    /// Returns what to do next; call until it answers [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        self.transmits.pop().unwrap_or_else(|| Output::Timeout(self.deadline()))
    }

    /// Returns the counts of what arrived and was not used.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        Dropped { unsent: self.transmits.unsent(), ..self.dropped }
    }

    /// Returns the nominated pair.
    #[must_use]
    pub fn connected_pair(&self) -> Option<Pair> {
        match &self.state {
            State::Connected(selected) => Some(selected.pair),
            State::Idle | State::Searching(_) => None,
        }
    }

    /// Lets the search do what is due.
    fn work(&mut self, now: Now) {
        let State::Searching(search) = &mut self.state else { return };
        let context = self.context.for_search(search.is_eager(now.instant), now);
        search.handle_timeout(&context, &mut self.transmits);
        let transmits = &self.transmits;
        self.checks.retain(|c| transmits.is_open(c.pair.socket));
        if let Some(trouble) = search.find_cause(&self.context, now.instant) {
            self.transmits.emit(Event::Trouble(trouble));
        }
        if search.observations.finds_peer_gone(now.instant) {
            self.transmits.emit(Event::PeerGone);
        }
    }

    /// A new run of the peer's program has proven itself: proofs of the former are void.
    fn handle_restart(&mut self, now: Now) {
        self.checks.renounce_all_but(self.peers.current().map(|p| p.id));
        match &self.state {
            State::Connected(_) => {
                self.transmits.emit(Event::PeerRestarted);
                self.enter_search(now, now.instant, SearchMode::Initial, "the peer restarted");
            }
            // The tunnel that waits for a path is the former run's.
            State::Searching(search) if search.mode().keeps_tunnel() => {
                self.transmits.emit(Event::PeerRestarted);
            }
            State::Searching(_) | State::Idle => {}
        }
    }

    fn start_search(&mut self, now: Now, paced_from: Instant, mode: SearchMode, why: &'static str) {
        self.checks.clear();
        self.enter_search(now, paced_from, mode, why);
    }

    fn enter_search(&mut self, now: Now, paced_from: Instant, mode: SearchMode, why: &'static str) {
        self.transmits.epoch += 1;
        self.transmits.heard_from = None;
        self.declined.clear();
        self.context.candidates.handle_search(mode.keeps_tunnel());
        self.transmits.close_all_but(self.used.map(|pair| pair.socket));
        if mode != SearchMode::Background {
            self.eager_at = Some(now.instant);
        }
        self.checks.set_pace(if mode.keeps_tunnel() { &PACE_RECONNECT } else { &PACE });
        let search = Search::new(
            &self.context.for_search(mode != SearchMode::Background, now),
            self.last_success,
            mode,
        );
        self.set_state(State::Searching(Box::new(search)), why);
        self.add_configured(paced_from, now.instant);
        self.handle_timeout(now);
    }

    /// Uses a pair. `peer_epoch` is that of the word by which the peer agrees: a later one says that it searches again.
    fn connect(&mut self, pair: Pair, peer_is_direct: bool, peer_epoch: u32, now: Now) {
        if self.connected_pair() == Some(pair) {
            return;
        }
        let (took, method) = match &self.state {
            State::Searching(search) => (search.observations.took(now.instant), search.method(pair)),
            State::Idle | State::Connected(_) => (Duration::ZERO, Method::Base),
        };
        let again = self.last_success.filter(|_| self.used == Some(pair)).map(|last| last.method);
        let method = again.unwrap_or(method);
        let Some(proof) = self.checks.proof(pair) else { return };
        // A longer one may have waited in a socket; if not, its tests will show it.
        let rtt = proof.rtt.min(PROMPT);
        let liveness = PathLiveness::new(self.context.role, rtt, self.traffic, now.instant);
        let selected = SelectedPair::new(pair, peer_epoch, proof.observed, liveness, now.instant);
        self.set_state(State::Connected(Box::new(selected)), "nominated");
        self.checks.settle(pair, now.instant);
        self.last_success = Some(LastSuccess { method, peer_port: pair.remote.port() });
        (self.used, self.peer_is_direct) = (Some(pair), peer_is_direct);
        let main_outside = proof.observed.filter(|_| pair.socket == SocketId::MAIN).map(|seen| seen.port());
        self.context.note_path(self.transmits.epoch, peer_epoch, main_outside);
        self.context.candidates.handle_path(pair.remote.ip());
        self.transmits.close_all_but(Some(pair.socket));
        self.transmits.emit(Event::Connected(Connected {
            pair,
            method,
            rtt: proof.rtt,
            took,
            observed: proof.observed,
            instances: self.instances(),
        }));
    }

    /// Tests the main pairs, and the pair that was last in use where that is another one.
    fn add_configured(&mut self, paced_from: Instant, now: Instant) {
        let candidates = &self.context.candidates;
        let main = candidates.all().map(|remote| Pair { socket: SocketId::MAIN, remote });
        // What was in use a moment ago is proven, wherever the peer is.
        let keeps_tunnel = matches!(&self.state, State::Searching(search) if search.mode().keeps_tunnel());
        let used = self.used.filter(|pair| keeps_tunnel || candidates.main_of(pair.remote.ip()).is_some());
        for pair in main.chain(used) {
            self.checks.add_configured(pair, paced_from, now);
        }
    }

    /// Tests a pair, whether or not it has a place among the checks: the token itself tells whether an answer is one to it.
    fn send_test(&mut self, pair: Pair, nominate: bool, now: Now) {
        let token = self.transmits.token(pair, now.instant);
        let mut chosen = None;
        if let Some(check) = self.checks.get_mut(pair) {
            chosen = if nominate { check.choose() } else { None };
            check.handle_sent(now.instant);
        }
        let probe = OutgoingProbe { nominate, chosen, ..OutgoingProbe::new(pair, token) };
        self.send_for(self.purpose(pair), probe, now);
    }

    /// Returns what an answer over a pair, or its test, is for.
    fn purpose(&self, pair: Pair) -> Purpose {
        if self.connected_pair() == Some(pair) {
            return Purpose::Path;
        }
        let is_known = self.used == Some(pair) || self.checks.insists(pair);
        if is_known { Purpose::Talk } else { Purpose::Unproven }
    }

    fn send(&mut self, probe: OutgoingProbe, now: Now) {
        self.send_for(Purpose::Talk, probe, now);
    }

    /// Returns whether it leaves.
    fn send_for(&mut self, purpose: Purpose, probe: OutgoingProbe, now: Now) -> bool {
        let direct = self.is_direct(probe.pair);
        self.transmits.send(&OutgoingProbe { direct, ..probe }, purpose, now).is_some()
    }

    fn tell(&mut self, trouble: Trouble) {
        if let State::Searching(search) = &mut self.state
            && let Some(told) = search.observations.tell(trouble)
        {
            self.transmits.emit(Event::Trouble(told));
        }
    }

    fn set_state(&mut self, new: State, why: &'static str) {
        let name = |state: &State| match state {
            State::Idle => "idle",
            State::Searching(_) => "searching",
            State::Connected(_) => "connected",
        };
        let epoch = self.transmits.epoch;
        tracing::debug!(from = name(&self.state), to = name(&new), why, epoch, "puncher");
        self.state = new;
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let checks = self.checks.deadline();
        let search = match &self.state {
            State::Searching(search) => Some(search.deadline()),
            State::Connected(selected) => Some(self.path_deadline(selected)),
            State::Idle => None,
        };
        checks.into_iter().chain(search).min()
    }
}

#[cfg(test)]
mod tests;
