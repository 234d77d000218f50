//! The Puncher against a peer and a network that do what they like: noise, probes with any fields under the right
//! key, answers to its own probes, recordings, and clocks that run or jump.

#![no_main]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::LazyLock,
    time::{Duration, Instant},
};

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use pinhole_proto::{
    Key, Now, Puncher, Role,
    probe::{Kind, PROBE_BYTES, Probe, ProbeSeal},
    puncher::{Config, Event, Output, Pair, SocketId, Transmit},
};

/// Datagrams for one input: an ack, and a test of each pair. A new search tests the configured pairs once more.
const MAX_TRANSMITS: usize = 64;

/// Datagrams back to the pair that an input came from: an ack and a test, or a test and a nomination.
const MAX_ANSWERS: usize = 2;

/// Events of one input: each kind once.
const MAX_EVENTS: usize = 8;

/// Longest life, in steps. What matters fits in a few dozen.
const MAX_STEPS: usize = 512;

/// Where nobody is but who records: each datagram comes from there too, right after the first time.
const ELSEWHERE: Pair = Pair {
    socket: SocketId::MAIN,
    remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 66)), 6666),
};

static SEAL: LazyLock<ProbeSeal> =
    LazyLock::new(|| ProbeSeal::new(&Key::stretch(&"one key".parse().expect("a phrase"))));

fuzz_target!(|life: Life| {
    let mut bench = Bench::new(life.role.into());
    bench.set_peer(&life.peer);
    bench.step(|puncher, now| puncher.search(now));
    for op in life.ops.into_iter().take(MAX_STEPS) {
        bench.run(op);
    }
});

#[derive(Debug, Arbitrary)]
struct Life<'a> {
    role: AnyRole,
    peer: Vec<Place>,
    ops: Vec<Op<'a>>,
}

/// One thing that happens. Another variant here shifts the meaning of the seeds: make them anew.
#[derive(Debug, Arbitrary)]
enum Op<'a> {
    /// Time passes, ms.
    Wait(u16),
    /// Much time passes, s.
    Sleep(u16),
    /// The deadline comes.
    Due,
    /// The timer fires for nothing.
    Timeout,
    /// The wall clock jumps, to this many ms since 1970.
    Jump(u64),
    SetPeer(Vec<Place>),
    Search,
    Leave,
    /// Any datagram.
    Noise(Place, &'a [u8]),
    /// Noise with the length and the first bits of a probe, of some version.
    Lookalike(Place, u8),
    /// A sealed probe with any fields.
    Sealed(Place, Fields),
    /// The answer to one of the last datagrams sent, counted back, over the same pair.
    Answer(u8, Fields),
    /// A datagram that was heard before, counted back, from somewhere.
    Recording(Place, u8),
    /// A datagram of its own comes back, counted back, from somewhere.
    Echo(Place, u8),
}

