//! Text to compress: this project's own documents and sources, without end and without repetition.

use std::{
    io::{self, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// Documents in English.
    Prose,
    /// Programs in Rust.
    Sources,
}

/// What people write for people.
const DOCUMENTS: [&str; 6] = [
    include_str!("../../../../ARCHITECTURE.md"),
    include_str!("../../../../CONTRIBUTING.md"),
    include_str!("../../../../README.md"),
    include_str!("../../../../docs/design.md"),
    include_str!("../../../../docs/protocol.md"),
    include_str!("../../../../docs/security.md"),
];

/// What they write for machines.
const PROGRAMS: [&str; 6] = [
    include_str!("../../../../pinhole/src/endpoint/driver.rs"),
    include_str!("../../../src/args.rs"),
    include_str!("../../../../proto/src/puncher/mod.rs"),
    include_str!("../../../../proto/src/puncher/search/birthday/mod.rs"),
    include_str!("../../../../natlab/src/kernel/mod.rs"),
    include_str!("../../../../vendor/noq-proto/src/connection/mod.rs"),
];

/// Bytes of one write.
const CHUNK_BYTES: usize = 64 << 10;

/// Sends for so long, and then the end of the stream.
///
/// Each time round the letters are exchanged for others: as easy to compress as before, but nothing that a long memory has
/// seen before.
pub(super) fn tell(mut to: &TcpStream, text: Text, time: Duration) -> io::Result<()> {
    let until = Instant::now() + time;
    let text = match text {
        Text::Prose => DOCUMENTS.concat(),
        Text::Sources => PROGRAMS.concat(),
    };
    let mut seed = 1;
    while Instant::now() < until {
        let letters = exchange(&mut seed);
        let told: Vec<u8> = text.bytes().map(|byte| letters[usize::from(byte)]).collect();
        for chunk in told.chunks(CHUNK_BYTES) {
            to.write_all(chunk)?;
            if Instant::now() >= until {
                break;
            }
        }
    }
    to.shutdown(Shutdown::Write)
}

/// Returns each byte's replacement: small letters in another order, all else as it is.
fn exchange(seed: &mut u64) -> [u8; 256] {
    let mut letters: [u8; 256] = std::array::from_fn(|byte| byte as u8);
    for last in (1..26_u64).rev() {
        // Knuth's multiplier.
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let other = (*seed >> 33) % (last + 1);
        letters.swap(usize::from(b'a') + last as usize, usize::from(b'a') + other as usize);
    }
    letters
}

/// Checks that letters are exchanged, each for one other, and differently each time.
pub(super) fn check() {
    let mut seed = 1;
    let (first, second) = (exchange(&mut seed), exchange(&mut seed));
    assert_ne!(first, second);
    for letters in [first, second] {
        let mut sorted = letters;
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(place, byte)| place == usize::from(*byte)));
        assert_eq!(letters[usize::from(b' ')], b' ');
    }
}
