//! The machine that finds a pair of addresses which carries packets both ways.
//!
//! The life of a [`Puncher`], on either side:
//!
//! 1. *Search.* It probes the peer's main port from the own main port, fast and then slower, for as long as it is
//!    told to. Each probe opens the own NAT a little, so that the peer's next one may come in.
//! 2. *Answer.* A probe that opens with the key is acked to where it came from, whatever the user had named
//!    (peer-reflexive, RFC 8445 §7.3.1.3), and that pair is tested too. Whoever has no key gets no answer, nor
//!    does a recording (the module's `peers` and `replay`).
//! 3. *Proof.* A pair is proven when an ack came back over it with the token of a probe that was sent over it.
//! 4. *Nomination.* The open side repeats its choice over a proven pair until the serve side, for which the pair
//!    must be proven too, agrees. Then both sides are connected.
//! 5. *Watch.* While connected it sends nothing of its own accord, but still answers. It notices a new run of the
//!    peer's program, and a peer that lost the tunnel and searches again (its epoch has grown).
//! 6. *Bye.* Whoever leaves says so; the other side searches on, calmly.
//!
//! Bad datagrams are dropped and counted, never an error. Every table has a named bound.

mod checks;
mod evidence;
mod interface;
mod peers;
mod replay;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

pub use evidence::{SILENCE, Trouble};
pub use interface::{Config, Connected, Dropped, Event, Output, Pair, SocketId, Transmit};
pub use peers::FRESH;
use rand_core::{Rng, SeedableRng};

use self::{
    checks::{CALM, Check, MAX_CHECKS, Proof, Source},
    evidence::Evidence,
    peers::{Peers, Sender, clock_distance},
};
use crate::{
    Now, Role,
    probe::{Kind, OpenError, Probe, ProbeSeal},
};

/// Addresses that a peer's name may resolve to and that are tried at the same time.
pub const MAX_PEER_ADDRESSES: usize = 8;

/// Outputs that wait to be polled; more than this many datagrams at once are dropped.
const MAX_TRANSMITS: usize = 128;

/// Copies of a goodbye: nobody acks it.
const BYE_COPIES: usize = 3;

/// Clocks further apart than this are worth a word: later methods of punching need them closer.
const CLOCK_WORD: Duration = Duration::from_secs(5);

/// An answer within this time was not held up on its way.
const PROMPT: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum State {
    /// Not started, or left.
    Idle,
    Searching(Evidence),
    Connected {
        pair: Pair,
        peer_epoch: u32,
    },
}

/// Finds, proves and nominates a pair; see the module's text.
#[derive(Debug)]
pub struct Puncher {
    role: Role,
    seal: ProbeSeal,
    rng: rand_chacha::ChaCha20Rng,
    instance: u64,
    sequence: u64,
    epoch: u32,
    state: State,
    peer: Vec<SocketAddr>,
    checks: Vec<Check>,
    peers: Peers,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    dropped: Dropped,
}

