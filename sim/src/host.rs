//! One side's machine: its program, its wall clock, and what waits in its sockets while it sleeps.

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use natlab::{Arrival, Network, Side, chance::Chance};
use pinhole_proto::{Now, puncher::LastSuccess};

use super::program::{Program, Surroundings};

/// What a socket holds for a program that does not read, and what Linux counts for a datagram beyond its bytes.
const BUFFER_BYTES: usize = 425_984;
const OVERHEAD_BYTES: usize = 768;

pub(super) struct Host {
    pub(super) side: Side,
    pub(super) program: Option<Program>,
    /// Counts the runs of its program.
    pub(super) life: u32,
    starts_at: Option<Instant>,
    wakes_at: Option<Instant>,
    /// Counts its new addresses.
    pub(super) moves: usize,
    /// The network has changed while it slept.
    has_moved: bool,
    surroundings: Surroundings,
    /// When its network is back.
    online_at: Option<Instant>,
    /// For how long its monotonic clock has stood still.
    suspended: Duration,
    inbox: VecDeque<Arrival>,
    buffered: BTreeMap<u16, usize>,
    last_success: Option<LastSuccess>,
    patience: Duration,
    began: Instant,
    /// What its wall clock showed at the beginning, as set right since then.
    unix_ms: u64,
    chance: Chance,
}

impl Host {
    pub(super) fn new(
        side: Side,
        starts_at: Instant,
        patience: Duration,
        peer: Vec<Ipv4Addr>,
        began: Instant,
        unix_ms: u64,
        chance: Chance,
    ) -> Self {
        Self {
            side,
            program: None,
            life: 0,
            starts_at: Some(starts_at),
            wakes_at: None,
            moves: 0,
            has_moved: false,
            surroundings: Surroundings { peer, is_online: true },
            online_at: None,
            suspended: Duration::ZERO,
            inbox: VecDeque::new(),
            buffered: BTreeMap::new(),
            last_success: None,
            patience,
            began,
            unix_ms,
            chance,
        }
    }

    pub(super) fn unix(&self, at: Instant) -> Duration {
        self.now(at).unix
    }

    pub(super) fn set_clock(&mut self, ahead_ms: i64) {
        self.unix_ms = self.unix_ms.saturating_add_signed(ahead_ms);
    }

    /// Stops the machine until then: nothing is read, no timer runs out.
    pub(super) fn sleep(&mut self, until: Instant) {
        self.wakes_at = self.wakes_at.max(Some(until));
    }

    /// Stops the machine until then, and its monotonic clock with it, as a closed lid does.
    pub(super) fn suspend(&mut self, now: Instant, until: Instant) {
        if self.wakes_at.is_none_or(|at| at < until) {
            self.suspended += until - self.wakes_at.unwrap_or(now).max(now);
        }
        self.sleep(until);
    }

    /// Takes its network away until then.
    pub(super) fn unplug(&mut self, now: Instant, until: Instant, network: &mut Network) {
        self.online_at = self.online_at.max(Some(until));
        self.set_online(false, now, network);
    }

    fn set_online(&mut self, is_online: bool, now: Instant, network: &mut Network) {
        self.surroundings.is_online = is_online;
        self.handle_network_change(now, network);
    }

    /// Ends the program, if one runs; another run of it begins at that time.
    pub(super) fn restart(&mut self, says_goodbye: bool, at: Instant, now: Instant, network: &mut Network) {
        self.starts_at = self.starts_at.max(Some(at));
        let now = self.now(now);
        // Who sleeps cannot speak.
        let is_awake = self.wakes_at.take().is_none();
        self.inbox.clear();
        self.buffered.clear();
        let Some(mut program) = self.program.take() else { return };
        if says_goodbye && is_awake {
            program.leave(now, network);
        }
        self.last_success = program.last_success;
        program.mux.close_all(network);
    }

    pub(super) fn say(&mut self, bytes: u64, now: Instant, network: &mut Network) {
        let now = self.now(now);
        if let Some(program) = self.program.as_mut().filter(|_| self.wakes_at.is_none()) {
            program.say(bytes, now, network);
        }
    }

