//! What the cryptography of a start and of a flood costs: `cargo bench --bench key`.
//!
//! `stretch` is the table from which Argon2's costs were chosen, memory in MiB × passes. The time of a guess goes with
//! their product.

use argon2::{Algorithm, Argon2, Params, Version};
use pinhole::{
    Key, Phrase,
    proto::{
        key::{ARGON2_MEMORY_KIB, ARGON2_PASSES},
        probe::{Kind, Probe, ProbeSeal},
    },
};

/// Memory in MiB and passes: those in use, and those that were thought of.
const COSTS: [(u32, u32); 6] =
    [(19, 2), (32, 4), (ARGON2_MEMORY_KIB / 1024, ARGON2_PASSES), (64, 2), (64, 3), (96, 2)];

fn main() {
    divan::main();
}

fn key() -> Key {
    Key::stretch(&Phrase::generate([1; 32]))
}

#[divan::bench(args = COSTS.map(|(mib, passes)| Costs { mib, passes }), sample_count = 10)]
fn stretch(costs: &Costs) -> [u8; 32] {
    let params = Params::new(costs.mib * 1024, costs.passes, 1, Some(32)).expect("in range");
    let mut out = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(b"a phrase", b"a salt of a benchmark", &mut out)
        .expect("lengths that Argon2 takes");
    out
}

struct Costs {
    mib: u32,
    passes: u32,
}

impl std::fmt::Display for Costs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} MiB x {}", self.mib, self.passes)
    }
}

#[divan::bench(sample_count = 10)]
fn stretch_a_phrase_and_wipe() -> Key {
    key()
}

#[divan::bench]
fn open_a_probe(bencher: divan::Bencher<'_, '_>) {
    let seal = ProbeSeal::new(&key());
    let datagram = seal.seal(&probe(), [7; 24]);
    bencher.bench(|| seal.open(divan::black_box(&datagram)));
}

#[divan::bench]
fn refuse_a_lookalike(bencher: divan::Bencher<'_, '_>) {
    let seal = ProbeSeal::new(&key());
    let mut datagram = seal.seal(&probe(), [7; 24]);
    datagram[50] ^= 1;
    bencher.bench(|| seal.open(divan::black_box(&datagram)));
}

fn probe() -> Probe {
    Probe {
        kind: Kind::Probe,
        role: pinhole::Role::Open,
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
    }
}
