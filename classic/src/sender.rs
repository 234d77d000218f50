//! What goes to the peer: one piece at a time, again until it is acked, smaller where large ones do not arrive.

use std::time::{Duration, Instant};

use super::{packer::Packer, wire::HEAD_BYTES};

/// Time before a piece is sent again where no round trip has been measured, and at most later: the script's.
const RESEND: Duration = Duration::from_secs(1);

/// Least time before a piece is sent again: more than a receiver of our kind takes for an echo, and time for a service.
const RESEND_LEAST: Duration = Duration::from_millis(250);

/// Sent so often without an answer, a piece, and with it the session, is given up.
pub(super) const TRIES: u32 = 30;

/// Time before a piece is sent again by a side whose peer lives but has no room: longer than [`TRIES`] seconds.
const RESEND_STALLED: Duration = Duration::from_secs(5);

/// A peer that is heard and does not ack has a local program that does not read. The script itself ends after 10
/// heartbeats that it cannot hear then, 200 to 300 s.
const STALLED: Duration = Duration::from_secs(300);

/// Silence after [`TRIES`] that means that nobody is there; longer than the time between two heartbeats.
const UNHEARD: Duration = Duration::from_secs(35);

/// A datagram that needs no fragments on any usual line, bytes.
const ONE_PACKET: usize = 1400;

/// Tries of a piece after which is asked whether just the large datagrams do not arrive.
const DOUBT_AFTER: [u32; 3] = [3, 8, 18];

/// Time without a try before that is asked. What was sent before is lost by then, so the piece may be cut: no network
/// keeps a fragment for longer and delivers it after what was sent later.
const QUIET: Duration = Duration::from_secs(2);

/// Time between the first answer and the second question. A peer that had not read its socket for a while answers
/// everything in it at once: an old question, and then perhaps the piece. What it says to the second question is said
/// after that.
const CONFIRM: Duration = Duration::from_millis(500);

/// Time for the answer.
const ANSWER: Duration = Duration::from_secs(1);

/// Pieces in a row that arrive at the first try before larger ones are tried; four times as many after each cut.
const GROW_AFTER: u32 = 32;

/// See [`GROW_AFTER`].
const GROW_AFTER_MOST: u32 = 1 << 15;

/// What a word about a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The piece has arrived, and the next one may be sent.
    Arrived,
    /// The peer expects what we are about to send: it is the run that we know.
    InStep,
    /// The peer expects something else.
    OutOfStep,
    /// Old news.
    Nothing,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Send(Vec<u8>),
    Ask,
    GiveUp,
    Nothing,
}

#[derive(Debug)]
pub(super) struct Sender {
    next: u16,
    flight: Option<Flight>,
    /// What was cut off a piece: goes before anything else.
    rest: Vec<u8>,
    size: usize,
    max_size: usize,
    grow_after: u32,
    smooth: u32,
    rtt: Option<Rtt>,
    asked_at: Option<Instant>,
}

/// The piece under way.
#[derive(Debug)]
struct Flight {
    data: Vec<u8>,
    datagram: Vec<u8>,
    tries: u32,
    first_at: Instant,
    last_at: Instant,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is sent again when its time is over.
    Trying,
    /// It is left alone, so that nothing of it is under way.
    Quiet,
    /// The peer was asked what it expects.
    Asked(Instant),
    /// It has not got the piece, it says.
    Doubted(Instant),
    /// It was asked again.
    AskedAgain(Instant),
}

impl Sender {
    pub(super) fn new(max_size: usize) -> Self {
        Self {
            next: 0,
            flight: None,
            rest: Vec::new(),
            size: max_size,
            max_size,
            grow_after: GROW_AFTER,
            smooth: 0,
            rtt: None,
            asked_at: None,
        }
    }

    /// Begins a session; what was learnt about the way to the peer stays.
    pub(super) fn reset(&mut self) {
        (self.next, self.flight, self.asked_at) = (0, None, None);
        self.rest.clear();
    }

