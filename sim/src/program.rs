//! One run of the program on one host: its session, sockets, and QUIC.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::OnceLock,
    time::{Duration, Instant},
};

use natlab::{Delivery, IcmpError, Network, Place, Side, chance::Chance};
use noq_proto::{Event as QuicEvent, Incoming, PathId, VarInt};
use pinhole_proto::{
    Key, Now, Role, Session,
    key::Phrase,
    probe::{Class, ProbeSeal, classify},
    puncher::{self, Connected, Icmp, IcmpKind, LastSuccess, Pair, Schedule, Traffic},
    session::{Config, ConnectionHandle, Event, HandshakeError, Output, TunnelEnd, Vitals},
};
use pinhole_quic::{CloseReason, Credentials, PathEstimate, Shared, tunnel_end};

use super::{
    app::{App, TunnelId},
    mux::{Mux, PORT},
    quic::Quic,
};

/// What the library says when a connection is dropped.
const DROPPED: u32 = 0;

/// Time that the name server takes.
const LOOKUP: Duration = Duration::from_millis(50);

/// Says what became of a tunnel.
#[derive(Debug, Clone)]
pub(super) enum Report {
    Up(TunnelId),
    Down(TunnelId, Option<TunnelEnd>),
    Event(Event),
}

/// What lives in one process.
pub(super) struct Program {
    side: Side,
    role: Role,
    pub(super) session: Session,
    pub(super) mux: Mux,
    pub(super) quic: Quic,
    shared: Shared,
    /// QUIC's own numbers of the session's connections.
    connections: BTreeMap<ConnectionHandle, usize>,
    pub(super) tunnel: Option<(usize, TunnelId)>,
    pub(super) app: App,
    pub(super) reports: Vec<Report>,
    pub(super) last_success: Option<LastSuccess>,
    surroundings: Surroundings,
    /// When the name server answers.
    resolved_at: Option<Instant>,
    session_at: Option<Instant>,
    /// Probes that left, and calls of the session's timeout.
    pub(super) probes: Rate,
    pub(super) wakes: Rate,
    /// Probes in all, those answers included.
    pub(super) probe_count: u64,
}

/// What a machine's programs can find out of it and of the world.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    /// What the peer's name means.
    pub(super) peer: Vec<Ipv4Addr>,
    /// Whether there is a network.
    pub(super) is_online: bool,
}

impl Surroundings {
    fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = self.peer.iter().map(|ip| SocketAddr::from((*ip, PORT))).collect();
        addresses.sort_unstable();
        addresses
    }
}

impl Program {
    pub(super) fn start(
        side: Side,
        patience: Duration,
        last_success: Option<LastSuccess>,
        surroundings: Surroundings,
        now: Now,
        chance: &mut Chance,
        network: &mut Network,
    ) -> Self {
        let role = [Role::Serve, Role::Open][side.index()];
        let (seal, schedule) = secrets();
        let puncher = puncher::Config::new(role, seal, schedule, seed(chance), PORT);
        let puncher = puncher::Config { last_success, ..puncher };
        let addresses = surroundings.addresses();
        let session = Session::new(Config { puncher, addresses, is_named: true, patience }, now);
        let ids = std::array::from_fn(|at| self::seed(chance)[at]);
        let shared = Shared::new(Credentials::new(key(), ids).expect("TLS takes it"));
        let mut program = Self {
            side,
            role,
            session,
            mux: Mux::bind(Place::Host(side), network),
            quic: Quic::new(&shared, self::seed(chance)),
            shared,
            connections: BTreeMap::new(),
            tunnel: None,
            app: App::new(side, role),
            reports: Vec::new(),
            last_success,
            surroundings,
            resolved_at: None,
            session_at: None,
            probes: Rate::default(),
            wakes: Rate::default(),
            probe_count: 0,
        };
        program.locate(now, network);
        program.session.start(now);
        program.settle(now, network);
        program
    }

    pub(super) fn handle_datagram(&mut self, delivery: &Delivery, now: Now, network: &mut Network) {
        let Some(socket) = self.mux.socket_at(delivery.port) else { return };
        let pair = Pair { socket, remote: delivery.from.into() };
        match classify(&delivery.payload) {
            Class::Quic if self.mux.is_proven(pair) => {
                if let Some(incoming) = self.quic.handle_datagram(&delivery.payload, now.instant) {
                    self.handle_incoming(incoming, now);
                }
            }
            Class::Probe | Class::OldScript => {
                self.tell_vitals(now);
                self.session.handle_datagram(pair, &delivery.payload, now);
            }
            Class::Quic | Class::Other => {}
        }
        self.settle(now, network);
    }

