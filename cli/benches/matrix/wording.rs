//! Sides and figures in words.

use natlab::{BoxKind, BoxSpec, NatSpec, Refusal, Unsolicited};
use pinhole_proto::{nat::PortAssignment, puncher::Method};

/// Describes a side by RFC 4787's terms, the box nearest to the host first.
pub(crate) fn side(spec: &NatSpec) -> String {
    let boxes: Vec<String> = spec.boxes().iter().map(describe).collect();
    if boxes.is_empty() { "a public address, nothing before it".to_owned() } else { boxes.join(", then ") }
}

/// Lists methods with their shares.
pub(crate) fn methods(shares: &[(Method, f64)]) -> String {
    match shares {
        [] => "–".to_owned(),
        [(only, _)] => only.name().to_owned(),
        several => {
            let list: Vec<String> = several
                .iter()
                .map(|(method, share)| format!("{} {}", method.name(), percent(*share, 0)))
                .collect();
            list.join(", ")
        }
    }
}

/// Writes a share so that neither failures nor successes disappear by rounding.
pub(crate) fn percent(share: f64, decimals: usize) -> String {
    let unit = 10_f64.powi(i32::try_from(decimals).unwrap_or(0));
    let scaled = share * 100.0 * unit;
    let rounded = match share {
        share if share < 1.0 && share > 0.0 => scaled.round().clamp(1.0, 100.0 * unit - 1.0),
        _ => scaled.round(),
    };
    let decimals = if share < 1.0 { decimals } else { 0 };
    format!("{:.decimals$} %", rounded / unit)
}

/// Writes seconds with two digits that count.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 9.95 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}

fn describe(spec: &BoxSpec) -> String {
    let input = match spec.input {
        Unsolicited::Drop => "",
        Unsolicited::Reject => "; rejects unsolicited packets",
        Unsolicited::Accept => "; accepts unsolicited packets itself",
    };
    match spec.kind {
        BoxKind::Firewall => {
            format!("stateful firewall: address-and-port-dependent filtering, no translation{input}")
        }
        BoxKind::Blocked(Refusal::Silent) => "drops all UDP".to_owned(),
        BoxKind::Blocked(Refusal::Told) => "rejects all UDP".to_owned(),
        BoxKind::Nat(nat) => format!(
            "NAT: {} mapping, {} filtering, {}{input}",
            nat.mapping.name(),
            nat.filtering.name(),
            ports(nat.ports)
        ),
    }
}

fn ports(ports: PortAssignment) -> String {
    match ports {
        PortAssignment::Preserving => "port preserving".to_owned(),
        PortAssignment::Sequential { stride } => format!("sequential ports, stride {stride}"),
        PortAssignment::Block { ports } => format!("random ports of a block of {ports}"),
        PortAssignment::Random => "random ports".to_owned(),
    }
}
