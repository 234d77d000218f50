//! Dispatch: what a message, a deadline or an answer leads to, and from which state to which.

use std::time::Instant;

use super::{
    Answer, Asker, Beat, Classic, End, Event, Message, Output, Parcel, REPORT_BEATS, Receipt, Role, Session,
    State, Step, Summary, Transmit, state::GONE, wire,
};

impl Classic {
    pub(super) fn handle_message(&mut self, message: &Message<'_>, now: Instant) {
        match message {
            Message::Heartbeat => self.ask_soon(now),
            Message::Ack(number) => self.handle_ack(*number, now),
            Message::Nack(expected) => self.handle_nack(*expected, now),
            Message::Data(parcel) => self.handle_data(parcel, now),
            Message::Question => self.handle_question(now),
            Message::Goodbye { next } => self.handle_goodbye(*next, now),
        }
    }

    fn handle_ack(&mut self, number: u16, now: Instant) {
        if matches!(self.state, State::Active(_)) {
            let answer = self.sender.handle_ack(number, now);
            self.handle_answer(answer, now);
        }
    }

    fn handle_nack(&mut self, expected: u16, now: Instant) {
        if self.state.asker().is_some_and(|asker| !asker.has_asked()) {
            return; // the answer to an earlier question
        }
        if expected == 0
            && self.is_uncertain
            && self.state.asker().is_some_and(|asker| !asker.is_confirmed(now))
        {
            return;
        }
        match (&self.state, expected) {
            (State::Active(_), _) => {
                let size = self.sender.size();
                let (answer, again) = self.sender.handle_nack(expected, &mut self.packer, now);
                if let Some(datagram) = again {
                    self.transmit(datagram);
                }
                if self.sender.size() < size {
                    self.tell(Event::Cut { size: self.sender.size() });
                }
                self.handle_answer(answer, now);
            }
            (State::Opening(_), 0) => {
                self.sender.answered(now);
                self.begin(now);
            }
            (State::Idle { .. } | State::Closing { .. }, 0) => match self.config.role {
                Role::Serve => {
                    self.set_state(State::Connecting, "the peer is ready");
                    self.tell(Event::Wanted);
                }
                Role::Open => self.set_state(State::idle(Role::Open, now), "the peer is ready"),
            },
            (State::Idle { .. } | State::Opening(_) | State::Closing { .. }, _) => self.handle_busy(now),
            (State::Connecting, _) => {}
        }
    }

    fn handle_answer(&mut self, answer: Answer, now: Instant) {
        let State::Active(session) = &mut self.state else { return };
        match answer {
            Answer::Arrived => {
                session.trust(now);
                session.linger(self.config.role, now);
                if let Some(rest) = self.sender.take_rest() {
                    let datagram = self.sender.send(&rest, &mut self.packer, now);
                    self.transmit(datagram);
                }
            }
            Answer::InStep => session.trust(now),
            Answer::OutOfStep => {
                if session.doubt(now) {
                    self.end(End::Restarted, now);
                }
            }
            Answer::Nothing => {}
        }
    }

    /// The peer holds its end of a session that is over here.
    fn handle_busy(&mut self, now: Instant) {
        if let State::Closing { until, .. } = &mut self.state {
            *until = now + GONE;
        }
        self.is_uncertain = false; // what expects 0 after this is another run
        self.receiver.reset(); // what that run has sent does not belong to the next one
        let Some(asker) = self.state.asker() else { return };
        let (says_goodbye, tells) = asker.handle_busy(now);
        if says_goodbye {
            self.say_goodbye();
        }
        if tells {
            self.tell(Event::Busy);
        }
    }

