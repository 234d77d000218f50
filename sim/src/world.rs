//! Two hosts and the network between them, moved from event to event by a virtual clock.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::OnceLock,
    time::{Duration, Instant},
};

use natlab::{Arrival, LinkSpec, NatSpec, Network, Place, Side, chance::Chance};

use super::{app::TunnelId, host::Host, program::Program, weather::Weather};

/// Calls of a host's timers at one moment: more are a busy loop.
const MAX_WAKES_AT_ONCE: u32 = 64;

/// Describes a world at its beginning.
#[derive(Debug, Clone)]
pub struct Setting {
    /// What stands before each side; A serves, B opens.
    pub nats: [NatSpec; 2],
    pub link: LinkSpec,
    pub starts: [Duration; 2],
    pub unix_ms: u64,
    pub ahead_ms: [i64; 2],
    pub patience: Duration,
    /// The last byte of a further address in each side's name, which is nobody's.
    pub dead_address: [Option<u8>; 2],
    pub seed: u64,
}

impl Setting {
    /// Two sides that start together, with clocks that agree and the usual patience.
    pub fn usual(nats: [NatSpec; 2], link: LinkSpec, seed: u64) -> Self {
        Self {
            nats,
            link,
            starts: [Duration::ZERO; 2],
            unix_ms: 1_800_000_000_000,
            ahead_ms: [0; 2],
            patience: Duration::from_secs(3600),
            dead_address: [None; 2],
            seed,
        }
    }
}

/// Counts what is allowed and worth knowing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub paths_lost: u32,
    /// Tunnels that ended because a program did, and those for lack of a path.
    pub tunnels_ended: u32,
    /// Tunnels that only one side ever had.
    pub stillborn: u32,
    pub handshakes_failed: u32,
}

pub struct World {
    pub(super) network: Network,
    pub(super) nats: [NatSpec; 2],
    dead_address: [Option<u8>; 2],
    /// The address that each side's name has.
    named: [Ipv4Addr; 2],
    /// When a side's name follows its address.
    renames: Vec<(Instant, Side)>,
    pub(super) hosts: [Host; 2],
    pub(super) weather: [Weather; 2],
    /// Whether round trips were ever long.
    pub(super) was_slow: bool,
    /// Whether each side's NATs have ever forgotten all their flows.
    pub(super) has_forgotten: [bool; 2],
    /// Whether a host got another address while there was no path: the reserve ports were in use by then.
    pub(super) has_moved_apart: bool,
    pub(super) began: Instant,
    pub(super) now: Instant,
    /// What must never happen and did.
    fault: Option<String>,
    /// The run of each side's program that had a tunnel.
    pub(super) owners: BTreeMap<TunnelId, [Option<u32>; 2]>,
    pub counts: Counts,
    wakes_at_once: u32,
}

impl World {
    pub fn new(setting: &Setting) -> Self {
        let mut chance = Chance::new(setting.seed);
        let began = virtual_start();
        let mut network = Network::new(&setting.nats, setting.link, chance.next_u64(), began);
        for place in Side::BOTH.map(Place::Host) {
            network.listen(place, super::mux::PORT);
            network.close(place, super::mux::PORT); // until it starts
        }
        let hosts = Side::BOTH.map(|side| {
            let index = side.index();
            let unix_ms = setting.unix_ms.saturating_add_signed(setting.ahead_ms[index]);
            let starts_at = began + setting.starts[index];
            let peer = names(side.other(), natlab::public_ip(side.other()), setting.dead_address);
            Host::new(side, starts_at, setting.patience, peer, began, unix_ms, chance.fork())
        });
        Self {
            network,
            nats: setting.nats.clone(),
            dead_address: setting.dead_address,
            named: Side::BOTH.map(natlab::public_ip),
            renames: Vec::new(),
            hosts,
            weather: [(); 2].map(|()| Weather::new(setting.link)),
            was_slow: false,
            has_forgotten: [false; 2],
            has_moved_apart: false,
            began,
            now: began,
            fault: None,
            owners: BTreeMap::new(),
            counts: Counts::default(),
            wakes_at_once: 0,
        }
    }

    /// Runs for that time, or until a fault.
    pub fn run_for(&mut self, time: Duration) -> Result<(), String> {
        self.run_until(self.now + time)
    }

