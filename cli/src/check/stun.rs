//! What is said of a STUN server's view.

use pinhole::{
    check::StunSeen,
    proto::nat::{Filtering, Mapping},
};
use serde_json::{Value, json};

use super::layout::line;
#[cfg(test)]
use crate::message::Message;

/// What it means for a tunnel.
pub(super) fn sentence(seen: &StunSeen) -> &'static str {
    let keeps = seen.inside.port() == seen.outside.port();
    match (keeps, seen.filtering) {
        (true, _) => {
            "Ports are kept, as the STUN server sees it: a tunnel comes up with every side that lets UDP through."
        }
        (false, Some(Filtering::EndpointIndependent | Filtering::AddressDependent)) => {
            "Ports are not kept, as the STUN server sees it, but the filter is open: a tunnel comes up with most sides."
        }
        (false, Some(Filtering::AddressAndPortDependent) | None) => {
            "Ports are not kept, as the STUN server sees it: a tunnel comes up with a side that keeps its ports or lets any port in. To be sure of one, forward the UDP port at the router."
        }
    }
}

pub(super) fn lines(seen: &StunSeen) -> Vec<(String, String)> {
    let nat = if seen.inside.ip() == seen.outside.ip() {
        format!("none: {} inside and outside", seen.inside.ip())
    } else {
        format!("yes: {} inside is {} outside", seen.inside, seen.outside)
    };
    vec![
        line("NAT", nat),
        line("mapping", seen.mapping.map_or(ONE_ADDRESS, Mapping::name)),
        line("filtering", seen.filtering.map_or(ONE_ADDRESS, Filtering::name)),
        line(
            "ports",
            if seen.inside.port() == seen.outside.port() {
                "the main port is kept"
            } else {
                "the main port is not kept"
            },
        ),
    ]
}

pub(super) fn json(seen: &StunSeen) -> Value {
    json!({
        "server": seen.server.to_string(),
        "inside": seen.inside.to_string(),
        "outside": seen.outside.to_string(),
        "mapping": seen.mapping.map(Mapping::name),
        "filtering": seen.filtering.map(Filtering::name),
    })
}

/// One of each sentence, for docs/reference/messages.md.
#[cfg(test)]
pub(in super::super) fn all_sentences() -> Vec<String> {
    let seen = |outside, filtering| StunSeen {
        server: ([198, 51, 100, 7], 3478).into(),
        inside: ([192, 168, 4, 2], 5555).into(),
        outside: ([198, 51, 100, 4], outside).into(),
        mapping: None,
        filtering,
    };
    let open = Some(Filtering::EndpointIndependent);
    let all = [seen(5555, None), seen(61_000, open), seen(61_000, None)];
    all.iter().map(|seen| Message::BehindNat(sentence(seen)).to_string()).collect()
}

const ONE_ADDRESS: &str = "not told: the server has no second address (RFC 5780)";
