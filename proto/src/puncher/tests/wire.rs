//! Two machines, a delay between them, and a virtual clock: no NAT.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, OnceLock},
};

use super::super::*;
use crate::key;

static SCHEDULE: OnceLock<Schedule> = OnceLock::new();

pub(super) const SERVE: usize = 0;
pub(super) const OPEN: usize = 1;
pub(super) const SERVE_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 4)), 5555);
pub(super) const OPEN_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9)), 5555);

/// Where the two sides are on a network that both are on.
pub(super) const SECOND_ADDRESSES: [SocketAddr; 2] = [
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 4)), 5555),
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9)), 5555),
];

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub(super) fn puncher(role: Role, name: &str, seed: u8) -> Puncher {
    static SEALS: Mutex<BTreeMap<String, ProbeSeal>> = Mutex::new(BTreeMap::new()); // stretching takes its time
    let mut seals = SEALS.lock().expect("no test panics here");
    let seal = seals.entry(name.to_owned()).or_insert_with(|| ProbeSeal::new(&key::of_test(name)));
    let schedule = SCHEDULE.get_or_init(|| Schedule::new(&key::of_test("slots"))).clone();
    Puncher::new(Config::new(role, seal.clone(), schedule, [seed; 32], 5555))
}

/// Two machines, a delay between them, and a virtual clock.
pub(super) struct Wire {
    pub(super) sides: [Puncher; 2],
    pub(super) now: Now,
    pub(super) began: Now,
    pub(super) delay: Duration,
    /// The open side's address and what its NAT makes of it.
    pub(super) translate: Option<(SocketAddr, SocketAddr)>,
    /// The side whose packets get lost.
    pub(super) block: Option<usize>,
    /// A state of chance, and the percentage that gets lost.
    pub(super) lose: Option<(u64, u64)>,
    pub(super) skew: [Duration; 2],
    /// Whose arriving datagrams somebody copies: the copy comes first, over that pair; where that is not the main socket's,
    /// over the socket opened last. What is sent to 192.0.2.66 reaches the open side in the serve side's name.
    pub(super) copier: [Option<Pair>; 2],
    /// The same, but the copy comes a moment after the original.
    pub(super) late_copier: [Option<Pair>; 2],
    /// Whether somebody hands on what is sent to the open side's inside address though its NAT shows another one.
    pub(super) hands_on: bool,
    /// Whether the copier hands on the acks that his copies get, and nothing else. He knows them by their order: an ack leaves
    /// before the test.
    pub(super) hands_on_acks_alone: bool,
    /// How many copies of each datagram to the serve side come, each from a port of the peer's IP that nobody has used; some of
    /// them before it.
    pub(super) swarm: u16,
    /// The last port of those.
    pub(super) swarm_port: u16,
    /// The socket that each side has opened last and not closed.
    pub(super) opened: [Option<SocketId>; 2],
    /// The delay between the two sides' second addresses, if they have some.
    pub(super) second: Option<Duration>,
    pub(super) under_way: BTreeMap<(Instant, u64), (usize, SocketAddr, Vec<u8>)>,
    pub(super) sent: [u64; 2],
    /// What was sent elsewhere, or not meant to arrive.
    pub(super) tries: [u64; 2],
    pub(super) recorded: Vec<(usize, Vec<u8>)>,
    pub(super) targets: Vec<SocketAddr>,
    pub(super) events: [Vec<Event>; 2],
    pub(super) deadlines: [Option<Instant>; 2],
}

impl Wire {
    pub(super) fn new(delay: Duration) -> Self {
        Self::with_seeds(delay, [1, 2])
    }

    #[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
    pub(super) fn with_seeds(delay: Duration, seeds: [u8; 2]) -> Self {
        let began = Now {
            instant: Instant::now() + Duration::from_secs(1000),
            unix: Duration::from_secs(1_800_000_000),
        };
        Self {
            sides: [puncher(Role::Serve, "key", seeds[0]), puncher(Role::Open, "key", seeds[1])],
            now: began,
            began,
            delay,
            translate: None,
            block: None,
            lose: None,
            skew: Default::default(),
            copier: [None; 2],
            late_copier: [None; 2],
            hands_on: false,
            hands_on_acks_alone: false,
            swarm: 0,
            swarm_port: 1024,
            opened: [None; 2],
            second: None,
            under_way: BTreeMap::new(),
            sent: [0; 2],
            tries: [0; 2],
            recorded: Vec::new(),
            targets: Vec::new(),
            events: Default::default(),
            deadlines: [None; 2],
        }
    }

    pub(super) fn start_both(&mut self) {
        self.start(SERVE);
        self.start(OPEN);
    }

    pub(super) fn start(&mut self, side: usize) {
        let peer = [OPEN_ADDRESS, SERVE_ADDRESS][side];
        let now = self.clock(side);
        self.sides[side].set_peer(&[peer], now);
        self.command(side, Puncher::search);
    }

    pub(super) fn command(&mut self, side: usize, command: fn(&mut Puncher, Now)) {
        let now = self.clock(side);
        command(&mut self.sides[side], now);
        self.drain(side);
    }

    pub(super) fn inject(&mut self, side: usize, from: SocketAddr, payload: &[u8]) {
        self.inject_over(side, Pair { socket: SocketId::MAIN, remote: from }, payload);
    }

    pub(super) fn inject_over(&mut self, side: usize, pair: Pair, payload: &[u8]) {
        let now = self.clock(side);
        self.sides[side].handle_datagram(pair, payload, now);
        self.drain(side);
    }

