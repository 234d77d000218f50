//! The script as a model: what the description says, and what is known of how it is written.
//!
//! Numbers are compared without regard to their wrap; nothing is read from the socket before there is a TCP connection;
//! any word about an ack wakes the sender, which sends again if it is not the right one; a datagram of an unknown type
//! ends it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::super::{
    packer::Packer,
    wire::{self, Message},
};
use pinhole_proto::Role;

const SECOND: Duration = Duration::from_secs(1);

/// What its socket holds before it is read, datagrams.
const SOCKET: usize = 200;

#[derive(Debug)]
pub(super) struct Script {
    pub(super) role: Role,
    pub(super) to_send: VecDeque<u8>,
    pub(super) got: Vec<u8>,
    /// Why it has ended: its exit status.
    pub(super) exit: Option<i32>,
    /// Whether its local program takes what comes; its reader waits otherwise.
    pub(super) reads: bool,
    pub(super) expected: u16,
    pub(super) next: u16,
    pub(super) resent: u64,
    max_data: usize,
    has_tcp: bool,
    has_eof: bool,
    socket: VecDeque<Vec<u8>>,
    flight: Option<Flight>,
    beat_at: Instant,
    beats: u32,
    packer: Packer,
}

#[derive(Debug)]
struct Flight {
    datagram: Vec<u8>,
    tries: u32,
    sent_at: Instant,
}

impl Script {
    pub(super) fn new(role: Role, max_data: usize, now: Instant) -> Self {
        Self {
            role,
            to_send: VecDeque::new(),
            got: Vec::new(),
            exit: None,
            reads: true,
            expected: 0,
            next: 0,
            resent: 0,
            max_data,
            has_tcp: role == Role::Serve,
            has_eof: false,
            socket: VecDeque::new(),
            flight: None,
            beat_at: now,
            beats: 0,
            packer: Packer::new(),
        }
    }

    /// A client connects, where it listens.
    pub(super) fn accept(&mut self) {
        self.has_tcp = true;
    }

    /// Its local program sends nothing more; once all is acked, it ends.
    pub(super) fn finish(&mut self) {
        self.has_eof = true;
    }

    pub(super) fn receive(&mut self, datagram: Vec<u8>) {
        if self.socket.len() < SOCKET {
            self.socket.push_back(datagram);
        }
    }

    /// Does all that can be done now; returns datagrams and when it is to be called again.
    pub(super) fn act(&mut self, now: Instant) -> (Vec<Vec<u8>>, Option<Instant>) {
        let mut out = Vec::new();
        while self.has_tcp && self.reads && self.exit.is_none() {
            let Some(datagram) = self.socket.pop_front() else { break };
            self.handle(&datagram, now, &mut out);
        }
        if self.exit.is_none() {
            self.beat(now, &mut out);
            self.send(now, &mut out);
        }
        let resend = self.flight.as_ref().map(|flight| flight.sent_at + SECOND);
        let due = [Some(self.beat_at), resend].into_iter().flatten().min();
        (out, due.filter(|_| self.exit.is_none()))
    }

    fn beat(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        if now < self.beat_at {
            return;
        }
        if self.beats == 10 {
            self.exit = Some(14);
            return;
        }
        self.beats += 1;
        self.beat_at = now + 25 * SECOND;
        out.push(b"HELOSRVR".to_vec());
    }

    fn send(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        if let Some(flight) = &mut self.flight {
            if now >= flight.sent_at + SECOND {
                self.resend(now, out);
            }
            return;
        }
        if !self.has_tcp {
            return;
        }
        if self.to_send.is_empty() {
            if self.has_eof {
                self.exit = Some(12);
            }
            return;
        }
        let size = self.max_data.min(self.to_send.len());
        let data: Vec<u8> = self.to_send.drain(..size).collect();
        let datagram = self.packer.pack(self.next, &data);
        out.push(datagram.clone());
        self.flight = Some(Flight { datagram, tries: 1, sent_at: now });
    }

    fn resend(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        let Some(flight) = &mut self.flight else { return };
        if flight.tries == 30 {
            self.exit = Some(15);
            return;
        }
        flight.tries += 1;
        flight.sent_at = now;
        self.resent += 1;
        out.push(flight.datagram.clone());
    }

    fn handle(&mut self, datagram: &[u8], now: Instant, out: &mut Vec<Vec<u8>>) {
        match datagram.first() {
            Some(b'H') => self.beats = 0,
            Some(b'A' | b'N') => {
                let is_right = datagram == wire::ack(self.next);
                if is_right && self.flight.take().is_some() {
                    self.next = self.next.wrapping_add(1);
                    self.send(now, out);
                } else {
                    self.resend(now, out);
                }
            }
            Some(b'U' | b'C') => out.push(self.take(datagram)),
            _ => self.exit = Some(16),
        }
    }

    fn take(&mut self, datagram: &[u8]) -> Vec<u8> {
        let number = u16::from_be_bytes([datagram[1], datagram[2]]);
        let data = match wire::parse(datagram) {
            Some(Message::Data(parcel)) => self.packer.unpack(&parcel),
            _ => None,
        };
        match data {
            Some(data) if number == self.expected => {
                self.got.extend(data);
                self.expected = self.expected.wrapping_add(1);
                wire::ack(number)
            }
            _ if self.expected > number => wire::ack(number),
            _ => wire::nack(self.expected),
        }
    }
}