impl Puncher {
    /// Makes a machine that does nothing until [`Puncher::search`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed(config.seed);
        let instance = rng.next_u64();
        Self {
            role: config.role,
            seal: config.seal,
            rng,
            instance,
            sequence: 0,
            epoch: 0,
            state: State::Idle,
            peer: Vec::new(),
            checks: Vec::new(),
            peers: Peers::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            dropped: Dropped::default(),
        }
    }

    /// Sets the addresses that the peer's name resolves to now. Those beyond [`MAX_PEER_ADDRESSES`] are not used.
    pub fn set_peer(&mut self, addresses: &[SocketAddr], now: Now) {
        self.peer = addresses.iter().copied().take(MAX_PEER_ADDRESSES).collect();
        self.checks.retain(|c| c.source == Source::PeerReflexive || self.peer.contains(&c.pair.remote));
        if matches!(self.state, State::Searching(_)) {
            self.add_configured(now.instant, now.instant);
        }
    }

    /// Starts to search, or starts again because the tunnel over the last pair is lost.
    pub fn search(&mut self, now: Now) {
        self.peers.start(now);
        self.peers.forgive();
        self.start_search(now, now.instant, "command");
    }

    /// Says goodbye and stops.
    pub fn leave(&mut self, now: Now) {
        let connected = match &self.state {
            State::Connected { pair, .. } => Some(*pair),
            State::Idle | State::Searching(_) => None,
        };
        let proven = self.checks.iter().filter(|c| c.proof.is_some()).map(|c| c.pair).take(BYE_COPIES);
        let mut pairs: Vec<Pair> = connected.into_iter().chain(proven).collect();
        pairs.dedup();
        for pair in pairs {
            for _ in 0..BYE_COPIES {
                self.transmit(pair, Kind::Bye, 0, false, now);
            }
        }
        self.checks.clear();
        self.set_state(State::Idle, "leaving");
    }

    /// Takes a datagram that arrived on one of our sockets.
    pub fn handle_datagram(&mut self, pair: Pair, datagram: &[u8], now: Now) {
        if matches!(self.state, State::Idle) {
            return;
        }
        match self.seal.open(datagram) {
            Ok(probe) if probe.role == self.role => self.handle_own_role(pair, &probe, now),
            Ok(probe) => self.handle_probe(pair, &probe, now),
            Err(OpenError::Sealed { version }) => self.handle_unopened(pair, version),
            Err(OpenError::NoProbe | OpenError::Unknown) => self.dropped.useless += 1,
        }
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Now) {
        if let State::Searching(evidence) = &mut self.state {
            let trouble = evidence.handle_timeout(now.instant);
            self.events.extend(trouble.map(Event::Trouble));
        }
        self.checks.retain_mut(|c| c.expire(now.instant));
        let due: Vec<(Pair, bool)> = self
            .checks
            .iter()
            .filter(|c| c.is_due(now.instant))
            .map(|c| (c.pair, c.nominated_at.is_some()))
            .collect();
        for (pair, nominate) in due {
            self.send_probe(pair, nominate, now);
        }
    }

    /// Returns what to do next; call until it answers [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        if let Some(transmit) = self.transmits.pop_front() {
            return Output::Transmit(transmit);
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        Output::Timeout(self.deadline())
    }

    /// Returns the counts of what arrived and was not used.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Returns the nominated pair.
    #[must_use]
    pub fn connected_pair(&self) -> Option<Pair> {
        match &self.state {
            State::Connected { pair, .. } => Some(*pair),
            State::Idle | State::Searching(_) => None,
        }
    }

    /// Both may be recordings, so they are believed only from the peer's IP and if they are fresh, and change nothing
    /// but words.
    fn handle_own_role(&mut self, pair: Pair, probe: &Probe, now: Now) {
        self.dropped.useless += 1;
        if !self.is_peer_ip(pair.remote) || !self.peers.is_fresh(probe, now) {
            return;
        }
        let trouble = if probe.instance == self.instance {
            Trouble::OwnEcho { from: pair.remote }
        } else {
            Trouble::SameRole { role: self.role }
        };
        self.tell(trouble);
    }

    fn handle_unopened(&mut self, pair: Pair, version: u8) {
        self.dropped.unopened += 1;
        if !self.is_peer_ip(pair.remote) {
            return;
        }
        if let State::Searching(evidence) = &mut self.state {
            let trouble = evidence.handle_unopened(pair.remote, version);
            self.events.extend(trouble.map(Event::Trouble));
        }
    }

    fn handle_probe(&mut self, pair: Pair, probe: &Probe, now: Now) {
        let Some(sender) = self.peers.admit(probe, self.is_peer_ip(pair.remote), now) else {
            self.dropped.replayed += 1;
            return;
        };
        tracing::trace!(kind = ?probe.kind, remote = %pair.remote, ?sender, "probe received");
        self.note_heard(pair, now);
        match probe.kind {
            Kind::Probe => self.handle_test(pair, probe, sender, now),
            Kind::Ack => self.handle_ack(pair, probe, now),
            Kind::Bye => self.handle_bye(sender, now),
        }
    }

    fn note_heard(&mut self, pair: Pair, now: Now) {
        let State::Searching(evidence) = &mut self.state else { return };
        if evidence.handle_heard(now.instant) {
            self.events.push_back(Event::Heard { from: pair.remote });
        }
    }

    /// The peer tests a pair: answer, test it as well, and follow a nomination.
    fn handle_test(&mut self, pair: Pair, probe: &Probe, sender: Sender, now: Now) {
        if sender == Sender::Current && self.peer_searches_again(probe) {
            self.events.push_back(Event::PeerSearching);
            self.start_search(now, now.instant, "the peer searches again");
        }
        let proven = self.is_proven(pair, probe.instance);
        let agree = probe.nominate && self.role == Role::Serve && sender == Sender::Current && proven;
        self.transmit_ack(pair, probe, agree, now);
        if !proven {
            self.add_reflexive(pair, now.instant);
        }
        if agree {
            self.connect(pair, now);
        }
        self.handle_timeout(now);
    }

    fn handle_ack(&mut self, pair: Pair, probe: &Probe, now: Now) {
        let check = self.checks.iter_mut().find(|c| c.pair == pair);
        let Some((rtt, check)) = check.and_then(|c| Some((c.handle_ack(probe.token, now.instant)?, c)))
        else {
            self.dropped.useless += 1;
            return;
        };
        let apart = clock_distance(probe, now);
        check.proof = Some(Proof { rtt, instance: probe.instance, observed: probe.observed });
        let nominated = check.nominated_at.is_some();
        // Only a prompt answer tells: others may have waited in a buffer while a machine slept.
        if apart > CLOCK_WORD && rtt < PROMPT {
            self.tell(Trouble::Clock { apart });
        }
        if self.peers.believe(probe.instance) {
            self.handle_restart(now);
        }
        if probe.nominate && nominated && self.role == Role::Open {
            self.connect(pair, now);
        }
        self.nominate_best(now);
        self.handle_timeout(now);
    }

    fn handle_bye(&mut self, sender: Sender, now: Now) {
        if sender == Sender::Newcomer {
            return;
        }
        self.peers.retire();
        self.checks.retain(|c| c.source == Source::Configured);
        self.events.push_back(Event::PeerLeft);
        self.start_search(now, now.instant.checked_sub(CALM).unwrap_or(now.instant), "the peer left");
    }

    /// A new run of the peer's program has proven itself: proofs of the former are void.
    fn handle_restart(&mut self, now: Now) {
        let current = self.peers.current().map(|p| p.id);
        for check in &mut self.checks {
            check.nominated_at = None;
            check.proof = check.proof.filter(|p| Some(p.instance) == current);
        }
        if matches!(self.state, State::Connected { .. }) {
            self.events.push_back(Event::PeerRestarted);
            self.enter_search(now, now.instant, "the peer restarted");
        }
    }

    fn start_search(&mut self, now: Now, paced_from: Instant, why: &'static str) {
        self.checks.clear();
        self.enter_search(now, paced_from, why);
    }

    fn enter_search(&mut self, now: Now, paced_from: Instant, why: &'static str) {
        self.epoch += 1;
        self.set_state(State::Searching(Evidence::new(now.instant)), why);
        self.add_configured(paced_from, now.instant);
        self.handle_timeout(now);
    }

    fn connect(&mut self, pair: Pair, now: Now) {
        if self.connected_pair() == Some(pair) {
            return;
        }
        let took = match &self.state {
            State::Searching(evidence) => evidence.took(now.instant),
            State::Idle | State::Connected { .. } => Duration::ZERO,
        };
        let Some(proof) = self.checks.iter().find(|c| c.pair == pair).and_then(|c| c.proof) else { return };
        let peer_epoch = self.peers.current().map_or(0, |p| p.epoch);
        self.set_state(State::Connected { pair, peer_epoch }, "nominated");
        self.checks.retain(|c| c.pair == pair);
        for check in &mut self.checks {
            check.settle(now.instant);
        }
        self.events.push_back(Event::Connected(Connected {
            pair,
            rtt: proof.rtt,
            took,
            observed: proof.observed,
        }));
    }

    /// The open side chooses: the fastest pair that is proven for the current run of the peer.
    fn nominate_best(&mut self, now: Now) {
        let undecided = self.role == Role::Open
            && matches!(self.state, State::Searching(_))
            && self.checks.iter().all(|c| c.nominated_at.is_none());
        if !undecided {
            return;
        }
        let current = self.peers.current().map(|p| p.id);
        let best = self
            .checks
            .iter_mut()
            .filter_map(|c| Some((c.proof.filter(|p| Some(p.instance) == current)?.rtt, c)))
            .min_by_key(|(rtt, _)| *rtt);
        if let Some((_, check)) = best {
            check.nominate(now.instant);
        }
    }

    fn add_configured(&mut self, paced_from: Instant, now: Instant) {
        for remote in self.peer.clone() {
            let pair = Pair { socket: SocketId::MAIN, remote };
            if let Some(check) = self.check_of(pair, Source::Configured, paced_from, now) {
                check.configure(now);
            }
        }
    }

    /// Tests a pair because the peer was heard on it.
    fn add_reflexive(&mut self, pair: Pair, now: Instant) {
        if let Some(check) = self.check_of(pair, Source::PeerReflexive, now, now) {
            check.handle_heard(now);
        }
    }

    /// Finds the check of a pair, or makes one if there is room.
    fn check_of(
        &mut self,
        pair: Pair,
        source: Source,
        paced_from: Instant,
        now: Instant,
    ) -> Option<&mut Check> {
        let found = self.checks.iter().position(|c| c.pair == pair);
        if found.is_none() {
            if self.checks.len() >= MAX_CHECKS && !self.make_room() {
                return None;
            }
            self.checks.push(Check::new(pair, source, paced_from, now));
        }
        let last = self.checks.len().saturating_sub(1);
        self.checks.get_mut(found.unwrap_or(last))
    }

    /// Forgets the pair that was unheard for the longest; false when all are needed.
    fn make_room(&mut self) -> bool {
        let replaceable =
            |(index, check): (usize, &Check)| check.replaceable().map(|heard_at| (heard_at, index));
        let Some((_, index)) = self.checks.iter().enumerate().filter_map(replaceable).min() else {
            return false;
        };
        self.checks.remove(index);
        true
    }

    fn send_probe(&mut self, pair: Pair, nominate: bool, now: Now) {
        let token = self.rng.next_u64();
        if let Some(check) = self.checks.iter_mut().find(|c| c.pair == pair) {
            check.handle_sent(token, now.instant);
        }
        self.transmit(pair, Kind::Probe, token, nominate, now);
    }

    fn transmit_ack(&mut self, pair: Pair, probe: &Probe, nominate: bool, now: Now) {
        self.transmit(pair, Kind::Ack, probe.token, nominate, now);
    }

    fn transmit(&mut self, pair: Pair, kind: Kind, token: u64, nominate: bool, now: Now) {
        if self.transmits.len() >= MAX_TRANSMITS {
            self.dropped.unsent += 1;
            return;
        }
        let probe = Probe {
            kind,
            role: self.role,
            nominate,
            epoch: self.epoch,
            instance: self.instance,
            sequence: self.sequence,
            unix_ms: now.unix_ms(),
            token,
            observed: (kind != Kind::Probe).then_some(pair.remote),
        };
        self.sequence += 1;
        let mut nonce = [0; 24];
        self.rng.fill_bytes(&mut nonce);
        self.transmits.push_back(Transmit { pair, payload: self.seal.seal(&probe, nonce) });
    }

    fn tell(&mut self, trouble: Trouble) {
        if let State::Searching(evidence) = &mut self.state {
            let told = evidence.tell(trouble);
            self.events.extend(told.map(Event::Trouble));
        }
    }

    fn set_state(&mut self, new: State, why: &'static str) {
        let name = |state: &State| match state {
            State::Idle => "idle",
            State::Searching(_) => "searching",
            State::Connected { .. } => "connected",
        };
        tracing::debug!(from = name(&self.state), to = name(&new), why, epoch = self.epoch, "puncher");
        self.state = new;
    }

    fn peer_searches_again(&self, probe: &Probe) -> bool {
        matches!(self.state, State::Connected { peer_epoch, .. } if probe.epoch > peer_epoch)
    }

    fn is_proven(&self, pair: Pair, instance: u64) -> bool {
        self.checks.iter().any(|c| c.pair == pair && c.proof.is_some_and(|p| p.instance == instance))
    }

    fn is_peer_ip(&self, address: SocketAddr) -> bool {
        self.peer.iter().any(|p| p.ip() == address.ip())
    }

    fn deadline(&self) -> Option<Instant> {
        let checks = self.checks.iter().filter_map(Check::deadline).min();
        let silence = match &self.state {
            State::Searching(evidence) => evidence.silence_at(),
            State::Idle | State::Connected { .. } => None,
        };
        checks.into_iter().chain(silence).min()
    }
}

#[cfg(test)]
mod tests;
