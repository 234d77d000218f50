//! What a Puncher may do, after all that it was told and has heard.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use pinhole_proto::{
    Role,
    probe::{Kind, Probe, ProbeSeal},
    puncher::{Event, Limits, Pair, SocketId, Transmit},
};

/// How long a mapping counts after its last packet: what RFC 4787 §4.3 recommends.
const MAPPING_LIFE: Duration = Duration::from_secs(300);

/// The main socket's port.
pub(crate) const PORT: u16 = 5555;

/// Sockets at a time: a fan of 480 and 240 later ones, the slots', and one that is in use.
const MAX_SOCKETS: usize = 480 + 240 + 8;

/// A probe from an address that nothing is known of is worth so many datagrams: an ack and a test.
const WORTH: usize = 2;

pub(crate) struct Rules {
    role: Role,
    seal: &'static ProbeSeal,
    limits: Limits,
    /// Neither searching nor connected: nothing may leave but goodbyes.
    pub(crate) is_idle: bool,
    peer: BTreeSet<IpAddr>,
    /// Open ones and their ports, the main one apart.
    ports: BTreeMap<SocketId, u16>,
    /// The same in the order of their opening; some may be closed by now.
    opened: Vec<SocketId>,
    /// Those that a datagram came to: they cannot fail to open any more.
    heard_on: BTreeSet<SocketId>,
    /// When the datagrams of the last second left.
    second: VecDeque<Instant>,
    /// When each mapping was last used: our port, and an address.
    mappings: BTreeMap<(u16, SocketAddr), Instant>,
    /// What may still leave to pairs that only a probe named.
    worth: BTreeMap<Pair, usize>,
    /// The tokens that were sent to test each pair.
    tests: BTreeMap<Pair, BTreeSet<u64>>,
    /// Pairs over which a token came back.
    proven: BTreeSet<Pair>,
}

impl Rules {
    pub(crate) fn new(role: Role, seal: &'static ProbeSeal, limits: Limits) -> Self {
        let least = Limits::LEAST;
        Self {
            role,
            seal,
            limits: Limits {
                mappings: limits.mappings.max(least.mappings),
                packets_per_second: limits.packets_per_second.max(least.packets_per_second),
            },
            is_idle: true,
            peer: BTreeSet::new(),
            ports: BTreeMap::new(),
            opened: Vec::new(),
            heard_on: BTreeSet::new(),
            second: VecDeque::new(),
            mappings: BTreeMap::new(),
            worth: BTreeMap::new(),
            tests: BTreeMap::new(),
            proven: BTreeSet::new(),
        }
    }

    pub(crate) fn set_peer(&mut self, addresses: &[SocketAddr]) {
        self.peer = addresses.iter().map(SocketAddr::ip).collect();
    }

    /// Takes note of a datagram; returns its content if it is a word of the peer that can be heard.
    pub(crate) fn note_datagram(&mut self, pair: Pair, datagram: &[u8]) -> Option<Probe> {
        if self.is_idle || !self.is_open(pair.socket) {
            return None;
        }
        self.heard_on.insert(pair.socket);
        let probe = self.seal.open(datagram).ok().filter(|probe| probe.role != self.role)?;
        match probe.kind {
            Kind::Probe => *self.worth.entry(pair).or_default() += WORTH,
            Kind::Ack if self.is_proof(pair, &probe) => drop(self.proven.insert(pair)),
            Kind::Ack | Kind::Bye | Kind::Displaced => {}
        }
        Some(probe)
    }

    /// Takes note of a copy of a word of the peer's; returns how many datagrams it is worth.
    pub(crate) fn note_copy(&mut self, pair: Pair, word: Option<&Probe>) -> usize {
        let worth = if word.is_some_and(|word| word.kind == Kind::Probe) { WORTH } else { 0 };
        *self.worth.entry(pair).or_default() += worth;
        worth
    }

    pub(crate) fn is_open(&self, socket: SocketId) -> bool {
        self.port(socket).is_some()
    }

    /// Returns an open socket, counted back.
    pub(crate) fn nth_last_socket(&self, back: u8) -> Option<SocketId> {
        self.opened.iter().rev().filter(|socket| self.is_open(**socket)).nth(back.into()).copied()
    }

