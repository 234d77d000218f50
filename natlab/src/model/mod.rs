//! An in-process network with a virtual clock: thousands of runs a second, each repeatable from its seed.
//!
//! The life of a datagram: [`Network::send`] takes it through the sender's boxes at once, each hop costing one
//! of its TTL. Towards the other side it then asks the link's [`Way`] for its fate; towards the stranger it is
//! due at once. [`Network::poll_arrival`] moves the clock from event to event, takes what has crossed the
//! link through the receiver's boxes, and returns what reaches a host. What does not is counted by its reason.
//!
//! Where a real machine complains by ICMP about a packet it lost, so does one of the model: as often as Linux
//! would, by the address that Linux would use, with the beginning of the packet, over the link like any packet,
//! and back through the NATs by the mapping that the packet had used. Nobody complains about packets that a box
//! turned around (hairpinning) or that nobody has a route for.
//!
//! Time only comes in from outside. Hops but the link take no time.

mod arrival;
mod chain;
mod faults;
mod limiter;
mod mappings;
mod nat_box;
mod packet;
mod ports;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

pub use arrival::{Arrival, Delivery, IcmpError, Place};
pub use nat_box::{NatBox, Passage};
pub use packet::{IcmpKind, Lost, Packet};

use self::chain::{Chain, Reached, router_toward};
use self::limiter::{Limiter, Node};
use self::packet::Complaint;
use crate::addresses::{STRANGER_IPS, public_ip};
use crate::chance::Chance;
use crate::link::{Fate, LinkSpec, Way, WayStats};
use crate::spec::{NatSpec, Side};

/// Two sides behind their boxes, a stranger, and the link between the sides.
#[derive(Debug)]
pub struct Network {
    now: Instant,
    chains: [Chain; 2],
    ways: [Way; 2],
    events: BinaryHeap<Reverse<Event>>,
    number: u64,
    lost: BTreeMap<Lost, u64>,
    limiter: Limiter,
    /// The ports that programs have, of the places where that was ever said.
    listening: BTreeMap<Place, BTreeSet<u16>>,
    /// By which the internet knows each side now.
    public_ips: [Ipv4Addr; 2],
    /// For what is built later.
    chance: Chance,
}

impl Network {
    /// Builds a network whose clock shows `now`; equal arguments and inputs give equal runs.
    pub fn new(sides: &[NatSpec; 2], link: LinkSpec, seed: u64, now: Instant) -> Network {
        let mut chance = Chance::new(seed);
        let ways = [(); 2].map(|()| Way::new(link, chance.fork()));
        let chains = Side::BOTH.map(|side| Chain::new(side, sides[side.index()].boxes(), &mut chance));
        Network {
            now,
            chains,
            ways,
            events: BinaryHeap::new(),
            number: 0,
            lost: BTreeMap::new(),
            limiter: Limiter::default(),
            listening: BTreeMap::new(),
            public_ips: Side::BOTH.map(public_ip),
            chance,
        }
    }

    /// Sends a datagram now.
    pub fn send(&mut self, from: Place, port: u16, to: SocketAddrV4, ttl: u8, payload: Vec<u8>) {
        let packet = Packet { src: SocketAddrV4::new(self.ip(from), port), dst: to, ttl, payload };
        match from {
            _ if *to.ip() == self.ip(from) => {
                self.schedule(self.now, Hop::Place(from), Load::Datagram(packet))
            }
            Place::Host(side) => self.send_from_side(side, packet),
            Place::Stranger | Place::StrangerAgain => self.forward_from_stranger(packet),
        }
    }

    /// Says that a program has this port. As long as nothing was said of a place, each of its ports has one.
    pub fn listen(&mut self, place: Place, port: u16) {
        self.listening.entry(place).or_default().insert(port);
    }

    /// Says that no program has this port any more: the host refuses datagrams for it by ICMP.
    pub fn close(&mut self, place: Place, port: u16) {
        self.listening.entry(place).or_default().remove(&port);
    }

    /// Moves the clock to the next arrival up to that time and returns it; moves it to that time and returns
    /// nothing when there is none.
    pub fn poll_arrival(&mut self, until: Instant) -> Option<Arrival> {
        while self.next_event().is_some_and(|at| at <= until) {
            let Reverse(event) = self.events.pop()?;
            self.now = self.now.max(event.at);
            if let Some(arrival) = self.handle_event(event) {
                return Some(arrival);
            }
        }
        self.now = self.now.max(until);
        None
    }