/// A pair out of a few: the same ones should come again.
#[derive(Debug, Clone, Copy, Arbitrary)]
struct Place {
    socket: u8,
    host: u8,
    port: u8,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Fields {
    kind: AnyKind,
    role: AnyRole,
    nominate: bool,
    epoch: u32,
    instance: u8,
    /// None for the next number.
    sequence: Option<u64>,
    /// None for now.
    unix_ms: Option<u64>,
    /// Not used in an answer.
    token: u64,
    observed: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum AnyRole {
    Serve,
    Open,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum AnyKind {
    Probe,
    Ack,
    Bye,
}

/// A Puncher, its clocks, and what it may do after all that it has heard.
struct Bench {
    role: Role,
    puncher: Puncher,
    now: Now,
    deadline: Option<Instant>,
    sequence: u64,
    heard: Vec<Vec<u8>>,
    sent: Vec<Transmit>,
    /// Where it may send to: what the user named, and where a probe of the peer came from.
    allowed: BTreeSet<Pair>,
    /// Tokens sent over each pair.
    tokens: BTreeMap<Pair, BTreeSet<u64>>,
    /// Pairs over which a token came back.
    proven: BTreeSet<Pair>,
}

/// What came out after one input.
#[derive(Default)]
struct Drained {
    transmits: Vec<Transmit>,
    events: Vec<Event>,
}

impl Bench {
    fn new(role: Role) -> Self {
        let instant = Instant::now() + Duration::from_secs(1000);
        Self {
            role,
            puncher: Puncher::new(Config { role, seal: SEAL.clone(), seed: [1; 32] }),
            now: Now { instant, unix: Duration::from_secs(1_800_000_000) },
            deadline: None,
            sequence: 0,
            heard: Vec::new(),
            sent: Vec::new(),
            allowed: BTreeSet::new(),
            tokens: BTreeMap::new(),
            proven: BTreeSet::new(),
        }
    }

    fn run(&mut self, op: Op<'_>) {
        match op {
            Op::Wait(ms) => self.now = self.now.after(Duration::from_millis(ms.into())),
            Op::Sleep(s) => self.now = self.now.after(Duration::from_secs(s.into())),
            Op::Due => {
                let rest = self.deadline.map(|at| at.saturating_duration_since(self.now.instant));
                self.now = self.now.after(rest.unwrap_or_default());
                self.timeout();
            }
            Op::Timeout => self.timeout(),
            Op::Jump(unix_ms) => self.now.unix = Duration::from_millis(unix_ms),
            Op::SetPeer(places) => self.set_peer(&places),
            Op::Search => drop(self.step(|puncher, now| puncher.search(now))),
            Op::Leave => {
                self.step(|puncher, now| puncher.leave(now));
                assert_eq!(self.deadline, None, "it has left and still waits for something");
            }
            Op::Noise(place, bytes) => self.receive(place.pair(), bytes.to_vec()),
            Op::Lookalike(place, version) => {
                self.receive(place.pair(), vec![0b1000_0000 | version & 0b0011_1111; PROBE_BYTES]);
            }
            Op::Sealed(place, fields) => {
                let datagram = self.seal(fields, fields.token);
                self.receive(place.pair(), datagram);
            }
            Op::Answer(back, fields) => {
                let Some(question) = nth_last(&self.sent, back) else { return };
                let (pair, token) = (question.pair, open(&question.payload).token);
                let datagram = self.seal(fields, token);
                self.receive(pair, datagram);
            }
            Op::Recording(place, back) => {
                let Some(datagram) = nth_last(&self.heard, back).cloned() else { return };
                self.receive(place.pair(), datagram);
            }
            Op::Echo(place, back) => {
                let Some(datagram) = nth_last(&self.sent, back).map(|t| t.payload.to_vec()) else { return };
                self.receive(place.pair(), datagram);
            }
        }
    }

    fn set_peer(&mut self, places: &[Place]) {
        let addresses: Vec<SocketAddr> = places.iter().map(|place| place.pair().remote).collect();
        self.allowed.extend(addresses.iter().map(|remote| Pair { socket: SocketId::MAIN, remote: *remote }));
        self.step(|puncher, now| puncher.set_peer(&addresses, now));
    }

    fn timeout(&mut self) {
        self.step(|puncher, now| puncher.handle_timeout(now));
        assert!(self.deadline.is_none_or(|at| at > self.now.instant), "a timer that fires without end");
    }

    fn receive(&mut self, pair: Pair, datagram: Vec<u8>) {
        let opened = SEAL.open(&datagram).ok().filter(|probe| probe.role != self.role);
        match opened {
            Some(probe) if probe.kind == Kind::Probe => drop(self.allowed.insert(pair)),
            Some(probe) if probe.kind == Kind::Ack && self.was_sent(pair, probe.token) => {
                self.proven.insert(pair);
            }
            Some(_) | None => {}
        }
        let before = self.puncher.dropped();
        let drained = self.step(|puncher, now| puncher.handle_datagram(pair, &datagram, now));
        if opened.is_none() || self.puncher.dropped() != before {
            assert!(drained.transmits.is_empty(), "an answer to what was dropped");
        }
        let answers = drained.transmits.iter().filter(|t| t.pair == pair).count();
        assert!(answers <= MAX_ANSWERS, "{answers} answers to one datagram");
        let recorded = self.step(|puncher, now| puncher.handle_datagram(ELSEWHERE, &datagram, now));
        assert!(recorded.transmits.is_empty(), "a recording gets an answer");
        self.heard.push(datagram);
    }

    /// Lets the Puncher do one thing, polls it empty, and checks what comes out.
    fn step(&mut self, act: impl FnOnce(&mut Puncher, Now)) -> Drained {
        act(&mut self.puncher, self.now);
        let mut drained = Drained::default();
        loop {
            match self.puncher.poll_output() {
                Output::Transmit(transmit) => drained.transmits.push(transmit),
                Output::Event(event) => drained.events.push(event),
                Output::Timeout(at) => break self.deadline = at,
            }
            assert!(drained.transmits.len() <= MAX_TRANSMITS, "too many datagrams for one input");
            assert!(drained.events.len() <= MAX_EVENTS, "too many events: {:?}", drained.events);
        }
        drained.transmits.iter().for_each(|transmit| self.check_transmit(transmit));
        drained.events.iter().for_each(|event| self.check_event(event));
        let connected = self.puncher.connected_pair();
        assert!(connected.is_none_or(|pair| self.proven.contains(&pair)), "connected without proof");
        self.sent.extend_from_slice(&drained.transmits);
        drained
    }

    fn check_transmit(&mut self, transmit: &Transmit) {
        assert!(self.allowed.contains(&transmit.pair), "a stranger gets an answer: {:?}", transmit.pair);
        let probe = open(&transmit.payload);
        assert_eq!(probe.role, self.role);
        if probe.kind == Kind::Probe {
            self.tokens.entry(transmit.pair).or_default().insert(probe.token);
        }
    }

    fn check_event(&self, event: &Event) {
        if let Event::Connected(connected) = event {
            assert!(self.proven.contains(&connected.pair), "connected without proof");
        }
    }

    fn was_sent(&self, pair: Pair, token: u64) -> bool {
        self.tokens.get(&pair).is_some_and(|tokens| tokens.contains(&token))
    }

    fn seal(&mut self, fields: Fields, token: u64) -> Vec<u8> {
        let now_ms = u64::try_from(self.now.unix.as_millis()).unwrap_or(u64::MAX);
        let probe = Probe {
            kind: fields.kind.into(),
            role: fields.role.into(),
            nominate: fields.nominate,
            epoch: fields.epoch,
            instance: fields.instance.into(),
            sequence: fields.sequence.unwrap_or(self.sequence),
            unix_ms: fields.unix_ms.unwrap_or(now_ms),
            token,
            observed: fields.observed,
        };
        self.sequence += 1;
        SEAL.seal(&probe, [9; 24]).to_vec()
    }
}

impl Place {
    fn pair(self) -> Pair {
        let last = self.host % 4;
        let port = 1000 + u16::from(self.port);
        let remote = if self.host & 4 == 0 {
            SocketAddr::from(([192, 0, 2, last], port))
        } else {
            SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()], port))
        };
        Pair { socket: SocketId(u16::from(self.socket % 3)), remote }
    }
}

impl From<AnyRole> for Role {
    fn from(role: AnyRole) -> Self {
        match role {
            AnyRole::Serve => Self::Serve,
            AnyRole::Open => Self::Open,
        }
    }
}

impl From<AnyKind> for Kind {
    fn from(kind: AnyKind) -> Self {
        match kind {
            AnyKind::Probe => Self::Probe,
            AnyKind::Ack => Self::Ack,
            AnyKind::Bye => Self::Bye,
        }
    }
}

fn open(payload: &[u8]) -> Probe {
    SEAL.open(payload).expect("it seals with its own key")
}

fn nth_last<T>(list: &[T], back: u8) -> Option<&T> {
    list.iter().rev().nth(back.into())
}
