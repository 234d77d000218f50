//! The behaviour of a NAT as it was seen, in RFC 4787's words as far as one address on the other side can tell.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::nat::{Access, Filtering, Mapping, Nat, PortAssignment, Unsolicited};

/// The mapping behaviour, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MappingSeen {
    /// Two ports of the peer saw one outside address: endpoint-independent or address-dependent, which one peer's IP
    /// cannot tell apart.
    NotByPort,
    /// They did not: address-and-port-dependent.
    ByPort,
    /// Could not be found out against this peer.
    Unknown,
}

/// The filtering behaviour, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilteringSeen {
    /// A port of the peer that was never sent to got in: endpoint-independent or address-dependent, which one peer's IP
    /// cannot tell apart.
    AnyPort,
    /// It did not: address-and-port-dependent.
    ExactPort,
    /// Could not be found out.
    Unknown,
}

/// What is known of the port assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortsSeen {
    /// The outside port is the inside one.
    Preserving,
    /// Each is the last one plus a stride.
    Sequential {
        /// The stride, in ports.
        stride: i32,
    },
    /// All seen ones are near each other, in no order.
    Block {
        /// From the lowest to the highest that was seen.
        span: u16,
    },
    /// Anywhere; or from a block much larger than a thousand ports.
    Random,
    /// The tunnel's port was not kept. How ports are picked could not be found out against this peer.
    Moved,
}

/// What was seen of everything between one side and the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seen {
    /// The tunnel's own address, inside.
    pub inside: SocketAddr,
    /// The same as the peer sees it.
    pub outside: SocketAddr,
    /// When two flows share an outside address.
    pub mapping: MappingSeen,
    /// Who may send back.
    pub filtering: FilteringSeen,
    /// Which outside port a new flow gets.
    pub ports: PortsSeen,
    /// New sockets whose outside ports were seen.
    pub samples: u16,
    /// Number of probes that arrived, of a hundred that this side sent over the tunnel's pair.
    pub arrived: Option<u16>,
}

/// How far what was seen agrees with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Agreement {
    /// All of it is right.
    Whole,
    /// Nothing is wrong, and something was not found out.
    Partial,
    /// Something is wrong.
    None,
}

impl Seen {
    /// Whether there is a NAT: the peer sees another IP than this side has.
    #[must_use]
    pub fn is_translated(&self) -> bool {
        self.inside.ip() != self.outside.ip()
    }

    /// Describes the side, what is not known as the worst that it may be.
    #[must_use]
    pub fn access(&self) -> Access {
        let filtering = match self.filtering {
            FilteringSeen::AnyPort => Filtering::AddressDependent,
            FilteringSeen::ExactPort | FilteringSeen::Unknown => Filtering::AddressAndPortDependent,
        };
        if !self.is_translated() && self.ports == PortsSeen::Preserving {
            let is_open = filtering == Filtering::AddressDependent;
            return if is_open { Access::Open } else { Access::Firewall };
        }
        let mapping = match self.mapping {
            MappingSeen::NotByPort => Mapping::AddressDependent,
            MappingSeen::ByPort | MappingSeen::Unknown => Mapping::AddressAndPortDependent,
        };
        let ports = match self.ports {
            PortsSeen::Preserving => PortAssignment::Preserving,
            PortsSeen::Sequential { stride } => {
                PortAssignment::Sequential { stride: u16::try_from(stride.unsigned_abs()).unwrap_or(1) }
            }
            PortsSeen::Block { span } => PortAssignment::Block { ports: span },
            PortsSeen::Random | PortsSeen::Moved => PortAssignment::Random,
        };
        Access::Nat(Nat { mapping, filtering, ports, input: Unsolicited::Drop })
    }

    /// Compares with what is known to be there: the laboratory's question.
    #[must_use]
    pub fn agreement(&self, truth: Access) -> Agreement {
        let Access::Nat(nat) = truth else {
            let is_open = truth == Access::Open;
            let is_right = !self.is_translated() && self.ports == PortsSeen::Preserving;
            return filter(self.filtering, is_open).max(agree(is_right));
        };
        let admits = nat.filtering != Filtering::AddressAndPortDependent;
        let mapping = match self.mapping {
            // Whether a NAT that keeps ports would map by port shows only where two inside machines want one port.
            MappingSeen::NotByPort | MappingSeen::Unknown if nat.ports == PortAssignment::Preserving => {
                Agreement::Whole
            }
            MappingSeen::NotByPort => agree(nat.mapping != Mapping::AddressAndPortDependent),
            MappingSeen::ByPort => agree(nat.mapping == Mapping::AddressAndPortDependent),
            MappingSeen::Unknown => Agreement::Partial,
        };
        let ports = self.ports_agree(nat.ports);
        filter(self.filtering, admits).max(mapping).max(ports).max(agree(self.is_translated()))
    }

    fn ports_agree(&self, truth: PortAssignment) -> Agreement {
        match (self.ports, truth) {
            (PortsSeen::Preserving, PortAssignment::Preserving)
            | (PortsSeen::Random, PortAssignment::Random) => Agreement::Whole,
            (PortsSeen::Sequential { stride: seen }, PortAssignment::Sequential { stride }) => {
                agree(seen == i32::from(stride))
            }
            (PortsSeen::Block { span }, PortAssignment::Block { ports }) => agree(span <= ports),
            (PortsSeen::Moved, _) => Agreement::Partial,
            (
                PortsSeen::Preserving
                | PortsSeen::Sequential { .. }
                | PortsSeen::Block { .. }
                | PortsSeen::Random,
                _,
            ) => Agreement::None,
        }
    }
}

fn filter(seen: FilteringSeen, admits: bool) -> Agreement {
    match seen {
        FilteringSeen::AnyPort => agree(admits),
        FilteringSeen::ExactPort => agree(!admits),
        FilteringSeen::Unknown => Agreement::Partial,
    }
}

fn agree(is_right: bool) -> Agreement {
    if is_right { Agreement::Whole } else { Agreement::None }
}
