//! What a NAT remembers: mappings, the flows that use them, and the flows it took for its own.
//!
//! A mapping is born with its first flow, gets its outside port then, and dies with its last flow and opening.
//! A flow (one remote address) lives for the unreplied timer after its last packet in either direction; for the
//! stream timer once it was answered and is two seconds old. An opening (whom the filter lets in beyond the
//! flows: a remote IP, or anybody) lives for the stream timer after the last outgoing packet and is not
//! refreshed from outside (RFC 4787 §4.3 leaves that choice).
//!
//! Every packet costs a few look-ups, however much is remembered: thousands of mappings that end one by one are
//! what a sweep of ports leaves behind.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use pinhole_proto::nat::{Filtering, Mapping};

use super::ports::Ports;
use crate::chance::Chance;
use crate::spec::{BoxSpec, Translation, UdpTimers};

/// Age at which an answered flow becomes a stream (Linux, nf_conntrack_proto_udp.c: "Still active after two
/// seconds? Extend timeout").
const STREAM_AGE: Duration = Duration::from_secs(2);

/// A set of remote addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Scope {
    Everybody,
    Ip(Ipv4Addr),
    Address(SocketAddrV4),
}

/// An inside address and whom it speaks to.
type Inside<T> = (SocketAddrV4, T);

/// An outside port and who is at the other end.
type Outside<T> = (u16, T);

