//! Packets that nobody has sealed, in the name of either side, while a handshake is under way.
//!
//! A retry and a version negotiation are neither encrypted nor authenticated with a secret (RFC 9000 §17.2.1, RFC 9001
//! §5.8). Whoever sees a connection ID can make them, alone or behind another packet in one datagram.

use std::time::{Duration, Instant};

use noq_proto::Event;
use pinhole::{Key, Phrase, proto::key::Instances};

use pinhole_quic::{Credentials, PathEstimate, Shared};
use sim::quic::Quic;

const SERVE: usize = 0;
const OPEN: usize = 1;

/// Each way takes this long.
const DELAY: Duration = Duration::from_millis(20);

/// Returns the connection ID that a datagram leads to.
fn destination(datagram: &[u8]) -> [u8; 8] {
    let start = if datagram[0] & 0x80 == 0 { 1 } else { 6 };
    datagram[start..start + 8].try_into().expect("whole")
}

/// Returns a long header of that type and version, to that ID and from some other.
fn long_header(first: u8, version: u32, to: [u8; 8]) -> Vec<u8> {
    [&[first][..], &version.to_be_bytes(), &[8], &to, &[8], &[7; 8]].concat()
}

fn retry(to: [u8; 8]) -> Vec<u8> {
    [long_header(0xf0, 1, to), vec![9; 40]].concat()
}

fn version_negotiation(to: [u8; 8]) -> Vec<u8> {
    [long_header(0x80, 0, to), 0x1a2a_3a4a_u32.to_be_bytes().to_vec()].concat()
}

/// Returns a Handshake packet that does not open, with a length of its own, so that more can follow.
fn garbage(to: [u8; 8]) -> Vec<u8> {
    [long_header(0xe0, 1, to), vec![40], vec![5; 40]].concat()
}

/// Connects two ends, each of whose datagrams follows what `forge` makes of its connection ID. Returns who is connected.
fn connects(forge: impl Fn([u8; 8]) -> Vec<u8>) -> [bool; 2] {
    let key = Key::stretch(&Phrase::generate([3; 32]));
    let shared = [1, 2].map(|seed| Shared::new(Credentials::new(&key, [seed; 16]).expect("TLS")));
    let mut ends = [Quic::new(&shared[SERVE], [1; 32]), Quic::new(&shared[OPEN], [2; 32])];
    let (runs, path) = (Instances { serve: 1, open: 2 }, PathEstimate::UNKNOWN);
    ends[SERVE].answer(shared[SERVE].server(runs, path));
    let mut now = Instant::now();
    ends[OPEN].dial(shared[OPEN].client(runs, path), now);
    let mut connected = [false; 2];
    for _ in 0..100 {
        for side in [OPEN, SERVE] {
            ends[side].handle_timeout(now);
            let (datagrams, events) = ends[side].drive(now);
            connected[side] |= events.iter().any(|(_, event)| matches!(event, Event::Connected));
            for datagram in datagrams {
                for arrival in [forge(destination(&datagram)), datagram] {
                    if let Some(incoming) = ends[1 - side].handle_datagram(&arrival, now) {
                        ends[1 - side].accept(incoming, now);
                    }
                }
            }
        }
        now += DELAY;
    }
    connected
}

#[test]
fn a_retry_ends_no_handshake_on_either_side() {
    assert_eq!(connects(retry), [true; 2]);
}

#[test]
fn a_version_negotiation_ends_no_handshake_on_either_side() {
    assert_eq!(connects(version_negotiation), [true; 2]);
}

#[test]
fn nor_does_either_behind_another_packet_of_its_datagram() {
    for behind in [retry, version_negotiation] {
        assert_eq!(connects(|to| [garbage(to), behind(to)].concat()), [true; 2]);
    }
}
