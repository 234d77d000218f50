//! What stands between a host and the internet, as data.
//!
//! A side is a list of boxes ordered from the host outwards: no box is an open host, two NATs are a carrier's
//! customer. Each box filters (a firewall), translates as well (a NAT), or lets no UDP through; it has its own
//! idea of what to do with packets for itself, and forgets silent flows after its timers.
//!
//! In text a side is the name of a preset, or several with `+` between them, the one nearest to the host first:
//! `home+random` is a home router behind a carrier that picks ports at random.

mod boxes;
mod presets;

use std::fmt;
use std::str::FromStr;

use pinhole_proto::nat::Access;

pub use boxes::{BoxKind, BoxSpec, Refusal, Translation, UdpTimers};
pub use pinhole_proto::nat::Unsolicited;

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

    /// Returns every preset, the easier ones first; some only the model can realise.
    pub fn presets() -> Vec<NatSpec> {
        presets::all()
    }

    /// Returns this chain with another one between it and the internet, named `this+that`.
    pub fn behind(self, outer: NatSpec) -> NatSpec {
        let name = format!("{}+{}", self.name, outer.name);
        NatSpec { name, boxes: [self.boxes, outer.boxes].concat() }
    }

    /// Describes the whole chain as the peer meets it, to ask `pinhole_proto::nat::punchable` about it.
    pub fn access(&self) -> Access {
        self.boxes.iter().fold(Access::Open, |inner, spec| inner.behind(spec.access()))
    }

    /// Returns whether a box takes strangers' packets for its own, and remembers them.
    pub fn remembers_strangers(&self) -> bool {
        self.boxes.iter().any(|spec| spec.input == Unsolicited::Accept)
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

    /// Reads the name of a preset, or names joined by `+`, the one nearest to the host first.
    fn from_str(names: &str) -> Result<NatSpec, UnknownPreset> {
        let (inner, outer) = match names.split_once('+') {
            Some((first, rest)) => (first, Some(rest)),
            None => (names, None),
        };
        let inner = NatSpec::preset(inner)?;
        Ok(match outer {
            Some(rest) => inner.behind(rest.parse()?),
            None => inner,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(names: &str) -> NatSpec {
        names.parse().expect("names of presets")
    }

    #[test]
    fn every_preset_is_found_by_the_name_it_shows() {
        for spec in NatSpec::presets() {
            assert_eq!(spec.to_string().parse(), Ok(spec));
        }
    }

    #[test]
    fn names_joined_by_a_plus_make_a_chain_from_the_host_outwards() {
        let chain = parsed("firewall+home+random");
        assert_eq!(chain.to_string(), "firewall+home+random");
        let parts = ["firewall", "home", "random"].map(|name| parsed(name).boxes().to_vec());
        assert_eq!(chain.boxes(), parts.concat());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        for names in ["dream", "home+dream", "dream+home"] {
            let error = names.parse::<NatSpec>().expect_err("no such preset");
            assert_eq!(
                error.to_string(),
                "unknown NAT preset 'dream'; there are: open, firewall, cone, restricted, home, reject, \
                 spoilt, carrier, cone-random, restricted-random, sequential, block, random, carrier-random, \
                 blocked"
            );
        }
    }
}
