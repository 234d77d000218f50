//! One NAT or firewall of the model.
//!
//! An outgoing packet finds or makes its mapping and leaves by its outside port. An incoming one passes where a
//! mapping and the filter allow; else it is for the box itself, which drops it or, where INPUT accepts, remembers
//! it: that flow occupies its port toward its sender, and the mapping of a later outgoing flow is spoilt. What is
//! for the box itself may have come with its last hop: only forwarding looks at the TTL.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use super::mappings::Mappings;
use super::packet::{Lost, Packet};
use crate::chance::Chance;
use crate::spec::{BoxKind, BoxSpec, Refusal, Translation, Unsolicited};

/// Says what a box made of a packet, which it has translated accordingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It goes on towards the internet.
    Outward,
    /// It goes on towards the host.
    Inward,
    /// It goes nowhere.
    Lost(Lost),
}

/// A NAT or firewall: its rules and what it remembers.
#[derive(Debug)]
pub struct NatBox {
    spec: BoxSpec,
    /// Its rules; a firewall's are those of a NAT that changes nothing.
    rules: Translation,
    inside_ip: Ipv4Addr,
    outside_ip: Ipv4Addr,
    mappings: Mappings,
}

impl NatBox {
    /// Makes a box with these addresses towards the host and towards the internet.
    pub fn new(spec: &BoxSpec, inside_ip: Ipv4Addr, outside_ip: Ipv4Addr, chance: Chance) -> NatBox {
        let rules = spec.translation().unwrap_or(Translation::LINUX);
        let mappings = Mappings::new(rules, spec, chance);
        NatBox { spec: spec.clone(), rules, inside_ip, outside_ip, mappings }
    }

    /// Forgets every flow, as a reboot would.
    pub fn flush(&mut self) {
        self.mappings.clear();
    }

    /// Takes another address in the place of one of its own. A NAT that had it forgets every flow; so does a firewall,
    /// which may have passed it on.
    pub(super) fn readdress(&mut self, old: Ipv4Addr, new: Ipv4Addr) {
        let has_it = self.inside_ip == old || self.outside_ip == old || !self.is_nat();
        for ip in [&mut self.inside_ip, &mut self.outside_ip].into_iter().filter(|ip| **ip == old) {
            *ip = new;
        }
        if has_it {
            self.flush();
        }
    }

    /// Takes a packet from the inside.
    pub fn handle_outgoing(&mut self, now: Instant, packet: &mut Packet) -> Passage {
        if *packet.dst.ip() == self.outside_ip && self.is_nat() {
            return self.handle_turning(now, packet);
        }
        if !packet.hop() {
            // Routers look at the TTL before they commit a new flow, but after they refreshed a known one.
            self.mappings.handle_dying(now, packet.src, packet.dst);
            return Passage::Lost(Lost::TtlExpired);
        }
        match self.blocks() {
            Some(reason) => Passage::Lost(reason),
            None if self.translate(now, packet) => Passage::Outward,
            None => Passage::Lost(Lost::NoPort),
        }
    }

    /// Takes a packet from the outside.
    pub fn handle_incoming(&mut self, now: Instant, packet: &mut Packet) -> Passage {
        let Some(inside) = self.inside_of(now, packet) else {
            return Passage::Lost(self.handle_unsolicited(now, packet));
        };
        packet.dst = inside;
        if packet.hop() { Passage::Inward } else { Passage::Lost(Lost::TtlExpired) }
    }

    /// Returns the inside address that sent the packet that an ICMP error from the outside is about; the packet
    /// is given as the outside saw it.
    pub fn handle_error(
        &mut self,
        now: Instant,
        src: SocketAddrV4,
        dst: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        let inside = self.mappings.handle_error(now, src.port(), dst)?;
        self.is_addressed(src, inside).then_some(inside)
    }

    /// Returns how many mappings it has; the budgets of good neighbours are counted in these.
    pub fn mapping_count(&self, now: Instant) -> usize {
        self.mappings.count(now)
    }

    /// Returns the most mappings that it ever had at once.
    pub fn mapping_peak(&self) -> usize {
        self.mappings.peak()
    }

    /// Returns how many flows it remembers, those taken for its own included, as Linux' connection tracking
    /// counts them.
    pub fn flow_count(&self, now: Instant) -> usize {
        self.mappings.flow_count(now)
    }

    /// Returns the most flows that it ever remembered at once, counted in the same way.
    pub fn flow_peak(&self) -> usize {
        self.mappings.flow_peak()
    }

    /// Returns its address towards the host.
    pub fn inside_ip(&self) -> Ipv4Addr {
        self.inside_ip
    }

    /// Returns its address towards the internet.
    pub fn outside_ip(&self) -> Ipv4Addr {
        self.outside_ip
    }

    /// Returns whether it translates.
    pub fn is_nat(&self) -> bool {
        matches!(self.spec.kind, BoxKind::Nat(_))
    }

    /// Takes a packet from the inside to the box's own outside address.
    fn handle_turning(&mut self, now: Instant, packet: &mut Packet) -> Passage {
        if !self.rules.hairpin {
            return Passage::Lost(Lost::Filtered);
        }
        if self.translate(now, packet) {
            self.handle_incoming(now, packet)
        } else {
            Passage::Lost(Lost::NoPort)
        }
    }

    /// Translates an outgoing packet, if there is a port for it.
    fn translate(&mut self, now: Instant, packet: &mut Packet) -> bool {
        let Some(port) = self.mappings.handle_outgoing(now, packet.src, packet.dst) else { return false };
        if self.is_nat() {
            packet.src = SocketAddrV4::new(self.outside_ip, port);
        }
        true
    }

    /// Returns the inside address that an incoming packet is for, if it may pass.
    fn inside_of(&mut self, now: Instant, packet: &Packet) -> Option<SocketAddrV4> {
        let inside = self.mappings.handle_incoming(now, packet.dst.port(), packet.src)?;
        self.is_addressed(packet.dst, inside).then_some(inside)
    }

    /// Returns whether what comes to that address from outside means that inside address.
    fn is_addressed(&self, outside: SocketAddrV4, inside: SocketAddrV4) -> bool {
        self.is_nat() || inside == outside
    }

    fn handle_unsolicited(&mut self, now: Instant, packet: &mut Packet) -> Lost {
        if !self.is_nat() || *packet.dst.ip() != self.outside_ip {
            return self.refuse_passage(packet);
        }
        match self.spec.input {
            Unsolicited::Drop => Lost::Filtered,
            Unsolicited::Reject => Lost::Refused,
            Unsolicited::Accept => {
                self.mappings.handle_taken(now, packet.dst.port(), packet.src);
                Lost::Taken
            }
        }
    }

    /// Says why a packet that is not for the box itself does not get in.
    fn refuse_passage(&self, packet: &mut Packet) -> Lost {
        if packet.hop() { self.blocks().unwrap_or(Lost::Filtered) } else { Lost::TtlExpired }
    }

    /// Says why no packet passes at all, if so.
    fn blocks(&self) -> Option<Lost> {
        match self.spec.kind {
            BoxKind::Firewall | BoxKind::Nat(_) => None,
            BoxKind::Blocked(Refusal::Silent) => Some(Lost::Blocked),
            BoxKind::Blocked(Refusal::Told) => Some(Lost::Prohibited),
        }
    }
}

#[cfg(test)]
mod tests;