    /// Returns how many bytes the next piece may have; `None` while one is under way.
    pub(super) fn room(&self) -> Option<usize> {
        (self.flight.is_none() && self.rest.is_empty()).then_some(self.size)
    }

    /// Begins to send a piece. Returns the datagram.
    pub(super) fn send(&mut self, data: &[u8], packer: &mut Packer, now: Instant) -> Vec<u8> {
        debug_assert!(self.flight.is_none(), "one at a time");
        let datagram = packer.pack(self.next, data);
        let flight = Flight {
            data: data.to_vec(),
            datagram: datagram.clone(),
            tries: 1,
            first_at: now,
            last_at: now,
            phase: Phase::Trying,
        };
        self.flight = Some(flight);
        datagram
    }

    /// Records that a question has been sent. If it is the only one, its answer tells the time of a round trip.
    pub(super) fn asked(&mut self, is_first: bool, now: Instant) {
        self.asked_at = is_first.then_some(now);
    }

    /// Records the answer.
    pub(super) fn answered(&mut self, now: Instant) {
        if let Some(asked_at) = self.asked_at.take() {
            self.measure(now.saturating_duration_since(asked_at));
        }
    }

    pub(super) fn handle_ack(&mut self, number: u16, now: Instant) -> Answer {
        if number != self.next || self.flight.is_none() {
            return Answer::Nothing;
        }
        self.arrived(now);
        Answer::Arrived
    }

    /// Handles the peer's word for what it expects. Returns a datagram as well if one is to be sent for it.
    pub(super) fn handle_nack(
        &mut self,
        expected: u16,
        packer: &mut Packer,
        now: Instant,
    ) -> (Answer, Option<Vec<u8>>) {
        let Some(flight) = &mut self.flight else {
            return (if expected == self.next { Answer::InStep } else { Answer::OutOfStep }, None);
        };
        if expected == self.next.wrapping_add(1) {
            // The script says so of a copy across the wrap; and it means the same always.
            self.arrived(now);
            return (Answer::Arrived, None);
        }
        if expected != self.next {
            return (Answer::OutOfStep, None);
        }
        match flight.phase {
            Phase::Asked(_) => {
                flight.phase = Phase::Doubted(now);
                (Answer::InStep, None)
            }
            Phase::AskedAgain(_) => (Answer::InStep, self.cut(packer, now)),
            // One that came broken. Not more than one for each round trip: the answer may be about an older try.
            Phase::Trying if now >= flight.last_at + round_trip(self.rtt.as_ref()) => {
                (Answer::InStep, Some(flight.again(now)))
            }
            Phase::Trying | Phase::Quiet | Phase::Doubted(_) => (Answer::InStep, None),
        }
    }

    pub(super) fn handle_timeout(&mut self, heard_at: Option<Instant>, now: Instant) -> Step {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Step::Nothing;
        }
        let Some(flight) = &mut self.flight else { return Step::Nothing };
        match flight.phase {
            Phase::Trying => {
                let is_unheard = heard_at.is_none_or(|at| now >= at + UNHEARD);
                if flight.tries >= TRIES && (is_unheard || now >= flight.first_at + STALLED) {
                    return Step::GiveUp;
                }
                if flight.datagram.len() > ONE_PACKET && DOUBT_AFTER.contains(&flight.tries) {
                    flight.phase = Phase::Quiet;
                    return Step::Nothing;
                }
                self.smooth = 0;
                Step::Send(flight.again(now))
            }
            Phase::Quiet => {
                flight.phase = Phase::Asked(now);
                Step::Ask
            }
            Phase::Doubted(_) => {
                flight.phase = Phase::AskedAgain(now);
                Step::Ask
            }
            Phase::Asked(_) | Phase::AskedAgain(_) => Step::Send(flight.again(now)),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let flight = self.flight.as_ref()?;
        Some(match flight.phase {
            Phase::Trying => flight.last_at + self.patience(flight.tries),
            Phase::Quiet => flight.last_at + QUIET.max(4 * round_trip(self.rtt.as_ref())),
            Phase::Doubted(at) => at + CONFIRM,
            Phase::Asked(at) | Phase::AskedAgain(at) => at + ANSWER.max(2 * round_trip(self.rtt.as_ref())),
        })
    }

