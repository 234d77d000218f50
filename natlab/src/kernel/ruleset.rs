//! A box as an nftables ruleset.
//!
//! Linux' connection tracking filters by address and port, always. Wider filtering is added with a map that
//! outgoing packets fill (`mapped`: outside port, and the remote address where that matters, to the inside
//! host) and that new incoming packets are translated by. What comes out otherwise than from an ideal NAT is
//! listed in the documentation of [the parent module](super).
//!
//! Sequential ports are listed in a map because nftables 1.0.6 writes a computed port with its bytes swapped.

use std::net::Ipv4Addr;

use pinhole_proto::nat::{Filtering, Mapping, PortAssignment};

use super::LabError;
use crate::spec::{BoxKind, BoxSpec, Refusal, Translation, Unsolicited};

/// First port of the block from which sequential ports are assigned.
const FIRST_SEQUENTIAL_PORT: u16 = 20_000;

/// First port of a subscriber's block.
const FIRST_BLOCK_PORT: u16 = 40_000;

/// Most ports of that block; loading the map takes 5 µs for each.
const MAX_SEQUENTIAL_PORTS: usize = 4096;

/// Writes the ruleset of a box whose interfaces are `lan` and `wan`, for `nft -f -`.
pub(super) fn ruleset(spec: &BoxSpec, outside_ip: Ipv4Addr) -> Result<String, LabError> {
    let nat = spec.translation().map(|translation| Nat::new(translation, spec, outside_ip)).transpose()?;
    let (learn, tables) = nat.map_or_else(Default::default, |nat| (nat.learn.join("\n    "), nat.tables()));
    let input = input_verdict(spec.input);
    let block = blockade(spec.kind);
    let limit = limit(spec)?;
    Ok(format!(
        r#"table ip natlab {{
{tables}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != "wan" accept
    ct state established,related accept
    {input}
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    {block}
    {limit}
    {learn}
    ct state established,related accept
    ct status dnat accept
    iifname "lan" oifname "wan" accept
  }}
}}
"#
    ))
}

/// Returns the rule of a box that passes no UDP.
fn blockade(kind: BoxKind) -> &'static str {
    match kind {
        BoxKind::Firewall | BoxKind::Nat(_) => "",
        BoxKind::Blocked(Refusal::Silent) => "meta l4proto udp drop",
        BoxKind::Blocked(Refusal::Told) => "meta l4proto udp reject with icmp admin-prohibited",
    }
}

