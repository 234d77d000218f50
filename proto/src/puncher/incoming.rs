//! Incoming datagrams: what the peer's probes and acks make the puncher do.

use std::time::Duration;

use super::{
    Event, Now, Pair, Puncher, Role, SILENCE, SearchMode, Sibling, SocketId, State, Trouble,
    budget::Purpose,
    checks::{CALM, LATE, PROMPT, Proof, Source},
    numbers::{Arrival, Turn},
    peers::{Sender, clock_distance},
    transmits::OutgoingProbe,
};
use crate::probe::{Kind, Probe};

/// Clocks further apart than this are worth a word: slots need them closer.
const CLOCK_WORD: Duration = Duration::from_secs(5);

impl Puncher {
    /// Both may be recordings, and anybody can send our own probes back: so they are believed only from the peer's IP, if
    /// they are fresh, and as long as the peer is not heard; and they change nothing but words.
    pub(super) fn handle_own_role(&mut self, pair: Pair, probe: &Probe, now: Now) {
        self.dropped.useless += 1;
        if !self.context.candidates.has_named_ip(pair.remote.ip()) || !self.peers.is_fresh(probe, now) {
            return;
        }
        if self.transmits.heard_from.is_some() {
            return;
        }
        let trouble = if probe.instance == self.transmits.instance {
            Trouble::OwnEcho { from: pair.remote }
        } else {
            Trouble::SameRole { role: self.context.role }
        };
        self.tell(trouble);
    }

    /// A heartbeat of the old script, which anybody can send: it is told, and changes nothing else.
    pub(super) fn handle_old_script(&mut self, pair: Pair) {
        self.dropped.useless += 1;
        let from = pair.remote;
        if !self.context.candidates.has_named_ip(from.ip()) {
            return;
        }
        if let State::Searching(search) = &mut self.state
            && search.observations.finds_old_script()
        {
            let role = self.context.role;
            self.transmits.emit(Event::Trouble(Trouble::OldScript { from, role }));
        }
    }

    /// What does not open is told, and hides no other reason: nobody has signed it. What the other verb has sealed is believed
    /// where it is no recording.
    pub(super) fn handle_unopened(&mut self, pair: Pair, datagram: &[u8], version: u8, now: Now) {
        self.dropped.unopened += 1;
        if !self.context.candidates.has_named_ip(pair.remote.ip()) {
            return;
        }
        let State::Searching(search) = &mut self.state else { return };
        // Another attempt to open it is made here alone: at the peer's expense, and in a search.
        let opened = |sibling: &Sibling| Some((sibling.seal.open(datagram).ok()?, sibling.checks));
        let trouble = match self.sibling.as_ref().and_then(opened) {
            Some((probe, checks)) if self.peers.is_fresh(&probe, now) => {
                search.observations.handle_other_verb(pair.remote, checks)
            }
            Some(_) => None,
            None => search.observations.handle_unopened(pair.remote, version),
        };
        if let Some(trouble) = trouble {
            self.transmits.emit(Event::Trouble(trouble));
        }
    }

    pub(super) fn handle_probe(&mut self, pair: Pair, probe: &Probe, now: Now) {
        let arrival = Arrival {
            pair,
            origin: self.context.candidates.origin(pair.remote),
            is_path: self.used == Some(pair),
            is_settled: matches!(self.state, State::Connected(_)),
        };
        let Some((sender, turn)) = self.peers.admit(probe, &arrival, now) else {
            if probe.kind == Kind::Probe && self.peers.is_rival(probe, now) {
                return self.handle_rival(pair, probe, now);
            }
            self.dropped.replayed += 1;
            // The path in use may be that of a copy which was faster than the peer's own choice.
            if probe.nominate && self.is_proven_by(pair, probe.instance) {
                self.decline(pair);
            }
            return;
        };
        tracing::trace!(kind = ?probe.kind, ?pair, ?sender, "probe received");
        if sender != Sender::Undated {
            self.note_heard(pair, probe, turn, now);
        }
        if sender == Sender::Current && self.used == Some(pair) {
            self.peer_is_direct = probe.direct;
        }
        if let State::Connected(selected) = &mut self.state
            && selected.pair == pair
            && sender == Sender::Current
            && probe.kind == Kind::Probe
            && probe.epoch <= selected.peer_epoch
        {
            selected.liveness.handle_heard(&self.keepalive, now.instant);
        }
        match probe.kind {
            Kind::Probe => self.handle_test(pair, probe, (sender, turn), now),
            Kind::Ack => self.handle_ack(pair, probe, sender, now),
            Kind::Bye => self.handle_bye(sender, now),
            Kind::Displaced => self.handle_displaced(probe, sender, now),
        }
    }

