//! What NATs do, in the words of RFC 4787, and which pairs of them can be connected.
//!
//! A NAT is described by three independent behaviours: which outside address a flow gets ([`Mapping`]), who
//! may send back through it ([`Filtering`]), and which outside port is picked ([`PortAssignment`]). The popular
//! names "cone" and "symmetric" each fix more than one of them and are avoided.
//!
//! An [`Access`] is everything between a machine and the internet, as its peer meets it. [`punchable`] says of
//! two of them whether a hole can be punched, with nothing known but the two IPs. [`Reach`] is what an address alone
//! tells.

mod reach;
mod verdict;

pub use reach::{NotPublic, Reach, is_example};
pub use verdict::{Cause, End, Verdict, punchable};

/// Decides when two flows from one inside address share one outside address (RFC 4787 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mapping {
    /// One outside address for an inside address, whatever the destination.
    EndpointIndependent,
    /// One outside address for each destination IP.
    AddressDependent,
    /// One outside address for each destination IP and port.
    AddressAndPortDependent,
}

impl Mapping {
    /// Names it as RFC 4787 does.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        }
    }
}

/// Decides which outside senders may use a mapping to reach the inside (RFC 4787 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Filtering {
    /// Anybody who knows the outside address.
    EndpointIndependent,
    /// Only IPs that the inside has sent to.
    AddressDependent,
    /// Only the exact addresses that the inside has sent to.
    AddressAndPortDependent,
}

impl Filtering {
    /// Names it as RFC 4787 does.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        }
    }
}

/// Decides which outside port a new mapping gets (RFC 4787 §4.2); ordered from the most to the least telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortAssignment {
    /// The inside port where it is free for that destination, else a random one.
    Preserving,
    /// The last one used plus a stride.
    Sequential {
        /// Distance between two allocations in a row, in ports.
        stride: u16,
    },
    /// At random from the small block that the subscriber was given (RFC 7422).
    Block {
        /// Ports in the block.
        ports: u16,
    },
    /// Any port of the range, at random.
    Random,
}

/// Decides what a box does with an unsolicited packet to its own outside address; ordered by the harm done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unsolicited {
    /// Drops it without a trace.
    Drop,
    /// Answers with an ICMP error and remembers nothing.
    Reject,
    /// Takes it for its own: the flow is remembered and occupies its tuple, which spoils the mapping of a
    /// later outgoing flow to that remote address from that port; answers with an ICMP error as well.
    Accept,
}

/// Describes a NAT, or a chain of them, as the other side meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nat {
    /// When two flows share an outside address.
    pub mapping: Mapping,
    /// Who may send back through a mapping.
    pub filtering: Filtering,
    /// Which outside port a new mapping gets.
    pub ports: PortAssignment,
    /// What it does with unsolicited packets to itself.
    pub input: Unsolicited,
}

impl Nat {
    /// Describes this NAT behind a further one: of each behaviour, the worse of the two.
    ///
    /// A NAT that preserves ports adds nothing to what the other one's mapping depends on.
    pub fn behind(self, outer: Nat) -> Nat {
        let mapping = match (self.ports, outer.ports) {
            (PortAssignment::Preserving, ports) if ports != PortAssignment::Preserving => outer.mapping,
            (ports, PortAssignment::Preserving) if ports != PortAssignment::Preserving => self.mapping,
            _ => self.mapping.max(outer.mapping),
        };
        Nat {
            mapping,
            filtering: self.filtering.max(outer.filtering),
            ports: self.ports.max(outer.ports),
            input: self.input.max(outer.input),
        }
    }
}

/// Describes everything between a machine and the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nothing: a public address that anybody reaches.
    Open,
    /// A public address behind a stateful firewall, which lets in exact addresses that were sent to.
    Firewall,
    /// One NAT or several, perhaps with firewalls before or behind them.
    Nat(Nat),
    /// Something that passes no UDP at all.
    Blocked,
}

impl Access {
    /// Describes this access with something further between it and the internet.
    pub fn behind(self, outer: Access) -> Access {
        match (self, outer) {
            (Access::Blocked, _) | (_, Access::Blocked) => Access::Blocked,
            (Access::Open, other) | (other, Access::Open) => other,
            (Access::Firewall, Access::Firewall) => Access::Firewall,
            (Access::Nat(nat), Access::Firewall) | (Access::Firewall, Access::Nat(nat)) => {
                Access::Nat(Nat { filtering: Filtering::AddressAndPortDependent, ..nat })
            }
            (Access::Nat(inner), Access::Nat(outer)) => Access::Nat(inner.behind(outer)),
        }
    }

    /// Returns whether the outside port follows from the inside one.
    pub fn is_predictable(self) -> bool {
        match self {
            Access::Open | Access::Firewall => true,
            Access::Nat(nat) => nat.ports == PortAssignment::Preserving,
            Access::Blocked => false,
        }
    }

    /// Returns whether somebody whose IP was sent to gets in from any of its ports.
    pub fn admits_any_port(self) -> bool {
        match self {
            Access::Open => true,
            Access::Nat(nat) => nat.filtering != Filtering::AddressAndPortDependent,
            Access::Firewall | Access::Blocked => false,
        }
    }

    /// Returns whether packets from one inside address to different ports of one IP have one outside address.
    pub fn is_steady(self) -> bool {
        match self {
            Access::Open | Access::Firewall => true,
            Access::Nat(nat) => {
                nat.ports == PortAssignment::Preserving || nat.mapping != Mapping::AddressAndPortDependent
            }
            Access::Blocked => false,
        }
    }
}
