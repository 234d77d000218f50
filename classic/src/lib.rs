//! The old script's wire format (UDP Hole Puncher 0.12), so that one side may stay with it.
//!
//! Datagrams between the same UDP port of both sides carry one TCP connection, a piece at a time in each direction.
//! Nothing is encrypted, nothing authenticated. Integers are big-endian.
//!
//! ```text
//! 0        1        3        5                  16
//! +--------+--------+--------+------------------+--------
//! | type   | number | length | digest           | data      U data as it is, C packed by zlib
//! +--------+--------+--------+------------------+--------   length and the first 11 bytes of the MD5: of the original
//! | type   | number |                                       A ack of that number, N not ack: expected number
//! +--------+--------+
//! | type   |                                                H heartbeat, 8 bytes; only the first one counts
//! +--------+
//! ```
//!
//! In the order of a life:
//!
//! 1. *Heartbeats*, at once and then each 20 to 30 s, open both NATs. Ten without a word back: the peer is lost.
//! 2. *The question.* The format knows no beginning and no end: the script carries one TCP connection and ends with it,
//!    and a script that has not ended would ack the first pieces of another connection as copies, and drop them. So
//!    before a session each side asks what the other expects, by data that cannot be right: everybody answers with a
//!    not ack and its number. 0 is a run that has received nothing yet, and a session may begin. The script answers
//!    only while it has a TCP connection: so the serve side learns when there is a client, and connects to the service
//!    no earlier.
//! 3. *The session.* A piece is sent again until it is acked (`sender.rs`), and taken once, in order, if its digest is
//!    right (`receiver.rs`).
//! 4. *The end.* When the local TCP connection has ended and everything is acked, the peer is asked again, and as long
//!    as it still expects more than 0, told goodbye by a type that the script does not know: that ends the script, and
//!    with it its TCP connection. Meanwhile there are no heartbeats, so that whoever does not understand gives up.
//!    A peer that expects 0 again, in the middle of a session, has been started again: the session is over.
//!
//! [`Classic`] has the shape of [`Puncher`](pinhole_proto::Puncher): commands and `handle_*` take `now`;
//! [`Classic::poll_output`] is called until the timeout.

mod dispatch;
mod interface;
mod packer;
mod pulse;
mod receiver;
mod sender;
mod state;
#[cfg(test)]
mod tests;
pub mod wire;

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

pub use self::{
    interface::{Config, Dropped, End, Event, Output, Summary, Transmit},
    packer::Ratio,
    wire::{DEFAULT_DATA_BYTES, MAX_DATA_BYTES},
};
use self::{
    packer::Packer,
    pulse::{Beat, Pulse},
    receiver::{Receipt, Receiver},
    sender::{Answer, Sender, Step},
    state::{Asker, Session, State},
    wire::{Message, Parcel},
};
use pinhole_proto::{
    Role,
    probe::{Class, classify},
};

/// Datagrams that wait to be polled; more than this many at once are dropped.
const MAX_TRANSMITS: usize = 32;

/// Heartbeats between two reports of the ratio: the script's.
const REPORT_BEATS: u64 = 16;

/// One side of the old script's protocol.
#[derive(Debug)]
pub struct Classic {
    config: Config,
    /// Where the peer was heard last; its NAT may have given it another port.
    remote: SocketAddr,
    state: State,
    pulse: Pulse,
    sender: Sender,
    receiver: Receiver,
    packer: Packer,
    /// Something of the last session may still wait in the peer's socket.
    is_uncertain: bool,
    /// Serve side: a first piece has come before there was a session.
    has_knocked: bool,
    /// Whether it was told, since the peer was last heard, that it runs pinhole.
    is_pinhole_told: bool,
    dropped: Dropped,
    outputs: VecDeque<Output>,
    transmits: usize,
}

