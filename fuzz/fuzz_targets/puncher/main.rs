//! The Puncher against a peer, a network and a system that do what they like: noise, probes with any fields under the
//! right key, answers to its own probes, recordings, ICMP that is true or forged, sockets that cannot be opened, and
//! clocks that run or jump.

#![no_main]

mod life;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::LazyLock,
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use pinhole_proto::{
    Key, Now, Puncher,
    key::Phrase,
    probe::{Class, Probe, ProbeSeal, classify},
    puncher::{Config, Event, Icmp, MAX_PEER_ADDRESSES, Output, Pair, Schedule, SocketId, Traffic, Transmit},
};

use self::{
    life::{AnyIcmpKind, Fields, Life, Offender, Op, Place, Quote, Socket, Way, Which},
    rules::{PORT, Rules},
};

/// Datagrams for one input: what the transmit queue holds.
const MAX_TRANSMITS: usize = 128;

/// Sockets opened or closed by one input: a fan goes and another comes, and the slots' with them.
const MAX_CHANGES: usize = 2 * (480 + 240 + 8);

/// Events of one input: each kind once.
const MAX_EVENTS: usize = 8;

/// Timeouts at one moment until the deadline is in the future: a round of a birthday each that a sleeping machine
/// has missed, with room to spare.
const MAX_CATCH_UP: usize = 32;

/// Timeouts in a second without any other input: the pace of groups, of pairs under test, and room to spare.
const MAX_WAKEUPS: usize = 800;

/// Longest life, in things that happen and in timeouts served. What matters fits in a few dozen.
const MAX_OPS: usize = 128;
const MAX_SERVED: usize = 96;

/// Timeouts that are served to the moment while time passes; then the machine is busy with other things, and the timer is
/// served as late as this share of the whole time.
const PUNCTUAL: usize = 12;
const COARSE: u32 = 8;

/// Datagrams of each way that are kept for answers: as far back as [`Which`] reaches.
const MAX_SENT: usize = 256;

/// Where nobody is but who records: each datagram comes from there too, right after the first time.
const ELSEWHERE: Pair = Pair {
    socket: SocketId::MAIN,
    remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 66)), 6666),
};

static KEY: LazyLock<Key> = LazyLock::new(|| Key::stretch(&Phrase::generate([1; 32])));
static SEAL: LazyLock<ProbeSeal> = LazyLock::new(|| ProbeSeal::transparent(&KEY));
static SCHEDULE: LazyLock<Schedule> = LazyLock::new(|| Schedule::new(&KEY));

fuzz_target!(|life: Life| {
    let mut bench = Bench::new(&life);
    bench.set_peer(&life.peer);
    bench.search();
    for op in life.ops.into_iter().take(MAX_OPS) {
        bench.run(op);
    }
});

/// A Puncher, its clocks, and the world around it.
struct Bench {
    puncher: Puncher,
    rules: Rules,
    now: Now,
    deadline: Option<Instant>,
    peer: Vec<SocketAddr>,
    /// The own address that it was told last.
    local: Option<IpAddr>,
    sequence: u64,
    heard: Vec<Vec<u8>>,
    traffic: Traffic,
    /// The last probes.
    sent: BTreeMap<Way, VecDeque<Transmit>>,
    opens_fail: bool,
    served: usize,
    /// When deadlines were served within the last second, since the last other input.
    wakeups: VecDeque<Instant>,
}

/// What came out after one input.
#[derive(Default)]
struct Drained {
    transmits: Vec<Transmit>,
    events: Vec<Event>,
    changes: usize,
}

