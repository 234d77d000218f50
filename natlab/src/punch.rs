//! One punch in the model: two [`Puncher`](pinhole_proto::Puncher)s behind two [`NatSpec`]s, with a virtual clock and a seed.

mod host;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::OnceLock,
    time::{Duration, Instant},
};

use pinhole_proto::puncher::{Icmp, IcmpKind, Limits, Method, Pair, SearchReport};

use self::host::Host;
use crate::{Arrival, Delivery, IcmpError, LinkSpec, NatSpec, Network, Place, Side, chance::Chance};

/// UDP port of both sides.
const PORT: u16 = 5555;

/// Last octet of the public address that a side gets instead of its first one.
const NEW_OCTET: u8 = 77;

/// How often a tunnel over the path sends something, once the two have met.
const TALKS_EVERY: Duration = Duration::from_millis(250);

/// Describes a punch.
#[derive(Debug, Clone)]
pub struct Punch {
    /// What stands before each side; A serves, B opens.
    pub nats: [NatSpec; 2],
    /// What the link does, in each direction.
    pub link: LinkSpec,
    /// When each side starts.
    pub starts: [Duration; 2],
    /// When each side's program starts anew, if it does, counted from the beginning.
    pub restarts: [Option<Restart>; 2],
    /// How a side gets another public address once the two have met, if it does.
    pub new_public_ip: Option<NewPublicIp>,
    /// Whether each side knows the other one by a name, not by an IP.
    pub names: [bool; 2],
    /// How far each side's wall clock is ahead, ms.
    pub ahead_ms: [i64; 2],
    /// Wall clock at the beginning, ms since 1970: slots and windows depend on it.
    pub unix_ms: u64,
    /// What each side may ask of the NATs.
    pub limits: Limits,
    /// Time since the later start, the last restart, or the moment when the name is right again, after which the punch has
    /// failed.
    pub patience: Duration,
    /// Decides all chance.
    pub seed: u64,
}

impl Punch {
    /// Describes a punch between right clocks over a link with 20 ms in each direction, both sides starting at once.
    pub fn new(a: NatSpec, b: NatSpec, seed: u64) -> Punch {
        Punch {
            nats: [a, b],
            link: LinkSpec::delayed(Duration::from_millis(20)),
            starts: [Duration::ZERO; 2],
            restarts: [None; 2],
            new_public_ip: None,
            names: [false; 2],
            ahead_ms: [0; 2],
            unix_ms: 1_800_000_000_000,
            limits: Limits::DEFAULT,
            patience: Duration::from_secs(20),
            seed,
        }
    }

    /// Runs it and returns where the two met, with the network as it is then; `None` when they did not.
    pub fn meet(&self) -> Option<Met> {
        let mut game = Game::new(self);
        game.run(self);
        let [a, b] = &game.hosts;
        let pairs = [a.pair()?, b.pair()?];
        Some(Met { network: game.network, pairs })
    }

    fn last_start(&self) -> Duration {
        let restarts = self.restarts.iter().flatten().map(|restart| restart.at);
        self.starts.into_iter().chain(restarts).max().unwrap_or_default()
    }

    /// Runs it.
    pub fn run(&self) -> Outcome {
        let mut game = Game::new(self);
        game.run(self);
        game.outcome(self)
    }
}

/// Describes how a side's program starts anew.
#[derive(Debug, Clone, Copy)]
pub struct Restart {
    /// When.
    pub at: Duration,
    /// Whether the former run says goodbye.
    pub says_goodbye: bool,
}

/// Describes how a side gets another public address under a tunnel, and when its name tells.
#[derive(Debug, Clone, Copy)]
pub struct NewPublicIp {
    /// Whose address changes.
    pub side: Side,
    /// When, counted from the moment at which both sides were connected.
    pub after: Duration,
    /// After which further time the other side is told the new one, as by a name that it looks up again.
    pub name_follows: Duration,
}

