//! What can happen to a network while it runs.

use std::net::Ipv4Addr;

use super::Network;
use super::chain::Chain;
use crate::addresses::public_ip;
use crate::link::LinkSpec;
use crate::spec::{NatSpec, Side};

impl Network {
    /// Changes what the link does to packets that leave that side from now on.
    pub fn set_link_from(&mut self, from: Side, spec: LinkSpec) {
        self.ways[from.index()].set(spec);
    }

    /// Makes a side's box, counted from the host, forget every flow, as a reboot would.
    pub fn flush(&mut self, side: Side, index: usize) {
        self.chains[side.index()].boxes[index].flush();
    }

    /// Makes all of a side's boxes forget every flow.
    pub fn flush_all(&mut self, side: Side) {
        self.chains[side.index()].boxes.iter_mut().for_each(super::NatBox::flush);
    }

    /// Puts other boxes before a side's host, as one that moves to another network does. The side keeps its public
    /// address, and its host may get another own one.
    pub fn set_nats(&mut self, side: Side, spec: &NatSpec) {
        let mut chain = Chain::new(side, spec.boxes(), &mut self.chance);
        chain.readdress(public_ip(side), self.public_ips[side.index()]);
        self.chains[side.index()] = chain;
    }

    /// Gives a side another public address, as a provider does after a reconnect. The box that had the old one forgets
    /// its flows; what is still sent to the old one has no route.
    pub fn set_public_ip(&mut self, side: Side, ip: Ipv4Addr) {
        let old = std::mem::replace(&mut self.public_ips[side.index()], ip);
        self.chains[side.index()].readdress(old, ip);
    }

    /// Gives a side's host another own address, as a new lease does; the boxes keep what they remember of the old one. A
    /// host with a public address gets another one of those.
    pub fn set_host_ip(&mut self, side: Side, ip: Ipv4Addr) {
        let chain = &mut self.chains[side.index()];
        if chain.host_ip == self.public_ips[side.index()] {
            return self.set_public_ip(side, ip);
        }
        chain.host_ip = ip;
    }

    /// Returns the address by which the internet knows a side now.
    pub fn public_ip(&self, side: Side) -> Ipv4Addr {
        self.public_ips[side.index()]
    }
}
