//! One box of a chain.

use std::time::Duration;

use pinhole_proto::nat::{Access, Filtering, Mapping, Nat, PortAssignment, Unsolicited};

/// Describes one box of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxSpec {
    /// What it does with packets that pass through.
    pub kind: BoxKind,
    /// What it does with unsolicited packets to its own outside address.
    pub input: Unsolicited,
    /// When it forgets a silent UDP flow.
    pub timers: UdpTimers,
    /// Most mappings of one inside host at once, as carriers limit them; what goes beyond is lost.
    pub max_mappings: Option<u16>,
}

impl BoxSpec {
    /// Makes a stateful firewall that drops what it did not see leave.
    pub fn firewall() -> BoxSpec {
        BoxSpec::of(BoxKind::Firewall)
    }

    /// Makes a NAT that drops unsolicited packets and has Linux' timers.
    pub fn nat(translation: Translation) -> BoxSpec {
        BoxSpec::of(BoxKind::Nat(translation))
    }

    /// Makes a box that passes no UDP.
    pub fn blocked(refusal: Refusal) -> BoxSpec {
        BoxSpec::of(BoxKind::Blocked(refusal))
    }

    /// Returns the same box with another rule for packets to its own address.
    pub fn with_input(self, input: Unsolicited) -> BoxSpec {
        BoxSpec { input, ..self }
    }

    /// Returns the same box with other timers.
    pub fn with_timers(self, timers: UdpTimers) -> BoxSpec {
        BoxSpec { timers, ..self }
    }

    /// Returns the same box with a limit of mappings for each inside host.
    pub fn with_max_mappings(self, max_mappings: u16) -> BoxSpec {
        BoxSpec { max_mappings: Some(max_mappings), ..self }
    }

    /// Returns what it does with addresses, if it does anything.
    pub fn translation(&self) -> Option<Translation> {
        match self.kind {
            BoxKind::Nat(translation) => Some(translation),
            BoxKind::Firewall | BoxKind::Blocked(_) => None,
        }
    }

    /// Describes the box as the peer meets it.
    pub fn access(&self) -> Access {
        match self.kind {
            BoxKind::Firewall => Access::Firewall,
            BoxKind::Blocked(_) => Access::Blocked,
            BoxKind::Nat(Translation { mapping, filtering, ports, .. }) => {
                Access::Nat(Nat { mapping, filtering, ports, input: self.input })
            }
        }
    }

    fn of(kind: BoxKind) -> BoxSpec {
        BoxSpec { kind, input: Unsolicited::Drop, timers: UdpTimers::default(), max_mappings: None }
    }
}

/// Tells the kinds of boxes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxKind {
    /// Lets answers to outgoing flows in (by exact address), translates nothing.
    Firewall,
    /// Translates, and filters as the translation says.
    Nat(Translation),
    /// Passes no UDP in either direction, translates nothing.
    Blocked(Refusal),
}

/// Decides how a box treats what it never lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Drops it without a word.
    Silent,
    /// Answers with the ICMP error "administratively prohibited".
    Told,
}

/// Describes how a NAT translates, in RFC 4787's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// When two flows share an outside address.
    pub mapping: Mapping,
    /// Who may send back through a mapping.
    pub filtering: Filtering,
    /// Which outside port a new mapping gets.
    pub ports: PortAssignment,
    /// Whether inside hosts reach each other by their outside addresses (RFC 4787 §6).
    pub hairpin: bool,
}

impl Translation {
    /// Describes Linux' masquerade: each flow keeps its port where that is free for its destination.
    pub const LINUX: Translation = Translation {
        mapping: Mapping::AddressAndPortDependent,
        filtering: Filtering::AddressAndPortDependent,
        ports: PortAssignment::Preserving,
        hairpin: false,
    };

    /// Describes the friendliest NAT: one outside address for everybody, open to everybody.
    pub const FULL_CONE: Translation = Translation {
        mapping: Mapping::EndpointIndependent,
        filtering: Filtering::EndpointIndependent,
        ports: PortAssignment::Preserving,
        hairpin: false,
    };

    /// Describes a NAT with one outside address for everybody, open to the IPs that were sent to.
    pub const RESTRICTED: Translation =
        Translation { filtering: Filtering::AddressDependent, ..Translation::FULL_CONE };

    /// Returns the same translation with another choice of ports.
    pub fn with_ports(self, ports: PortAssignment) -> Translation {
        Translation { ports, ..self }
    }
}

/// Decides when a box forgets a silent UDP flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpTimers {
    /// Silence after which a flow without an answer is forgotten; in seconds precision.
    pub unreplied: Duration,
    /// Silence after which a flow with traffic in both directions is forgotten; in seconds precision, and no
    /// shorter than the other one.
    pub stream: Duration,
}

impl Default for UdpTimers {
    /// Returns Linux' defaults, 30 and 120 seconds.
    fn default() -> UdpTimers {
        UdpTimers { unreplied: Duration::from_secs(30), stream: Duration::from_secs(120) }
    }
}
