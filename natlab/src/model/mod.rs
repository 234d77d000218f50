//! An in-process network with a virtual clock: thousands of runs a second, each repeatable from its seed.
//!
//! The life of a datagram: [`Network::send`] takes it through the sender's boxes at once, each hop costing one
//! of its TTL. Towards the other side it then asks the link's [`Way`] for its fate; towards the stranger it is
//! due at once. [`Network::poll_delivery`] moves the clock from event to event, takes what has crossed the
//! link through the receiver's boxes, and returns what reaches a host. What does not is counted by its reason.
//!
//! Time only comes in from outside. Hops but the link take no time. There is no ICMP yet: what a real box would
//! answer is, for now, a [`Lost`] reason.

mod mappings;
mod nat_box;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

pub use nat_box::{Lost, NatBox, Packet, Passage};

use crate::addresses::{STRANGER_IPS, Subnet, public_ip};
use crate::chance::Chance;
use crate::link::{Fate, LinkSpec, Way, WayStats};
use crate::spec::{BoxSpec, NatSpec, Side};

/// Bytes of an IPv4 and a UDP header, which count on the link.
const HEADER_BYTES: usize = 28;

/// Names an address from which datagrams are sent and at which they arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A side's host, behind its boxes.
    Host(Side),
    /// The stranger, whom neither side knows.
    Stranger,
    /// The same stranger by its second address.
    StrangerAgain,
}

/// A datagram that reached a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When it arrived.
    pub at: Instant,
    /// Where it arrived.
    pub to: Place,
    /// The port at which it arrived.
    pub port: u16,
    /// Whom it seems to come from.
    pub from: SocketAddrV4,
    /// How many more hops it could have taken.
    pub ttl: u8,
    /// What it says.
    pub payload: Vec<u8>,
}

/// Two sides behind their boxes, a stranger, and the link between the sides.
#[derive(Debug)]
pub struct Network {
    now: Instant,
    chains: [Chain; 2],
    ways: [Way; 2],
    events: BinaryHeap<Reverse<Event>>,
    number: u64,
    lost: BTreeMap<Lost, u64>,
}

impl Network {
    /// Builds a network whose clock shows `now`; equal arguments and inputs give equal runs.
    pub fn new(sides: &[NatSpec; 2], link: LinkSpec, seed: u64, now: Instant) -> Network {
        let mut chance = Chance::new(seed);
        let ways = [(); 2].map(|()| Way::new(link, chance.fork()));
        let chains = Side::BOTH.map(|side| Chain::new(side, sides[side.index()].boxes(), &mut chance));
        Network { now, chains, ways, events: BinaryHeap::new(), number: 0, lost: BTreeMap::new() }
    }

    /// Sends a datagram now.
    pub fn send(&mut self, from: Place, port: u16, to: SocketAddrV4, ttl: u8, payload: Vec<u8>) {
        let packet = Packet { src: SocketAddrV4::new(self.ip(from), port), dst: to, ttl, payload };
        match from {
            _ if *to.ip() == self.ip(from) => self.schedule(self.now, Hop::Place(from), packet),
            Place::Host(side) => {
                let climbed = self.chains[side.index()].climb(self.now, packet);
                self.handle_climbed(side, climbed);
            }
            Place::Stranger | Place::StrangerAgain => self.forward_from_stranger(packet),
        }
    }

    /// Changes what the link does to packets that leave that side from now on.
    pub fn set_link_from(&mut self, from: Side, spec: LinkSpec) {
        self.ways[from.index()].set(spec);
    }

    /// Makes a side's box, counted from the host, forget every flow, as a reboot would.
    pub fn flush(&mut self, side: Side, index: usize) {
        self.chains[side.index()].boxes[index].flush();
    }