/// Says how a punch went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Time from the later start, the last restart, or the moment when the name was right again, until both sides were
    /// connected.
    pub took: Option<Duration>,
    /// How the open side says the pair was found.
    pub method: Option<Method>,
    /// Probes that each side sent.
    pub packets: [u64; 2],
    /// Most probes that each side sent within a second.
    pub packets_in_a_second: [usize; 2],
    /// Most flows alive at once in any box of each side.
    pub flow_peak: [usize; 2],
    /// What each side would say about the lack of a path.
    pub reports: [Option<SearchReport>; 2],
}

/// Where two sides have met.
#[derive(Debug)]
pub struct Met {
    /// The network, with all that its boxes remember.
    pub network: Network,
    /// Each side's own port of the pair, and the other side's address as it is seen from there.
    pub pairs: [(u16, SocketAddr); 2],
}

struct Game {
    network: Network,
    began: Instant,
    hosts: [Host; 2],
    chance: Chance,
    limits: Limits,
    /// When the tunnel next sends something, once there is one.
    talks_at: Option<Instant>,
    /// When the name was right again after the public address of a side had changed.
    named_at: Option<Instant>,
}

impl Game {
    fn new(punch: &Punch) -> Game {
        let mut chance = Chance::new(punch.seed);
        let began = virtual_start();
        let mut network = Network::new(&punch.nats, punch.link, chance.next_u64(), began);
        for place in Side::BOTH.map(Place::Host) {
            network.listen(place, PORT);
            network.close(place, PORT); // until it starts
        }
        let hosts = Side::BOTH.map(|side| Host::new(punch, side, began, &mut chance, &network));
        Game { network, began, hosts, chance, limits: punch.limits, talks_at: None, named_at: None }
    }

    fn run(&mut self, punch: &Punch) {
        self.run_until(self.began + punch.last_start() + punch.patience, Game::have_met);
        if let Some(change) = punch.new_public_ip.filter(|_| self.have_met()) {
            self.change_public_ip(change, punch.patience);
        }
    }

    fn change_public_ip(&mut self, change: NewPublicIp, patience: Duration) {
        let never = |_: &Game| false;
        self.talks_at = Some(self.network.now());
        self.run_until(self.network.now() + change.after, never);
        let [a, b, c, _] = self.network.public_ip(change.side).octets();
        let ip = Ipv4Addr::new(a, b, c, NEW_OCTET);
        self.network.set_public_ip(change.side, ip);
        self.hosts.iter_mut().for_each(|host| host.connected = None);
        let named_at = self.network.now() + change.name_follows;
        self.run_until(named_at, never);
        let host = &mut self.hosts[change.side.other().index()];
        let now = host.clock(named_at, self.began);
        host.puncher.set_resolved(&[SocketAddr::from((ip, PORT))], now);
        host.drain(named_at, &mut self.network);
        self.named_at = Some(named_at);
        self.run_until(named_at + patience, Game::have_met);
    }

    fn have_met(&self) -> bool {
        self.hosts.iter().all(|host| host.connected.is_some() && host.restart.is_none())
    }

    /// Runs up to that time, or until `is_done`.
    fn run_until(&mut self, end: Instant, is_done: impl Fn(&Game) -> bool) {
        while !is_done(self) {
            let wake = self.hosts.iter().filter_map(Host::wakes_at).chain(self.talks_at).min();
            let wake = wake.unwrap_or(end).min(end);
            match self.network.poll_arrival(wake) {
                Some(Arrival::Datagram(delivery)) => self.deliver(&delivery),
                Some(Arrival::Icmp(error)) => self.tell(&error),
                None if wake >= end => break,
                None => self.wake(wake),
            }
        }
    }

