//! Which outside port a new mapping gets.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use pinhole_proto::nat::PortAssignment;

use crate::chance::Chance;

/// Lowest port assigned by a NAT that does not preserve it.
const FIRST_PORT: u16 = 1024;

/// Number of ports that a NAT assigns from.
const PORTS: u16 = u16::MAX - FIRST_PORT + 1;

/// Ports tried before a NAT gives up; Linux tries 128 as well.
const PORT_TRIES: usize = 128;

/// The ports of one NAT.
#[derive(Debug)]
pub(super) struct Ports {
    assignment: PortAssignment,
    chance: Chance,
    /// The port that the next sequential assignment tries.
    next_port: u16,
    /// The first port of each subscriber's block.
    blocks: HashMap<Ipv4Addr, u16>,
}

impl Ports {
    pub(super) fn new(assignment: PortAssignment, mut chance: Chance) -> Ports {
        let next_port = random_port(&mut chance);
        Ports { assignment, chance, next_port, blocks: HashMap::new() }
    }

    /// Picks a port for a mapping of that inside address, or nothing when too many are taken. Where ports are kept, the
    /// wanted one comes first, then the inside port.
    pub(super) fn assign(
        &mut self,
        inside: SocketAddrV4,
        wanted: u16,
        is_free: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        match self.assignment {
            PortAssignment::Preserving if is_free(wanted) => Some(wanted),
            PortAssignment::Preserving if is_free(inside.port()) => Some(inside.port()),
            PortAssignment::Preserving | PortAssignment::Random => {
                (0..PORT_TRIES).map(|_| random_port(&mut self.chance)).find(|port| is_free(*port))
            }
            PortAssignment::Sequential { stride } => {
                (0..PORT_TRIES).map(|_| self.next_in_sequence(stride)).find(|port| is_free(*port))
            }
            PortAssignment::Block { ports } => {
                let (first, ports) = self.block(*inside.ip(), ports);
                // From anywhere in the block all the way round.
                let start = self.chance.below(ports.into());
                let around = (start..start + u64::from(ports)).map(|step| step % u64::from(ports));
                let in_block = around.map(|offset| first + u16::try_from(offset).expect("below 16 bits"));
                in_block.into_iter().find(|port| is_free(*port))
            }
        }
    }

    fn next_in_sequence(&mut self, stride: u16) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(stride).unwrap_or(FIRST_PORT);
        port
    }

    /// Returns the first port and the number of ports of a subscriber's block.
    fn block(&mut self, subscriber: Ipv4Addr, ports: u16) -> (u16, u16) {
        let ports = ports.clamp(1, PORTS);
        let chance = &mut self.chance;
        let mut number = || u16::try_from(chance.below((PORTS / ports).into())).expect("below 16 bits");
        let first = *self.blocks.entry(subscriber).or_insert_with(|| FIRST_PORT + number() * ports);
        (first, ports)
    }
}

fn random_port(chance: &mut Chance) -> u16 {
    FIRST_PORT + u16::try_from(chance.below(PORTS.into())).expect("below a number of 16 bits")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_block_is_used_up_to_its_last_port_and_no_further() {
        let mut ports = Ports::new(PortAssignment::Block { ports: 256 }, Chance::new(3));
        let used = RefCell::new(BTreeSet::new());
        let mut assign = || {
            let inside = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5555);
            let port = ports.assign(inside, 5555, |p| !used.borrow().contains(&p));
            port.inspect(|port| assert!(used.borrow_mut().insert(*port)))
        };
        assert!((0..256).all(|_| assign().is_some()));
        assert_eq!(assign(), None);
        let used = used.into_inner();
        assert_eq!(used.last().zip(used.first()).map(|(last, first)| last - first), Some(255));
    }
}