    /// The peer's name means these addresses now.
    pub(super) fn set_peer(&mut self, peer: Vec<Ipv4Addr>, at: Instant, network: &mut Network) {
        self.surroundings.peer = peer;
        let (now, surroundings) = (self.now(at), self.surroundings.clone());
        if let Some(program) = &mut self.program {
            program.handle_change(surroundings, false, now, network);
        }
    }

    /// Its network has changed.
    pub(super) fn handle_network_change(&mut self, at: Instant, network: &mut Network) {
        let (now, surroundings) = (self.now(at), self.surroundings.clone());
        self.has_moved = self.wakes_at.is_some();
        if let Some(program) = self.program.as_mut().filter(|_| !self.has_moved) {
            program.handle_change(surroundings, true, now, network);
        }
    }

    pub(super) fn handle_arrival(&mut self, arrival: Arrival, at: Instant, network: &mut Network) {
        if self.wakes_at.is_some() {
            return self.buffer(arrival);
        }
        let now = self.now(at);
        let Some(program) = &mut self.program else { return };
        match &arrival {
            Arrival::Datagram(delivery) => program.handle_datagram(delivery, now, network),
            Arrival::Icmp(error) => program.handle_icmp(error, now, network),
        }
    }

    pub(super) fn handle_timeout(&mut self, at: Instant, network: &mut Network) {
        if self.online_at.take_if(|online_at| *online_at <= at).is_some() {
            return self.set_online(true, at, network);
        }
        if self.starts_at.is_some_and(|starts_at| starts_at <= at) {
            return self.start(at, network);
        }
        if self.wakes_at.is_some_and(|wakes_at| wakes_at <= at) {
            return self.wake(at, network);
        }
        let now = self.now(at);
        if let Some(program) = self.program.as_mut().filter(|_| self.wakes_at.is_none()) {
            program.handle_timeout(now, network);
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let program = || self.program.as_ref().and_then(Program::wakes_at).map(|at| at + self.suspended);
        let own = self.wakes_at.or_else(program);
        own.into_iter().chain(self.starts_at).chain(self.online_at).min()
    }

    /// Whether its program runs and can do something.
    pub(super) fn is_awake(&self) -> bool {
        self.program.is_some() && self.wakes_at.is_none()
    }

    fn start(&mut self, at: Instant, network: &mut Network) {
        self.starts_at = None;
        self.life += 1;
        let now = self.now(at);
        let (patience, last_success, surroundings) =
            (self.patience, self.last_success, self.surroundings.clone());
        let program =
            Program::start(self.side, patience, last_success, surroundings, now, &mut self.chance, network);
        self.program = Some(program);
    }

    /// Whatever is ready first may come first.
    fn wake(&mut self, at: Instant, network: &mut Network) {
        self.wakes_at = None;
        let reads_first = self.chance.happens(0.5);
        if !reads_first {
            self.handle_timeout(at, network);
        }
        self.buffered.clear();
        for arrival in std::mem::take(&mut self.inbox) {
            self.handle_arrival(arrival, at, network);
        }
        if std::mem::take(&mut self.has_moved) {
            self.handle_network_change(at, network);
        }
    }

    fn buffer(&mut self, arrival: Arrival) {
        let (port, bytes) = match &arrival {
            Arrival::Datagram(delivery) => (delivery.port, delivery.payload.len()),
            Arrival::Icmp(error) => (error.port, error.quoted.len()),
        };
        let buffered = self.buffered.entry(port).or_default();
        if *buffered + bytes + OVERHEAD_BYTES <= BUFFER_BYTES {
            *buffered += bytes + OVERHEAD_BYTES;
            self.inbox.push_back(arrival);
        }
    }

    fn now(&self, at: Instant) -> Now {
        let unix = Duration::from_millis(self.unix_ms) + at.saturating_duration_since(self.began);
        Now { instant: at - self.suspended, unix }
    }
}
