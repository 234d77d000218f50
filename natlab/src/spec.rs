//! What stands between a host and the internet, as data.
//!
//! A side is a list of boxes ordered from the host outwards: no box is an open host, two NATs are a carrier's
//! customer. Each box either filters (a firewall) or translates as well (a NAT), has its own idea of what to do
//! with packets for itself, and forgets silent flows after its timers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use pinhole_proto::nat::{Filtering, Mapping, PortAssignment};

/// Names one of the two sides of a laboratory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The side whose public address is 198.51.100.4.
    A,
    /// The side whose public address is 203.0.113.9.
    B,
}

impl Side {
    /// Lists both sides.
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    /// Returns the opposite side.
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// Returns 0 for A and 1 for B, to index an array of two.
    pub fn index(self) -> usize {
        match self {
            Side::A => 0,
            Side::B => 1,
        }
    }
}

/// Describes one side's chain of boxes from the host to the internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatSpec {
    name: String,
    boxes: Vec<BoxSpec>,
}

impl NatSpec {
    /// Makes a chain of boxes, the one nearest to the host first.
    pub fn new(name: impl Into<String>, boxes: Vec<BoxSpec>) -> NatSpec {
        NatSpec { name: name.into(), boxes }
    }

    /// Returns the preset of that name.
    ///
    /// # Errors
    /// [`UnknownPreset`], which lists the names, when there is none.
    pub fn preset(name: &str) -> Result<NatSpec, UnknownPreset> {
        let found = NatSpec::presets().into_iter().find(|spec| spec.name == name);
        found.ok_or_else(|| UnknownPreset { name: name.to_owned() })
    }

    /// Returns every preset, the easiest first.
    pub fn presets() -> Vec<NatSpec> {
        vec![
            NatSpec::new("open", vec![]),
            NatSpec::new("firewall", vec![BoxSpec::firewall()]),
            NatSpec::new("cone", vec![BoxSpec::nat(Translation::FULL_CONE)]),
            NatSpec::new("home", vec![BoxSpec::nat(Translation::LINUX)]),
            NatSpec::new("carrier", vec![BoxSpec::nat(Translation::LINUX), BoxSpec::nat(Translation::LINUX)]),
        ]
    }

    /// Returns the name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the boxes, the one nearest to the host first.
    pub fn boxes(&self) -> &[BoxSpec] {
        &self.boxes
    }
}

impl fmt::Display for NatSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FromStr for NatSpec {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<NatSpec, UnknownPreset> {
        NatSpec::preset(name)
    }
}

/// Says that no preset has the name, and which names there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown NAT preset '{name}'; there are: {}", preset_names())]
pub struct UnknownPreset {
    name: String,
}

fn preset_names() -> String {
    let names: Vec<String> = NatSpec::presets().into_iter().map(|spec| spec.name).collect();
    names.join(", ")
}

/// Describes one box of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxSpec {
    /// What it does with packets that pass through.
    pub kind: BoxKind,
    /// What it does with unsolicited packets to its own outside address.
    pub input: Unsolicited,
    /// When it forgets a silent UDP flow.
    pub timers: UdpTimers,
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

    /// Returns the same box with another rule for packets to its own address.
    pub fn with_input(self, input: Unsolicited) -> BoxSpec {
        BoxSpec { input, ..self }
    }

    /// Returns the same box with other timers.
    pub fn with_timers(self, timers: UdpTimers) -> BoxSpec {
        BoxSpec { timers, ..self }
    }

    /// Returns what it does with addresses, if it does anything.
    pub fn translation(&self) -> Option<Translation> {
        match self.kind {
            BoxKind::Firewall => None,
            BoxKind::Nat(translation) => Some(translation),
        }
    }

    fn of(kind: BoxKind) -> BoxSpec {
        BoxSpec { kind, input: Unsolicited::Drop, timers: UdpTimers::default() }
    }
}

/// Tells a firewall from a NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxKind {
    /// Lets answers to outgoing flows in (by exact address), translates nothing.
    Firewall,
    /// Translates, and filters as the translation says.
    Nat(Translation),
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
}

/// Decides what a box does with an unsolicited packet to its own outside address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unsolicited {
    /// Drops it without a trace.
    Drop,
    /// Answers with an ICMP error and remembers nothing.
    Reject,
    /// Takes it for its own: the flow is remembered and occupies its tuple, which spoils the mapping of a
    /// later outgoing flow to that remote address from that port; answers with an ICMP error as well.
    Accept,
}

/// Decides when a box forgets a silent UDP flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpTimers {
    /// Silence after which a flow without an answer is forgotten; in seconds precision.
    pub unreplied: Duration,
    /// Silence after which a flow with traffic in both directions is forgotten; in seconds precision.
    pub stream: Duration,
}

impl Default for UdpTimers {
    /// Returns Linux' defaults, 30 and 120 seconds.
    fn default() -> UdpTimers {
        UdpTimers { unreplied: Duration::from_secs(30), stream: Duration::from_secs(120) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_found_by_the_name_it_shows() {
        for spec in NatSpec::presets() {
            assert_eq!(spec.to_string().parse(), Ok(spec));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = NatSpec::preset("dream").expect_err("no such preset");
        assert_eq!(
            error.to_string(),
            "unknown NAT preset 'dream'; there are: open, firewall, cone, home, carrier"
        );
    }
}
