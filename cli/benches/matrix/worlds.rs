//! The worlds of the model: everything that varies from run to run, drawn from a seed.

use std::time::Duration;

use natlab::{LinkSpec, NatSpec, chance::Chance, punch::Punch};

/// Seconds from the first side's start to the other's; each comes with either side first.
pub(crate) const OFFSETS: [f64; 4] = [0.0, 1.5, 7.0, 31.0];

/// One-way delay, ms: from, and how far.
const DELAY_MS: (u64, u64) = (10, 90);

/// Share of packets that the link loses.
const LOSS: f64 = 0.05;

/// How far a wall clock is off at most, ms: two may be twice as far apart.
const CLOCK_MS: u64 = 2500;

/// Slots and windows of the engine repeat within this, ms.
const DAYTIME_MS: u64 = 600_000;

/// What the worlds are like, in words.
pub(crate) const WORDS: &str = "either side starts 0, 1.5, 7 or 31 s before the other; 10 to 100 ms each way, 5 % loss, \
                                clocks up to 5 s apart, any time of day; failed after 20 s";

/// Draws a world: start offsets take turns, all else is chance, and no two cells share their chance.
pub(crate) fn punch(serve: &NatSpec, open: &NatSpec, seed: u64) -> Punch {
    let mut chance = Chance::new(fingerprint(&format!("{serve} {open} {seed}")));
    let mut punch = Punch::new(serve.clone(), open.clone(), chance.next_u64());
    let delay = Duration::from_micros(chance.below(DELAY_MS.1 * 1000 + 1) + DELAY_MS.0 * 1000);
    punch.link = LinkSpec { loss: LOSS, ..LinkSpec::delayed(delay) };
    punch.unix_ms += chance.below(DAYTIME_MS);
    punch.ahead_ms = [(); 2].map(|()| chance.below(2 * CLOCK_MS + 1) as i64 - CLOCK_MS as i64);
    let turn = (seed % 8) as usize;
    punch.starts[turn % 2] = Duration::from_secs_f64(OFFSETS[turn / 2]);
    punch
}

/// Mixes a text into a number (FNV-1a).
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
