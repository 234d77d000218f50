//! What comes from the peer: in order, once, and no more than there is room for.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::wire::DIGEST_BYTES;

/// Pieces that are acked before a local client is there: the first words of a service. What is not acked for 30 s ends
/// the script.
const HELD_PIECES: usize = 4;

/// Pieces that wait for the local program and are still acked at once: the next one comes while it reads.
const PROMPT_PIECES: usize = 8;

/// Pieces that may wait for the local program at all: 4 MiB at the most.
const MAX_PIECES: usize = 64;

/// When the local program reads slowly, a piece is acked after so long: the script gives up after 30 s, and so it waits
/// for a program that has stopped reading for [`MAX_PIECES`] times as long.
const SLOW_ACK: Duration = Duration::from_secs(20);

/// A copy of what was acked less than this ago is not acked again. The script takes each further ack for a reason to
/// send again what is under way, and that would bring the next copy, for ever. What is sent again because an ack got
/// lost comes later than that.
const ECHO: Duration = Duration::from_millis(150);

/// The script misses an ack that comes before it has begun to wait for it, a matter of milliseconds, and then waits for
/// its second. So after a silence of so many round trips the last ack is said once more; a script that has nothing under
/// way does not mind.
const NUDGE_AFTER_TRIPS: u32 = 4;

/// Least silence before that: time for a busy machine.
const NUDGE_LEAST: Duration = Duration::from_millis(20);

/// Beyond this, the script is as fast by itself.
const NUDGE_MOST: Duration = Duration::from_millis(700);

/// As long as numbers have not come round, a 0 that is not expected can only be a copy, or the first word of another
/// run.
const FIRST_ROUND: u64 = 0x8000;

/// What is to be done about a piece that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receipt {
    /// Say that it is here.
    Ack(u16),
    /// Say what is expected.
    Nack(u16),
    /// Nothing: it is a copy, or there is no room.
    Silence,
    /// It is the first word of another run of the peer's program.
    NewRun,
    /// It may be that, or a copy of the number 0 whose ack got lost: services greet everybody with the same words.
    Doubt,
    /// It is older than a sender that is in step can send; or it was under way for long.
    Old,
}

#[derive(Debug, Default)]
pub(super) struct Receiver {
    expected: u16,
    /// Pieces taken.
    taken: u64,
    bytes: u64,
    inbox: VecDeque<Vec<u8>>,
    /// Of the first pieces.
    digests: Vec<[u8; DIGEST_BYTES]>,
    last_digest: Option<[u8; DIGEST_BYTES]>,
    /// The one that is expected is here, and there is no room.
    waiting: Option<Waiting>,
    last_ack: Option<(u16, Instant)>,
    /// When the last piece was taken.
    taken_at: Option<Instant>,
    /// The usual time between two pieces of a flow, where the round trip is not known.
    gap: Option<Duration>,
    has_nudged: bool,
}

#[derive(Debug)]
struct Waiting {
    data: Vec<u8>,
    digest: [u8; DIGEST_BYTES],
    since: Instant,
}

impl Receiver {
    /// Takes a piece whose digest is right while nobody reads yet.
    pub(super) fn hold(
        &mut self,
        number: u16,
        digest: [u8; DIGEST_BYTES],
        data: Vec<u8>,
        now: Instant,
    ) -> Receipt {
        if number < self.expected && self.digests[usize::from(number)] != digest {
            // Another run of the peer's program; up to here it has said the same.
            self.inbox.truncate(usize::from(number));
            self.digests.truncate(usize::from(number));
            (self.expected, self.taken, self.last_ack) = (number, u64::from(number), None);
        }
        if number == self.expected {
            if self.inbox.len() >= HELD_PIECES {
                return Receipt::Silence;
            }
            return self.accept(digest, data, now);
        }
        self.again_or_wrong(number, now)
    }

