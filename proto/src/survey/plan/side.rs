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
            strays: [None; 2],
            is_heard: false,
            outside_ports: BTreeMap::new(),
            mapping: MappingSeen::Unknown,
            samples: BTreeMap::new(),
            ports_seen: None,
            arrived: None,
        }
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
