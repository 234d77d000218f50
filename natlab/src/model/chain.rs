//! A side's host and boxes, and what becomes of packets among them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use super::nat_box::{NatBox, Passage};
use super::packet::{Complaint, Lost, Packet};
use crate::addresses::{Leg, link_ip, router_ip};
use crate::chance::Chance;
use crate::spec::{BoxSpec, Side};

/// A side's host and boxes.
#[derive(Debug)]
pub(super) struct Chain {
    /// The host's own address.
    pub(super) host_ip: Ipv4Addr,
    /// The address of the internet's router towards this side.
    pub(super) gateway_ip: Ipv4Addr,
    /// The one nearest to the host first.
    pub(super) boxes: Vec<NatBox>,
}

/// Says how far a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// The internet.
    Internet,
    /// The host.
    Host,
    /// No further than a box, counted from the host, towards the internet.
    ClimbedTo(usize, Lost),
    /// No further than a box, counted from the host, towards the host.
    DescendedTo(usize, Lost),
}

impl Chain {
    pub(super) fn new(side: Side, specs: &[BoxSpec], chance: &mut Chance) -> Chain {
        let inwards: Vec<&BoxSpec> = specs.iter().rev().collect();
        // The leg above the box; the one above the host comes last.
        let leg = |index: usize| Leg::new(side, &inwards, specs.len() - index);
        let boxes = specs.iter().enumerate().map(|(index, spec)| {
            let outside_ip = Leg::new(side, &inwards, specs.len() - 1 - index).lower_ip;
            NatBox::new(spec, leg(index).upper_ip, outside_ip, chance.fork())
        });
        let boxes = boxes.collect();
        let gateway_ip = Leg::new(side, &inwards, 0).upper_ip;
        Chain { host_ip: leg(0).lower_ip, gateway_ip, boxes }
    }

    /// Takes a packet from the host outwards, as far as it goes; one box may turn it around.
    pub(super) fn climb(&mut self, now: Instant, packet: &mut Packet) -> Reached {
        for index in 0..self.boxes.len() {
            match self.boxes[index].handle_outgoing(now, packet) {
                Passage::Outward => {}
                Passage::Inward => return self.descend_below(now, packet, index),
                Passage::Lost(reason) => return Reached::ClimbedTo(index, reason),
            }
        }
        Reached::Internet
    }

    /// Takes a packet from the internet inwards, as far as it goes.
    pub(super) fn descend(&mut self, now: Instant, packet: &mut Packet) -> Reached {
        self.descend_below(now, packet, self.boxes.len())
    }

    /// Takes an error from the internet inwards and tells whether it gets to the host.
    pub(super) fn descend_complaint(&mut self, now: Instant, complaint: &mut Complaint) -> bool {
        let gets_through = self.boxes.iter_mut().rev().all(|nat_box| {
            let inside = nat_box.handle_error(now, complaint.src, complaint.dst);
            complaint.src = inside.unwrap_or(complaint.src);
            inside.is_some()
        });
        gets_through && *complaint.src.ip() == self.host_ip
    }

    /// Returns the address from which the internet sees an error of a box, or of the host when there is no such
    /// box: NATs translate it like every packet of that flow.
    pub(super) fn offender_of(&self, index: Option<usize>) -> Ipv4Addr {
        let outside = index.map_or(0, |index| index + 1);
        let own = index.map_or(self.host_ip, |index| self.boxes[index].outside_ip());
        let translating = self.boxes[outside..].iter().rev().find(|nat_box| nat_box.is_nat());
        translating.map_or(own, NatBox::outside_ip)
    }

    /// Gives the node that has the one address the other one; all that pass its packets on follow.
    pub(super) fn readdress(&mut self, old: Ipv4Addr, new: Ipv4Addr) {
        self.boxes.iter_mut().for_each(|nat_box| nat_box.readdress(old, new));
        if self.host_ip == old {
            self.host_ip = new;
        }
    }

    /// Takes a packet inwards through the boxes below that index.
    fn descend_below(&mut self, now: Instant, packet: &mut Packet, index: usize) -> Reached {
        for index in (0..index).rev() {
            if let Passage::Lost(reason) = self.boxes[index].handle_incoming(now, packet) {
                return Reached::DescendedTo(index, reason);
            }
        }
        // Nobody has an address that the host has given up.
        match self.boxes.first() {
            _ if *packet.dst.ip() == self.host_ip => Reached::Host,
            Some(_) => Reached::DescendedTo(0, Lost::NoRoute),
            None => Reached::Internet,
        }
    }
}

/// Returns the address by which a side's half of the internet complains to somebody.
pub(super) fn router_toward(
    chain: &Chain,
    side: Side,
    public_ips: [Ipv4Addr; 2],
    to: SocketAddrV4,
) -> Ipv4Addr {
    match *to.ip() {
        ip if ip == public_ips[side.index()] => chain.gateway_ip,
        ip if ip == public_ips[side.other().index()] => link_ip(side),
        _ => router_ip(side),
    }
}