    pub(super) fn handle_icmp(&mut self, error: &IcmpError, now: Now, network: &mut Network) {
        let Some(socket) = self.mux.socket_at(error.port) else { return };
        if self.session.connected_pair().is_some() || !self.mux.wants_icmp(socket) {
            return;
        }
        let kind = match error.kind {
            natlab::IcmpKind::TtlExceeded => IcmpKind::TtlExceeded,
            natlab::IcmpKind::PortUnreachable => IcmpKind::PortUnreachable,
            natlab::IcmpKind::AdminProhibited => IcmpKind::Prohibited,
        };
        let pair = Pair { socket, remote: error.remote.into() };
        let offender = IpAddr::V4(error.offender);
        self.tell_vitals(now);
        self.session.handle_icmp(&Icmp { pair, kind, offender, quoted: &error.quoted }, now);
        self.settle(now, network);
    }

    /// The world is another one; the kernel tells when an own address has come or gone.
    pub(super) fn handle_change(
        &mut self,
        surroundings: Surroundings,
        is_own: bool,
        now: Now,
        network: &mut Network,
    ) {
        self.surroundings = surroundings;
        if is_own {
            self.tell_vitals(now);
            self.locate(now, network);
            self.session.handle_network_change(now);
            self.settle(now, network);
        }
    }

    /// Does what has become due.
    pub(super) fn handle_timeout(&mut self, now: Now, network: &mut Network) {
        self.quic.handle_timeout(now.instant);
        if self.resolved_at.take_if(|at| *at <= now.instant).is_some() {
            self.tell_vitals(now);
            let found = self.surroundings.is_online.then(|| self.surroundings.addresses());
            self.session.handle_resolved(found, now);
            self.locate(now, network);
        }
        if self.session_at.is_some_and(|at| at <= now.instant) {
            self.wakes.note(now.instant);
            self.tell_vitals(now);
            if self.session.connected_pair().is_some() {
                self.locate(now, network);
            }
            self.session.handle_timeout(now);
        }
        self.settle(now, network);
    }

    /// Has more to say to the peer.
    pub(super) fn say(&mut self, bytes: u64, now: Now, network: &mut Network) {
        self.app.say(bytes, self.tunnel.is_some());
        self.settle(now, network);
    }

    /// Says goodbye, as at Ctrl-C.
    pub(super) fn leave(&mut self, now: Now, network: &mut Network) {
        self.session.leave(now);
        if let Some((handle, _)) = self.tunnel {
            self.quic.close(handle, CloseReason::Leaving.code().into(), now.instant);
        }
        self.settle(now, network);
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        [self.session_at, self.resolved_at, self.quic.deadline()].into_iter().flatten().min()
    }

    /// Whether a path and a tunnel stand.
    pub(super) fn is_up(&self) -> bool {
        self.session.connected_pair().is_some() && self.tunnel.is_some()
    }

    /// Carries out what all parts want, until none wants anything more.
    fn settle(&mut self, now: Now, network: &mut Network) {
        while self.drain_session(now, network) | self.drive_quic(now, network) {}
    }

    /// Carries out what the session wants; true if QUIC may want something now.
    fn drain_session(&mut self, now: Now, network: &mut Network) -> bool {
        let mut concerns_quic = false;
        loop {
            let output = self.session.poll_output(now);
            if let Output::Timeout(at) = output {
                self.session_at = at;
                return concerns_quic;
            }
            concerns_quic |= !matches!(output, Output::Transmit(_) | Output::Open { .. } | Output::Close(_));
            self.carry_out(output, now, network);
        }
    }

    fn carry_out(&mut self, output: Output, now: Now, network: &mut Network) {
        match output {
            Output::Transmit(transmit) => {
                self.probe_count += 1;
                self.probes.note(now.instant);
                self.mux.send(transmit.pair, transmit.ttl, transmit.payload.to_vec(), network);
            }
            Output::Open { socket, port } => {
                if !self.mux.open(socket, port, network) {
                    self.session.handle_open_failed(socket);
                }
            }
            Output::Close(socket) => self.mux.close(socket, network),
            Output::Locate => self.locate(now, network),
            Output::LookUp => self.resolved_at = Some(now.instant + LOOKUP),
            Output::SetWithoutOffload(_) | Output::Timeout(_) => {}
            Output::Admit(over) => {
                if self.role == Role::Serve {
                    self.quic.answer(self.shared.server(over.instances, path_estimate(over)));
                }
                self.mux.admit(over.pair, network);
                self.last_success =
                    Some(LastSuccess { method: over.method, peer_port: over.pair.remote.port() });
            }
            Output::Dial { connection, over } => {
                let handle =
                    self.quic.dial(self.shared.client(over.instances, path_estimate(over)), now.instant);
                self.connections.insert(connection, handle);
            }
            Output::Abandon(connection) => {
                if let Some(handle) = self.connections.remove(&connection) {
                    self.quic.close(handle, VarInt::from_u32(DROPPED), now.instant);
                }
            }
            Output::End { connection, end } => {
                self.connections.remove(&connection);
                if let Some((handle, id)) = self.tunnel.take() {
                    self.quic.close(handle, CloseReason::Replaced.code().into(), now.instant);
                    self.reports.push(Report::Down(id, end));
                }
            }
            Output::ResetController => self.shared.feedback.count_path(),
            Output::Wake => self.quic.handle_network_change(now.instant),
            Output::Rekey => {
                if let Some(connection) = self.tunnel.and_then(|(handle, _)| self.quic.get(handle)) {
                    connection.force_key_update();
                }
            }
            Output::Event(Event::TunnelUp { connection, .. }) => self.handle_up(connection),
            Output::Event(event) => self.reports.push(Report::Event(event)),
        }
    }

