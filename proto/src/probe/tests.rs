//! The wire format, sealed and opened.

use proptest::prelude::*;

use super::*;
use crate::key;

fn seal(name: &str) -> ProbeSeal {
    ProbeSeal::new(&key::of_test(name))
}

fn any_probe() -> impl Strategy<Value = Probe> {
    let head = (0..3u8, any::<bool>(), any::<[bool; 4]>(), any::<u32>());
    (head, any::<[u64; 4]>(), any::<Option<SocketAddr>>()).prop_map(
        |((kind, open, [nominate, heard, direct, tunnel], epoch), n, observed)| Probe {
            kind: [Kind::Probe, Kind::Ack, Kind::Bye][usize::from(kind)],
            role: if open { Role::Open } else { Role::Serve },
            nominate,
            heard,
            direct,
            tunnel,
            epoch,
            instance: n[0],
            sequence: n[1],
            unix_ms: n[2],
            token: n[3],
            observed: observed.map(|a| SocketAddr::new(a.ip(), a.port())),
        },
    )
}

#[test]
fn what_is_sealed_can_be_opened_and_every_bit_counts() {
    let seal = seal("one key");
    proptest!(ProptestConfig::with_cases(64), |(probe in any_probe(), nonce: [u8; NONCE_BYTES], bit in 0..PROBE_BYTES * 8)| {
        let mut datagram = seal.seal(&probe, nonce);
        prop_assert_eq!(seal.open(&datagram), Ok(probe));
        datagram[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(seal.open(&datagram).is_err());
    });
}

#[test]
fn another_key_opens_nothing_and_says_so() {
    let probe = Probe {
        kind: Kind::Probe,
        role: Role::Open,
        nominate: false,
        heard: false,
        direct: false,
        tunnel: false,
        epoch: 1,
        instance: 2,
        sequence: 3,
        unix_ms: 4,
        token: 5,
        observed: None,
    };
    let datagram = seal("one key").seal(&probe, [7; NONCE_BYTES]);
    assert_eq!(seal("another key").open(&datagram), Err(OpenError::Sealed { version: VERSION }));
}

#[test]
fn any_bytes_are_classified_and_opened_without_panic() {
    let seal = seal("one key");
    proptest!(|(bytes: Vec<u8>)| { let _ = (classify(&bytes), seal.open(&bytes)); });
    for length in 0..300 {
        let _ = seal.open(&vec![FIRST_BITS; length]);
    }
}

#[test]
fn a_heartbeat_of_the_old_script_is_recognised_and_nothing_longer() {
    assert_eq!(classify(b"HELOCLNT"), Class::OldScript);
    assert_eq!(classify(b"HELOCLNTx"), Class::Quic);
    assert_eq!(classify(b"HELOCLN"), Class::Quic);
}

#[test]
fn quic_is_never_taken_for_a_probe() {
    for first in 0..=255u8 {
        let class = classify(&[first; PROBE_BYTES]);
        assert_eq!(class == Class::Quic, first & 0x40 != 0);
        assert_eq!(class == Class::Probe, first >> 6 == 0b10);
    }
}