impl Classic {
    /// Makes one side; its first heartbeat is due at once.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        let state = State::idle(config.role, now);
        let pulse = Pulse::new(config.seed, now);
        let max_data = config.max_data.clamp(1, MAX_DATA_BYTES);
        Self {
            config,
            remote: config.peer,
            state,
            pulse,
            sender: Sender::new(max_data),
            receiver: Receiver::default(),
            packer: Packer::new(),
            is_uncertain: false,
            has_knocked: false,
            is_pinhole_told: false,
            dropped: Dropped::default(),
            outputs: VecDeque::new(),
            transmits: 0,
        }
    }

    /// Records another address of the peer: its name may mean another one now. Of no effect in a session.
    pub fn set_peer(&mut self, peer: SocketAddr) {
        if peer != self.config.peer && !matches!(self.state, State::Active(_)) {
            self.config.peer = peer;
            self.remote = peer;
        }
    }

    /// Says that there is a local TCP connection: on the open side a client, on the serve side the service after
    /// [`Event::Wanted`]. [`Event::Began`] follows as soon as the peer is ready.
    pub fn open(&mut self, now: Instant) {
        match (&mut self.state, self.config.role) {
            (State::Idle { .. }, Role::Open) => {
                self.set_state(State::Opening(Asker::new(now)), "a client has come");
                self.ask_if_due(now);
            }
            (State::Closing { asker, .. }, Role::Open) => {
                let asker = std::mem::replace(asker, Asker::new(now));
                self.set_state(State::Opening(asker), "a client has come");
            }
            (State::Connecting, Role::Serve) => self.begin(now),
            _ => {}
        }
    }

    /// Says that the service cannot be reached: the peer's local client learns by the end of its connection.
    pub fn refuse(&mut self, now: Instant) {
        if matches!(self.state, State::Connecting) {
            self.receiver.reset();
            self.say_goodbye();
            self.set_state(State::reluctant(now), "the service cannot be reached");
        }
    }

    /// Returns how many bytes of the local TCP connection are wanted now; `None` while a piece is under way.
    #[must_use]
    pub fn wanted(&self) -> Option<usize> {
        match &self.state {
            State::Active(session) if !session.is_finished => self.sender.room(),
            State::Active(_)
            | State::Idle { .. }
            | State::Opening(_)
            | State::Connecting
            | State::Closing { .. } => None,
        }
    }

    /// Sends bytes of the local TCP connection, no more than [`Classic::wanted`] says.
    pub fn send(&mut self, data: &[u8], now: Instant) {
        let Some(room) = self.wanted() else { return };
        if !data.is_empty() && data.len() <= room {
            let datagram = self.sender.send(data, &mut self.packer, now);
            self.transmit(datagram);
        }
    }

    /// Says that the local TCP connection sends nothing more. It may still listen: the session goes on for a while,
    /// longer as long as something comes.
    pub fn finish(&mut self, now: Instant) {
        if let State::Active(session) = &mut self.state {
            session.is_finished = true;
            session.linger(self.config.role, now);
        }
    }

    /// Says that another client waits for the end of a connection that has finished sending.
    pub fn hurry(&mut self, now: Instant) {
        if let State::Active(session) = &mut self.state {
            session.is_hurried = true;
            session.linger(self.config.role, now);
        }
    }

    /// Says that the local TCP connection is gone, or the client that waited.
    pub fn close(&mut self, now: Instant) {
        match self.state {
            State::Active(_) => self.end(End::Local, now),
            State::Opening(_) => self.set_state(State::closing(now), "the client has gone"),
            State::Connecting => self.refuse(now),
            State::Idle { .. } | State::Closing { .. } => {}
        }
    }

    /// Says goodbye in a session; nothing else may be called after it but [`Classic::poll_output`].
    pub fn leave(&mut self, now: Instant) {
        if matches!(self.state, State::Active(_)) {
            self.say_goodbye();
            self.end(End::Local, now);
        }
    }

    /// Returns the next bytes for the local TCP connection. What is not fetched is not acked for long, so the peer
    /// waits for whoever reads slowly.
    pub fn poll_data(&mut self, now: Instant) -> Option<Vec<u8>> {
        if !matches!(self.state, State::Active(_)) {
            return None;
        }
        let data = self.receiver.pop();
        self.admit(now);
        data
    }

    /// Handles a datagram.
    pub fn handle_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) {
        if from.ip() != self.config.peer.ip() {
            self.dropped.strangers += 1;
            return;
        }
        let Some(message) = wire::parse(datagram) else {
            tracing::debug!(%from, bytes = datagram.len(), "no datagram of this format");
            self.dropped.unknown += 1;
            self.note_pinhole(from, datagram);
            return;
        };
        tracing::trace!(%from, bytes = datagram.len(), kind = datagram[0], "received");
        self.remote = from;
        if self.pulse.handle_heard(now) {
            self.is_pinhole_told = false;
            self.tell(Event::Heard { from });
            if message == Message::Heartbeat {
                self.ask_anew(now);
            }
        }
        self.handle_message(&message, now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.beat(now);
        self.ask_if_due(now);
        self.admit(now);
        if matches!(self.state, State::Active(_)) {
            self.work(now);
        }
        self.end_if_over(now);
    }

    /// Returns what is to be done, until there is only to be waited.
    pub fn poll_output(&mut self) -> Output {
        let Some(output) = self.outputs.pop_front() else { return Output::Timeout(self.deadline()) };
        if matches!(output, Output::Transmit(_)) {
            self.transmits -= 1;
        }
        output
    }

    /// Returns what has come and was not used.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Returns whether the peer was heard within its ten heartbeats.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.pulse.heard_at().is_some()
    }

    /// Tells, once until the peer is heard, that its IP sends what `pinhole -c` and `pinhole -l` send. Anybody can forge
    /// that, so it changes nothing else.
    fn note_pinhole(&mut self, from: SocketAddr, datagram: &[u8]) {
        let is_news = !self.is_heard() && classify(datagram) == Class::Probe;
        if is_news && !std::mem::replace(&mut self.is_pinhole_told, true) {
            self.tell(Event::Pinhole { from });
        }
    }

    fn deadline(&self) -> Instant {
        let beat = self.pulse.deadline();
        let beat = self.state.quiet_until().map_or(beat, |quiet| beat.max(quiet));
        let work = match &self.state {
            State::Active(session) => earliest([
                session.lingers_until,
                self.sender.deadline(),
                self.receiver.deadline(),
                self.receiver.nudge_at(self.sender.round_trip()),
            ]),
            State::Idle { .. } | State::Opening(_) | State::Connecting | State::Closing { .. } => None,
        };
        earliest([self.state.deadline(), work]).map_or(beat, |due| beat.min(due))
    }
}

fn earliest<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}
