//! What a NAT remembers: mappings, the flows that use them, and the flows it took for its own.
//!
//! A mapping is born with its first flow, gets its outside port then, and dies with its last flow and opening.
//! A flow (one remote address) lives for the unreplied timer after its last packet in either direction; for the
//! stream timer once it was answered and is two seconds old. An opening (whom the filter lets in beyond the flows: a remote IP, or anybody)
//! lives for the stream timer after the last outgoing packet and is not refreshed from outside (RFC 4787 §4.3
//! leaves that choice).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use pinhole_proto::nat::{Filtering, Mapping, PortAssignment};

use crate::chance::Chance;
use crate::spec::{Translation, UdpTimers};

/// Lowest port assigned by a NAT that does not preserve it.
const FIRST_PORT: u16 = 1024;

/// Number of ports that a NAT assigns from.
const PORTS: u16 = u16::MAX - FIRST_PORT + 1;

/// Ports tried before a NAT gives up; Linux tries 128 as well.
const PORT_TRIES: usize = 128;

/// Age at which an answered flow becomes a stream (Linux, nf_conntrack_proto_udp.c: "Still active after two
/// seconds? Extend timeout").
const STREAM_AGE: Duration = Duration::from_secs(2);

/// Which destinations share a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Everybody,
    Ip(Ipv4Addr),
    Address(SocketAddrV4),
}

impl Scope {
    fn overlaps(self, other: Scope) -> bool {
        match (self, other) {
            (Scope::Everybody, _) | (_, Scope::Everybody) => true,
            (Scope::Ip(ip), Scope::Address(address)) | (Scope::Address(address), Scope::Ip(ip)) => {
                ip == *address.ip()
            }
            (Scope::Ip(_), Scope::Ip(_)) | (Scope::Address(_), Scope::Address(_)) => self == other,
        }
    }
}

/// Identifies a mapping from the inside.
type Key = (SocketAddrV4, Scope);

