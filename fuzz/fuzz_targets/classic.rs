//! The old script's datagrams: any bytes through the parser, and a life of the machine with a peer gone mad.

#![no_main]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use libfuzzer_sys::{arbitrary, fuzz_target};
use pinhole_classic::{
    Classic, Config, Event, Output,
    wire::{HEAD_BYTES, HEARTBEAT, Message, ack, goodbye, nack, parse, question},
};
use pinhole_proto::Role;

/// Outputs after one input: more would be a queue without a bound.
const MAX_OUTPUTS: usize = 200;

/// Longest datagram, bytes.
const MAX_DATAGRAM: usize = 65_535;

#[derive(Debug, arbitrary::Arbitrary)]
struct Life {
    serves: bool,
    max_data: u16,
    ops: Vec<Op>,
}

#[derive(Debug, arbitrary::Arbitrary)]
enum Op {
    /// Any bytes from the peer, or from somebody else.
    Datagram {
        stranger: bool,
        bytes: Vec<u8>,
    },
    Heartbeat,
    Ack(u16),
    Nack(u16),
    /// Data that is right.
    Data {
        number: u16,
        fill: u8,
        length: u8,
    },
    Question,
    Goodbye(u16),
    Open,
    Refuse,
    Send(u8),
    Read,
    Finish,
    Hurry,
    Close,
    Wait {
        ms: u16,
    },
}

fuzz_target!(|life: Life| {
    for op in &life.ops {
        if let Op::Datagram { bytes, .. } = op {
            check_parser(bytes);
        }
    }
    live(&life);
});

/// What is read is what would be written, but for what is ignored.
fn check_parser(bytes: &[u8]) {
    match parse(bytes) {
        None => {}
        Some(Message::Heartbeat) => assert_eq!(bytes[0], HEARTBEAT[0]),
        Some(Message::Ack(number)) => assert_eq!(bytes[..3], ack(number)),
        Some(Message::Nack(number)) => assert_eq!(bytes[..3], nack(number)),
        Some(Message::Question) => assert_eq!(bytes, question()),
        Some(Message::Goodbye { next }) => assert_eq!(bytes, goodbye(next)),
        Some(Message::Data(parcel)) => {
            assert_eq!(parcel.encode(), bytes);
            assert_eq!(parcel.body.len() + HEAD_BYTES, bytes.len());
        }
    }
}

fn live(life: &Life) {
    let peer = SocketAddr::from(([192, 0, 2, 1], 5555));
    let role = if life.serves { Role::Serve } else { Role::Open };
    let mut now = Instant::now();
    let max_data = usize::from(life.max_data);
    let mut machine = Classic::new(Config { role, peer, max_data, seed: [1; 32] }, now);
    // Writes datagrams as a peer would.
    let mut writer = Writer::new(now);
    let mut is_active = false;
    for op in &life.ops {
        let mut from_peer = |bytes: &[u8]| machine.handle_datagram(peer, bytes, now);
        match op {
            Op::Datagram { stranger: false, bytes } => from_peer(bytes),
            Op::Datagram { stranger: true, bytes } => {
                machine.handle_datagram(SocketAddr::from(([192, 0, 2, 2], 5555)), bytes, now);
            }
            Op::Heartbeat => from_peer(&HEARTBEAT),
            Op::Ack(number) => from_peer(&ack(*number)),
            Op::Nack(number) => from_peer(&nack(*number)),
            Op::Data { number, fill, length } => from_peer(&writer.data(*number, *fill, *length)),
            Op::Question => from_peer(&question()),
            Op::Goodbye(next) => from_peer(&goodbye(*next)),
            Op::Open => machine.open(now),
            Op::Refuse => machine.refuse(now),
            Op::Send(length) => {
                let room = machine.wanted().unwrap_or(0).min(usize::from(*length) * 100);
                machine.send(&vec![*length; room], now);
            }
            Op::Read => drop(machine.poll_data(now)),
            Op::Finish => machine.finish(now),
            Op::Hurry => machine.hurry(now),
            Op::Close => machine.close(now),
            Op::Wait { ms } => {
                wait(&mut machine, &mut now, Duration::from_millis(u64::from(*ms)), &mut is_active)
            }
        }
        drain(&mut machine, now, &mut is_active);
    }
}

/// Lets time pass, with all that is due in it.
fn wait(machine: &mut Classic, now: &mut Instant, time: Duration, is_active: &mut bool) {
    let until = *now + time;
    loop {
        let due = drain(machine, *now, is_active);
        if due > until {
            break;
        }
        *now = due.max(*now);
        machine.handle_timeout(*now);
    }
    *now = until;
}

/// Takes everything; returns when something is due.
fn drain(machine: &mut Classic, now: Instant, is_active: &mut bool) -> Instant {
    for _ in 0..MAX_OUTPUTS {
        match machine.poll_output() {
            Output::Transmit(transmit) => assert!(transmit.payload.len() <= MAX_DATAGRAM),
            Output::Event(Event::Began) => {
                assert!(!std::mem::replace(is_active, true), "two sessions at a time");
            }
            Output::Event(Event::Ended(_)) => *is_active = false,
            Output::Event(
                Event::Heard { .. }
                | Event::Pinhole { .. }
                | Event::Lost
                | Event::Wanted
                | Event::Busy
                | Event::Cut { .. }
                | Event::Ratio(_),
            ) => {}
            Output::Timeout(at) if at <= now => {
                // Something is due at once: doing it must change that.
                machine.handle_timeout(now);
            }
            Output::Timeout(at) => return at,
        }
    }
    panic!("it never comes to rest");
}

/// A machine that is used for the datagrams it writes: its packing and its digests are not public.
struct Writer {
    now: Instant,
}

impl Writer {
    fn new(now: Instant) -> Self {
        Self { now }
    }

    /// Returns data with any number.
    fn data(&mut self, number: u16, fill: u8, length: u8) -> Vec<u8> {
        let peer = SocketAddr::from(([192, 0, 2, 3], 5555));
        let config = Config { role: Role::Open, peer, max_data: 1000, seed: [2; 32] };
        let mut machine = Classic::new(config, self.now);
        machine.open(self.now);
        machine.handle_datagram(peer, &nack(0), self.now);
        machine.send(&vec![fill; usize::from(length).max(1)], self.now);
        loop {
            match machine.poll_output() {
                Output::Transmit(transmit) if parse(&transmit.payload).is_some_and(is_data) => {
                    let mut datagram = transmit.payload;
                    datagram[1..3].copy_from_slice(&number.to_be_bytes());
                    return datagram;
                }
                Output::Transmit(_) | Output::Event(_) => {}
                Output::Timeout(_) => return Vec::new(),
            }
        }
    }
}

fn is_data(message: Message<'_>) -> bool {
    matches!(message, Message::Data(_))
}