    fn handle_data(&mut self, parcel: &Parcel<'_>, now: Instant) {
        let Some(data) = self.packer.unpack(parcel) else {
            tracing::debug!(number = parcel.number, "broken data");
            self.dropped.broken += 1;
            return self.handle_question(now);
        };
        let (number, digest) = (parcel.number, parcel.digest);
        let is_busy = self.state.asker().is_some_and(|asker| asker.is_busy());
        let receipt = match (&mut self.state, self.config.role) {
            (State::Active(_), _) => self.receiver.take(number, digest, data, now),
            (State::Idle { .. } | State::Opening(_), Role::Open) if !is_busy => {
                self.receiver.hold(number, digest, data, now)
            }
            (State::Idle { .. } | State::Connecting, Role::Serve) if number == 0 && !is_busy => {
                // Not kept: it may be of a run that ends before the session begins.
                self.has_knocked = true;
                self.ask_soon(now);
                Receipt::Silence
            }
            _ if number == 0 => Receipt::Silence,
            _ => Receipt::Nack(0),
        };
        match receipt {
            Receipt::Ack(number) => {
                self.transmit(wire::ack(number));
                if let State::Active(session) = &mut self.state {
                    session.linger(self.config.role, now);
                }
            }
            Receipt::Nack(expected) => self.transmit(wire::nack(expected)),
            Receipt::Silence => {}
            Receipt::NewRun => {
                self.end(End::Restarted, now);
                self.handle_data(parcel, now);
            }
            Receipt::Old => self.handle_old(now),
            Receipt::Doubt => {
                let State::Active(session) = &mut self.state else { return };
                let answer = if session.is_copy(now) { wire::ack(number) } else { wire::question() };
                self.transmit(answer);
            }
        }
    }

    /// A piece came that a peer in step would not send any more.
    fn handle_old(&mut self, now: Instant) {
        let State::Active(session) = &mut self.state else { return };
        if session.is_other_run(now) {
            self.end(End::Restarted, now);
        } else {
            self.transmit(wire::question());
        }
    }

    /// An open side without a client is as silent as the script: so the peer knows when there is one.
    fn handle_question(&mut self, now: Instant) {
        let has_nobody = matches!(self.state, State::Idle { .. }) && self.config.role == Role::Open;
        // A piece that waits for room may be acked at any time: no answer but that one would be true.
        if has_nobody || self.receiver.is_waiting() {
            return;
        }
        self.transmit(wire::nack(self.receiver.expected()));
        self.ask_soon(now);
    }

    fn handle_goodbye(&mut self, next: u16, now: Instant) {
        let has_all = next == self.receiver.expected() && !self.receiver.is_waiting();
        match self.state {
            State::Active(_) => self.end(if has_all { End::Peer } else { End::PeerBroken }, now),
            State::Opening(_) => self.end(End::PeerBroken, now),
            State::Idle { .. } | State::Connecting | State::Closing { .. } => {}
        }
    }

    /// The peer is heard for the first time.
    pub(super) fn ask_anew(&mut self, now: Instant) {
        if let Some(asker) = self.state.asker() {
            asker.begin_anew(now);
            self.ask_if_due(now);
        }
    }

    /// A serve side that waits asks at once.
    fn ask_soon(&mut self, now: Instant) {
        if let State::Idle { asker: Some(asker) } = &mut self.state {
            asker.hurry(now);
            self.ask_if_due(now);
        }
    }

    pub(super) fn beat(&mut self, now: Instant) {
        if self.state.quiet_until().is_some_and(|until| now < until) {
            return;
        }
        let Some(beat) = self.pulse.handle_timeout(now) else { return };
        if beat == Beat::Lost {
            self.remote = self.config.peer;
            self.tell(Event::Lost);
            if matches!(self.state, State::Active(_)) {
                return self.end(End::Silent, now);
            }
            self.receiver.reset();
        }
        self.transmit(wire::HEARTBEAT.to_vec());
        if matches!(self.state, State::Active(_)) && self.pulse.beats().is_multiple_of(REPORT_BEATS) {
            self.tell(Event::Ratio(self.packer.ratio()));
        }
    }

