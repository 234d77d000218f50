//! One side of a punch: its program, its sockets and its clock.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::OnceLock,
    time::{Duration, Instant},
};

use pinhole_proto::{
    Key, Now, Puncher, Role,
    key::Phrase,
    probe::ProbeSeal,
    puncher::{Config, Event, Limits, Method, Output, Schedule, SocketId, Traffic, Transmit},
};

use super::{PORT, Punch, Restart};
use crate::{Network, Place, Side, addresses::public_ip, chance::Chance};

/// TTL of a packet that is to arrive.
const FULL_TTL: u8 = 64;

pub(super) struct Host {
    pub(super) puncher: Puncher,
    pub(super) place: Place,
    side: Side,
    start: Instant,
    began: Instant,
    pub(super) is_started: bool,
    pub(super) restart: Option<Restart>,
    /// Whether it knows the other side by a name.
    has_name: bool,
    pub(super) traffic: Traffic,
    /// Its wall clock at the beginning.
    unix_ms: u64,
    ports: BTreeMap<SocketId, u16>,
    sockets: BTreeMap<u16, SocketId>,
    deadline: Option<Instant>,
    pub(super) sent_at: Vec<Instant>,
    pub(super) connected: Option<(Instant, Method)>,
}

impl Host {
    pub(super) fn new(
        punch: &Punch,
        side: Side,
        began: Instant,
        chance: &mut Chance,
        network: &Network,
    ) -> Host {
        let index = side.index();
        let mut host = Host {
            puncher: puncher(side, punch.limits, chance),
            place: Place::Host(side),
            side,
            start: began + punch.starts[index],
            began,
            is_started: false,
            restart: punch.restarts[index],
            has_name: punch.names[index],
            traffic: Traffic::default(),
            unix_ms: punch.unix_ms.saturating_add_signed(punch.ahead_ms[index]),
            ports: BTreeMap::from([(SocketId::MAIN, PORT)]),
            sockets: BTreeMap::from([(PORT, SocketId::MAIN)]),
            deadline: None,
            sent_at: Vec::new(),
            connected: None,
        };
        host.introduce(host.clock(began, began), network);
        host
    }

    /// Tells a new puncher who the peer is and where it is itself.
    fn introduce(&mut self, now: Now, network: &Network) {
        let peer = SocketAddr::from((public_ip(self.side.other()), PORT));
        self.puncher.set_local(Some(network.ip(self.place).into()), now);
        let set = if self.has_name { Puncher::set_resolved } else { Puncher::set_peer };
        set(&mut self.puncher, &[peer], now);
    }

    /// Ends the program, its sockets with it, and starts it anew.
    pub(super) fn restart(
        &mut self,
        restart: Restart,
        now: Now,
        limits: Limits,
        chance: &mut Chance,
        network: &mut Network,
    ) {
        if restart.says_goodbye {
            self.puncher.leave(now);
            self.drain(now.instant, network);
        }
        let further: Vec<SocketId> = self.ports.keys().copied().filter(|id| *id != SocketId::MAIN).collect();
        further.into_iter().for_each(|socket| self.close(socket, network));
        self.puncher = puncher(self.side, limits, chance);
        (self.restart, self.connected) = (None, None);
        self.introduce(now, network);
        self.puncher.search(now);
    }

    fn close(&mut self, socket: SocketId, network: &mut Network) {
        if let Some(port) = self.ports.remove(&socket) {
            self.sockets.remove(&port);
            network.close(self.place, port);
        }
    }

    pub(super) fn clock(&self, at: Instant, began: Instant) -> Now {
        let unix = Duration::from_millis(self.unix_ms) + at.saturating_duration_since(began);
        Now { instant: at, unix }
    }

    pub(super) fn pair(&self) -> Option<(u16, SocketAddr)> {
        let pair = self.puncher.connected_pair()?;
        Some((*self.ports.get(&pair.socket)?, pair.remote))
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let next = if self.is_started { self.deadline } else { Some(self.start) };
        let restart = self.restart.map(|restart| self.began + restart.at);
        next.into_iter().chain(restart).min()
    }

    pub(super) fn drain(&mut self, at: Instant, network: &mut Network) {
        loop {
            match self.puncher.poll_output() {
                Output::Transmit(transmit) => self.transmit(at, &transmit, network),
                Output::Open { socket, port } => self.open(socket, port, network),
                Output::Close(socket) => self.close(socket, network),
                Output::Event(Event::Connected(c)) => {
                    self.connected.get_or_insert((at, c.method));
                }
                Output::Event(_) => {}
                Output::Timeout(deadline) => return self.deadline = deadline,
            }
        }
    }

    pub(super) fn socket(&self, port: u16) -> Option<SocketId> {
        self.sockets.get(&port).copied().filter(|_| self.is_started)
    }

    fn open(&mut self, socket: SocketId, port: u16, network: &mut Network) {
        if self.sockets.contains_key(&port) {
            return self.puncher.handle_open_failed(socket);
        }
        network.listen(self.place, port);
        self.ports.insert(socket, port);
        self.sockets.insert(port, socket);
    }

    fn transmit(&mut self, at: Instant, transmit: &Transmit, network: &mut Network) {
        self.sent_at.push(at);
        let (Some(port), SocketAddr::V4(to)) = (self.ports.get(&transmit.pair.socket), transmit.pair.remote)
        else {
            return;
        };
        let ttl = transmit.ttl.unwrap_or(FULL_TTL);
        network.send(self.place, *port, to, ttl, transmit.payload.to_vec());
    }
}

fn puncher(side: Side, limits: Limits, chance: &mut Chance) -> Puncher {
    let role = [Role::Serve, Role::Open][side.index()];
    let mut seed = [0; 32];
    seed.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&chance.next_u64().to_le_bytes()));
    let (seal, schedule) = secrets();
    Puncher::new(Config { limits, ..Config::new(role, seal, schedule, seed, PORT) })
}

/// Stretching a phrase takes its time: once is enough.
fn secrets() -> (ProbeSeal, Schedule) {
    static SECRETS: OnceLock<(ProbeSeal, Schedule)> = OnceLock::new();
    let made = SECRETS.get_or_init(|| {
        let key = Key::stretch(&Phrase::generate([1; 32]));
        (ProbeSeal::new(&key), Schedule::new(&key))
    });
    made.clone()
}
