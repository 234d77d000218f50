//! What the cryptography of a start and of a flood costs: `cargo bench --bench key`.

use pinhole::{
    Key,
    proto::probe::{Kind, Probe, ProbeSeal},
};

fn main() {
    divan::main();
}

fn key() -> Key {
    Key::stretch(&"acorn zoom abacus yodel crisp plank".parse().expect("a phrase"))
}

#[divan::bench(sample_count = 20)]
fn stretch_a_phrase() -> Key {
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
        epoch: 1,
        instance: 2,
        sequence: 3,
        unix_ms: 4,
        token: 5,
        observed: None,
    }
}