    /// Moves the clock to the next delivery up to that time and returns it; moves it to that time and returns
    /// nothing when there is none.
    pub fn poll_delivery(&mut self, until: Instant) -> Option<Delivery> {
        while self.next_event().is_some_and(|at| at <= until) {
            let Reverse(event) = self.events.pop()?;
            self.now = self.now.max(event.at);
            if let Some(delivery) = self.handle_event(event) {
                return Some(delivery);
            }
        }
        self.now = self.now.max(until);
        None
    }

    /// Moves the clock to that time and returns all deliveries up to it.
    pub fn advance_to(&mut self, until: Instant) -> Vec<Delivery> {
        std::iter::from_fn(|| self.poll_delivery(until)).collect()
    }

    /// Returns what the clock shows.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns when something happens next; `poll_delivery` up to then may still return nothing.
    pub fn next_event(&self) -> Option<Instant> {
        self.events.peek().map(|Reverse(event)| event.at)
    }

    /// Returns the place's own address, which may be private.
    pub fn ip(&self, place: Place) -> Ipv4Addr {
        match place {
            Place::Host(side) => self.chains[side.index()].host_ip,
            Place::Stranger => STRANGER_IPS[0],
            Place::StrangerAgain => STRANGER_IPS[1],
        }
    }

    /// Returns a side's box, counted from the host.
    ///
    /// # Panics
    /// When the side has fewer boxes.
    pub fn nat(&self, side: Side, index: usize) -> &NatBox {
        &self.chains[side.index()].boxes[index]
    }

    /// Returns what the direction of the link that leaves that side did so far.
    pub fn link_stats_from(&self, from: Side) -> WayStats {
        self.ways[from.index()].stats()
    }

    /// Returns how many packets the boxes and routers lost for that reason; the link counts its own.
    pub fn lost(&self, reason: Lost) -> u64 {
        self.lost.get(&reason).copied().unwrap_or(0)
    }

    /// Goes on with what a side's boxes made of an outgoing packet.
    fn handle_climbed(&mut self, side: Side, climbed: Passage) {
        match climbed {
            Passage::Outward(packet) => self.forward_from_side(side, packet),
            Passage::Inward(packet) => self.schedule(self.now, Hop::Place(Place::Host(side)), packet),
            Passage::Lost(reason) => self.lose(reason),
        }
    }

    fn forward_from_side(&mut self, side: Side, packet: Packet) {
        let Some(packet) = packet.hop() else { return self.lose(Lost::TtlExpired) };
        match destination(*packet.dst.ip()) {
            Some(Destination::Side(to)) if to == side => self.schedule(self.now, Hop::Boxes(side), packet),
            Some(Destination::Side(_)) => self.cross_link(side, packet),
            Some(Destination::Stranger(place)) => self.schedule(self.now, Hop::Place(place), packet),
            None => self.lose(Lost::NoRoute),
        }
    }

    fn forward_from_stranger(&mut self, packet: Packet) {
        let Some(packet) = packet.hop() else { return self.lose(Lost::TtlExpired) };
        match destination(*packet.dst.ip()) {
            Some(Destination::Side(side)) => self.schedule(self.now, Hop::Boxes(side), packet),
            Some(Destination::Stranger(_)) | None => self.lose(Lost::NoRoute),
        }
    }

    fn cross_link(&mut self, from: Side, packet: Packet) {
        let bytes = packet.payload.len() + HEADER_BYTES;
        let fate = self.ways[from.index()].handle_packet(self.now, bytes);
        let Fate::Arrives { at, copy_at } = fate else { return };
        if let Some(copy_at) = copy_at {
            self.schedule(copy_at, Hop::Internet(from.other()), packet.clone());
        }
        self.schedule(at, Hop::Internet(from.other()), packet);
    }

    fn schedule(&mut self, at: Instant, hop: Hop, packet: Packet) {
        self.number += 1;
        self.events.push(Reverse(Event { at, number: self.number, hop, packet }));
    }

    fn handle_event(&mut self, event: Event) -> Option<Delivery> {
        let Event { hop, packet, .. } = event;
        match hop {
            Hop::Internet(side) => {
                let Some(packet) = packet.hop() else { return self.lose_here(Lost::TtlExpired) };
                self.descend(side, packet)
            }
            Hop::Boxes(side) => self.descend(side, packet),
            Hop::Place(place) => Some(self.deliver(place, packet)),
        }
    }