#[derive(Debug)]
struct Entry {
    outside_port: u16,
    flows: BTreeMap<SocketAddrV4, Flow>,
    openings: BTreeMap<Scope, Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Flow {
    began: Instant,
    is_answered: bool,
    expires: Instant,
}

/// The memory of one NAT.
#[derive(Debug)]
pub(super) struct Mappings {
    rules: Translation,
    timers: UdpTimers,
    chance: Chance,
    /// The port that the next sequential assignment tries.
    next_port: u16,
    entries: BTreeMap<Key, Entry>,
    by_port: BTreeMap<u16, Vec<Key>>,
    /// When each flow that the box took for its own is forgotten.
    taken: BTreeMap<(u16, SocketAddrV4), Instant>,
    /// No later than the first moment at which something is to be forgotten.
    next_expiry: Option<Instant>,
}

impl Mappings {
    pub(super) fn new(rules: Translation, timers: UdpTimers, mut chance: Chance) -> Mappings {
        let next_port = random_port(&mut chance);
        Mappings {
            rules,
            timers,
            chance,
            next_port,
            entries: BTreeMap::new(),
            by_port: BTreeMap::new(),
            taken: BTreeMap::new(),
            next_expiry: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.by_port.clear();
        self.taken.clear();
    }

    /// Notes an outgoing packet and returns its outside port, or nothing when none is free.
    pub(super) fn handle_outgoing(
        &mut self,
        now: Instant,
        inside: SocketAddrV4,
        to: SocketAddrV4,
    ) -> Option<u16> {
        self.forget_expired(now);
        let key = (inside, self.scope(to));
        if !self.entries.contains_key(&key) {
            let outside_port = self.assign_port(key, to)?;
            let entry = Entry { outside_port, flows: BTreeMap::new(), openings: BTreeMap::new() };
            self.entries.insert(key, entry);
            self.by_port.entry(outside_port).or_default().push(key);
        }
        let opening = self.opening(to);
        let timers = self.timers;
        let entry = self.entries.get_mut(&key)?;
        let flow = entry.flows.entry(to).or_insert_with(|| Flow::new(now));
        flow.refresh(now, timers);
        let expires = flow.expires;
        entry.openings.extend(opening.map(|scope| (scope, now + timers.stream)));
        let outside_port = entry.outside_port;
        self.expect_expiry(expires);
        Some(outside_port)
    }

    /// Notes an incoming packet and returns the inside address it is for, if the filter lets it in.
    pub(super) fn handle_incoming(
        &mut self,
        now: Instant,
        port: u16,
        from: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        self.forget_expired(now);
        let keys = self.by_port.get(&port)?;
        let flow = keys.iter().find(|key| self.entries[key].flows.contains_key(&from)).copied();
        if let Some(key) = flow {
            let flow = self.entries.get_mut(&key)?.flows.get_mut(&from)?;
            flow.handle_answer(now, self.timers);
            return Some(key.0);
        }
        let is_open =
            |key: &&Key| self.entries[key].openings.keys().any(|open| open.overlaps(Scope::Address(from)));
        let opened = keys.iter().find(is_open);
        opened.map(|(inside, _)| *inside)
    }

    /// Notes an incoming packet that the box took for its own.
    pub(super) fn handle_taken(&mut self, now: Instant, port: u16, from: SocketAddrV4) {
        let expires = now + self.timers.unreplied;
        self.taken.insert((port, from), expires);
        self.expect_expiry(expires);
    }

    pub(super) fn count(&self, now: Instant) -> usize {
        self.entries.values().filter(|entry| entry.is_alive(now)).count()
    }

    pub(super) fn flow_count(&self, now: Instant) -> usize {
        let flows = self.entries.values().flat_map(|entry| entry.flows.values());
        let flows = flows.filter(|flow| flow.expires > now).count();
        flows + self.taken.values().filter(|expires| **expires > now).count()
    }

    fn scope(&self, to: SocketAddrV4) -> Scope {
        match self.rules.mapping {
            Mapping::EndpointIndependent => Scope::Everybody,
            Mapping::AddressDependent => Scope::Ip(*to.ip()),
            Mapping::AddressAndPortDependent => Scope::Address(to),
        }
    }

    /// Returns whom an outgoing packet lets in beyond its own flow.
    fn opening(&self, to: SocketAddrV4) -> Option<Scope> {
        match self.rules.filtering {
            Filtering::EndpointIndependent => Some(Scope::Everybody),
            Filtering::AddressDependent => Some(Scope::Ip(*to.ip())),
            Filtering::AddressAndPortDependent => None,
        }
    }

    fn assign_port(&mut self, key: Key, to: SocketAddrV4) -> Option<u16> {
        let preserved = key.0.port();
        if self.rules.ports == PortAssignment::Preserving && self.is_free(preserved, key, to) {
            return Some(preserved);
        }
        for _ in 0..PORT_TRIES {
            let port = self.draw_port();
            if self.is_free(port, key, to) {
                return Some(port);
            }
        }
        None
    }

    /// Tells whether the mapping may use that outside port for a packet to that address.
    fn is_free(&self, port: u16, (_, scope): Key, to: SocketAddrV4) -> bool {
        let mut rivals = self.by_port.get(&port).into_iter().flatten();
        !self.taken.contains_key(&(port, to)) && !rivals.any(|(_, rival)| rival.overlaps(scope))
    }

    fn draw_port(&mut self) -> u16 {
        match self.rules.ports {
            PortAssignment::Preserving | PortAssignment::Random => random_port(&mut self.chance),
            PortAssignment::Sequential { stride } => {
                let port = self.next_port;
                self.next_port = port.checked_add(stride).unwrap_or(FIRST_PORT);
                port
            }
        }
    }

    fn expect_expiry(&mut self, at: Instant) {
        self.next_expiry = Some(self.next_expiry.map_or(at, |next| next.min(at)));
    }

    /// Forgets what has expired, when something may have: looking at everything for each packet is slow.
    fn forget_expired(&mut self, now: Instant) {
        if self.next_expiry.is_none_or(|next| next > now) {
            return;
        }
        for entry in self.entries.values_mut() {
            entry.forget_expired(now);
        }
        self.entries.retain(|_, entry| entry.is_alive(now));
        let entries = &self.entries;
        self.by_port.retain(|_, keys| {
            keys.retain(|key| entries.contains_key(key));
            !keys.is_empty()
        });
        self.taken.retain(|_, expires| *expires > now);
        let expiries = self.entries.values().flat_map(Entry::expiries);
        self.next_expiry = expiries.chain(self.taken.values().copied()).min();
    }
}

impl Entry {
    fn is_alive(&self, now: Instant) -> bool {
        self.expiries().any(|expires| expires > now)
    }

    fn expiries(&self) -> impl Iterator<Item = Instant> {
        self.flows.values().map(|flow| flow.expires).chain(self.openings.values().copied())
    }

    fn forget_expired(&mut self, now: Instant) {
        self.flows.retain(|_, flow| flow.expires > now);
        self.openings.retain(|_, expires| *expires > now);
    }
}

impl Flow {
    fn new(now: Instant) -> Flow {
        Flow { began: now, is_answered: false, expires: now }
    }

    fn refresh(&mut self, now: Instant, timers: UdpTimers) {
        let is_stream = self.is_answered && now > self.began + STREAM_AGE;
        self.expires = now + if is_stream { timers.stream } else { timers.unreplied };
    }

    /// Refreshes by an answer; the first one only counts for the packets after it, as in Linux.
    fn handle_answer(&mut self, now: Instant, timers: UdpTimers) {
        self.refresh(now, timers);
        self.is_answered = true;
    }
}

fn random_port(chance: &mut Chance) -> u16 {
    FIRST_PORT + u16::try_from(chance.below(PORTS.into())).expect("below a number of 16 bits")
}
