//! The transmit queue: datagrams sealed and numbered, sockets to open and to close, events, all in one order.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand_core::{Rng, SeedableRng};

use super::{
    Event, Limits, Output, Pair, SocketId, Transmit,
    budget::{Budget, Purpose},
    tokens::Tokens,
};
use crate::{
    Now, Role,
    probe::{Kind, Probe, ProbeSeal},
};

/// Datagrams that wait to be polled; more than this many at once are dropped.
const MAX_TRANSMITS: usize = 128;

/// Datagrams whose quotes are known: those of the last second at full pace.
const MAX_RECENT: usize = 512;

/// A probe to be sent, before it is sealed: what it says, and how it travels.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutgoingProbe {
    pub(super) pair: Pair,
    pub(super) kind: Kind,
    pub(super) token: u64,
    pub(super) nominate: bool,
    /// No NAT stands before us on this pair.
    pub(super) direct: bool,
    /// In a nominating probe: this side's address over that pair, as the peer has told it.
    pub(super) chosen: Option<SocketAddr>,
    pub(super) ttl: Option<u8>,
}

impl OutgoingProbe {
    /// A probe that tests a pair, or opens a NAT.
    pub(super) fn new(pair: Pair, token: u64) -> Self {
        Self { pair, kind: Kind::Probe, token, nominate: false, direct: false, chosen: None, ttl: None }
    }
}

/// Seals what is to be sent, within the bounds, and queues it until it is polled.
#[derive(Debug)]
pub(super) struct TransmitQueue {
    role: Role,
    seal: ProbeSeal,
    rng: rand_chacha::ChaCha20Rng,
    tokens: Tokens,
    pub(super) instance: u64,
    /// Counts our searches.
    pub(super) epoch: u32,
    /// Whether a tunnel to the peer stands.
    pub(super) has_tunnel: bool,
    /// Where the peer was last heard in this search.
    pub(super) heard_from: Option<SocketAddr>,
    sequence: u64,
    budget: Budget,
    /// The open sockets and their ports, the main one included.
    sockets: BTreeMap<SocketId, u16>,
    last_socket: SocketId,
    /// The nonces of the last datagrams.
    recent: VecDeque<[u8; 24]>,
    /// The last birthday's epoch, and when it was last used.
    pub(super) dealt: Option<(u64, Instant)>,
    queue: VecDeque<Output>,
    /// Datagrams in the queue.
    waiting: usize,
    unsent: u64,
}

impl TransmitQueue {
    pub(super) fn new(role: Role, seal: ProbeSeal, seed: [u8; 32], port: u16, budget: Budget) -> Self {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed(seed);
        let instance = rng.next_u64();
        let mut key = [0; 16];
        rng.fill_bytes(&mut key);
        Self {
            role,
            seal,
            rng,
            tokens: Tokens::new(&key),
            instance,
            epoch: 0,
            has_tunnel: false,
            heard_from: None,
            sequence: 0,
            budget,
            sockets: BTreeMap::from([(SocketId::MAIN, port)]),
            last_socket: SocketId::MAIN,
            recent: VecDeque::new(),
            dealt: None,
            queue: VecDeque::new(),
            waiting: 0,
            unsent: 0,
        }
    }

    /// Seals a probe and queues it, unless that would break a bound. Returns its nonce, by which a router's quote of
    /// it is known.
    pub(super) fn send(&mut self, outgoing: &OutgoingProbe, purpose: Purpose, now: Now) -> Option<[u8; 24]> {
        if !self.admit(outgoing.pair, purpose, now.instant) {
            return None;
        }
        let probe = Probe {
            kind: outgoing.kind,
            role: self.role,
            nominate: outgoing.nominate,
            heard: self.heard_from.is_some(),
            direct: outgoing.direct,
            tunnel: self.has_tunnel,
            epoch: self.epoch,
            instance: self.instance,
            sequence: self.sequence,
            unix_ms: now.unix_ms(),
            token: outgoing.token,
            observed: match outgoing.kind {
                Kind::Probe => outgoing.chosen.or(self.heard_from),
                Kind::Ack | Kind::Bye | Kind::Displaced => Some(outgoing.pair.remote),
            },
        };
        self.sequence += 1;
        let mut drawn = [0; 24];
        self.rng.fill_bytes(&mut drawn);
        let nonce = self.seal.nonce(&probe, drawn);
        let payload = self.seal.seal(&probe, nonce);
        self.queue.push_back(Output::Transmit(Transmit { pair: outgoing.pair, ttl: outgoing.ttl, payload }));
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(nonce);
        Some(nonce)
    }