    /// Takes a packet from the internet through a side's boxes.
    fn descend(&mut self, side: Side, packet: Packet) -> Option<Delivery> {
        match self.chains[side.index()].descend(self.now, packet) {
            Passage::Inward(packet) => Some(self.deliver(Place::Host(side), packet)),
            Passage::Outward(_) => self.lose_here(Lost::NoRoute),
            Passage::Lost(reason) => self.lose_here(reason),
        }
    }

    fn deliver(&self, to: Place, packet: Packet) -> Delivery {
        let Packet { src, dst, ttl, payload } = packet;
        Delivery { at: self.now, to, port: dst.port(), from: src, ttl, payload }
    }

    fn lose(&mut self, reason: Lost) {
        *self.lost.entry(reason).or_default() += 1;
    }

    fn lose_here(&mut self, reason: Lost) -> Option<Delivery> {
        self.lose(reason);
        None
    }
}

/// A side's host and boxes.
#[derive(Debug)]
struct Chain {
    host_ip: Ipv4Addr,
    /// The one nearest to the host first.
    boxes: Vec<NatBox>,
}

impl Chain {
    fn new(side: Side, specs: &[BoxSpec], chance: &mut Chance) -> Chain {
        let inwards: Vec<&BoxSpec> = specs.iter().rev().collect();
        let outside_ip = |index: usize| Subnet::above(side, &inwards, specs.len() - 1 - index).owner;
        let boxes = specs.iter().enumerate();
        let boxes = boxes.map(|(index, spec)| NatBox::new(spec, outside_ip(index), chance.fork())).collect();
        Chain { host_ip: Subnet::above(side, &inwards, specs.len()).owner, boxes }
    }

    /// Takes a packet from the host outwards, as far as it goes; one box may turn it around.
    fn climb(&mut self, now: Instant, mut packet: Packet) -> Passage {
        for index in 0..self.boxes.len() {
            match self.boxes[index].handle_outgoing(now, packet) {
                Passage::Outward(translated) => packet = translated,
                Passage::Inward(turned) => return self.descend_below(now, turned, index),
                Passage::Lost(reason) => return Passage::Lost(reason),
            }
        }
        Passage::Outward(packet)
    }

    fn descend(&mut self, now: Instant, packet: Packet) -> Passage {
        self.descend_below(now, packet, self.boxes.len())
    }

    /// Takes a packet inwards through the boxes below that index.
    fn descend_below(&mut self, now: Instant, mut packet: Packet, index: usize) -> Passage {
        for nat_box in self.boxes[..index].iter_mut().rev() {
            match nat_box.handle_incoming(now, packet) {
                Passage::Inward(translated) => packet = translated,
                stopped @ (Passage::Outward(_) | Passage::Lost(_)) => return stopped,
            }
        }
        Passage::Inward(packet)
    }
}

/// Where a packet goes on when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hop {
    /// The side's half of the internet, off the link.
    Internet(Side),
    /// The side's outermost box.
    Boxes(Side),
    /// A host itself.
    Place(Place),
}

/// A packet that goes on at some time; of two at the same time the one scheduled first goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Instant,
    number: u64,
    hop: Hop,
    packet: Packet,
}

enum Destination {
    Side(Side),
    Stranger(Place),
}

fn destination(ip: Ipv4Addr) -> Option<Destination> {
    match ip {
        _ if ip == public_ip(Side::A) => Some(Destination::Side(Side::A)),
        _ if ip == public_ip(Side::B) => Some(Destination::Side(Side::B)),
        _ if ip == STRANGER_IPS[0] => Some(Destination::Stranger(Place::Stranger)),
        _ if ip == STRANGER_IPS[1] => Some(Destination::Stranger(Place::StrangerAgain)),
        _ => None,
    }
}
