//! A machine of ours, another program, and a link with faults between them, in virtual time.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand_core::{Rng, SeedableRng};

use super::{super::*, script::Script};
use pinhole_proto::Role;

pub(super) const THEIRS: SocketAddr = address([203, 0, 113, 9]);

const fn address(ip: [u8; 4]) -> SocketAddr {
    let [a, b, c, d] = ip;
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, d)), 5555)
}

/// More than any test needs.
const MAX_STEPS: u64 = 5_000_000;

/// What the link does, each in percent of the datagrams.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) lose: u32,
    pub(super) spoil: u32,
    pub(super) twice: u32,
    pub(super) late: u32,
    /// Longer datagrams than this do not arrive, where it is not 0.
    pub(super) longest: usize,
}

/// Our machine and the local program on its side.
pub(super) struct Ours {
    pub(super) machine: Classic,
    pub(super) to_send: VecDeque<u8>,
    pub(super) got: Vec<u8>,
    pub(super) events: Vec<Event>,
    pub(super) reads: bool,
    pub(super) serves: bool,
    pub(super) has_eof: bool,
}

impl Ours {
    pub(super) fn new(role: Role, max_data: usize, now: Instant) -> Self {
        let config = Config { role, peer: THEIRS, max_data, seed: [7; 32] };
        Self {
            machine: Classic::new(config, now),
            to_send: VecDeque::new(),
            got: Vec::new(),
            events: Vec::new(),
            reads: true,
            serves: true,
            has_eof: false,
        }
    }

    pub(super) fn ends(&self) -> Vec<End> {
        let ended = |event: &Event| if let Event::Ended(summary) = event { Some(summary.end) } else { None };
        self.events.iter().filter_map(ended).collect()
    }

    pub(super) fn count(&self, event: &Event) -> usize {
        self.events.iter().filter(|seen| *seen == event).count()
    }

    /// What the local program does, and what the machine wants; returns datagrams.
    fn act(&mut self, now: Instant) -> (Vec<Vec<u8>>, Instant) {
        let mut datagrams = Vec::new();
        loop {
            match self.machine.poll_output() {
                Output::Transmit(transmit) => datagrams.push(transmit.payload),
                Output::Event(event) => self.heed(event, now),
                Output::Timeout(_) if self.work(now) => {}
                Output::Timeout(at) => return (datagrams, at),
            }
        }
    }

    fn heed(&mut self, event: Event, now: Instant) {
        match &event {
            Event::Wanted if self.serves => self.machine.open(now),
            Event::Wanted => self.machine.refuse(now),
            Event::Began => self.got.clear(),
            Event::Ended(summary) => {
                self.got.extend(summary.rest.concat());
                self.to_send.clear();
                self.has_eof = false;
            }
            Event::Heard { .. }
            | Event::Pinhole { .. }
            | Event::Lost
            | Event::Busy
            | Event::Cut { .. }
            | Event::Ratio(_) => {}
        }
        self.events.push(event);
    }

    /// Hands bytes over in both directions; returns whether there were any.
    fn work(&mut self, now: Instant) -> bool {
        if self.reads
            && let Some(data) = self.machine.poll_data(now)
        {
            self.got.extend(data);
            return true;
        }
        let Some(size) = self.machine.wanted() else { return false };
        let size = size.min(self.to_send.len());
        let data: Vec<u8> = self.to_send.drain(..size).collect();
        if !data.is_empty() {
            self.machine.send(&data, now);
            return true;
        }
        if self.has_eof {
            self.machine.finish(now);
        }
        self.has_eof
    }
}

/// Decides about one datagram: true loses it. The first argument says whether it is ours.
type Filter = Box<dyn FnMut(bool, &[u8]) -> bool>;

/// The whole: ours, theirs, and what is under way.
pub(super) struct Link {
    pub(super) now: Instant,
    pub(super) began: Instant,
    pub(super) ours: Ours,
    pub(super) script: Script,
    pub(super) faults: Faults,
    pub(super) delay: Duration,
    pub(super) loses: Filter,
    pub(super) sent: [u64; 2],
    under_way: BTreeMap<(Instant, u64), (bool, Vec<u8>)>,
    chance: rand_chacha::ChaCha20Rng,
    counter: u64,
    steps: u64,
}