    fn note_heard(&mut self, pair: Pair, probe: &Probe, turn: Turn, now: Now) {
        let State::Searching(search) = &mut self.state else { return };
        self.transmits.heard_from = Some(pair.remote);
        self.context.candidates.handle_heard(pair.remote.ip());
        let main =
            self.context.candidates.main_of(pair.remote.ip()).filter(|_| pair.socket == SocketId::MAIN);
        // A port of a copy is nothing to aim at.
        let expected = turn == Turn::Again || main.is_none_or(|p| p.port() == pair.remote.port());
        let first = search.handle_heard(pair, expected, now.instant);
        search.observations.handle_word(pair.remote, probe, main.map(|p| (self.context.port, p.port())));
        if first {
            self.transmits.emit(Event::Heard { from: pair.remote });
        }
    }

    /// The peer tests a pair: answer, test it as well, and follow a nomination. A test that comes again over another pair
    /// gets one of the two: this may be a copy.
    pub(super) fn handle_test(
        &mut self,
        pair: Pair,
        probe: &Probe,
        (sender, turn): (Sender, Turn),
        now: Now,
    ) {
        if sender == Sender::Current && self.peer_searches_again(probe) {
            if let State::Connected(selected) = &self.state {
                if selected.liveness.has_been_silent_at_rest(now.instant) {
                    self.keepalive.handle_death(self.keepalive.interval(), now.instant);
                }
                self.context.candidates.handle_loss(selected.liveness.heard_at());
            }
            self.transmits.emit(Event::PeerSearching);
            self.context.note_loss(false, now.instant);
            self.start_search(now, now.instant, SearchMode::Reconnect, "the peer searches again");
        }
        if self.avoided(now.instant) == Some(pair) {
            return self.handle_timeout(now);
        }
        let is_current = sender == Sender::Current;
        // A test of the path in use by the run that uses it needs no test in return; and where our word that it is in use
        // was lost, it is said again, however old its proof is.
        let is_in_use = is_current && self.connected_pair() == Some(pair);
        let proven = is_in_use || self.checks.is_proven_by(pair, probe.instance);
        let is_choice = probe.nominate && self.context.role == Role::Serve && is_current && proven;
        // Somebody may have copied the choice of another pair: it says from where the peer itself has sent it.
        let agree = is_choice && probe.observed == Some(pair.remote);
        if is_choice && !agree {
            self.decline(pair);
        }
        let purpose = if sender == Sender::Undated { Purpose::Undated } else { self.purpose(pair) };
        let ack = OutgoingProbe { kind: Kind::Ack, nominate: agree, ..OutgoingProbe::new(pair, probe.token) };
        let tests_alone = turn == Turn::Again
            && !proven
            && sender != Sender::Undated
            && !self.checks.is_under_test(pair, now.instant);
        let is_answered = !tests_alone && self.send_for(purpose, ack, now) || sender != Sender::Undated;
        if !proven
            && is_answered
            && (turn == Turn::First || tests_alone)
            && !self.checks.add_reflexive(pair, now.instant)
        {
            self.send_test(pair, false, now);
        }
        if agree {
            self.connect(pair, probe.direct, probe.epoch, now);
        }
        self.handle_timeout(now);
    }

