//! One run of the program: a Puncher, the Hub, QUIC, and the supervisor, on one host.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::OnceLock,
    time::{Duration, Instant},
};

use natlab::{Delivery, IcmpError, Network, Place, Side, chance::Chance, public_ip};
use pinhole_proto::{
    Key, Now, Puncher, Role,
    key::Phrase,
    probe::{Class, ProbeSeal, classify},
    puncher::{Config, Event, Icmp, IcmpKind, Limits, Memory, Output, Pair, Schedule, Traffic},
};

use super::{
    app::App,
    hub::{Hub, PORT},
    quic::Quic,
    supervisor::{self, Report, Supervisor},
    tunnel::{credentials::Credentials, transport::Shared},
};

/// What lives in one process.
pub(super) struct Program {
    side: Side,
    pub(super) role: Role,
    pub(super) puncher: Puncher,
    pub(super) hub: Hub,
    pub(super) quic: Quic,
    pub(super) shared: Shared,
    pub(super) supervisor: Supervisor,
    pub(super) app: App,
    pub(super) reports: Vec<Report>,
    pub(super) memory: Option<Memory>,
    puncher_at: Option<Instant>,
    /// Probes that left, and calls of the Puncher's timeout.
    pub(super) probes: Rate,
    pub(super) wakes: Rate,
    /// Probes in all, those answers included.
    pub(super) probe_count: u64,
}

impl Program {
    pub(super) fn start(
        side: Side,
        patience: Duration,
        memory: Option<Memory>,
        now: Now,
        chance: &mut Chance,
        network: &mut Network,
    ) -> Self {
        let role = [Role::Serve, Role::Open][side.index()];
        let (seal, schedule) = secrets();
        let limits = Limits::DEFAULT;
        let seed = seed(chance);
        let puncher =
            Puncher::new(Config { role, seal, schedule, seed, port: PORT, limits, memory, sibling: None });
        let ids = std::array::from_fn(|at| self::seed(chance)[at]);
        let shared = Shared::new(Credentials::new(key(), ids).expect("TLS takes it"));
        let mut program = Self {
            side,
            role,
            puncher,
            hub: Hub::bind(Place::Host(side), network),
            quic: Quic::new(&shared, self::seed(chance)),
            shared,
            supervisor: Supervisor::new(patience),
            app: App::new(side, role),
            reports: Vec::new(),
            memory,
            puncher_at: None,
            probes: Rate::default(),
            wakes: Rate::default(),
            probe_count: 0,
        };
        program.puncher.set_peer(&[SocketAddr::from((public_ip(side.other()), PORT))], now);
        program.tell_local(now, network);
        program.puncher.search(now);
        program.settle(now, network);
        program
    }

    pub(super) fn handle_datagram(&mut self, delivery: &Delivery, now: Now, network: &mut Network) {
        let Some(socket) = self.hub.socket_at(delivery.port) else { return };
        let pair = Pair { socket, remote: delivery.from.into() };
        match classify(&delivery.payload) {
            Class::Quic if self.hub.is_proven(pair) => {
                if let Some(incoming) = self.quic.handle_datagram(&delivery.payload, now.instant) {
                    self.handle_incoming(incoming, now.instant);
                }
            }
            Class::Probe | Class::OldScript => {
                self.puncher.handle_traffic(self.traffic(), now);
                self.puncher.handle_datagram(pair, &delivery.payload, now);
            }
            Class::Quic | Class::Other => {}
        }
        self.settle(now, network);
    }

    fn traffic(&self) -> Traffic {
        Traffic { sent: self.hub.sent, received: self.shared.opened.count() }
    }

    pub(super) fn handle_icmp(&mut self, error: &IcmpError, now: Now, network: &mut Network) {
        let Some(socket) = self.hub.socket_at(error.port) else { return };
        if self.puncher.connected_pair().is_some() || !self.hub.heeds_icmp(socket) {
            return;
        }
        let kind = match error.kind {
            natlab::IcmpKind::TtlExceeded => IcmpKind::TtlExceeded,
            natlab::IcmpKind::PortUnreachable => IcmpKind::PortUnreachable,
            natlab::IcmpKind::AdminProhibited => IcmpKind::Prohibited,
        };
        let pair = Pair { socket, remote: error.remote.into() };
        let offender = IpAddr::V4(error.offender);
        self.puncher.handle_icmp(&Icmp { pair, kind, offender, quoted: &error.quoted }, now);
        self.settle(now, network);
    }