    fn handle_up(&mut self, connection: ConnectionHandle) {
        let handle = self.connections[&connection];
        let mut exported = [0; 8];
        let quic = self.quic.get(handle).expect("it has just told");
        let crypto = quic.crypto_session();
        crypto.export_keying_material(&mut exported, b"tunnel", b"").expect("after the handshake");
        let id = TunnelId::from_le_bytes(exported);
        self.tunnel = Some((handle, id));
        self.app.start(id);
        self.reports.push(Report::Up(id));
    }

    fn handle_incoming(&mut self, incoming: Incoming, now: Now) {
        self.tell_vitals(now);
        let first_id = incoming.orig_dst_cid();
        let Some(connection) = self.session.handle_handshake(&first_id, now) else {
            return self.quic.ignore(incoming);
        };
        match self.quic.accept(incoming, now.instant) {
            Some(handle) => {
                self.connections.insert(connection, handle);
            }
            None => self.session.handle_handshake_failed(connection, HandshakeError::Ended, now),
        }
    }

    fn handle_quic(&mut self, handle: usize, event: &QuicEvent, now: Now) {
        let named = self.connections.iter().find(|(_, other)| **other == handle);
        let Some(connection) = named.map(|(connection, _)| *connection) else { return };
        self.tell_vitals(now);
        match event {
            QuicEvent::Connected => self.session.handle_established(connection, now),
            QuicEvent::ConnectionLost { reason } if self.session.tunnel() == Some(connection) => {
                self.session.handle_ended(connection, tunnel_end(reason), now);
            }
            QuicEvent::ConnectionLost { .. } => {
                self.connections.remove(&connection);
                self.session.handle_handshake_failed(connection, HandshakeError::Ended, now);
            }
            QuicEvent::HandshakeDataReady
            | QuicEvent::HandshakeConfirmed
            | QuicEvent::Stream(_)
            | QuicEvent::DatagramReceived
            | QuicEvent::DatagramsUnblocked
            | QuicEvent::Path(_)
            | QuicEvent::NatTraversal(_) => {}
        }
    }

    fn tell_vitals(&mut self, now: Now) {
        let tunnel = self.tunnel.and_then(|(handle, _)| self.quic.get(handle));
        let rtt = tunnel.and_then(|connection| connection.rtt(PathId::ZERO));
        let traffic = Traffic { sent: self.mux.sent, received: self.shared.opened.count() };
        let acknowledged = self.shared.feedback.acknowledged();
        self.session.handle_vitals(Vitals { traffic, acknowledged, rtt }, now);
    }

    fn locate(&mut self, now: Now, network: &Network) {
        let own = network.ip(Place::Host(self.side)).into();
        self.session.set_local(self.surroundings.is_online.then_some(own), None, now);
    }

    /// Lets QUIC and what uses it go on; true if anything has happened.
    fn drive_quic(&mut self, now: Now, network: &mut Network) -> bool {
        let mut has_moved = false;
        if let Some((handle, _)) = self.tunnel
            && let Some(connection) = self.quic.get(handle)
            && !connection.is_closed()
        {
            has_moved = self.app.drive(connection);
        }
        let (leaving, events) = self.quic.drive(now.instant);
        has_moved |= !leaving.is_empty() || !events.is_empty();
        for datagram in leaving {
            self.mux.send_quic(datagram, network);
            if self.session.awaits_traffic() {
                self.tell_vitals(now);
            }
        }
        for (handle, event) in events {
            self.handle_quic(handle, &event, now);
        }
        has_moved
    }
}

fn path_estimate(over: Connected) -> PathEstimate {
    PathEstimate { rtt: over.rtt, largest_datagram: None }
}

/// Counts what happens within a second.
#[derive(Debug, Default)]
pub(super) struct Rate {
    recent: VecDeque<Instant>,
    pub(super) peak: usize,
}

impl Rate {
    fn note(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|at| *at + Duration::from_secs(1) <= now) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.peak = self.peak.max(self.recent.len());
    }
}

/// Stretching a phrase takes its time: once is enough.
pub(super) fn key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| Key::stretch(&Phrase::generate([1; 32])))
}

fn secrets() -> (ProbeSeal, Schedule) {
    (ProbeSeal::new(key()), Schedule::new(key()))
}

fn seed(chance: &mut Chance) -> [u8; 32] {
    let mut seed = [0; 32];
    seed.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&chance.next_u64().to_le_bytes()));
    seed
}
