//! docs/reference/events.md: each event and each field, from the types and their doc comments.

use std::collections::{BTreeMap, BTreeSet};

use pinhole::{
    proto::{
        control::Services,
        key::Instances,
        puncher::{Connected, Loss, Method, Pair, SocketId},
        stream::Reply,
    },
    tunnel::{HandshakeError, TunnelEnd},
};
use schemars::{JsonSchema, generate::SchemaSettings};

use super::*;
use crate::reference::{self, wrapped};

const INTRODUCTION: &str = "\
# Events

With `--json`, `-c`, `-l`, `serve` and `open` print one JSON object a line on stdout, for each event as it happens.
Nothing else is on stdout. This page is the schema, version 1. It is made from the code, by
`PINHOLE_WRITE=1 cargo test --bin pinhole reference`.

How the schema changes: an event or a field may be added at any time, so ignore what you do not know. What is here keeps
its name and its meaning as long as `schema` stays 1.

What a running program does *now* is told by [`pinhole status --json`](../status.md); these lines tell what *happens*.

## In every event

| field | type | meaning |
|---|---|---|
| `event` | string | The name: one of the headings below. |
| `schema` | number | 1 |
| `text` | string | The sentence that a user reads on stderr; not in `heard` and `peer_services`. It may change with any release. |

Addresses are `IP:PORT`, times are in the unit that the field's name has, else in seconds. A field that may be null is
marked so.
";

/// The headings, and the events below each.
const PARTS: [(&str, &[&str]); 4] = [
    (
        "The search and the path",
        &["searching", "heard", "punched", "path_lost", "path_back", "path_changed", "resolved"],
    ),
    (
        "The tunnel",
        &[
            "tunnel_up",
            "peer_services",
            "port_reaches",
            "service_missing",
            "handshake_failed",
            "tunnel_lost",
            "peer_left",
            "peer_gone",
            "peer_restarted",
            "displaced",
        ],
    ),
    (
        "Connections and services",
        &["connection_refused", "service_failed", "service_back", "connect_failed", "accept_failed"],
    ),
    ("What is wrong", &["trouble", "gave_up"]),
];

/// What fields refer to, in this order, with what the types do not say.
const PARTS_OF_EVENTS: [(&str, &str); 5] = [
    ("method", ""),
    ("loss", ""),
    ("kind", ""),
    (
        "cause",
        "[The README](../../README.md#if-it-does-not-connect) says what each means, and [messages.md](messages.md) what \
         helps.",
    ),
    ("found", ""),
];

/// The schema of all lines.
struct Schema {
    /// Each event by its name.
    events: BTreeMap<String, Value>,
    /// What their fields refer to.
    parts: BTreeMap<String, Value>,
}

impl Schema {
    fn new() -> Self {
        let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let lines = [Event::json_schema(&mut generator), Own::json_schema(&mut generator)];
        let all = lines
            .iter()
            .flat_map(|lines| lines.get("oneOf").and_then(Value::as_array).expect("one of these"));
        let name = |event: &Value| string(&event["properties"]["event"]["const"]).to_owned();
        let events = all.map(|event| (name(event), event.clone())).collect();
        Self { events, parts: generator.take_definitions(true).into_iter().collect() }
    }

    /// Whether that is a list of words.
    fn is_words(&self, part: &str) -> bool {
        self.parts[part].get("oneOf").is_some()
    }

    /// Names the type of a field.
    fn kind(&self, field: &Value) -> String {
        if let Some(part) = part_of(field) {
            return if self.is_words(part) { "string".to_owned() } else { "object".to_owned() };
        }
        if let Some(either) = field["anyOf"].as_array() {
            let kinds: Vec<String> = either.iter().map(|kind| self.kind(kind)).collect();
            return kinds.join(" or ");
        }
        let name = |kind: &str| match kind {
            "integer" => "number".to_owned(),
            "array" if field["items"].is_object() => format!("list of {}s", self.kind(&field["items"])),
            "array" => "list of two numbers".to_owned(),
            simple => simple.to_owned(),
        };
        match field["type"].as_array() {
            Some(kinds) => kinds.iter().map(|kind| name(string(kind))).collect::<Vec<_>>().join(" or "),
            None => name(string(&field["type"])),
        }
    }

    /// Returns the table of an object's fields.
    fn fields(&self, object: &Value) -> String {
        let rows = names(object).into_iter().map(|name| {
            let field = &object["properties"][&name];
            let either = field["anyOf"].as_array().map_or(field, |either| &either[0]);
            let see = part_of(either).map(|part| format!("; see [`{part}`](#{part})."));
            let meaning = prose(field);
            let meaning = match see {
                Some(see) => format!("{}{see}", meaning.trim_end_matches('.')),
                None => meaning,
            };
            format!("| `{name}` | {} | {meaning} |\n", self.kind(field))
        });
        format!("\n| field | type | meaning |\n|---|---|---|\n{}", rows.collect::<String>())
    }