impl Bench {
    fn new(life: &Life) -> Self {
        let instant = Instant::now() + Duration::from_secs(1000);
        let (role, limits) = (life.role.into(), life.limits.into());
        let last_success = life.last_success.map(Into::into);
        let config = Config::new(role, SEAL.clone(), SCHEDULE.clone(), [1; 32], PORT);
        let mut puncher = Puncher::new(Config { limits, last_success, ..config });
        let now = Now { instant, unix: Duration::from_secs(1_800_000_000) };
        puncher.set_local(life.local.map(Into::into), now);
        Self {
            puncher,
            rules: Rules::new(role, &SEAL, limits),
            now,
            deadline: None,
            peer: Vec::new(),
            local: life.local.map(Into::into),
            sequence: 0,
            heard: Vec::new(),
            traffic: Traffic::default(),
            sent: BTreeMap::new(),
            opens_fail: false,
            served: 0,
            wakeups: VecDeque::new(),
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Wait(ms) => self.pass(Duration::from_millis(ms.into())),
            Op::Sleep(s) => self.pass(Duration::from_secs(s.into())),
            Op::SleepLong(hours) => self.pass(Duration::from_hours(hours.into())),
            Op::Live(ms) => self.live(Duration::from_millis(ms.into())),
            Op::Due => self.wake(),
            Op::Timeout => self.timeout(),
            Op::Set(clock) => self.now.unix = clock.set(self.now.unix),
            Op::SetPeer(places) => self.set_peer(&places),
            Op::SetLocal(local) => {
                self.local = local.map(Into::into).or(self.local);
                self.input(|puncher, now| puncher.set_local(local.map(Into::into), now));
            }
            Op::Traffic { sent, received } => {
                self.traffic.sent += u64::from(sent);
                self.traffic.received += u64::from(received);
                let traffic = self.traffic;
                self.input(|puncher, now| puncher.handle_traffic(traffic, now));
            }
            Op::Search => self.search(),
            Op::Restart { times, gap_ms } => {
                for _ in 0..times {
                    self.search();
                    self.pass(Duration::from_millis(gap_ms.into()));
                }
            }
            Op::Leave => self.leave(),
            Op::Noise { place, first, length } => {
                self.receive(self.pair(place), vec![first; usize::from(length) % 2000]);
            }
            Op::Sealed(place, fields) => {
                let token = fields.token;
                let datagram = self.seal(fields, token, self.pair(place));
                self.receive(self.pair(place), datagram);
            }
            Op::Answer(which, fields) => {
                let Some(question) = self.nth_last(which) else { return };
                let (pair, token) = (question.pair, open(&question.payload).token);
                let datagram = self.seal(fields, token, pair);
                self.receive(pair, datagram);
            }
            Op::Recording(place, back) => {
                let Some(datagram) = self.heard.iter().rev().nth(back.into()).cloned() else { return };
                self.receive(self.pair(place), datagram);
            }
            Op::Echo(place, which) => {
                let Some(datagram) = self.nth_last(which).map(|t| t.payload.to_vec()) else { return };
                self.receive(self.pair(place), datagram);
            }
            Op::Icmp(which, kind, offender, quote) => {
                let Some(about) = self.nth_last(which).cloned() else { return };
                self.receive_icmp(about.pair, kind, offender, self.quote(quote, &about.payload));
            }
            Op::StrayIcmp(place, kind, offender, quote) => {
                self.receive_icmp(self.pair(place), kind, offender, self.quote(quote, &[]));
            }
            Op::OpenFails(fails) => self.opens_fail = fails,
            Op::OpenFailed(back) => self.fail_open(back),
            Op::SendRefused => {
                let drained = self.input(|puncher, now| puncher.handle_send_refused(now));
                assert!(drained.is_empty(), "a refused datagram moves it");
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.now.unix = self.now.unix.min(Duration::from_millis(u64::MAX));
    }

    fn live(&mut self, time: Duration) {
        let until = self.now.instant + time;
        for turn in 0.. {
            if self.served >= MAX_SERVED || self.deadline.is_none_or(|at| at > until) {
                break;
            }
            if turn >= PUNCTUAL {
                self.pass((time / COARSE).min(until.saturating_duration_since(self.now.instant)));
            }
            self.wake();
        }
        self.pass(until.saturating_duration_since(self.now.instant));
    }

    /// Sleeps until the deadline and serves it.
    fn wake(&mut self) {
        let Some(at) = self.deadline else { return };
        self.served += 1;
        self.pass(at.saturating_duration_since(self.now.instant));
        self.timeout();
        let second = self.now.instant - Duration::from_secs(1);
        self.wakeups.push_back(self.now.instant);
        while self.wakeups.front().is_some_and(|at| *at <= second) {
            self.wakeups.pop_front();
        }
        assert!(self.wakeups.len() <= MAX_WAKEUPS, "it hardly sleeps");
    }

    /// Lets the timer fire until it has nothing more to do now.
    fn timeout(&mut self) {
        for _ in 0..MAX_CATCH_UP {
            self.step(|puncher, now| puncher.handle_timeout(now));
            if self.deadline.is_none_or(|at| at > self.now.instant) {
                return;
            }
        }
        panic!("a timer that fires without end");
    }

    fn set_peer(&mut self, places: &[Place]) {
        self.peer = places.iter().map(|place| place.remote()).take(MAX_PEER_ADDRESSES).collect();
        self.rules.set_peer(&self.peer);
        let all: Vec<SocketAddr> = places.iter().map(|place| place.remote()).collect();
        self.input(|puncher, now| puncher.set_peer(&all, now));
    }

    fn search(&mut self) {
        self.rules.is_idle = false;
        self.input(|puncher, now| puncher.search(now));
    }

    fn leave(&mut self) {
        self.rules.is_idle = true;
        self.input(|puncher, now| puncher.leave(now));
        assert_eq!(self.deadline, None, "it has left and still waits for something");
    }

    fn receive(&mut self, pair: Pair, datagram: Vec<u8>) {
        let can_hear = !self.rules.is_idle && self.rules.is_open(pair.socket);
        let word = self.rules.note_datagram(pair, &datagram);
        let before = self.puncher.dropped();
        let drained = self.input(|puncher, now| puncher.handle_datagram(pair, &datagram, now));
        let after = self.puncher.dropped();
        let is_dropped = (after.unopened, after.replayed, after.useless)
            != (before.unopened, before.replayed, before.useless);
        if word.is_none() || is_dropped {
            assert!(drained.transmits.is_empty() && drained.changes == 0, "an answer to what was dropped");
        }
        assert!(can_hear || drained.is_empty(), "it hears with closed ears");
        if can_hear {
            // One that comes at once cannot be told from the original: an ack and a test at the most.
            let worth = self.rules.note_copy(ELSEWHERE, word.as_ref());
            let copied = self.input(|puncher, now| puncher.handle_datagram(ELSEWHERE, &datagram, now));
            let there = copied.transmits.iter().filter(|sent| sent.pair == ELSEWHERE).count();
            assert!(there <= worth && (worth > 0 || copied.transmits.is_empty()), "a copy gets too much");
        }
        self.heard.push(datagram);
    }

    fn receive_icmp(&mut self, pair: Pair, kind: AnyIcmpKind, offender: Offender, quoted: Vec<u8>) {
        let icmp = Icmp { pair, kind: kind.into(), offender: offender.ip(&self.peer), quoted: &quoted };
        let drained = self.input(|puncher, now| puncher.handle_icmp(&icmp, now));
        assert!(drained.is_empty(), "whoever forges ICMP gets something back");
        // Nobody of this world has a socket on this machine.
        if self.puncher.doubts_peer(&icmp) {
            assert!(
                self.local == Some(icmp.pair.remote.ip()),
                "another machine's ports are no business of ours"
            );
            self.input(|puncher, now| puncher.handle_closed(now));
        }
    }

    fn fail_open(&mut self, back: u8) {
        let socket = self.rules.nth_last_socket(back).unwrap_or(SocketId(back.into()));
        if self.rules.may_fail(socket) {
            self.rules.forget(socket);
            let drained = self.input(|puncher, _| puncher.handle_open_failed(socket));
            assert!(drained.is_empty(), "a socket that is not opened moves it");
        }
    }

    /// Anything but a timeout.
    fn input(&mut self, act: impl FnOnce(&mut Puncher, Now)) -> Drained {
        self.wakeups.clear();
        self.step(act)
    }

    /// Lets the Puncher do one thing, carries out all that it wants, and checks it.
    fn step(&mut self, act: impl FnOnce(&mut Puncher, Now)) -> Drained {
        act(&mut self.puncher, self.now);
        let mut drained = Drained::default();
        let mut failed = BTreeSet::new();
        loop {
            match self.puncher.poll_output() {
                Output::Transmit(transmit) => {
                    let socket = transmit.pair.socket;
                    let is_open = self.rules.is_open(socket) || failed.contains(&socket);
                    assert!(is_open, "a datagram leaves by a closed socket: {:?}", transmit.pair);
                    self.keep(&transmit);
                    drained.transmits.push(transmit);
                }
                Output::Open { socket, port } => {
                    self.rules.check_open(socket, port);
                    drained.changes += 1;
                    if self.opens_fail {
                        self.rules.forget(socket);
                        failed.insert(socket);
                        self.puncher.handle_open_failed(socket);
                    }
                }
                Output::Close(socket) => {
                    if !failed.contains(&socket) {
                        self.rules.check_close(socket);
                    }
                    drained.changes += 1;
                }
                Output::Event(event) => {
                    self.rules.check_event(&event);
                    drained.events.push(event);
                }
                Output::Timeout(at) => break self.deadline = at,
            }
            drained.check_bounds();
        }
        self.check_state();
        drained
    }

    fn keep(&mut self, transmit: &Transmit) {
        self.rules.check_transmit(transmit, self.now.instant);
        let way = match transmit.ttl {
            _ if classify(&transmit.payload) != Class::Probe => return,
            _ if transmit.pair.socket != SocketId::MAIN => Way::Aside,
            Some(_) => Way::Low,
            None => Way::Main,
        };
        let sent = self.sent.entry(way).or_default();
        sent.push_back(transmit.clone());
        if sent.len() > MAX_SENT {
            sent.pop_front();
        }
    }

    fn check_state(&self) {
        if let Some(pair) = self.puncher.connected_pair() {
            self.rules.check_connected(pair);
        }
        if let Some(search_report) = self.puncher.search_report(self.now) {
            assert!(self.deadline.is_some(), "a search that waits for nothing");
            assert!(!search_report.cause().name().is_empty());
        }
    }

    fn pair(&self, place: Place) -> Pair {
        let socket = match place.socket {
            Socket::Main => SocketId::MAIN,
            Socket::Open(back) => self.rules.nth_last_socket(back).unwrap_or(SocketId::MAIN),
            Socket::Any(number) => SocketId(number.into()),
        };
        Pair { socket, remote: place.remote() }
    }

    fn nth_last(&self, which: Which) -> Option<&Transmit> {
        self.sent.get(&which.way)?.iter().rev().nth(which.back.into())
    }

    fn quote(&self, quote: Quote, about: &[u8]) -> Vec<u8> {
        let (from, length) = match quote {
            Quote::True(length) => (about.to_vec(), length),
            Quote::Other(which, length) => {
                (self.nth_last(which).map_or(Vec::new(), |t| t.payload.to_vec()), length)
            }
            Quote::Filler(byte, length) => (vec![byte; length.into()], length),
        };
        from.into_iter().take(length.into()).collect()
    }

    /// A choice that says nothing else is that of the pair that it comes over.
    fn seal(&mut self, fields: Fields, token: u64, over: Pair) -> Vec<u8> {
        let now_ms = u64::try_from(self.now.unix.as_millis()).unwrap_or(u64::MAX);
        let probe = Probe {
            kind: fields.kind.into(),
            role: fields.role.into(),
            nominate: fields.nominate,
            heard: fields.heard,
            direct: fields.direct,
            tunnel: fields.tunnel,
            epoch: fields.epoch,
            instance: fields.instance.into(),
            sequence: fields.sequence.unwrap_or(self.sequence),
            unix_ms: fields.unix_ms.unwrap_or(now_ms),
            token,
            observed: fields.observed.or(fields.nominate.then_some(over.remote)),
        };
        self.sequence += 1;
        SEAL.seal(&probe, [9; 24]).to_vec()
    }
}

impl Drained {
    fn is_empty(&self) -> bool {
        self.transmits.is_empty() && self.events.is_empty() && self.changes == 0
    }

    fn check_bounds(&self) {
        assert!(self.transmits.len() <= MAX_TRANSMITS, "too many datagrams for one input");
        assert!(self.changes <= MAX_CHANGES, "too many sockets for one input");
        assert!(self.events.len() <= MAX_EVENTS, "too many events: {:?}", self.events);
    }
}

fn open(payload: &[u8]) -> Probe {
    SEAL.open(payload).expect("it seals with its own key")
}
