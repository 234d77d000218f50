//! The section `initial packet` of docs/vectors.json: a first packet of QUIC, sealed as the serve side seals it.
//!
//! ```text
//! cargo test -p pinhole-quic --lib -- --ignored write_the_initial_packet      # makes it anew, after proto's own sections
//! ```

use noq_proto::{ConnectionId, PathId, crypto::ServerConfig};
use pinhole_proto::{
    Key,
    key::{Instances, Marks},
};
use serde_json::{Value, json};

use crate::{credentials::Credentials, initial::Opened};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors.json");

const SECTION: &str = "initial packet";

/// Bytes of a datagram with an Initial packet, of its packet number, and of the tag of AES-128-GCM.
const DATAGRAM_BYTES: usize = 1200;
const NUMBER_BYTES: usize = 4;
const TAG_BYTES: usize = 16;

#[test]
fn the_initial_packet_is_that_of_the_document() {
    let written = document();
    assert_eq!(written[SECTION], initial_packet(&written), "see the head of {}", file!());
}

#[test]
#[ignore = "writes docs/vectors.json"]
fn write_the_initial_packet() {
    let mut document = document();
    document[SECTION] = initial_packet(&document);
    let text = serde_json::to_string_pretty(&document).expect("a value is JSON");
    std::fs::write(FILE, text + "\n").expect("docs is writable");
}

fn document() -> Value {
    let text = std::fs::read_to_string(FILE).expect("docs/vectors.json");
    serde_json::from_str(&text).expect("JSON")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn initial_packet(document: &Value) -> Value {
    let phrase = document["key"]["canonical"].as_str().expect("a phrase").parse().expect("a phrase");
    let key = Key::stretch(&phrase);
    let marks = Marks::new(&key);
    let [first, destination, source] =
        [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]].map(|half| marks.mark(half));
    let (instances, number) = (Instances { serve: 1, open: 2 }, 7u32);
    let credentials = Credentials::new(&key, [0; 16]).expect("keys of the right size");
    let keys = credentials
        .server(instances, Opened::default())
        .initial_keys(1, ConnectionId::new(&first))
        .expect("version 1 is known");

    let mut packet = vec![0xc3, 0, 0, 0, 1]; // Initial, a packet number of 4 bytes; version 1
    for id in [destination, source] {
        packet.push(8);
        packet.extend(id);
    }
    packet.push(0); // no token
    let number_at = packet.len() + 2;
    let length = u16::try_from(DATAGRAM_BYTES - number_at).expect("below 1,200");
    packet.extend((length | 0x4000).to_be_bytes());
    packet.extend(number.to_be_bytes());
    packet.push(1); // a PING; zeros are PADDING
    packet.resize(DATAGRAM_BYTES, 0);
    let head_bytes = number_at + NUMBER_BYTES;
    assert_eq!(keys.packet.local.tag_len(), TAG_BYTES);
    let opened = hex(&packet[..DATAGRAM_BYTES - TAG_BYTES]);
    keys.packet.local.encrypt(PathId::ZERO, number.into(), &mut packet, head_bytes);
    keys.header.local.encrypt(number_at, &mut packet);
    json!({
        "instances": [instances.serve, instances.open],
        "first destination": hex(&first),
        "destination": hex(&destination),
        "source": hex(&source),
        "packet number": number,
        "opened": opened.trim_end_matches("00"),
        "datagram": hex(&packet),
    })
}