    /// Whether a quote is of a datagram that we sent a moment ago: nobody else can have it who is not on the way.
    pub(super) fn is_ours(&self, quoted: &[u8]) -> bool {
        quoted.get(1..25).is_some_and(|nonce| self.recent.iter().any(|ours| ours == nonce))
    }

    /// Records the own address toward the peer.
    pub(super) fn set_own(&mut self, own: IpAddr) {
        self.budget.set_own(own);
    }

    /// Whether a probe of a fan or a sweep from that port would find room for its mapping.
    pub(super) fn has_room(&mut self, port: u16, remote: SocketAddr, now: Instant) -> bool {
        self.budget.has_room((port, remote), Purpose::Search, now)
    }

    /// Has attempts leave that many mappings free from now on.
    pub(super) fn keep_free(&mut self, mappings: usize) {
        self.budget.keep_free(mappings);
    }

    /// Returns how many mappings toward that IP an attempt may have.
    pub(super) fn room(&mut self, toward: IpAddr, now: Instant) -> usize {
        self.budget.room(toward, now)
    }

    fn admit(&mut self, pair: Pair, purpose: Purpose, now: Instant) -> bool {
        let port = self.port(pair.socket);
        let is_admitted = self.waiting < MAX_TRANSMITS
            && port.is_some_and(|port| self.budget.admit((port, pair.remote), purpose, now));
        if is_admitted {
            self.waiting += 1;
        } else {
            self.unsent += 1;
        }
        is_admitted
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.queue.push_back(Output::Event(event));
    }

    /// Opens a socket on that port.
    pub(super) fn open(&mut self, port: u16) -> SocketId {
        let mut socket = SocketId(self.last_socket.0.wrapping_add(1));
        while self.sockets.contains_key(&socket) {
            socket = SocketId(socket.0.wrapping_add(1));
        }
        self.last_socket = socket;
        self.sockets.insert(socket, port);
        self.queue.push_back(Output::Open { socket, port });
        socket
    }

    /// Closes a socket, if it is open and not the main one.
    pub(super) fn close(&mut self, socket: SocketId) {
        if socket != SocketId::MAIN && self.sockets.remove(&socket).is_some() {
            self.queue.push_back(Output::Close(socket));
        }
    }

    /// Closes all sockets but the main one and that one.
    pub(super) fn close_all_but(&mut self, kept: Option<SocketId>) {
        for socket in self.sockets.keys().copied().collect::<Vec<_>>() {
            if Some(socket) != kept {
                self.close(socket);
            }
        }
    }

    /// Records that a socket could not be opened.
    pub(super) fn forget(&mut self, socket: SocketId) {
        if socket != SocketId::MAIN {
            self.sockets.remove(&socket);
        }
    }

    /// Returns the local port of a socket, if it is open.
    pub(super) fn port(&self, socket: SocketId) -> Option<u16> {
        self.sockets.get(&socket).copied()
    }

    pub(super) fn is_open(&self, socket: SocketId) -> bool {
        self.sockets.contains_key(&socket)
    }

    /// Makes a token for what is answered by whoever remembers it.
    pub(super) fn random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Makes the token of a test over that pair.
    pub(super) fn token(&mut self, pair: Pair, now: Instant) -> u64 {
        self.tokens.make(pair, now)
    }

    /// Returns how long ago a test with that token left over that pair; `None` if none has.
    pub(super) fn age(&self, pair: Pair, token: u64, now: Instant) -> Option<Duration> {
        self.tokens.age(pair, token, now)
    }

    pub(super) fn limits(&self) -> Limits {
        self.budget.limits()
    }

    /// When the pace lets another probe of a fan or a sweep leave.
    pub(super) fn ready_at(&mut self, now: Instant) -> Instant {
        self.budget.ready_at(Purpose::Search, now)
    }

    /// Returns the datagrams that were not sent because a bound forbade it, or nobody polled.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        let output = self.queue.pop_front()?;
        if matches!(output, Output::Transmit(_)) {
            self.waiting -= 1;
        }
        Some(output)
    }
}