    /// Lets the tunnel send something over the path that each side takes for alive.
    fn talk(&mut self, at: Instant) {
        self.talks_at = Some(at + TALKS_EVERY);
        for host in self.hosts.iter_mut().filter(|host| host.puncher.connected_pair().is_some()) {
            host.traffic.sent += 1;
            let now = host.clock(at, self.began);
            host.puncher.handle_traffic(host.traffic, now);
            host.drain(at, &mut self.network);
        }
    }

    fn deliver(&mut self, delivery: &Delivery) {
        let Place::Host(side) = delivery.to else { return };
        let host = &mut self.hosts[side.index()];
        let Some(socket) = host.socket(delivery.port) else { return };
        let pair = Pair { socket, remote: delivery.from.into() };
        let now = host.clock(delivery.at, self.began);
        host.puncher.handle_datagram(pair, &delivery.payload, now);
        host.drain(delivery.at, &mut self.network);
    }

    fn tell(&mut self, error: &IcmpError) {
        let Place::Host(side) = error.to else { return };
        let host = &mut self.hosts[side.index()];
        let Some(socket) = host.socket(error.port) else { return };
        let kind = match error.kind {
            crate::IcmpKind::TtlExceeded => IcmpKind::TtlExceeded,
            crate::IcmpKind::PortUnreachable => IcmpKind::PortUnreachable,
            crate::IcmpKind::AdminProhibited => IcmpKind::Prohibited,
        };
        let pair = Pair { socket, remote: error.remote.into() };
        let offender = error.offender.into();
        let now = host.clock(error.at, self.began);
        host.puncher.handle_icmp(&Icmp { pair, kind, offender, quoted: &error.quoted }, now);
        host.drain(error.at, &mut self.network);
    }

    fn wake(&mut self, at: Instant) {
        if self.talks_at.is_some_and(|talks_at| talks_at <= at) {
            self.talk(at);
        }
        for host in &mut self.hosts {
            if host.wakes_at().is_none_or(|wakes| wakes > at) {
                continue;
            }
            let now = host.clock(at, self.began);
            if let Some(restart) = host.restart.filter(|restart| self.began + restart.at <= at) {
                host.restart(restart, now, self.limits, &mut self.chance, &mut self.network);
            } else if host.is_started {
                host.puncher.handle_timeout(now);
            } else {
                host.is_started = true;
                self.network.listen(host.place, PORT);
                host.puncher.search(now);
            }
            host.drain(at, &mut self.network);
        }
    }

    fn outcome(self, punch: &Punch) -> Outcome {
        let later = self.named_at.unwrap_or(self.began + punch.last_start());
        let connected = self.hosts.iter().filter_map(|host| host.connected).map(|(at, _)| at);
        let both = self.hosts.iter().all(|host| host.connected.is_some());
        Outcome {
            took: both.then(|| connected.max()).flatten().map(|at| at.saturating_duration_since(later)),
            method: self.hosts[1].connected.map(|(_, method)| method),
            packets: [0, 1].map(|side| self.hosts[side].sent_at.len() as u64),
            packets_in_a_second: [0, 1].map(|side| most_in_a_second(&self.hosts[side].sent_at)),
            flow_peak: Side::BOTH.map(|side| self.flow_peak(punch, side)),
            reports: [0, 1].map(|side| {
                let host = &self.hosts[side];
                host.puncher.search_report(host.clock(self.network.now(), self.began))
            }),
        }
    }

    fn flow_peak(&self, punch: &Punch, side: Side) -> usize {
        let boxes = 0..punch.nats[side.index()].boxes().len();
        boxes.map(|index| self.network.nat(side, index).flow_peak()).max().unwrap_or(0)
    }
}

fn most_in_a_second(sent_at: &[Instant]) -> usize {
    let mut first = 0;
    let counts = sent_at.iter().enumerate().map(|(index, at)| {
        while sent_at[first] + Duration::from_secs(1) <= *at {
            first += 1;
        }
        index + 1 - first
    });
    counts.max().unwrap_or(0)
}

fn virtual_start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(|| Instant::now() + Duration::from_secs(1000))
}