impl Link {
    #[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
    pub(super) fn new(role: Role, max_data: usize, seed: u64) -> Self {
        let now = Instant::now();
        Self {
            now,
            began: now,
            ours: Ours::new(role, max_data, now),
            script: Script::new(role.other(), max_data, now),
            faults: Faults::default(),
            delay: Duration::from_millis(10),
            loses: Box::new(|_, _| false),
            sent: [0, 0],
            under_way: BTreeMap::new(),
            chance: rand_chacha::ChaCha20Rng::seed_from_u64(seed),
            counter: 0,
            steps: 0,
        }
    }

    /// Opens the local TCP connections: a client at the open side; the script on the serve side has its service.
    pub(super) fn connect(&mut self) {
        self.script.accept();
        self.ours.machine.open(self.now);
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.began
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
        self.now = until;
    }

    /// Runs until that is so, which must happen in an hour.
    pub(super) fn run_until(&mut self, is_so: impl Fn(&Self) -> bool) {
        let until = self.now + Duration::from_secs(3600);
        while !is_so(self) {
            let goes_on = self.step(until);
            let state = (&self.ours.events, self.script.exit, self.ours.got.len(), self.script.got.len());
            assert!(goes_on, "it does not happen: {state:?}");
        }
    }

    /// Goes on to what happens next, if that is soon enough.
    fn step(&mut self, until: Instant) -> bool {
        let (datagrams, due) = self.ours.act(self.now);
        datagrams.into_iter().for_each(|datagram| self.carry(true, datagram));
        let (datagrams, their_due) = self.script.act(self.now);
        datagrams.into_iter().for_each(|datagram| self.carry(false, datagram));
        let arrival = self.under_way.first_key_value().map(|((at, _), _)| *at);
        let next = [arrival, Some(due), their_due].into_iter().flatten().min().expect("a heartbeat at least");
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        self.steps += 1;
        let dues =
            (self.now - self.began, arrival.is_some(), due - self.began, their_due.map(|at| at - self.began));
        assert!(self.steps < MAX_STEPS, "no progress: {dues:?}, {:?}", self.script.exit);
        if arrival == Some(next) {
            let (_, (is_ours, datagram)) = self.under_way.pop_first().expect("just seen");
            if is_ours {
                self.script.receive(datagram);
            } else {
                self.ours.machine.handle_datagram(THEIRS, &datagram, self.now);
            }
        }
        if due <= self.now {
            self.ours.machine.handle_timeout(self.now);
        }
        true
    }

    fn carry(&mut self, is_ours: bool, mut datagram: Vec<u8>) {
        self.sent[usize::from(!is_ours)] += 1;
        let faults = self.faults;
        let is_too_long = faults.longest > 0 && datagram.len() > faults.longest;
        if (self.loses)(is_ours, &datagram) || is_too_long || self.happens(faults.lose) {
            return;
        }
        if self.happens(faults.spoil) {
            let at = self.chance.next_u32() as usize % datagram.len();
            datagram[at] ^= 1 << (self.chance.next_u32() % 8);
        }
        let copies = if self.happens(faults.twice) { 2 } else { 1 };
        for _ in 0..copies {
            let late = if self.happens(faults.late) { 1 + self.chance.next_u32() % 60 } else { 0 };
            let at = self.now + self.delay + Duration::from_millis(u64::from(late));
            self.counter += 1;
            self.under_way.insert((at, self.counter), (is_ours, datagram.clone()));
        }
    }

    fn happens(&mut self, percent: u32) -> bool {
        percent > 0 && self.chance.next_u32() % 100 < percent
    }
}

/// Bytes without a period that a piece has.
pub(super) fn pattern(salt: u64, bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    rand_chacha::ChaCha20Rng::seed_from_u64(salt).fill_bytes(&mut data);
    data
}
