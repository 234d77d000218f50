//! Probes: any datagram, a valid one with any change to it, and any content under the right key.

#![no_main]

use std::{net::SocketAddr, sync::LazyLock};

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use libfuzzer_sys::fuzz_target;
use pinhole_proto::{
    Key, Role,
    probe::{Class, Kind, MAX_PROBE_BYTES, OpenError, PROBE_BYTES, Probe, ProbeSeal, VERSION, classify},
};

const PHRASE: &str = "moonlight-spotter-shush-theft-relocate-vending-affix";

/// What [`PHRASE`] becomes, as the tests of `key` pin it: the seal's own interface seals only what it knows.
const KEY: [u8; 32] = [
    0x2a, 0xca, 0xe7, 0x66, 0x99, 0xca, 0x8f, 0xd1, 0x70, 0x9b, 0x55, 0x78, 0x4f, 0x8f, 0x37, 0x40, 0x74,
    0xdf, 0x27, 0x66, 0x6b, 0xe7, 0xb3, 0xb9, 0xe9, 0x4e, 0x8e, 0x04, 0xbb, 0x77, 0x24, 0x51,
];

const FIRST: u8 = 0b1000_0000 | VERSION;
const NONCE: [u8; 24] = [7; 24]; // repeats do no harm here
const TAG_BYTES: usize = 16;
const BODY_BYTES: usize = PROBE_BYTES - 1 - NONCE.len() - TAG_BYTES;

static SEAL: LazyLock<ProbeSeal> =
    LazyLock::new(|| ProbeSeal::new(&Key::stretch(&PHRASE.parse().expect("a phrase"))));
static CIPHER: LazyLock<XChaCha20Poly1305> = LazyLock::new(|| XChaCha20Poly1305::new(&KEY.into()));

fuzz_target!(|bytes: &[u8]| {
    check_datagram(bytes);
    check_change(bytes);
    check_body(bytes);
});

/// Any bytes are classified by their first bits and their length, and opened without panic.
fn check_datagram(bytes: &[u8]) {
    let class = classify(bytes);
    let first_bits = bytes.first().map(|first| first >> 6);
    let is_old_script = bytes == b"HELOCLNT";
    assert_eq!(class == Class::OldScript, is_old_script);
    assert_eq!(class == Class::Quic, !is_old_script && matches!(first_bits, Some(0b01 | 0b11)));
    let fits = (PROBE_BYTES..=MAX_PROBE_BYTES).contains(&bytes.len());
    assert_eq!(class == Class::Probe, first_bits == Some(0b10) && fits);
    assert_eq!(SEAL.open(bytes) == Err(OpenError::NoProbe), class != Class::Probe);
}

/// The input as a mask over a valid probe, and as its length: whatever is changed, it does not open.
fn check_change(mask: &[u8]) {
    let probe = Probe {
        kind: Kind::Probe,
        role: Role::Open,
        nominate: true,
        heard: true,
        direct: true,
        tunnel: true,
        epoch: 1,
        instance: 2,
        sequence: 3,
        unix_ms: 4,
        token: 5,
        observed: Some(SocketAddr::from(([192, 0, 2, 1], 5555))),
    };
    let sealed = SEAL.seal(&probe, NONCE);
    let bytes = sealed.iter().copied().chain(std::iter::repeat(0));
    let changed: Vec<u8> = bytes.zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    assert_eq!(SEAL.open(&changed).ok(), (changed == sealed).then_some(probe));
}

/// The input as the content of a probe, sealed with the right key: a later version, or a peer gone mad.
fn check_body(body: &[u8]) {
    let opened = SEAL.open(&seal(body));
    let fits = (BODY_BYTES..=MAX_PROBE_BYTES - PROBE_BYTES + BODY_BYTES).contains(&body.len());
    let known = fits && matches!(body[..2], [1..=4, 0..=1]);
    match opened {
        Ok(probe) => {
            assert!(known, "an unknown kind was taken for {probe:?}");
            assert_eq!(SEAL.open(&SEAL.seal(&probe, NONCE)), Ok(probe), "a probe does not survive the wire");
            let short = SEAL.open(&seal(&body[..BODY_BYTES]));
            assert_eq!(short, Ok(probe), "bytes at the end change the meaning");
        }
        Err(error) => {
            assert!(!known, "{error}");
            assert_eq!(error, if fits { OpenError::Unknown } else { OpenError::NoProbe });
        }
    }
}

fn seal(body: &[u8]) -> Vec<u8> {
    let mut sealed = body.to_vec();
    let tag = CIPHER
        .encrypt_inout_detached(&XNonce::from(NONCE), &[FIRST], sealed.as_mut_slice().into())
        .expect("an input is within the cipher's limit");
    [&[FIRST][..], &NONCE, &sealed, &tag].concat()
}