    pub(super) fn ask_if_due(&mut self, now: Instant) {
        if let State::Active(session) = &mut self.state {
            if session.ask_at.take_if(|at| now >= *at).is_some() {
                self.transmit(wire::question());
            }
            return;
        }
        if let Some(is_first) = self.state.asker().and_then(|asker: &mut Asker| asker.ask(now)) {
            if matches!(self.state, State::Opening(_)) {
                self.sender.asked(is_first, now);
            }
            self.transmit(wire::question());
        }
    }

    /// Sends again what is due.
    pub(super) fn work(&mut self, now: Instant) {
        match self.sender.handle_timeout(self.pulse.heard_at(), now) {
            Step::Send(datagram) => self.transmit(datagram),
            Step::Ask => self.transmit(wire::question()),
            Step::GiveUp => self.end(End::Unacked, now),
            Step::Nothing => {}
        }
    }

    /// Acks what had to wait, or once more, if its time has come.
    pub(super) fn admit(&mut self, now: Instant) {
        let rtt = self.sender.round_trip();
        if matches!(self.state, State::Active(_))
            && let Some(number) = self.receiver.admit(now).or_else(|| self.receiver.nudge(rtt, now))
        {
            self.transmit(wire::ack(number));
        }
    }

    pub(super) fn end_if_over(&mut self, now: Instant) {
        match &mut self.state {
            State::Active(session) => {
                if session.lingers_until.is_some_and(|until| now >= until) {
                    if self.sender.is_idle() {
                        return self.end(End::Local, now);
                    }
                    session.lingers_until = None; // until the last piece is acked
                }
            }
            State::Closing { until, .. } if now >= *until => {
                self.set_state(State::idle(self.config.role, now), "nobody holds a former session");
            }
            State::Closing { .. } | State::Idle { .. } | State::Opening(_) | State::Connecting => {}
        }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.is_uncertain = false;
        self.sender.reset();
        self.packer.reset();
        self.set_state(State::Active(Session::new(now)), "both sides are ready");
        self.tell(Event::Began);
        if std::mem::take(&mut self.has_knocked) {
            self.transmit(wire::nack(0)); // has the peer send again at once
        }
    }

    /// Ends a session, or the wait for one.
    pub(super) fn end(&mut self, end: End, now: Instant) {
        let began = match &self.state {
            State::Active(session) => session.began,
            State::Idle { .. } | State::Opening(_) | State::Connecting | State::Closing { .. } => now,
        };
        let received = self.receiver.bytes();
        let rest = self.receiver.reset();
        let (ratio, lasted) = (self.packer.ratio(), now.saturating_duration_since(began));
        self.tell(Event::Ended(Summary { end, rest, ratio, received, lasted }));
        let state = match end {
            End::Local | End::Unacked | End::Silent => {
                self.is_uncertain = self.sender.has_sent();
                State::closing(now)
            }
            End::Peer | End::PeerBroken | End::Restarted => {
                // A first piece under way may reach the new run.
                self.is_uncertain = self.sender.next() == 0 && self.sender.has_sent();
                State::idle(self.config.role, now)
            }
        };
        self.set_state(state, "the session is over");
        self.ask_if_due(now);
    }

    /// Ends the peer's run, if it is the script. The question goes before, because the script's words about a type that
    /// it does not know take it for granted that there was data.
    pub(super) fn say_goodbye(&mut self) {
        self.transmit(wire::question());
        self.transmit(wire::goodbye(self.sender.next()));
    }

    pub(super) fn set_state(&mut self, state: State, why: &str) {
        tracing::debug!(from = self.state.name(), to = state.name(), why, "state");
        self.state = state;
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn transmit(&mut self, payload: Vec<u8>) {
        if self.transmits < super::MAX_TRANSMITS {
            self.transmits += 1;
            self.outputs.push_back(Output::Transmit(Transmit { to: self.remote, payload }));
        } else {
            self.dropped.unsent += 1;
        }
    }
}