    fn inject_copy(&mut self, side: usize, over: Pair, payload: &[u8]) {
        let opened = if over.socket == SocketId::MAIN { Some(SocketId::MAIN) } else { self.opened[side] };
        if let Some(socket) = opened {
            self.inject_over(side, Pair { socket, ..over }, payload);
        }
    }

    fn inject_swarm(&mut self, side: usize, from: SocketAddr, copies: u16, payload: &[u8]) {
        for _ in 0..if side == SERVE { copies } else { 0 } {
            self.swarm_port = self.swarm_port.checked_add(1).unwrap_or(1024);
            self.inject(side, SocketAddr::new(from.ip(), self.swarm_port), payload);
        }
    }

    pub(super) fn drain(&mut self, side: usize) {
        for _ in 0..10_000 {
            match self.sides[side].poll_output() {
                Output::Transmit(transmit) => self.carry(side, transmit),
                Output::Event(event) => self.events[side].push(event),
                Output::Open { socket, .. } => self.opened[side] = Some(socket),
                Output::Close(socket) => {
                    self.opened[side] = self.opened[side].filter(|opened| *opened != socket);
                }
                Output::Timeout(at) => return self.deadlines[side] = at,
            }
        }
        panic!("the machine never comes to rest");
    }

    /// Carries what goes from main port to main port; there is nobody at the others.
    pub(super) fn carry(&mut self, side: usize, transmit: Transmit) {
        let outside = self.translate.map(|(_, outside)| outside);
        let is_second = self.second.is_some() && SECOND_ADDRESSES.contains(&transmit.pair.remote);
        let known =
            [Some(SERVE_ADDRESS), Some(OPEN_ADDRESS), outside, is_second.then_some(transmit.pair.remote)];
        let is_main = transmit.pair.socket == SocketId::MAIN && known.contains(&Some(transmit.pair.remote));
        if transmit.ttl.is_some()
            || !(is_main || transmit.pair.remote.ip() == address("192.0.2.66:9999").ip())
        {
            self.tries[side] += 1;
            return;
        }
        self.sent[side] += 1;
        self.recorded.push((side, transmit.payload.to_vec()));
        self.targets.push(transmit.pair.remote);
        if self.block == Some(side) || self.is_lost() {
            return;
        }
        let is_copiers = transmit.pair.remote.ip() == address("192.0.2.66:9999").ip();
        let is_ack = |seal: &ProbeSeal| seal.open(&transmit.payload).is_ok_and(|p| p.kind == Kind::Ack);
        if self.hands_on_acks_alone && is_copiers && !is_ack(&self.sides[side].seal) {
            return;
        }
        let mut from = [SERVE_ADDRESS, OPEN_ADDRESS][side];
        let mut to = transmit.pair.remote;
        if let Some((inside, outside)) = self.translate {
            if from == inside {
                from = outside;
            }
            if to == outside {
                to = inside;
            } else if to == inside && !self.hands_on {
                return;
            }
        }
        let receiver = if [SERVE_ADDRESS, SECOND_ADDRESSES[SERVE]].contains(&to) { SERVE } else { OPEN };
        let mut delay = self.delay;
        if let Some(second) = self.second.filter(|_| is_second) {
            (from, delay) = (SECOND_ADDRESSES[side], second);
        }
        let key = (self.now.instant + delay, self.sent[0] + self.sent[1]);
        self.under_way.insert(key, (receiver, from, transmit.payload.to_vec()));
    }

    pub(super) fn is_lost(&mut self) -> bool {
        let Some((state, percent)) = &mut self.lose else { return false };
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % 100 < *percent
    }

    pub(super) fn step(&mut self, until: Instant) -> bool {
        let arrival = self.under_way.keys().next().map(|(at, _)| *at);
        let Some(next) =
            self.deadlines.into_iter().flatten().chain(arrival).min().filter(|next| *next <= until)
        else {
            let rest = until - self.now.instant;
            self.now = self.now.after(rest);
            return false;
        };
        self.now = self.now.after(next - self.now.instant);
        if arrival == Some(next) {
            let ((_, _), (side, from, payload)) = self.under_way.pop_first().expect("an arrival");
            let first = self.swarm.min(3);
            self.inject_swarm(side, from, first, &payload);
            self.copier[side].into_iter().for_each(|over| self.inject_copy(side, over, &payload));
            self.inject(side, from, &payload);
            self.late_copier[side].into_iter().for_each(|over| self.inject_copy(side, over, &payload));
            self.inject_swarm(side, from, self.swarm - first, &payload);
        } else {
            let side = usize::from(self.deadlines[SERVE] != Some(next));
            self.command(side, Puncher::handle_timeout);
        }
        true
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let until = self.now.instant + time;
        while self.step(until) {}
    }

    pub(super) fn run_until_connected(&mut self) {
        let until = self.now.instant + Duration::from_secs(60);
        let both = |w: &Self| w.events.iter().all(|e| e.iter().any(|e| matches!(e, Event::Connected(_))));
        while !both(self) {
            assert!(self.step(until), "not connected: {:?}", self.events);
        }
    }

    pub(super) fn sent_to(&self, remote: &str) -> usize {
        self.targets.iter().filter(|target| **target == address(remote)).count()
    }

    pub(super) fn connected(&self, side: usize) -> Connected {
        let found =
            self.events[side].iter().find_map(|e| if let Event::Connected(c) = e { Some(*c) } else { None });
        found.expect("connected")
    }

    pub(super) fn troubles(&self, side: usize) -> impl Iterator<Item = Trouble> {
        self.events[side].iter().filter_map(|e| if let Event::Trouble(t) = e { Some(*t) } else { None })
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now.instant - self.began.instant
    }

    pub(super) fn clock(&self, side: usize) -> Now {
        Now { unix: self.now.unix + self.skew[side], ..self.now }
    }
}