    /// Takes a piece whose digest is right in a session.
    pub(super) fn take(
        &mut self,
        number: u16,
        digest: [u8; DIGEST_BYTES],
        data: Vec<u8>,
        now: Instant,
    ) -> Receipt {
        if number == self.expected {
            if self.inbox.len() < PROMPT_PIECES {
                return self.accept(digest, data, now);
            }
            self.waiting.get_or_insert(Waiting { data, digest, since: now });
            return Receipt::Silence;
        }
        let behind = self.behind(number);
        let first = self.digests.get(usize::from(number)).filter(|_| self.taken < FIRST_ROUND);
        let known = if behind == Some(1) { self.last_digest.as_ref() } else { first };
        match behind {
            Some(_) if known.is_some_and(|known| *known != digest) => Receipt::NewRun,
            // Who stops and waits never sends an older one again.
            Some(2..) => Receipt::Old,
            Some(_) if number == 0 && !self.is_echo(number, now) => Receipt::Doubt,
            Some(_) | None => self.again_or_wrong(number, now),
        }
    }

    /// Takes what had to wait, if there is room or it is time. Returns the number to ack.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u16> {
        let waiting = self.waiting.take_if(|waiting| {
            let is_due = now >= waiting.since + SLOW_ACK && self.inbox.len() < MAX_PIECES;
            is_due || self.inbox.len() < PROMPT_PIECES
        })?;
        let number = self.expected;
        self.accept(waiting.digest, waiting.data, now);
        Some(number)
    }

    /// When [`Receiver::admit`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref().filter(|_| self.inbox.len() < MAX_PIECES)?;
        Some(waiting.since + SLOW_ACK)
    }

    /// Returns the number to ack once more, if the peer seems to have missed its ack.
    pub(super) fn nudge(&mut self, rtt: Option<Duration>, now: Instant) -> Option<u16> {
        self.nudge_at(rtt).filter(|at| now >= *at)?;
        self.has_nudged = true;
        let number = self.expected.wrapping_sub(1);
        self.last_ack = Some((number, now));
        Some(number)
    }

    /// When [`Receiver::nudge`] is due.
    pub(super) fn nudge_at(&self, rtt: Option<Duration>) -> Option<Instant> {
        let silence = (rtt.or(self.gap)? * NUDGE_AFTER_TRIPS).max(NUDGE_LEAST);
        // Another run of the peer would take a word about the number 0 for one about its own first piece.
        let is_safe = self.expected != 1;
        let is_due = !self.has_nudged && is_safe && self.waiting.is_none() && silence <= NUDGE_MOST;
        self.taken_at.filter(|_| is_due).map(|at| at + silence)
    }

    /// Returns the next piece for the local program.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        self.inbox.pop_front()
    }

    pub(super) fn expected(&self) -> u16 {
        self.expected
    }

    /// Returns how many bytes were taken.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether a piece is here that is not acked yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Forgets everything; returns what was acked and not read.
    pub(super) fn reset(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(self).inbox.into()
    }

    fn accept(&mut self, digest: [u8; DIGEST_BYTES], data: Vec<u8>, now: Instant) -> Receipt {
        let number = self.expected;
        if self.digests.len() < HELD_PIECES {
            self.digests.push(digest);
        }
        self.last_digest = Some(digest);
        self.bytes += data.len() as u64;
        self.inbox.push_back(data);
        self.expected = number.wrapping_add(1);
        self.taken += 1;
        self.last_ack = Some((number, now));
        self.has_nudged = false;
        if let Some(before) = self.taken_at.replace(now) {
            let gap = now.saturating_duration_since(before);
            if gap < NUDGE_MOST {
                self.gap = Some(self.gap.map_or(gap, |known| (3 * known + gap) / 4));
            }
        }
        Receipt::Ack(number)
    }

    fn again_or_wrong(&mut self, number: u16, now: Instant) -> Receipt {
        if self.behind(number).is_none() {
            return Receipt::Nack(self.expected);
        }
        if self.is_echo(number, now) {
            return Receipt::Silence;
        }
        self.last_ack = Some((number, now));
        Receipt::Ack(number)
    }

    /// Returns how long ago that number was taken, in pieces; `None` if it was not.
    fn behind(&self, number: u16) -> Option<u16> {
        let behind = self.expected.wrapping_sub(number);
        ((1..=0x7fff).contains(&behind) && u64::from(behind) <= self.taken).then_some(behind)
    }

    fn is_echo(&self, number: u16, now: Instant) -> bool {
        self.last_ack.is_some_and(|(acked, at)| acked == number && now < at + ECHO)
    }
}