    /// Does the same for hosts that do not look at ICMP errors.
    pub fn poll_delivery(&mut self, until: Instant) -> Option<Delivery> {
        loop {
            match self.poll_arrival(until)? {
                Arrival::Datagram(delivery) => return Some(delivery),
                Arrival::Icmp(_) => {}
            }
        }
    }

    /// Moves the clock to that time and returns all datagrams delivered up to it.
    pub fn advance_to(&mut self, until: Instant) -> Vec<Delivery> {
        std::iter::from_fn(|| self.poll_delivery(until)).collect()
    }

    /// Returns what the clock shows.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns when something happens next; nothing may arrive at a host by that.
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

    /// Returns how many datagrams the boxes, routers and hosts lost for that reason; the link counts its own.
    pub fn lost(&self, reason: Lost) -> u64 {
        self.lost.get(&reason).copied().unwrap_or(0)
    }

    fn send_from_side(&mut self, side: Side, mut packet: Packet) {
        let host = packet.src;
        match self.chains[side.index()].climb(self.now, &mut packet) {
            Reached::Internet => self.forward_from_side(side, packet),
            Reached::Host => self.schedule(self.now, Hop::Place(Place::Host(side)), Load::Datagram(packet)),
            Reached::ClimbedTo(index, reason) => {
                let offender = self.chains[side.index()].boxes[index].inside_ip();
                let packet = Packet { src: host, ..packet };
                if let Some(complaint) = self.lose(Node::Box(side, index), offender, packet, reason) {
                    self.schedule(self.now, Hop::Place(Place::Host(side)), Load::Complaint(complaint));
                }
            }
            Reached::DescendedTo(_, reason) => self.count_lost(reason),
        }
    }

    fn forward_from_side(&mut self, side: Side, mut packet: Packet) {
        if !packet.hop() {
            return self.lose_at_router(side, packet);
        }
        match self.destination(*packet.dst.ip()) {
            Some(destination) => self.forward(side, destination, Load::Datagram(packet)),
            None => self.count_lost(Lost::NoRoute),
        }
    }

    /// Takes a packet of the stranger, who hangs on both halves of the internet.
    fn forward_from_stranger(&mut self, mut packet: Packet) {
        let Some(Destination::Side(side)) = self.destination(*packet.dst.ip()) else {
            return self.count_lost(Lost::NoRoute);
        };
        if packet.hop() {
            self.schedule(self.now, Hop::Boxes(side), Load::Datagram(packet));
        } else {
            self.lose_at_router(side, packet);
        }
    }

    /// Sends something on from a side's half of the internet.
    fn forward(&mut self, side: Side, destination: Destination, load: Load) {
        match destination {
            Destination::Side(to) if to == side => self.schedule(self.now, Hop::Boxes(side), load),
            Destination::Side(_) => self.cross_link(side, load),
            Destination::Stranger(place) => self.schedule(self.now, Hop::Place(place), load),
        }
    }

    fn cross_link(&mut self, from: Side, load: Load) {
        let fate = self.ways[from.index()].handle_packet(self.now, load.bytes());
        let Fate::Arrives { at, copy_at } = fate else { return };
        if let Some(copy_at) = copy_at {
            self.schedule(copy_at, Hop::Internet(from.other()), load.clone());
        }
        self.schedule(at, Hop::Internet(from.other()), load);
    }

    fn schedule(&mut self, at: Instant, hop: Hop, load: Load) {
        self.number += 1;
        self.events.push(Reverse(Event { at, number: self.number, hop, load }));
    }

    fn handle_event(&mut self, Event { hop, load, .. }: Event) -> Option<Arrival> {
        match (hop, load) {
            (Hop::Internet(side), Load::Datagram(mut packet)) => {
                if packet.hop() {
                    return self.descend(side, packet);
                }
                self.lose_at_router(side, packet);
                None
            }
            (Hop::Boxes(side), Load::Datagram(packet)) => self.descend(side, packet),
            (Hop::Place(place), Load::Datagram(packet)) => self.deliver_directly(place, packet),
            (Hop::Internet(side) | Hop::Boxes(side), Load::Complaint(mut complaint)) => {
                let arrives = self.chains[side.index()].descend_complaint(self.now, &mut complaint);
                arrives.then(|| self.tell(Place::Host(side), complaint))
            }
            (Hop::Place(place), Load::Complaint(complaint)) => Some(self.tell(place, complaint)),
        }
    }

