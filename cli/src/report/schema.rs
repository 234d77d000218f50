//! docs/reference/events.md against what is printed: each event, each field, in both directions.

use std::collections::{BTreeMap, BTreeSet};

use pinhole::{
    Role,
    proto::{
        control::Services,
        key::Instances,
        puncher::{Connected, Method, Pair, SocketId},
        stream::Reply,
    },
    tunnel::{HandshakeError, TunnelEnd},
};

use super::*;

const DOCUMENT: &str = include_str!("../../../docs/reference/events.md");

type Fields = BTreeSet<String>;

/// One of each event; of `trouble` one with everything. The match makes whoever adds an event come here.
fn samples() -> Vec<Event> {
    let remote = std::net::SocketAddr::from(([203, 0, 113, 9], 5555));
    let pair = Pair { socket: SocketId::MAIN, remote };
    let (took, observed) = (Duration::from_secs(1), Some(remote));
    let connected =
        Connected { pair, method: Method::Base, rtt: took, took, observed, instances: Instances::default() };
    let (service, host, why) = ("22".to_owned(), "home.example".to_owned(), "a reason".to_owned());
    let offered = std::sync::Arc::new(Services::new(["22"]));
    let name = |event: &Event| match event {
        Event::Searching { .. }
        | Event::Heard { .. }
        | Event::Punched(_)
        | Event::TunnelUp { .. }
        | Event::PeerServices(_)
        | Event::PortReaches { .. }
        | Event::ServiceMissing { .. }
        | Event::HandshakeFailed { .. }
        | Event::PathLost { .. }
        | Event::PathBack { .. }
        | Event::PathChanged(_)
        | Event::Displaced
        | Event::PeerGone
        | Event::TunnelLost(_)
        | Event::PeerLeft
        | Event::PeerRestarted
        | Event::Trouble(_)
        | Event::Resolved { .. }
        | Event::ConnectionRefused { .. }
        | Event::ServiceFailed { .. }
        | Event::ServiceBack { .. }
        | Event::ConnectFailed { .. }
        | Event::AcceptFailed { .. } => event.name(),
        _ => event.name(),
    };
    let all = vec![
        Event::Searching { peer: host.clone(), addresses: vec![remote] },
        Event::Heard { from: remote },
        Event::Punched(connected),
        Event::TunnelUp { remote },
        Event::PeerServices(offered.clone()),
        Event::PortReaches { listener: remote, service: service.clone() },
        Event::ServiceMissing { listener: remote, service: service.clone(), offered },
        Event::HandshakeFailed { why: HandshakeError::Late },
        Event::PathLost { loss: None },
        Event::PathBack { connected, after: took },
        Event::PathChanged(connected),
        Event::Displaced,
        Event::PeerGone,
        Event::TunnelLost(TunnelEnd::Broken),
        Event::PeerLeft,
        Event::PeerRestarted,
        Event::Trouble(Trouble::NoPath(SearchReport::default())),
        Event::Resolved { host, ok: true },
        Event::ConnectionRefused { listener: remote, too_many: true },
        Event::ServiceFailed { service: service.clone(), reply: Reply::Refused },
        Event::ServiceBack { service: service.clone() },
        Event::ConnectFailed { service, why: why.clone() },
        Event::AcceptFailed { listener: remote, why },
    ];
    let names: BTreeSet<&str> = all.iter().map(name).collect();
    assert_eq!(names.len(), 23, "one of each of the match above");
    all
}

/// Returns the fields that are printed, for each heading of the document.
fn printed() -> BTreeMap<String, Fields> {
    let fields = |json: &Value| -> Fields {
        json.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
    };
    let gave_up = to_json_gave_up(Some(&SearchReport::default()), "a sentence");
    let objects = samples().iter().map(to_json).chain([gave_up]).collect::<Vec<_>>();
    let mut printed =
        BTreeMap::from([("found".to_owned(), fields(&to_json_report(&SearchReport::default())))]);
    for object in &objects {
        let name = object["event"].as_str().expect("a name").to_owned();
        assert_eq!(object["schema"], SCHEMA, "{name}");
        assert_eq!(object["text"].is_string(), !["heard", "peer_services"].contains(&&*name), "{name}");
        let own = fields(object).into_iter().filter(|field| !COMMON.contains(&field.as_str())).collect();
        printed.insert(name, own);
    }
    printed
}

const COMMON: [&str; 3] = ["event", "schema", "text"];

/// Returns the fields of each heading that is a name.
fn documented() -> BTreeMap<String, Fields> {
    let mut all: BTreeMap<String, Fields> = BTreeMap::new();
    let mut heading = String::new();
    for line in DOCUMENT.lines() {
        if line.starts_with('#') {
            heading = line.split('`').nth(1).unwrap_or_default().to_owned();
            if !heading.is_empty() && heading != "cause" {
                all.insert(heading.clone(), Fields::new());
            }
        } else if let (Some(fields), Some(row)) = (all.get_mut(&heading), line.strip_prefix("| `")) {
            fields.insert(row.split('`').next().unwrap_or_default().to_owned());
        }
    }
    all
}

#[test]
fn the_schema_s_document_and_the_program_name_the_same_events_and_fields() {
    assert_eq!(documented(), printed());
}

#[test]
fn the_schema_s_document_names_every_word_that_a_field_may_have() {
    let from = std::net::SocketAddr::from(([203, 0, 113, 9], 5555));
    let troubles = [
        Trouble::WrongKey { from },
        Trouble::OtherVersion { from, version: 3 },
        Trouble::OldScript { from, role: Role::Open },
        Trouble::SameRole { role: Role::Open },
        Trouble::OwnEcho { from },
        Trouble::NoPath(SearchReport::default()),
        Trouble::Clock { apart: Duration::ZERO },
    ];
    let losses = [
        None,
        Some(Loss::Silent(Duration::ZERO)),
        Some(Loss::Rerouted),
        Some(Loss::Aged),
        Some(Loss::Moved),
        Some(Loss::Blocked),
    ];
    let words = troubles.iter().map(Trouble::name);
    let words = words.chain(losses.map(Loss::name_of)).chain(Method::ALL.map(Method::name));
    let missing: Vec<&str> = words.filter(|word| !DOCUMENT.contains(&format!("`{word}`"))).collect();
    assert_eq!(missing, Vec::<&str>::new());
    assert!(DOCUMENT.contains(&format!("version {SCHEMA}.")));
}