    /// Whether a socket can still turn out not to have been opened.
    pub(crate) fn may_fail(&self, socket: SocketId) -> bool {
        socket != SocketId::MAIN && !self.heard_on.contains(&socket)
    }

    pub(crate) fn is_known(&self, ip: IpAddr) -> bool {
        self.peer.contains(&ip)
    }

    pub(crate) fn check_open(&mut self, socket: SocketId, port: u16) {
        assert!(!self.is_idle, "a socket is opened for nothing");
        assert!(!self.is_open(socket), "{socket:?} is open already");
        self.ports.insert(socket, port);
        self.opened.push(socket);
        self.heard_on.remove(&socket);
        assert!(self.ports.len() <= MAX_SOCKETS, "too many sockets");
    }

    pub(crate) fn check_close(&mut self, socket: SocketId) {
        assert!(socket != SocketId::MAIN && self.is_open(socket), "{socket:?} is closed, but was not open");
        self.forget(socket);
    }

    pub(crate) fn forget(&mut self, socket: SocketId) {
        self.ports.remove(&socket);
    }

    /// Checks a datagram that leaves.
    pub(crate) fn check_transmit(&mut self, transmit: &Transmit, now: Instant) {
        let pair = transmit.pair;
        assert!(transmit.ttl != Some(0), "no hop at all");
        self.check_pace(now);
        self.check_mappings(pair, now);
        self.check_remote(pair);
        let probe = self.seal.open(&transmit.payload).expect("it seals with its own key");
        assert_eq!(probe.role, self.role);
        let is_bye = probe.kind == Kind::Bye;
        assert!(is_bye || !self.is_idle, "it has left, and sends {probe:?}");
        assert!(!is_bye || self.proven.contains(&pair), "a goodbye to nobody");
        if probe.kind == Kind::Probe {
            self.tests.entry(pair).or_default().insert(probe.token);
        }
    }

    pub(crate) fn check_event(&self, event: &Event) {
        assert!(!self.is_idle, "news after the goodbye: {event:?}");
        if let Event::Connected(connected) = event {
            self.check_connected(connected.pair);
        }
    }

    pub(crate) fn check_connected(&self, pair: Pair) {
        assert!(self.proven.contains(&pair), "connected without proof");
        assert!(self.is_open(pair.socket), "connected over a closed socket");
    }

    /// Whether an ack echoes what was sent over that pair.
    fn is_proof(&self, pair: Pair, ack: &Probe) -> bool {
        self.tests.get(&pair).is_some_and(|tokens| tokens.contains(&ack.token))
    }

    fn port(&self, socket: SocketId) -> Option<u16> {
        self.ports.get(&socket).copied().or((socket == SocketId::MAIN).then_some(PORT))
    }

    fn check_pace(&mut self, now: Instant) {
        self.second.push_back(now);
        while self.second.front().is_some_and(|at| *at + Duration::from_secs(1) <= now) {
            self.second.pop_front();
        }
        let (count, bound) = (self.second.len(), usize::from(self.limits.packets_per_second));
        assert!(count <= bound, "{count} datagrams in a second");
    }

    fn check_mappings(&mut self, pair: Pair, now: Instant) {
        let Some(port) = self.port(pair.socket) else { return };
        self.mappings.insert((port, pair.remote), now);
        let bound = usize::from(self.limits.mappings);
        if self.mappings.len() > bound {
            self.mappings.retain(|_, used| now < *used + MAPPING_LIFE);
        }
        let count = self.mappings.len();
        assert!(count <= bound, "{count} mappings at a time");
    }

    /// A pair at the peer's IP is fine, and one that is proven; whoever else has sent a probe gets what it is worth.
    fn check_remote(&mut self, pair: Pair) {
        if self.is_known(pair.remote.ip()) || self.proven.contains(&pair) {
            return;
        }
        let worth = self.worth.get_mut(&pair);
        let worth = worth.unwrap_or_else(|| panic!("a stranger gets an answer: {pair:?}"));
        *worth = worth.checked_sub(1).unwrap_or_else(|| panic!("too much for {pair:?}"));
    }
}
