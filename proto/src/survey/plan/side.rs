//! What a survey knows of one side.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::{FIRST_SAMPLE, STRAYS};
use crate::survey::{FilteringSeen, MappingSeen, PortsSeen, Seen, Socket, Stand, SurveyProbe};

/// What is known of one side.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) stand: Stand,
    pub(super) mappings: usize,
    /// The local ports of its new sockets.
    pub(super) ports: Vec<u16>,
    /// Probes to further ports of the peer that came from the one outside port.
    pub(super) steady: BTreeSet<u16>,
    /// Those of them that came from another port alone.
    pub(super) moved: BTreeSet<u16>,
    /// The peer's two strays that got in, and where they came from.
    pub(super) strays: [Option<SocketAddr>; 2],
    /// Whether the probes over the tunnel's pair arrived that went beside them.
    pub(super) is_heard: bool,
    /// Outside ports of its new sockets, by socket.
    pub(super) outside_ports: BTreeMap<u16, u16>,
    pub(super) mapping: MappingSeen,
    /// Outside ports of many new sockets, by socket.
    pub(super) samples: BTreeMap<u16, u16>,
    pub(super) ports_seen: Option<PortsSeen>,
    pub(super) arrived: Option<u16>,
}

impl Side {
    pub(super) fn new(stand: Stand, mappings: usize) -> Self {
        Self {
            stand,
            mappings,
            ports: Vec::new(),
            steady: BTreeSet::new(),
            moved: BTreeSet::new(),
            strays: [None; 2],
            is_heard: false,
            outside_ports: BTreeMap::new(),
            mapping: MappingSeen::Unknown,
            samples: BTreeMap::new(),
            ports_seen: None,
            arrived: None,
        }
    }

    /// Records from where a probe to a further port of the peer came, of so many. A copy that somebody has made on the way comes
    /// from elsewhere, and says nothing beside the probe itself.
    pub(super) fn note_target(&mut self, probe: u16, from: SocketAddr, asked: usize) {
        if from == self.stand.outside {
            self.moved.remove(&probe);
            self.steady.insert(probe);
        } else if self.is_outside(from) && !self.steady.contains(&probe) {
            self.moved.insert(probe);
        }
        // One alone may have got the same port by chance: a block has few.
        self.mapping = match (self.moved.is_empty(), self.steady.len() == asked) {
            (false, _) => MappingSeen::ByPort,
            (true, true) => MappingSeen::NotByPort,
            (true, false) => MappingSeen::Unknown,
        };
    }

    /// Records the outside port of a new socket, by what came from it first.
    pub(super) fn note_port(&mut self, socket: Socket, from: SocketAddr) {
        if self.is_outside(from) {
            self.outside_ports.entry(socket.0).or_insert(from.port());
        }
    }

    /// The same for one of many.
    pub(super) fn note_sample(&mut self, socket: Socket, from: SocketAddr) {
        if self.is_outside(from) {
            self.samples.entry(socket.0).or_insert(from.port());
        }
    }

    fn is_outside(&self, from: SocketAddr) -> bool {
        from.ip() == self.stand.outside.ip()
    }

    /// Whether it lets in ports that it has not sent to; `None` where the tunnel's own probes were not heard either. A
    /// single one of two may have been sent to in the search.
    pub(super) fn admits(&self) -> Option<bool> {
        let strays = self.strays.iter().flatten().count();
        (self.is_heard || strays > 0).then_some(strays == STRAYS.len())
    }

    /// How many new sockets have kept their port.
    pub(super) fn kept(&self) -> usize {
        self.outside_ports
            .iter()
            .filter(|(socket, outside)| self.inside_port(**socket) == Some(**outside))
            .count()
    }

    /// Whether outside ports are the inside ones: most new sockets say so, or none was seen and the tunnel's says so.
    pub(super) fn keeps(&self) -> bool {
        match self.outside_ports.len() {
            0 => self.stand.inside.port() == self.stand.outside.port(),
            seen => self.kept() * 2 > seen,
        }
    }

    pub(super) fn inside_port(&self, socket: u16) -> Option<u16> {
        // Whoever reports port 0 has no socket there.
        self.ports.get(usize::from(socket).checked_sub(1)?).copied().filter(|port| *port != 0)
    }

    /// Returns this side's outside address with that port.
    pub(super) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.stand.outside.ip(), port)
    }

    /// Returns the probe by which the other side opens its filter for one of this side's ports.
    pub(super) fn opening(&self, from: u16, port: u16) -> SurveyProbe {
        SurveyProbe { from: Socket(from), to: self.at(port), is_low: true }
    }

    pub(super) fn sample_sockets(&self, count: u16) -> impl Iterator<Item = u16> {
        let opened = u16::try_from(self.ports.len()).unwrap_or(u16::MAX);
        (FIRST_SAMPLE..=opened).take(count.into())
    }

    pub(super) fn seen(&self) -> Seen {
        let ports =
            if self.keeps() { PortsSeen::Preserving } else { self.ports_seen.unwrap_or(PortsSeen::Moved) };
        Seen {
            inside: self.stand.inside,
            outside: self.stand.outside,
            mapping: self.mapping,
            filtering: match self.admits() {
                Some(true) => FilteringSeen::AnyPort,
                Some(false) => FilteringSeen::ExactPort,
                None => FilteringSeen::Unknown,
            },
            ports,
            samples: u16::try_from(self.outside_ports.len() + self.samples.len()).unwrap_or(u16::MAX),
            arrived: self.arrived,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTSIDE: &str = "203.0.113.7:40000";
    const OTHER_PORT: &str = "203.0.113.7:40001";
    const OTHER_IP: &str = "198.51.100.66:5555";

    fn side() -> Side {
        let address = |text: &str| text.parse().expect("an address");
        Side::new(Stand { inside: address("192.168.1.2:5555"), outside: address(OUTSIDE) }, 100)
    }

    fn mapping_of(heard: &[(u16, &str)]) -> MappingSeen {
        let mut side = side();
        for (probe, from) in heard {
            side.note_target(*probe, from.parse().expect("an address"), 2);
        }
        side.mapping
    }

    #[test]
    fn a_copy_from_elsewhere_does_not_decide_what_the_nat_does() {
        assert_eq!(mapping_of(&[(0, OUTSIDE), (1, OUTSIDE)]), MappingSeen::NotByPort);
        for copies in [OTHER_PORT, OTHER_IP] {
            assert_eq!(mapping_of(&[(0, copies), (0, OUTSIDE), (1, OUTSIDE)]), MappingSeen::NotByPort);
            assert_eq!(mapping_of(&[(0, OUTSIDE), (1, OUTSIDE), (1, copies)]), MappingSeen::NotByPort);
        }
        assert_eq!(mapping_of(&[(0, OTHER_IP)]), MappingSeen::Unknown);
        assert_eq!(mapping_of(&[(0, OUTSIDE), (1, OTHER_PORT)]), MappingSeen::ByPort);
    }

    #[test]
    fn a_copy_from_elsewhere_is_no_port_of_a_new_socket() {
        let mut side = side();
        for from in [OTHER_IP, OTHER_PORT, OUTSIDE] {
            side.note_port(Socket(3), from.parse().expect("an address"));
        }
        assert_eq!(side.outside_ports.get(&3), Some(&40_001));
    }
}