#[derive(Debug, Clone, Copy)]
struct Entry {
    outside_port: u16,
    /// Counts the mappings.
    number: u64,
    /// When its last flow and opening are forgotten.
    expires: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Flow {
    began: Instant,
    is_answered: bool,
    expires: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Opening {
    inside: SocketAddrV4,
    expires: Instant,
}

/// Something that is forgotten some day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mortal {
    Entry(Inside<Scope>),
    Flow(Inside<SocketAddrV4>),
    Opening(Outside<Scope>),
    Taken(Outside<SocketAddrV4>),
}

/// The memory of one NAT; its maps are never iterated in a way that matters.
#[derive(Debug)]
pub(super) struct Mappings {
    rules: Translation,
    timers: UdpTimers,
    max_mappings: Option<usize>,
    ports: Ports,
    entries: HashMap<Inside<Scope>, Entry>,
    /// Who has each outside port, for each set of remote addresses that shares a mapping.
    owners: HashMap<Outside<Scope>, SocketAddrV4>,
    flows: HashMap<Inside<SocketAddrV4>, Flow>,
    openings: HashMap<Outside<Scope>, Opening>,
    /// When each flow that the box took for its own is forgotten.
    taken: HashMap<Outside<SocketAddrV4>, Instant>,
    /// The outside ports of each inside address, by the number of the mapping.
    by_source: HashMap<SocketAddrV4, BTreeMap<u64, u16>>,
    /// Mappings so far.
    count: u64,
    /// How many mappings each inside host has.
    shares: HashMap<Ipv4Addr, usize>,
    /// When to look whether something has expired: once for each thing, no later than it does.
    looks: BinaryHeap<Reverse<(Instant, Mortal)>>,
    peak: usize,
    flow_peak: usize,
}

impl Mappings {
    pub(super) fn new(rules: Translation, spec: &BoxSpec, chance: Chance) -> Mappings {
        Mappings {
            rules,
            timers: spec.timers,
            max_mappings: spec.max_mappings.map(usize::from),
            ports: Ports::new(rules.ports, chance),
            entries: HashMap::new(),
            owners: HashMap::new(),
            flows: HashMap::new(),
            openings: HashMap::new(),
            taken: HashMap::new(),
            by_source: HashMap::new(),
            count: 0,
            shares: HashMap::new(),
            looks: BinaryHeap::new(),
            peak: 0,
            flow_peak: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.owners.clear();
        self.flows.clear();
        self.openings.clear();
        self.taken.clear();
        self.by_source.clear();
        self.shares.clear();
        self.looks.clear();
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
        let outside_port = match self.entries.get(&key) {
            Some(entry) => entry.outside_port,
            None => self.assign_entry(now, key, to)?,
        };
        let flow_expires = self.refresh_flow(now, (inside, to));
        let opening_expires = self.refresh_opening(now, outside_port, inside, to);
        self.extend_entry(key, flow_expires.max(opening_expires.unwrap_or(flow_expires)));
        Some(outside_port)
    }

    /// Notes an outgoing packet that goes no further: it refreshes its flow, but begins none.
    pub(super) fn handle_dying(&mut self, now: Instant, inside: SocketAddrV4, to: SocketAddrV4) {
        self.forget_expired(now);
        if self.flows.contains_key(&(inside, to)) {
            let expires = self.refresh_flow(now, (inside, to));
            self.extend_entry((inside, self.scope(to)), expires);
        }
    }

    /// Notes an incoming packet and returns the inside address it is for, if the filter lets it in.
    pub(super) fn handle_incoming(
        &mut self,
        now: Instant,
        port: u16,
        from: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        self.forget_expired(now);
        let Some(inside) = self.inside_of_flow(port, from) else {
            if self.taken.contains_key(&(port, from)) {
                return None;
            }
            return self.opened(port, from);
        };
        let flow = self.flows.get_mut(&(inside, from))?;
        flow.handle_packet(now, self.timers, true);
        let expires = flow.expires;
        self.extend_entry((inside, self.scope(from)), expires);
        Some(inside)
    }

    /// Returns the inside address whose flow to that remote address has that outside port.
    pub(super) fn handle_error(&mut self, now: Instant, port: u16, to: SocketAddrV4) -> Option<SocketAddrV4> {
        self.forget_expired(now);
        self.inside_of_flow(port, to)
    }

    /// Notes an incoming packet that the box took for its own.
    pub(super) fn handle_taken(&mut self, now: Instant, port: u16, from: SocketAddrV4) {
        let expires = now + self.timers.unreplied;
        if self.taken.insert((port, from), expires).is_none() {
            self.looks.push(Reverse((expires, Mortal::Taken((port, from)))));
        }
        self.note_flow_peak();
    }

    pub(super) fn count(&self, now: Instant) -> usize {
        if !self.may_have_expired(now) {
            return self.entries.len();
        }
        self.entries.values().filter(|entry| entry.expires > now).count()
    }

    pub(super) fn flow_count(&self, now: Instant) -> usize {
        if !self.may_have_expired(now) {
            return self.flows.len() + self.taken.len();
        }
        let flows = self.flows.values().filter(|flow| flow.expires > now).count();
        flows + self.taken.values().filter(|expires| **expires > now).count()
    }

    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    pub(super) fn flow_peak(&self) -> usize {
        self.flow_peak
    }

    /// Returns the destinations that share a mapping with this one.
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

    fn inside_of_flow(&self, port: u16, remote: SocketAddrV4) -> Option<SocketAddrV4> {
        let inside = *self.owners.get(&(port, self.scope(remote)))?;
        self.flows.contains_key(&(inside, remote)).then_some(inside)
    }

    fn opened(&self, port: u16, from: SocketAddrV4) -> Option<SocketAddrV4> {
        self.openings.get(&(port, self.opening(from)?)).map(|opening| opening.inside)
    }

    /// Makes a mapping at a port that is free, if there is one, and returns the port.
    fn assign_entry(&mut self, now: Instant, key: Inside<Scope>, to: SocketAddrV4) -> Option<u16> {
        let (inside, scope) = key;
        let share = self.shares.get(inside.ip()).copied().unwrap_or(0);
        if self.max_mappings.is_some_and(|most| share >= most) {
            return None;
        }
        let (owners, taken) = (&self.owners, &self.taken);
        let is_free = |port| !taken.contains_key(&(port, to)) && !owners.contains_key(&(port, scope));
        // Linux gives an inside address the port of its newest mapping, if it can (nf_nat_core.c, find_appropriate_src).
        let newest = self.by_source.get(&inside).and_then(|ports| ports.last_key_value());
        let wanted = newest.map_or(inside.port(), |(_, port)| *port);
        let outside_port = self.ports.assign(inside, wanted, is_free)?;
        self.make_entry(now, key, outside_port);
        Some(outside_port)
    }

    fn make_entry(&mut self, now: Instant, key: Inside<Scope>, outside_port: u16) {
        let (inside, scope) = key;
        self.count += 1;
        self.entries.insert(key, Entry { outside_port, number: self.count, expires: now });
        self.by_source.entry(inside).or_default().insert(self.count, outside_port);
        self.owners.insert((outside_port, scope), inside);
        *self.shares.entry(*inside.ip()).or_default() += 1;
        self.peak = self.peak.max(self.entries.len());
        let first_look = now + self.timers.unreplied;
        self.looks.push(Reverse((first_look, Mortal::Entry(key))));
    }

    fn extend_entry(&mut self, key: Inside<Scope>, expires: Instant) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.expires = entry.expires.max(expires);
        }
    }