    /// Takes what is left of a piece that was cut, as much as may be sent now.
    pub(super) fn take_rest(&mut self) -> Option<Vec<u8>> {
        if self.flight.is_some() || self.rest.is_empty() {
            return None;
        }
        let left = self.rest.split_off(self.size.min(self.rest.len()));
        Some(std::mem::replace(&mut self.rest, left))
    }

    /// Returns whether all is acked.
    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_none() && self.rest.is_empty()
    }

    /// Returns the usual time of a round trip, if it is known.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.rtt.as_ref().map(|rtt| rtt.smoothed)
    }

    /// Returns whether anything was sent in this session.
    pub(super) fn has_sent(&self) -> bool {
        self.next > 0 || self.flight.is_some()
    }

    pub(super) fn next(&self) -> u16 {
        self.next
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    fn arrived(&mut self, now: Instant) {
        let Some(flight) = self.flight.take() else { return };
        self.next = self.next.wrapping_add(1);
        if flight.tries > 1 {
            self.smooth = 0;
            return;
        }
        self.measure(now.saturating_duration_since(flight.last_at));
        self.smooth += u32::from(flight.data.len() >= self.size);
        if self.smooth >= self.grow_after && self.size < self.max_size {
            self.smooth = 0;
            self.size = (self.size * 2).min(self.max_size);
            tracing::debug!(size = self.size, "larger pieces");
        }
    }

    /// The peer lives and has not got the piece: cut it. Small ones are just sent again.
    fn cut(&mut self, packer: &mut Packer, now: Instant) -> Option<Vec<u8>> {
        let mut flight = self.flight.take()?;
        let least = ONE_PACKET - HEAD_BYTES;
        if flight.data.len() <= least {
            let datagram = flight.again(now);
            self.flight = Some(flight);
            return Some(datagram);
        }
        packer.take_back(flight.data.len(), flight.datagram.len());
        self.size = (flight.data.len() / 4).max(least);
        self.grow_after = (self.grow_after * 4).min(GROW_AFTER_MOST);
        self.smooth = 0;
        tracing::debug!(from = flight.data.len(), to = self.size, "smaller pieces");
        let mut rest = flight.data.split_off(self.size);
        rest.append(&mut self.rest);
        self.rest = rest;
        Some(self.send(&flight.data, packer, now))
    }

    /// How long the answer to a try is waited for.
    fn patience(&self, tries: u32) -> Duration {
        if tries >= TRIES {
            return RESEND_STALLED;
        }
        let first = self.rtt.as_ref().map_or(RESEND, |rtt| rtt.resend_after());
        first.saturating_mul(1 << (tries - 1).min(8)).min(RESEND.max(first))
    }

    fn measure(&mut self, rtt: Duration) {
        match &mut self.rtt {
            Some(known) => known.handle(rtt),
            None => self.rtt = Some(Rtt { smoothed: rtt, varies: rtt / 2 }),
        }
    }
}

impl Flight {
    fn again(&mut self, now: Instant) -> Vec<u8> {
        self.tries += 1;
        self.last_at = now;
        self.phase = Phase::Trying;
        self.datagram.clone()
    }
}

/// Round trips (RFC 6298).
#[derive(Debug)]
struct Rtt {
    smoothed: Duration,
    varies: Duration,
}

impl Rtt {
    fn handle(&mut self, rtt: Duration) {
        let error = self.smoothed.abs_diff(rtt);
        self.varies = (3 * self.varies + error) / 4;
        self.smoothed = (7 * self.smoothed + rtt) / 8;
    }

    fn resend_after(&self) -> Duration {
        (self.smoothed + 4 * self.varies).clamp(RESEND_LEAST, 3 * RESEND)
    }
}

fn round_trip(rtt: Option<&Rtt>) -> Duration {
    rtt.map_or(RESEND / 2, |rtt| rtt.smoothed)
}