    /// Takes a packet from the internet through a side's boxes.
    fn descend(&mut self, side: Side, mut packet: Packet) -> Option<Arrival> {
        let public = packet.dst;
        let place = Place::Host(side);
        let (index, reason) = match self.chains[side.index()].descend(self.now, &mut packet) {
            Reached::Host if self.is_listening(place, packet.dst.port()) => {
                return Some(self.deliver(place, packet));
            }
            Reached::Host => (None, Lost::PortClosed),
            Reached::DescendedTo(index, reason) | Reached::ClimbedTo(index, reason) => (Some(index), reason),
            Reached::Internet => (None, Lost::NoRoute),
        };
        let node = index.map_or(Node::Host(place), |index| Node::Box(side, index));
        let offender = self.chains[side.index()].offender_of(index);
        // The boxes translate the packet in the error back to what the internet knows.
        let packet = Packet { dst: public, ..packet };
        let complaint = self.lose(node, offender, packet, reason)?;
        self.forward_complaint(side, complaint);
        None
    }

    /// Delivers what comes to a host past its boxes: from itself, turned around, or to the stranger.
    fn deliver_directly(&mut self, place: Place, packet: Packet) -> Option<Arrival> {
        if self.is_listening(place, packet.dst.port()) {
            return Some(self.deliver(place, packet));
        }
        let own_ip = self.ip(place);
        let complaint = self.lose(Node::Host(place), own_ip, packet, Lost::PortClosed)?;
        if *complaint.src.ip() == own_ip {
            return Some(self.tell(place, complaint));
        }
        if let (Place::Stranger | Place::StrangerAgain, Some(Destination::Side(side))) =
            (place, self.destination(*complaint.src.ip()))
        {
            self.schedule(self.now, Hop::Boxes(side), Load::Complaint(complaint));
        }
        None
    }

    fn is_listening(&self, place: Place, port: u16) -> bool {
        self.listening.get(&place).is_none_or(|ports| ports.contains(&port))
    }

    fn deliver(&self, to: Place, packet: Packet) -> Arrival {
        let Packet { src, dst, ttl, payload } = packet;
        Arrival::Datagram(Delivery { at: self.now, to, port: dst.port(), from: src, ttl, payload })
    }

    fn tell(&self, to: Place, complaint: Complaint) -> Arrival {
        let Complaint { kind, offender, src, dst: remote, quoted } = complaint;
        Arrival::Icmp(IcmpError { at: self.now, to, port: src.port(), remote, offender, kind, quoted })
    }

    /// Lets a packet end at a side's half of the internet, its TTL used up.
    fn lose_at_router(&mut self, side: Side, packet: Packet) {
        let offender = router_toward(&self.chains[side.index()], side, self.public_ips, packet.src);
        if let Some(complaint) = self.lose(Node::Router(side), offender, packet, Lost::TtlExpired) {
            self.forward_complaint(side, complaint);
        }
    }

    fn forward_complaint(&mut self, side: Side, complaint: Complaint) {
        if let Some(destination) = self.destination(*complaint.src.ip()) {
            self.forward(side, destination, Load::Complaint(complaint));
        }
    }

    /// Counts a packet as lost at that machine and returns what that one has to say about it.
    fn lose(&mut self, node: Node, offender: Ipv4Addr, packet: Packet, reason: Lost) -> Option<Complaint> {
        self.count_lost(reason);
        let kind = reason.told()?;
        let allowed = self.limiter.allows(self.now, node, *packet.src.ip());
        allowed.then(|| Complaint::new(kind, offender, packet))
    }

    fn count_lost(&mut self, reason: Lost) {
        *self.lost.entry(reason).or_default() += 1;
    }

    fn destination(&self, ip: Ipv4Addr) -> Option<Destination> {
        let side = Side::BOTH.into_iter().find(|side| self.public_ips[side.index()] == ip);
        let stranger = || match ip {
            _ if ip == STRANGER_IPS[0] => Some(Place::Stranger),
            _ if ip == STRANGER_IPS[1] => Some(Place::StrangerAgain),
            _ => None,
        };
        side.map(Destination::Side).or_else(|| stranger().map(Destination::Stranger))
    }
}

/// Where something goes on when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hop {
    /// The side's half of the internet, off the link.
    Internet(Side),
    /// The side's outermost box.
    Boxes(Side),
    /// A host itself.
    Place(Place),
}

/// What travels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Load {
    Datagram(Packet),
    Complaint(Complaint),
}

impl Load {
    fn bytes(&self) -> usize {
        match self {
            Load::Datagram(packet) => packet.bytes(),
            Load::Complaint(complaint) => complaint.bytes(),
        }
    }
}

/// Something that goes on at some time; of two at the same time the one scheduled first goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Instant,
    number: u64,
    hop: Hop,
    load: Load,
}

#[derive(Debug, Clone, Copy)]
enum Destination {
    Side(Side),
    Stranger(Place),
}