    pub(super) fn handle_ack(&mut self, pair: Pair, probe: &Probe, sender: Sender, now: Now) {
        // Another run of the peer may answer what was handed on to it: it proves itself by its own probes.
        if sender == Sender::Current && self.handle_path_ack(pair, probe, now) {
            return;
        }
        let age = self.transmits.age(pair, probe.token, now.instant).filter(|age| *age < LATE);
        let Some((rtt, sent_at)) = age.and_then(|age| Some((age, now.instant.checked_sub(age)?))) else {
            self.dropped.useless += 1;
            return;
        };
        // What a fan, a sweep or a slot has sent is a test as well.
        let is_searching = matches!(self.state, State::Searching(_));
        let check =
            if is_searching { self.checks.answered(pair, now.instant) } else { self.checks.get_mut(pair) };
        let Some(check) = check else {
            self.dropped.useless += 1;
            return;
        };
        let is_news = check.handle_ack(sent_at, probe.observed);
        if !is_news {
            let is_agreed = probe.nominate && check.nominated_at.is_some() && is_searching;
            if let Some(proof) = check.proof.as_mut().filter(|p| is_agreed && p.instance == probe.instance) {
                proof.observed = probe.observed;
                self.connect(pair, probe.direct, probe.epoch, now);
                return self.handle_timeout(now);
            }
            self.dropped.useless += 1;
            return;
        }
        let proof = Proof { rtt, instance: probe.instance, observed: probe.observed };
        if is_searching {
            check.handle_proof(proof, now.instant);
        } else {
            check.proof = Some(proof);
        }
        let is_better = self.context.role == Role::Open
            && matches!(&self.state, State::Connected(selected) if selected.liveness.is_slower_than(rtt));
        let was_blocked = self.avoided.is_some_and(|(avoided, _)| avoided == pair);
        if is_better && !was_blocked && check.nominated_at.is_none() {
            check.nominate(now.instant);
        }
        let nominated = check.nominated_at.is_some();
        if sender == Sender::Undated {
            self.note_heard(pair, probe, Turn::First, now); // it has echoed our token
        }
        // Only a prompt answer tells: others may have waited in a buffer while a machine slept.
        if rtt < PROMPT {
            self.note_clock(probe, rtt, now);
        }
        if self.peers.believe(probe.instance) {
            self.handle_restart(now);
        }
        self.note_tunnel(probe, sent_at);
        if probe.nominate && nominated && self.context.role == Role::Open {
            self.connect(pair, probe.direct, probe.epoch, now);
        }
        if let State::Searching(search) = &self.state
            && self.context.role == Role::Open
        {
            let refreshes = search.is_refresh(now.instant);
            let avoided = self.avoided(now.instant);
            let current = self.peers.current().map(|p| p.id);
            self.checks.nominate_best(current, self.used, refreshes, avoided, now.instant);
        }
        self.handle_timeout(now);
    }

    fn peer_searches_again(&self, probe: &Probe) -> bool {
        matches!(&self.state, State::Connected(selected) if probe.epoch > selected.peer_epoch)
    }

    pub(super) fn note_clock(&mut self, probe: &Probe, rtt: Duration, now: Now) {
        self.context.note_clock(probe.unix_ms, rtt, now);
        let apart = clock_distance(probe, now);
        if apart > CLOCK_WORD {
            self.tell(Trouble::Clock { apart });
        }
    }

    pub(super) fn handle_bye(&mut self, sender: Sender, now: Now) {
        if sender != Sender::Current {
            return;
        }
        self.peers.retire();
        self.checks.retain(|c| c.source == Source::Configured);
        self.transmits.emit(Event::PeerLeft);
        let paced_from = now.instant.checked_sub(CALM).unwrap_or(now.instant);
        self.start_search(now, paced_from, SearchMode::Initial, "the peer left");
    }

    /// A run that was displaced is still there. It is told so, unless the one that displaced it has fallen silent; but only
    /// at the peer's IP, or over the pair last in use: elsewhere it may be a stranger with a copy.
    pub(super) fn handle_rival(&mut self, pair: Pair, probe: &Probe, now: Now) {
        if let State::Searching(search) = &self.state
            && search.observations.is_silent_for(SILENCE, now.instant)
        {
            return self.peers.forgive();
        }
        let is_known = self.context.candidates.has_named_ip(pair.remote.ip()) || self.used == Some(pair);
        if is_known && self.peers.tells_displaced(probe, now) {
            self.send(
                OutgoingProbe { kind: Kind::Displaced, ..OutgoingProbe::new(pair, probe.instance) },
                now,
            );
        } else {
            self.dropped.replayed += 1;
        }
    }

    /// The newer run wins. This one waits for its end, and does not fight.
    pub(super) fn handle_displaced(&mut self, probe: &Probe, sender: Sender, now: Now) {
        let waits =
            matches!(&self.state, State::Searching(search) if search.mode() == SearchMode::Background);
        if sender != Sender::Current || probe.token != self.transmits.instance || waits {
            return;
        }
        self.transmits.emit(Event::Displaced);
        let paced_from = now.instant.checked_sub(CALM * 20).unwrap_or(now.instant);
        self.start_search(now, paced_from, SearchMode::Background, "displaced by another run");
        if let State::Searching(search) = &mut self.state {
            search.observations.be_content();
        }
    }
}