    /// Runs up to that time, or until a fault.
    pub fn run_until(&mut self, end: Instant) -> Result<(), String> {
        self.run_until_or(end, |_| false)
    }

    /// Runs up to that time, or until `is_done`.
    pub fn run_until_or(&mut self, end: Instant, is_done: impl Fn(&Self) -> bool) -> Result<(), String> {
        while !is_done(self) {
            let weather = self.weather.iter().filter_map(Weather::changes_at);
            let renames = self.renames.iter().map(|(at, _)| *at);
            let wake = self.hosts.iter().filter_map(Host::wakes_at).chain(weather).chain(renames).min();
            let wake = wake.unwrap_or(end).min(end).max(self.now);
            let arrival = self.network.poll_arrival(wake);
            self.move_to(self.network.now());
            match arrival {
                Some(arrival) => self.deliver(arrival),
                None if wake >= end => break,
                None => self.wake(),
            }
            self.judge();
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Makes the road what the weather says.
    pub(super) fn set_links(&mut self) {
        for side in Side::BOTH {
            let spec = self.weather[side.index()].spec(self.now);
            self.network.set_link_from(side, spec);
        }
    }

    pub fn say(&mut self, side: Side, bytes: u64) {
        let Self { hosts, network, now, .. } = self;
        hosts[side.index()].say(bytes, *now, network);
    }

    /// Whether both sides have one path and one tunnel, and all that was said has been heard.
    pub fn is_well(&self) -> bool {
        let [Some(a), Some(b)] = self.hosts.each_ref().map(|host| host.program.as_ref()) else {
            return false;
        };
        let tunnel = |program: &Program| program.tunnel.map(|(_, id)| id);
        let has_heard = |program: &Program, peer: &Program| {
            peer.app.written == peer.app.queued && program.app.read == peer.app.written
        };
        self.is_awake()
            && (a.is_up() && b.is_up() && tunnel(a) == tunnel(b))
            && (has_heard(a, b) && has_heard(b, a))
    }

    /// Returns how many bytes of its peer's a side has read.
    pub fn heard(&self, side: Side) -> u64 {
        self.hosts[side.index()].program.as_ref().map_or(0, |program| program.app.read)
    }

    /// Whether both sides run and nobody sleeps.
    pub fn is_awake(&self) -> bool {
        self.hosts.iter().all(Host::is_awake)
    }

    /// Says what the two sides are doing.
    pub fn describe(&self) -> String {
        let one = |host: &Host| {
            let Some(program) = &host.program else { return "no program".to_owned() };
            let app = &program.app;
            let pair = program.session.connected_pair();
            let path = pair.map_or("no path".to_owned(), |pair| format!("path {pair:?}"));
            let tunnel = program.tunnel.map_or("no tunnel".to_owned(), |(_, id)| format!("tunnel {id:016x}"));
            let said = format!("{}/{} said, {} heard", app.written, app.queued, app.read);
            format!("{path}, {tunnel}, {said}, {:?}", program.session.dropped())
        };
        format!("{:.3} s: A: {}; B: {}", self.elapsed(), one(&self.hosts[0]), one(&self.hosts[1]))
    }

    /// Puts other boxes before a side.
    pub(super) fn set_nats(&mut self, side: Side, spec: NatSpec) {
        self.network.set_nats(side, &spec);
        self.nats[side.index()] = spec;
        self.has_forgotten[side.index()] = true;
    }

    /// Has a side's boxes forget all flows.
    pub(super) fn flush(&mut self, side: Side) {
        self.network.flush_all(side);
        self.has_forgotten[side.index()] = true;
    }

    /// Gives a side's host another address of its network, if that is a private one.
    pub(super) fn readdress(&mut self, side: Side, last_octet: u8) {
        let old = self.network.ip(Place::Host(side));
        if old == self.network.public_ip(side) {
            return;
        }
        let [a, b, c, _] = old.octets();
        self.network.set_host_ip(side, Ipv4Addr::new(a, b, c, last_octet));
        self.has_moved_apart |=
            !self.hosts.iter().all(|host| host.program.as_ref().is_some_and(Program::is_up));
        let Self { hosts, network, now, .. } = self;
        hosts[side.index()].moves += 1;
        hosts[side.index()].handle_network_change(*now, network);
    }

    /// Has a side's name follow its address at that time.
    pub(super) fn rename_at(&mut self, side: Side, at: Instant) {
        self.renames.push((at, side));
    }

    /// Takes a side's network away until then.
    pub(super) fn unplug(&mut self, side: Side, until: Instant) {
        self.weather.iter_mut().for_each(|weather| weather.silence(until));
        let Self { hosts, network, now, .. } = self;
        hosts[side.index()].unplug(*now, until, network);
    }

    /// Whether each side's name is right.
    pub(super) fn is_named(&self, side: Side) -> bool {
        self.named[side.index()] == self.network.public_ip(side)
    }

    /// Gives a side another public address; nobody is told.
    pub fn set_public_ip(&mut self, side: Side, last_octet: u8) {
        let old = self.network.public_ip(side);
        let is_own = self.network.ip(Place::Host(side)) == old;
        let [a, b, c, _] = old.octets();
        self.network.set_public_ip(side, Ipv4Addr::new(a, b, c, last_octet));
        if is_own {
            let Self { hosts, network, now, .. } = self;
            hosts[side.index()].moves += 1;
            hosts[side.index()].handle_network_change(*now, network);
        }
    }

    /// Has the name by which a side knows its peer follow the peer's address.
    pub fn tell_public_ip(&mut self, side: Side) {
        let peer = side.other();
        self.named[peer.index()] = self.network.public_ip(peer);
        let addresses = names(peer, self.network.public_ip(peer), self.dead_address);
        let Self { hosts, network, now, .. } = self;
        hosts[side.index()].set_peer(addresses, *now, network);
    }

    /// Returns the probes that a side's program has sent in its present run.
    pub fn probe_count(&self, side: Side) -> u64 {
        self.hosts[side.index()].program.as_ref().map_or(0, |program| program.probe_count)
    }

    /// Returns the silence after which each side tests its path.
    pub fn keepalives(&self) -> [Option<Duration>; 2] {
        self.hosts.each_ref().map(|host| host.program.as_ref().map(|program| program.session.keepalive()))
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn elapsed(&self) -> f64 {
        (self.now - self.began).as_secs_f64()
    }

    /// Tells whoever looks for the cause of a failure.
    pub(super) fn note(&self, what: &dyn std::fmt::Debug) {
        tracing::info!(at = self.elapsed(), ?what);
    }

    fn move_to(&mut self, now: Instant) {
        if now > self.now {
            self.wakes_at_once = 0;
        }
        self.now = now;
    }

    fn deliver(&mut self, arrival: Arrival) {
        let to = match &arrival {
            Arrival::Datagram(delivery) => delivery.to,
            Arrival::Icmp(error) => error.to,
        };
        if let Place::Host(side) = to {
            let Self { hosts, network, now, .. } = self;
            hosts[side.index()].handle_arrival(arrival, *now, network);
        }
    }

    fn wake(&mut self) {
        if self.weather.iter().filter_map(Weather::changes_at).any(|at| at <= self.now) {
            self.set_links();
        }
        while let Some(due) = self.renames.iter().position(|(at, _)| *at <= self.now) {
            let (_, side) = self.renames.swap_remove(due);
            self.tell_public_ip(side.other());
        }
        self.wakes_at_once += 1;
        if self.wakes_at_once > MAX_WAKES_AT_ONCE {
            self.fail(format!("a busy loop; {}", self.describe()));
        }
        let Self { hosts, network, now, .. } = self;
        for host in hosts.iter_mut().filter(|host| host.wakes_at().is_some_and(|at| at <= *now)) {
            host.handle_timeout(*now, network);
        }
    }

    /// The tunnel that both sides have.
    pub(super) fn tunnel(&self) -> Option<TunnelId> {
        let [a, b] = self
            .hosts
            .each_ref()
            .map(|host| host.program.as_ref().and_then(|program| program.tunnel).map(|(_, id)| id));
        a.filter(|_| a == b)
    }

    pub(super) fn fail(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }
}

/// What a side's name means: where it is, and maybe a further address, which is nobody's.
fn names(side: Side, ip: Ipv4Addr, dead: [Option<u8>; 2]) -> Vec<Ipv4Addr> {
    let [a, b, c, _] = ip.octets();
    let dead = dead[side.index()].map(|last| Ipv4Addr::new(a, b, c, last));
    dead.into_iter().filter(|dead| *dead != ip).chain([ip]).collect()
}

fn virtual_start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(|| Instant::now() + Duration::from_secs(1000))
}