    /// What the name server tells.
    pub(super) fn handle_resolved(&mut self, peer: Ipv4Addr, now: Now, network: &mut Network) {
        self.puncher.handle_traffic(self.traffic(), now);
        self.puncher.set_peer(&[SocketAddr::from((peer, PORT))], now);
        self.settle(now, network);
    }

    /// What the kernel tells when an address has changed.
    pub(super) fn handle_network_change(&mut self, now: Now, network: &mut Network) {
        self.puncher.handle_traffic(self.traffic(), now);
        self.tell_local(now, network);
        self.puncher.handle_network_change(now);
        self.settle(now, network);
    }

    /// Does what has become due.
    pub(super) fn handle_timeout(&mut self, now: Now, network: &mut Network) {
        if self.puncher_at.is_some_and(|at| at <= now.instant) {
            self.wakes.note(now.instant);
            self.puncher.handle_traffic(self.traffic(), now);
            self.puncher.handle_timeout(now);
        }
        self.quic.handle_timeout(now.instant);
        self.handle_supervision(now);
        self.settle(now, network);
    }

    /// Has more to say to the peer.
    pub(super) fn say(&mut self, bytes: u64, now: Now, network: &mut Network) {
        self.app.say(bytes, self.supervisor.tunnel.is_some());
        self.settle(now, network);
    }

    /// Says goodbye, as at Ctrl-C.
    pub(super) fn leave(&mut self, now: Now, network: &mut Network) {
        self.puncher.leave(now);
        if let Some((handle, _)) = self.supervisor.tunnel {
            self.quic.close(handle, supervisor::LEAVING, now.instant);
        }
        self.settle(now, network);
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        [self.puncher_at, self.quic.deadline(), self.supervisor.deadline()].into_iter().flatten().min()
    }

    /// Whether a path and a tunnel stand.
    pub(super) fn is_up(&self) -> bool {
        self.supervisor.punched.is_some() && self.supervisor.tunnel.is_some()
    }

    /// Carries out what all parts want, until none wants anything more.
    fn settle(&mut self, now: Now, network: &mut Network) {
        while self.drain_puncher(now, network) | self.drive_quic(now, network) {}
    }

    /// Carries out what the Puncher wants; true if it has told something.
    fn drain_puncher(&mut self, now: Now, network: &mut Network) -> bool {
        let mut has_told = false;
        loop {
            match self.puncher.poll_output() {
                Output::Transmit(transmit) => {
                    self.probe_count += 1;
                    self.probes.note(now.instant);
                    self.hub.send(transmit.pair, transmit.ttl, transmit.payload.to_vec(), network);
                }
                Output::Open { socket, port } => {
                    if !self.hub.open(socket, port, network) {
                        self.puncher.handle_open_failed(socket);
                    }
                }
                Output::Close(socket) => self.hub.close(socket, network),
                Output::Event(event) => {
                    has_told = true;
                    self.handle_event(event, now, network);
                }
                Output::Timeout(at) => {
                    self.puncher_at = at;
                    return has_told;
                }
            }
        }
    }

    fn handle_event(&mut self, event: Event, now: Now, network: &mut Network) {
        match &event {
            Event::PathLost(_)
            | Event::PeerSearching
            | Event::PeerRestarted
            | Event::PeerLeft
            | Event::Displaced => {
                self.tell_local(now, network);
            }
            Event::Connected(connected) => {
                let peer_port = connected.pair.remote.port();
                self.memory = Some(Memory { method: connected.method, peer_port });
            }
            Event::Heard { .. } | Event::PeerGone | Event::Trouble(_) => {}
        }
        self.handle_punch(event, now, network);
    }

    fn tell_local(&mut self, now: Now, network: &Network) {
        self.puncher.set_local(Some(network.ip(Place::Host(self.side)).into()), now);
    }

    /// Lets QUIC and what uses it go on; true if anything has happened.
    fn drive_quic(&mut self, now: Now, network: &mut Network) -> bool {
        let mut has_moved = false;
        if let Some((handle, _)) = self.supervisor.tunnel
            && let Some(connection) = self.quic.get(handle)
            && !connection.is_closed()
        {
            has_moved = self.app.drive(connection);
        }
        let (leaving, events) = self.quic.drive(now.instant);
        has_moved |= !leaving.is_empty() || !events.is_empty();
        for datagram in leaving {
            self.hub.send_quic(datagram, network);
            if self.puncher.awaits_traffic() {
                self.puncher.handle_traffic(self.traffic(), now);
            }
        }
        for (handle, event) in events {
            self.handle_quic(handle, event, now);
        }
        has_moved
    }
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