    /// Refreshes a flow, which may be new, and returns when it expires.
    fn refresh_flow(&mut self, now: Instant, key: Inside<SocketAddrV4>) -> Instant {
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.handle_packet(now, self.timers, false);
            return flow.expires;
        }
        self.begin_flow(now, key)
    }

    fn begin_flow(&mut self, now: Instant, key: Inside<SocketAddrV4>) -> Instant {
        let expires = now + self.timers.unreplied;
        self.flows.insert(key, Flow { began: now, is_answered: false, expires });
        self.looks.push(Reverse((expires, Mortal::Flow(key))));
        self.note_flow_peak();
        expires
    }

    /// Refreshes what an outgoing packet opens, if it opens something, and returns when that closes.
    fn refresh_opening(
        &mut self,
        now: Instant,
        port: u16,
        inside: SocketAddrV4,
        to: SocketAddrV4,
    ) -> Option<Instant> {
        let key = (port, self.opening(to)?);
        let expires = now + self.timers.stream;
        if self.openings.insert(key, Opening { inside, expires }).is_none() {
            self.looks.push(Reverse((expires, Mortal::Opening(key))));
        }
        Some(expires)
    }

    fn note_flow_peak(&mut self) {
        self.flow_peak = self.flow_peak.max(self.flows.len() + self.taken.len());
    }

    fn may_have_expired(&self, now: Instant) -> bool {
        self.looks.peek().is_some_and(|Reverse((at, _))| *at <= now)
    }

    /// Forgets what has expired, and looks again later at what was refreshed.
    fn forget_expired(&mut self, now: Instant) {
        while self.may_have_expired(now) {
            let Some(Reverse((_, mortal))) = self.looks.pop() else { return };
            match self.expiry(mortal) {
                Some(expires) if expires > now => self.looks.push(Reverse((expires, mortal))),
                Some(_) => self.forget(mortal),
                None => {}
            }
        }
    }

    fn expiry(&self, mortal: Mortal) -> Option<Instant> {
        match mortal {
            Mortal::Entry(key) => self.entries.get(&key).map(|entry| entry.expires),
            Mortal::Flow(key) => self.flows.get(&key).map(|flow| flow.expires),
            Mortal::Opening(key) => self.openings.get(&key).map(|opening| opening.expires),
            Mortal::Taken(key) => self.taken.get(&key).copied(),
        }
    }

    fn forget(&mut self, mortal: Mortal) {
        match mortal {
            Mortal::Entry(key) => self.forget_entry(key),
            Mortal::Flow(key) => {
                self.flows.remove(&key);
            }
            Mortal::Opening(key) => {
                self.openings.remove(&key);
            }
            Mortal::Taken(key) => {
                self.taken.remove(&key);
            }
        }
    }

    fn forget_entry(&mut self, key: Inside<Scope>) {
        let Some(entry) = self.entries.remove(&key) else { return };
        let (inside, scope) = key;
        self.owners.remove(&(entry.outside_port, scope));
        if let Some(ports) = self.by_source.get_mut(&inside) {
            ports.remove(&entry.number);
            if ports.is_empty() {
                self.by_source.remove(&inside);
            }
        }
        if let Some(share) = self.shares.get_mut(inside.ip()) {
            *share -= 1;
        }
    }
}

impl Flow {
    /// Refreshes by a packet in either direction; the first answer only counts for the packets after it, as in
    /// Linux.
    fn handle_packet(&mut self, now: Instant, timers: UdpTimers, is_incoming: bool) {
        let is_stream = self.is_answered && now > self.began + STREAM_AGE;
        self.expires = now + if is_stream { timers.stream } else { timers.unreplied };
        self.is_answered |= is_incoming;
    }
}
