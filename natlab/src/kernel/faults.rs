//! What can happen to the addresses and routes of a running laboratory.
//!
//! Nobody answers for an address that was given up: packets to it vanish where they used to be delivered. A new
//! public address must lie in the network of the old one, by which the other half of the internet finds it.

use std::net::Ipv4Addr;

use super::namespace::Namespace;
use super::{Lab, LabError, LabSide, tool};
use crate::spec::Side;

/// Names of a host's interfaces, of which it has one at a time.
const HOST_INTERFACES: [&str; 2] = [super::HOST_INTERFACE, "eth1"];

impl Lab {
    /// Gives a side another public address, as a provider does after a reconnect. The node that had the old one
    /// forgets its flows.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn set_public_ip(&mut self, side: Side, ip: Ipv4Addr) -> Result<(), LabError> {
        let side = self.side_mut(side);
        side.readdress(side.owner_level(), ip)?;
        side.public_ip = ip;
        Ok(())
    }

    /// Gives a side's host another address, as a new lease does. Its box keeps what it remembers of the old one, ports
    /// included: until that is forgotten, a NAT that keeps ports gives the same port toward the same remote to nobody else.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn set_host_ip(&mut self, side: Side, ip: Ipv4Addr) -> Result<(), LabError> {
        let side = self.side_mut(side);
        let level = side.boxes.len();
        if side.owner_level() == level {
            side.public_ip = ip;
        }
        side.readdress(level, ip)
    }

    /// Moves a side's host to its other interface, where it has that address; the one that it leaves is gone.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn move_host(&mut self, side: Side, ip: Ipv4Addr) -> Result<(), LabError> {
        let moved = self.side_mut(side);
        let level = moved.boxes.len();
        let old = moved.host_interface;
        let new = if old == HOST_INTERFACES[0] { HOST_INTERFACES[1] } else { HOST_INTERFACES[0] };
        let (upper, host) = (moved.upper(level).name(), moved.host.name());
        let wire = format!("link add name lan netns {upper} type veth peer name {new} netns {host}\n");
        configure(&moved.host, &format!("link del {old}\n"))?;
        tool::run("ip", &["-batch", "-"], &wire)?;
        configure(moved.upper(level), &moved.legs[level].upper_lines())?;
        moved.host_interface = new;
        self.set_host_ip(side, ip)
    }

    /// Takes a host's default route: it cannot send anywhere, and is told so.
    ///
    /// # Errors
    /// When it has none.
    pub fn take_route(&self, side: Side) -> Result<(), LabError> {
        configure(self.host(side), "route del default\n")
    }

    /// Gives a host its default route.
    ///
    /// # Errors
    /// When its interface is down.
    pub fn give_route(&self, side: Side) -> Result<(), LabError> {
        let side = self.side(side);
        configure(&side.host, &side.legs[side.boxes.len()].default_route(side.host_interface))
    }

    /// Takes a host's interface down; its routes go with it, its address stays.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn unplug(&self, side: Side) -> Result<(), LabError> {
        let side = self.side(side);
        configure(&side.host, &format!("link set {} down\n", side.host_interface))
    }

    /// Takes a host's interface up again and gives it its default route.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn plug(&self, side: Side) -> Result<(), LabError> {
        let host_interface = self.side(side).host_interface;
        configure(self.host(side), &format!("link set {host_interface} up\n"))?;
        self.give_route(side)
    }

    fn side_mut(&mut self, side: Side) -> &mut LabSide {
        &mut self.sides[side.index()]
    }
}

impl LabSide {
    /// Returns the level, counted inwards from the internet, of the node that has the public address.
    fn owner_level(&self) -> usize {
        self.legs.iter().take_while(|leg| leg.behind.is_some()).count()
    }

    /// Gives the node at that level another address toward the internet; all that pass its packets on follow.
    fn readdress(&mut self, level: usize, new: Ipv4Addr) -> Result<(), LabError> {
        let old = self.legs[level].lower_ip;
        if old == new {
            return self.address_lower(level);
        }
        self.legs[level].lower_ip = new;
        let direct = format!("route replace {new}/32 dev lan src {}\n", self.legs[level].upper_ip);
        configure(self.upper(level), &(direct + &given_up(old)))?;
        for above in (0..level).rev().take_while(|above| self.legs[*above].behind == Some(old)) {
            let via = self.legs[above].lower_ip;
            let indirect = format!("route replace {new}/32 via {via} dev lan onlink\n");
            configure(self.upper(above), &(indirect + &given_up(old)))?;
        }
        self.legs.iter_mut().filter(|leg| leg.behind == Some(old)).for_each(|leg| leg.behind = Some(new));
        self.address_lower(level)
    }

    /// Configures the node at that level anew: what it had on its interface toward the internet is gone.
    fn address_lower(&mut self, level: usize) -> Result<(), LabError> {
        let leg = &self.legs[level];
        match self.boxes.len().checked_sub(level + 1) {
            Some(index) => {
                let lines = format!("addr flush dev wan\n{}", leg.lower_lines("wan"));
                self.boxes[index].ip = leg.lower_ip;
                let nat = &self.boxes[index];
                configure(nat.namespace(), &lines)?;
                nat.flush_conntrack()
            }
            None => {
                let interface = self.host_interface;
                self.host.ip = leg.lower_ip;
                let lines = format!("addr flush dev {interface}\n{}", leg.lower_lines(interface));
                configure(&self.host, &lines)
            }
        }
    }

    /// Returns the node above that level's network.
    fn upper(&self, level: usize) -> &Namespace {
        match level.checked_sub(1) {
            Some(above) => self.boxes[self.boxes.len() - 1 - above].namespace(),
            None => &self.internet,
        }
    }
}

fn configure(node: &Namespace, lines: &str) -> Result<(), LabError> {
    node.enter(|| tool::run("ip", &["-batch", "-"], lines))?
}

/// Lets packets to an address vanish, without an ICMP error.
fn given_up(ip: Ipv4Addr) -> String {
    format!("route replace blackhole {ip}/32\n")
}