/// Returns the rule that drops the flows beyond a host's share; there is one inside host.
fn limit(spec: &BoxSpec) -> Result<String, LabError> {
    let Some(most) = spec.max_mappings else { return Ok(String::new()) };
    match spec.translation().map(|translation| translation.mapping) {
        Some(Mapping::AddressAndPortDependent) => {
            Ok(format!(r#"iifname "lan" meta l4proto udp ct status ! confirmed ct count over {most} drop"#))
        }
        mapping => {
            Err(unsupported(&format!("a limit of mappings other than of flows ({mapping:?} mapping)")))
        }
    }
}

fn input_verdict(input: Unsolicited) -> &'static str {
    match input {
        Unsolicited::Drop => "drop",
        Unsolicited::Reject => "reject with icmp port-unreachable",
        Unsolicited::Accept => "accept",
    }
}

/// The rules that only a NAT has.
#[derive(Debug, Default)]
struct Nat {
    map: Option<String>,
    learn: Vec<String>,
    prerouting: Vec<String>,
    postrouting: Vec<String>,
}

impl Nat {
    fn new(translation: Translation, spec: &BoxSpec, outside_ip: Ipv4Addr) -> Result<Nat, LabError> {
        check(translation)?;
        let mut nat = Nat::default();
        nat.postrouting.push(source_translation(translation.ports));
        nat.postrouting.push(r#"oifname "wan" masquerade"#.to_owned());
        if let Some(key) = MapKey::of(translation.filtering) {
            nat.open_ports(&key, spec.timers.stream.as_secs());
        }
        if translation.hairpin {
            nat.turn_around(outside_ip);
        }
        Ok(nat)
    }

    /// Lets in whom the filter allows beyond the flows.
    fn open_ports(&mut self, MapKey { types, outgoing, incoming }: &MapKey, timeout_s: u64) {
        self.map = Some(format!("type {types} : ipv4_addr; flags dynamic,timeout; timeout {timeout_s}s;"));
        let from_inside = r#"iifname "lan" meta l4proto udp"#;
        self.learn.push(format!("{from_inside} update @mapped {{ {outgoing} : ip saddr }}"));
        let to_box = r#"iifname "wan" fib daddr type local meta l4proto udp"#;
        self.prerouting.push(format!("{to_box} dnat to {incoming} map @mapped"));
    }

    /// Sends packets from the inside to the outside address back, with their source translated as well.
    fn turn_around(&mut self, outside_ip: Ipv4Addr) {
        let to_box = format!(r#"iifname "lan" ip daddr {outside_ip} meta l4proto udp"#);
        self.prerouting.push(format!("{to_box} dnat to udp dport map @mapped"));
        self.postrouting.push(format!(r#"iifname "lan" oifname "lan" ct status dnat snat to {outside_ip}"#));
    }

    fn tables(&self) -> String {
        let map = self.map.as_ref().map_or_else(String::new, |map| format!("  map mapped {{ {map} }}"));
        format!(
            r#"{map}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    {}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    {}
  }}"#,
            self.prerouting.join("\n    "),
            self.postrouting.join("\n    ")
        )
    }
}

/// Names what a map of open ports is searched by.
struct MapKey {
    types: &'static str,
    outgoing: &'static str,
    incoming: &'static str,
}

impl MapKey {
    fn of(filtering: Filtering) -> Option<MapKey> {
        match filtering {
            Filtering::EndpointIndependent => {
                Some(MapKey { types: "inet_service", outgoing: "udp sport", incoming: "udp dport" })
            }
            Filtering::AddressDependent => Some(MapKey {
                types: "inet_service . ipv4_addr",
                outgoing: "udp sport . ip daddr",
                incoming: "udp dport . ip saddr",
            }),
            Filtering::AddressAndPortDependent => None,
        }
    }
}

fn source_translation(ports: PortAssignment) -> String {
    match ports {
        PortAssignment::Preserving => r#"oifname "wan" masquerade"#.to_owned(),
        PortAssignment::Random => r#"oifname "wan" masquerade fully-random"#.to_owned(),
        PortAssignment::Block { ports } => {
            let last = FIRST_BLOCK_PORT.saturating_add(ports.saturating_sub(1));
            format!(r#"oifname "wan" meta l4proto udp masquerade to :{FIRST_BLOCK_PORT}-{last} fully-random"#)
        }
        PortAssignment::Sequential { stride } => {
            let (count, ports) = sequence(stride);
            format!(
                r#"oifname "wan" meta l4proto udp masquerade to :numgen inc mod {count} map {{ {ports} }}"#
            )
        }
    }
}

/// Returns how many ports there are in the block, and the elements of a map that lists them.
fn sequence(stride: u16) -> (usize, String) {
    let ports = (FIRST_SEQUENTIAL_PORT..=u16::MAX).step_by(stride.max(1).into()).take(MAX_SEQUENTIAL_PORTS);
    let elements: Vec<String> = ports.enumerate().map(|(index, port)| format!("{index} : {port}")).collect();
    (elements.len(), elements.join(", "))
}

/// Refuses what these rules cannot express, rather than building something else.
fn check(translation: Translation) -> Result<(), LabError> {
    let Translation { mapping, filtering, ports, hairpin } = translation;
    if hairpin && filtering != Filtering::EndpointIndependent {
        return Err(unsupported(&format!("hairpinning with {filtering:?} filtering")));
    }
    match (mapping, filtering, ports) {
        (Mapping::EndpointIndependent, _, PortAssignment::Preserving) => Ok(()),
        (Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent, _) => Ok(()),
        _ => {
            Err(unsupported(&format!("{mapping:?} mapping with {filtering:?} filtering and {ports:?} ports")))
        }
    }
}

fn unsupported(what: &str) -> LabError {
    LabError::Unsupported { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_built_is_refused() {
        let hairpin = BoxSpec::nat(Translation { hairpin: true, ..Translation::LINUX });
        let error = ruleset(&hairpin, Ipv4Addr::LOCALHOST).expect_err("not expressed by these rules");
        assert_eq!(
            error.to_string(),
            "nftables cannot realise hairpinning with AddressAndPortDependent filtering"
        );
    }

    #[test]
    fn a_firewall_translates_nothing() {
        let rules = ruleset(&BoxSpec::firewall(), Ipv4Addr::LOCALHOST).expect("expressible");
        assert!(!rules.contains("type nat"));
    }
}
