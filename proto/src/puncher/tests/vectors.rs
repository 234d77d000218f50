//! docs/vectors.json: what every implementation must derive, seal and write, byte for byte.
//!
//! ```text
//! cargo test -p pinhole-proto --lib -- --ignored write_the_vectors      # makes the file anew
//! ```
//!
//! `cli/tests/independent` holds another implementation, in another language, to the same file.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use diceware_wordlists::EFF_LONG_WORDLIST;
use hkdf::Hkdf;
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::{
    Key,
    block::Head,
    control::{Hello, Services},
    key::{ARGON2_MEMORY_KIB, ARGON2_PASSES, InitialKey, Instances, Marks, Phrase},
    probe::{Kind, Probe, ProbeSeal},
    puncher::search::{
        birthday::sweep,
        schedule::{Schedule, speaker},
    },
    stream::{CHECK_REQUEST, Reply, Request},
    survey,
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors.json");

const TYPED: &str = "  Moonlight spotter_shush  theft-relocate vending\tAFFIX\n";

/// Bytes that stand for drawn ones.
const DRAWN: [u8; 24] = *b"0123456789abcdefghijklmn";

/// A section that `quic/src/vectors.rs` makes and holds: QUIC's packets are sealed there.
const OF_THE_TUNNEL: &str = "initial packet";

#[test]
fn the_vectors_are_those_of_the_document() {
    let written = document();
    let mut made = vectors();
    made[OF_THE_TUNNEL] = written[OF_THE_TUNNEL].clone();
    for (name, of_the_code) in made.as_object().expect("an object") {
        assert_eq!(&written[name], of_the_code, "{name}: see the head of {}", file!());
    }
    assert_eq!(written, made);
}

#[test]
#[ignore = "writes docs/vectors.json"]
fn write_the_vectors() {
    let mut made = vectors();
    made[OF_THE_TUNNEL] = document()[OF_THE_TUNNEL].clone();
    let text = serde_json::to_string_pretty(&made).expect("a value is JSON");
    std::fs::write(FILE, text + "\n").expect("docs is writable");
}

fn document() -> Value {
    let text = std::fs::read_to_string(FILE).expect("docs/vectors.json");
    serde_json::from_str(&text).expect("JSON")
}

fn vectors() -> Value {
    let phrase: Phrase = TYPED.parse().expect("a phrase");
    let key = Key::stretch(&phrase);
    json!({
        "version": crate::probe::VERSION,
        "key": stretched(&phrase),
        "check words": check_words(&phrase),
        "phrases": phrases(),
        "derived": derived(&key),
        "derived for checks": derived(&key.for_check()),
        "probes": probes(&key),
        "letters": survey_probes(&key.for_check()),
        "connection ids": connection_ids(&key),
        "initial keys": initial_keys(&key),
        "slots": slots(&key),
        "reserve ports": reserve_ports(&key),
        "fans": fans(&key),
        "sweeps": sweeps(),
        "hellos": hellos(),
        "requests": requests(),
        "replies": replies(),
        "pieces": blocks(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Stretches the phrase once more, by the library and not by [`Key`], which shows its secret to nobody.
fn stretched(phrase: &Phrase) -> Value {
    let salt = "pinhole key stretching, version 2";
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, 1, Some(32)).expect("in range");
    let (mut secret, mut blocks) = ([0; 32], vec![Block::default(); params.block_count()]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(phrase.as_str().as_bytes(), salt.as_bytes(), &mut secret, &mut blocks)
        .expect("lengths that Argon2 takes");
    let mut seal = [0; 32];
    let hkdf = Hkdf::<Sha256>::from_prk(&secret).expect("a whole SHA-256 output");
    hkdf.expand(b"pinhole v2 probe seal", &mut seal).expect("32 bytes are within the limit");
    assert_eq!(seal, *Key::stretch(phrase).probe_seal(), "the key has another secret");
    json!({
        "typed": TYPED,
        "canonical": phrase.as_str(),
        "salt": salt,
        "memory KiB": ARGON2_MEMORY_KIB,
        "passes": ARGON2_PASSES,
        "lanes": 1,
        "secret": hex(&secret),
    })
}

/// Six words, and the place of the seventh in the list.
fn check_words(phrase: &Phrase) -> Value {
    let all = [phrase.clone(), Phrase::generate([1; 32]), Phrase::generate([2; 32])];
    all.iter()
        .map(|phrase| {
            let (words, check) = phrase.as_str().rsplit_once('-').expect("seven words");
            let index = EFF_LONG_WORDLIST.iter().position(|word| *word == check).expect("a listed word");
            json!({ "words": words, "index": index, "word": check })
        })
        .collect()
}

/// Phrases of a user's own, where a spelling could be taken in two ways.
fn phrases() -> Value {
    let typed = "Ein SCHÖNER__Satz -- den ΝΙΚΟΣ sagt: İzmir\u{a0}liegt am\u{3000}Meer!";
    let phrase = Phrase::own(typed).expect("strong enough");
    json!([{ "typed": typed, "canonical": phrase.as_str() }])
}

/// By label, without "pinhole v2 ".
fn derived(key: &Key) -> Value {
    json!({
        "probe seal": hex(&*key.probe_seal()),
        "letter seal": hex(&*key.survey_seal()),
        "slot schedule": hex(&*key.slot_schedule()),
        "identity serve": hex(&*key.identity_seed(Role::Serve)),
        "identity open": hex(&*key.identity_seed(Role::Open)),
        "nonce": hex(&*key.nonces()),
        "quic initial": hex(&*key.quic_initial()),
        "connection id": hex(&*key.connection_ids()),
        "local tag": hex(&*key.tag()),
    })
}

fn probe(kind: Kind, role: Role, flags: u8, observed: Option<&str>) -> Probe {
    Probe {
        kind,
        role,
        nominate: flags & 1 != 0,
        heard: flags & 2 != 0,
        direct: flags & 4 != 0,
        tunnel: flags & 8 != 0,
        epoch: 0x0102_0304,
        instance: 0x1112_1314_1516_1718,
        sequence: 0x2122_2324_2526_2728,
        unix_ms: 1_764_510_000_123,
        token: 0x3132_3334_3536_3738,
        observed: observed.map(address),
    }
}

fn probes(key: &Key) -> Value {
    let seal = ProbeSeal::new(key);
    let all = [
        ("the first probe of a search", probe(Kind::Probe, Role::Open, 0, None)),
        ("a probe that nominates", probe(Kind::Probe, Role::Open, 3, Some("203.0.113.9:61234"))),
        ("an ack that agrees", probe(Kind::Ack, Role::Serve, 7, Some("[2001:db8::1:2]:5555"))),
        ("a bye", probe(Kind::Bye, Role::Serve, 2, Some("203.0.113.9:5555"))),
        ("a word to one that was displaced", probe(Kind::Displaced, Role::Open, 2, Some("192.0.2.7:5555"))),
    ];
    all.iter()
        .map(|(name, probe)| {
            let nonce = seal.nonce(probe, DRAWN);
            let datagram = seal.seal(probe, nonce);
            assert_eq!(seal.open(&datagram), Ok(*probe));
            json!({
                "name": name,
                "kind": match probe.kind {
                    Kind::Probe => "probe",
                    Kind::Ack => "ack",
                    Kind::Bye => "bye",
                    Kind::Displaced => "displaced",
                },
                "role": probe.role.to_string(),
                "nominate": probe.nominate,
                "heard": probe.heard,
                "direct": probe.direct,
                "tunnel": probe.tunnel,
                "epoch": probe.epoch,
                "instance": probe.instance,
                "sequence": probe.sequence,
                "unix ms": probe.unix_ms,
                "token": probe.token,
                "observed": probe.observed.map(|address| address.to_string()),
                "drawn": hex(&DRAWN),
                "nonce": hex(&nonce),
                "datagram": hex(&datagram),
            })
        })
        .collect()
}

fn survey_probes(key: &Key) -> Value {
    let seal = ProbeSeal::of_survey(key);
    [(Role::Open, 1, 0), (Role::Serve, 0x00ab_cdef, 319)]
        .map(|(role, round, place)| {
            let (instance, token) = (0x1112_1314_1516_1718, survey::token(round, place));
            json!({
                "role": role.to_string(),
                "instance": instance,
                "round": round,
                "letter": place,
                "nonce": hex(&DRAWN),
                "datagram": hex(&seal.seal_survey_probe(role, instance, token, DRAWN)),
            })
        })
        .into_iter()
        .collect()
}

fn connection_ids(key: &Key) -> Value {
    let marks = Marks::new(key);
    [[0; 4], [1, 2, 3, 4], [0xff; 4]]
        .map(|random| json!({ "random": hex(&random), "connection id": hex(&marks.mark(random)) }))
        .into_iter()
        .collect()
}

/// What takes the place of the client's first destination connection ID in RFC 9001 §5.2.
fn initial_keys(key: &Key) -> Value {
    let (initial, marks) = (InitialKey::new(key), Marks::new(key));
    [(1, 2, [1, 2, 3, 4]), (u64::MAX, 0x0102_0304_0506_0708, [0; 4])]
        .map(|(serve, open, random)| {
            let id = marks.mark(random);
            let covered = initial.connection_id(Instances { serve, open }, &id);
            json!({ "instances": [serve, open], "connection id": hex(&id), "replaced by": hex(&covered) })
        })
        .into_iter()
        .collect()
}

fn slots(key: &Key) -> Value {
    let schedule = Schedule::new(key);
    [(0, 5555, 5555), (1, 5555, 5555), (588_170_000, 5555, 40_001)]
        .map(|(slot, serve, open)| {
            let ports = schedule.pair(slot, Role::Serve, serve, open);
            json!({
                "slot": slot,
                "main ports": [serve, open],
                "ports": [ports.0, ports.1],
                "speaker": speaker(slot).to_string(),
            })
        })
        .into_iter()
        .collect()
}

fn reserve_ports(key: &Key) -> Value {
    let schedule = Schedule::new(key);
    [((1, 5555), (1, 5555)), ((7, 5555), (70_000, 40_001))]
        .map(|(serve, open)| {
            let ports = schedule.reserve(Role::Serve, serve, open);
            json!({
                "epochs": [serve.0, open.0],
                "main ports": [serve.1, open.1],
                "ports": [ports.0, ports.1],
            })
        })
        .into_iter()
        .collect()
}

/// The first and last ports of each are enough: a wrong one in between would move all that follow.
fn fans(key: &Key) -> Value {
    let schedule = Schedule::new(key);
    [(0, Role::Serve, 5555), (4_901_416, Role::Open, 40_001)]
        .map(|(epoch, role, port)| {
            let deal = schedule.deal(epoch, role, port);
            json!({
                "epoch": epoch,
                "role": role.to_string(),
                "main port": port,
                "first": deal.fan[..8],
                "last": deal.fan[deal.fan.len() - 4..],
                "count": deal.fan.len(),
                "start": deal.start,
            })
        })
        .into_iter()
        .collect()
}

fn sweeps() -> Value {
    [0, 64_511]
        .map(|start| json!({ "start": start, "first": sweep(&[], start).take(8).collect::<Vec<_>>() }))
        .into_iter()
        .collect()
}

fn hellos() -> Value {
    [Services::new(["22", "web"]), Services::default()]
        .map(|services| {
            let names = services.names().to_vec();
            let hello = Hello::new(services);
            json!({
                "version": hello.version,
                "features": hello.features,
                "offered": names.len(),
                "names": names,
                "bytes": hex(&hello.encode()),
            })
        })
        .into_iter()
        .collect()
}

fn requests() -> Value {
    let all = [("22", true, false), ("web", false, true), ("größe", true, true)];
    let mut out: Vec<Value> = all
        .map(|(service, any, blocks)| {
            let bytes = Request { service: service.into(), any, blocks }.encode();
            json!({ "service": service, "any": any, "pieces": blocks, "bytes": hex(&bytes) })
        })
        .into();
    out.push(json!({ "check": true, "bytes": hex(&CHECK_REQUEST) }));
    out.into()
}

fn replies() -> Value {
    json!({
        "connected": Reply::Connected.code(),
        "no such service": Reply::NoSuchService.code(),
        "refused": Reply::Refused.code(),
        "unreachable": Reply::Unreachable.code(),
        "unavailable": Reply::Unavailable.code(),
        "connected in pieces": Reply::ConnectedInBlocks.code(),
        "unresolved": Reply::Unresolved.code(),
    })
}

fn blocks() -> Value {
    let plain = [1, 63, 64, 16_383, 16_384, 4_194_303];
    let packed = [(1, 2), (70_000, 262_144)];
    let plain = plain.map(|length| json!({ "length": length, "head": hex(&Head::Plain(length).encode()) }));
    let packed = packed.map(|(length, unpacked)| {
        let head = Head::Packed { length, unpacked }.encode();
        json!({ "length": length, "unpacked": unpacked, "head": hex(&head) })
    });
    plain.into_iter().chain(packed).collect()
}
