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

/// Returns a first packet that does not open, as large as one.
fn junk(to: [u8; 8]) -> Vec<u8> {
    [long_header(0xc0, 1, to), vec![0, 0x44, 0x80], vec![5; 1152]].concat()
}

/// Connects two ends, each of whose datagrams follows what `forge` makes of its connection ID. Returns who is connected.
fn connects(forge: impl Fn([u8; 8]) -> Vec<u8>) -> [bool; 2] {
    connects_behind(|datagram| forge(destination(datagram)))
}

/// The same with what `forge` makes of the whole datagram. As in the program, both have arrived before either is looked at, and
/// what does not open is ignored.
fn connects_behind(forge: impl Fn(&[u8]) -> Vec<u8>) -> [bool; 2] {
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
                let arrivals = [forge(&datagram), datagram];
                let incoming = arrivals.map(|arrival| ends[1 - side].handle_datagram(&arrival, now));
                for incoming in incoming.into_iter().flatten() {
                    match incoming.decrypt() {
                        Some(_) => drop(ends[1 - side].accept(incoming, now)),
                        None => ends[1 - side].ignore(incoming),
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

#[test]
fn a_copy_of_a_first_packet_with_other_contents_does_not_stand_in_its_way() {
    assert_eq!(connects(junk), [true; 2]);
}

/// The token stands before what is sealed, and is looked at first: a bad one has the handshake closed.
#[test]
fn nor_does_one_with_a_token() {
    let with_token = |datagram: &[u8]| {
        let mut copy = datagram.to_vec();
        if copy[0] & 0xf0 != 0xc0 {
            return copy;
        }
        // Flags and version, both IDs with their lengths, and the token's length, which is none.
        let at = 7 + usize::from(copy[5]) + usize::from(copy[6 + usize::from(copy[5])]);
        if copy[at] == 0 {
            copy[at] = 4;
            copy.splice(at + 1..at + 1, [1, 2, 3, 4]);
        }
        copy
    };
    assert_eq!(connects_behind(with_token), [true; 2]);
}