    fn page(&self) -> String {
        let mut page = INTRODUCTION.to_owned();
        for (title, names) in PARTS {
            page += &format!("\n## {title}\n");
            for name in names {
                let event = &self.events[*name];
                let is_bare = self::names(event).is_empty();
                let end = if is_bare { " No fields." } else { "" };
                page += &format!("\n### `{name}`\n\n{}\n", wrapped(&format!("{}{end}", prose(event))));
                page += &if is_bare { String::new() } else { self.fields(event) };
            }
        }
        for (name, more) in PARTS_OF_EVENTS {
            let part = &self.parts[name];
            page += &format!("\n## `{name}`\n\n{}\n", wrapped(&format!("{} {more}", prose(part))));
            page += &if self.is_words(name) { words(part) } else { self.fields(part) };
        }
        page
    }
}

/// Names all events of the library.
#[cfg(feature = "classic")] // for the page of messages, which has those of all features
pub(crate) fn event_names() -> Vec<String> {
    Schema::new().events.into_keys().filter(|name| name != "gave_up").collect()
}

/// Returns what a field refers to.
fn part_of(field: &Value) -> Option<&str> {
    field["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"))
}

fn string(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// Returns the names of an object's fields: those that are always there in the order of their type, then the others.
fn names(object: &Value) -> Vec<String> {
    let always = object["required"].as_array().into_iter().flatten().map(|name| string(name).to_owned());
    let mut names: Vec<String> = always.collect();
    let all = object["properties"].as_object().expect("an object has fields");
    let others: Vec<String> = all.keys().filter(|name| !names.contains(name)).cloned().collect();
    names.extend(others);
    names.retain(|name| name != "event");
    names
}

/// Returns the table of the words that a field may have.
fn words(part: &Value) -> String {
    let words = part["oneOf"].as_array().into_iter().flatten();
    let rows = words.map(|word| format!("| `{}` | {} |\n", string(&word["const"]), prose(word)));
    format!("\n| word | meaning |\n|---|---|\n{}", rows.collect::<String>())
}

/// Returns a doc comment as one line, without its links to other types.
fn prose(schema: &Value) -> String {
    let mut rest = schema["description"].as_str().expect("a doc comment");
    let mut plain = String::new();
    while let Some((before, link)) = rest.split_once('[') {
        let (shown, after) = link.split_once(']').expect("a link ends");
        plain += before;
        plain += shown;
        rest =
            after.strip_prefix('(').and_then(|target| target.split_once(')')).map_or(after, |(_, rest)| rest);
    }
    plain += rest;
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One of each event; of `trouble` one with everything.
fn samples() -> Vec<Event> {
    let remote = std::net::SocketAddr::from(([203, 0, 113, 9], 5555));
    let pair = Pair { socket: SocketId::MAIN, remote };
    let (took, observed) = (Duration::from_secs(1), Some(remote));
    let connected =
        Connected { pair, method: Method::Base, rtt: took, took, observed, instances: Instances::default() };
    let (service, host, why) = ("22".to_owned(), "home.example".to_owned(), "a reason".to_owned());
    let offered = std::sync::Arc::new(Services::new(["22"]));
    vec![
        Event::Searching { peer: host.clone(), addresses: vec![remote] },
        Event::Heard { from: remote },
        Event::Punched(connected),
        Event::TunnelUp { remote },
        Event::PeerServices(offered.clone()),
        Event::PortReaches { listener: remote, service: service.clone() },
        Event::ServiceMissing { listener: remote, service: service.clone(), offered },
        Event::HandshakeFailed { why: HandshakeError::Late },
        Event::PathLost { loss: Some(Loss::Silent(took)) },
        Event::PathLost { loss: None },
        Event::PathBack { connected, after: 2 * took },
        Event::PathChanged(Connected { observed: None, ..connected }),
        Event::Displaced,
        Event::PeerGone,
        Event::TunnelLost(TunnelEnd::Broken),
        Event::PeerLeft,
        Event::PeerRestarted,
        Event::Trouble(Trouble::OwnEcho { from: remote }),
        Event::Trouble(Trouble::NoPath(SearchReport::default())),
        Event::Resolved { host, ok: true },
        Event::ConnectionRefused { listener: remote, too_many: true },
        Event::ServiceFailed { service: service.clone(), reply: Reply::Refused },
        Event::ServiceBack { service: service.clone() },
        Event::ConnectFailed { service, why: why.clone() },
        Event::AcceptFailed { listener: remote, why },
    ]
}

/// The lines of the samples, less the sentences for the user.
const LINES: &str = r#"
{"addresses":["203.0.113.9:5555"],"event":"searching","peer":"home.example","schema":1}
{"event":"heard","from":"203.0.113.9:5555","schema":1}
{"event":"punched","method":"base","observed":"203.0.113.9:5555","remote":"203.0.113.9:5555","rtt_ms":1000.0,"schema":1,"seconds":1.0}
{"event":"tunnel_up","remote":"203.0.113.9:5555","schema":1}
{"complete":true,"event":"peer_services","schema":1,"services":["22"]}
{"event":"port_reaches","listener":"203.0.113.9:5555","schema":1,"service":"22"}
{"event":"service_missing","listener":"203.0.113.9:5555","offered":["22"],"schema":1,"service":"22"}
{"event":"handshake_failed","schema":1,"why":"no answer in time"}
{"event":"path_lost","schema":1,"why":"silent"}
{"event":"path_lost","schema":1,"why":"peer"}
{"event":"path_back","method":"base","observed":"203.0.113.9:5555","remote":"203.0.113.9:5555","rtt_ms":1000.0,"schema":1,"seconds":2.0}
{"event":"path_changed","method":"base","observed":null,"remote":"203.0.113.9:5555","rtt_ms":1000.0,"schema":1}
{"event":"displaced","schema":1}
{"event":"peer_gone","schema":1}
{"event":"tunnel_lost","schema":1,"why":"the connection broke"}
{"event":"peer_left","schema":1}
{"event":"peer_restarted","schema":1}
{"event":"trouble","kind":"own_echo","schema":1}
{"cause":"silent","event":"trouble","found":{"ends_at":null,"had_path":false,"heard_from":null,"not_public":null,"own_changed":false,"own_port_moved":null,"peer_hears":false,"peer_port_moved":null,"prohibited_by":null,"refused":false,"send_refused":false,"swept":false,"unreachable_by":null},"kind":"no_path","schema":1}
{"event":"resolved","host":"home.example","ok":true,"schema":1}
{"event":"connection_refused","listener":"203.0.113.9:5555","schema":1,"too_many":true}
{"event":"service_failed","schema":1,"service":"22","why":"it refused the connection: is it running?"}
{"event":"service_back","schema":1,"service":"22"}
{"event":"connect_failed","schema":1,"service":"22","why":"a reason"}
{"event":"accept_failed","listener":"203.0.113.9:5555","schema":1,"why":"a reason"}
"#;

#[test]
fn a_line_of_schema_1_stays_as_it_is() {
    let lines = samples().into_iter().map(|event| {
        let mut line = to_json(&event);
        line.as_object_mut().expect("an object").remove("text");
        line.to_string()
    });
    assert_eq!(lines.collect::<Vec<_>>(), LINES.trim().lines().collect::<Vec<_>>());
    let found = SearchReport { own_port_moved: Some((5555, 61_000)), ..SearchReport::default() };
    assert_eq!(
        to_json_gave_up(Some(&found), "a sentence")["found"]["own_port_moved"],
        serde_json::json!([5555, 61_000])
    );
    let bare = r#"{"cause":null,"event":"gave_up","found":null,"schema":1,"text":"a sentence"}"#;
    assert_eq!(to_json_gave_up(None, "a sentence").to_string(), bare);
}

#[test]
fn the_reference_of_events_is_what_the_types_say() {
    reference::hold("events.md", &Schema::new().page());
}

#[test]
fn the_reference_of_events_has_all_that_is_printed() {
    let schema = Schema::new();
    let own = |object: &Value| -> BTreeSet<String> {
        object
            .as_object()
            .expect("an object")
            .keys()
            .filter(|field| !COMMON.contains(&field.as_str()))
            .cloned()
            .collect()
    };
    let mut printed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in &samples() {
        let line = to_json(event);
        assert_eq!(line["event"], event.name());
        assert_eq!(line["text"].is_string(), !["heard", "peer_services"].contains(&event.name()), "{line}");
        printed.entry(event.name().to_owned()).or_default().extend(own(&line));
    }
    let gave_up = to_json_gave_up(Some(&SearchReport::default()), "a sentence");
    printed.insert("gave_up".to_owned(), own(&gave_up));
    let fields = |event: &Value| names(event).into_iter().collect::<BTreeSet<String>>();
    let documented: BTreeMap<String, BTreeSet<String>> =
        schema.events.iter().map(|(name, event)| (name.clone(), fields(event))).collect();
    assert_eq!(documented, printed);
    assert_eq!(fields(&schema.parts["found"]), own(&gave_up["found"]));
    let listed: BTreeSet<&str> = PARTS.iter().flat_map(|(_, names)| *names).copied().collect();
    assert_eq!(listed, schema.events.keys().map(String::as_str).collect(), "each stands under a heading");
    let parts: BTreeSet<&str> = PARTS_OF_EVENTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(parts, schema.parts.keys().map(String::as_str).collect(), "and so does what fields refer to");
    assert!(INTRODUCTION.contains(&format!("version {SCHEMA}.")));
}

const COMMON: [&str; 3] = ["event", "schema", "text"];
