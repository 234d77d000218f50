//! The second side starts long after the first one, which has given up its eager search by then and waits.
//!
//! `PINHOLE_SEEDS=1000 cargo test -p pinhole-natlab --release --test late_start -- --nocapture` prints the figures of
//! docs/nat.md; without the variable there are 40 runs a row.

use std::{ops::Range, time::Duration};

use natlab::{Side, chance::Chance, punch::Punch};

/// Runs for each row.
const SEEDS: u64 = 40;

/// Pairs that meet by chance, the waiting side first.
const BY_CHANCE: [[&str; 2]; 6] = [
    ["home", "random"],
    ["random", "home"],
    ["block", "home"],
    ["home", "sequential"],
    ["reject", "random"],
    ["random", "reject"],
];

/// Pairs in which a mapping is spoilt.
const SPOILT: [[&str; 2]; 3] = [["spoilt", "home"], ["home", "spoilt"], ["spoilt", "spoilt"]];

fn seeds() -> u64 {
    std::env::var("PINHOLE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

/// Starts the second side so many seconds after the first one and returns how long they took from there, sorted.
fn times([waits, comes]: [&str; 2], after: Range<u64>) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..seeds())
        .map(|seed| {
            let mut chance = Chance::new(seed);
            let spec = |name: &str| name.parse().expect("a preset");
            // Either role waits.
            let waiting = if seed % 2 == 0 { Side::A } else { Side::B };
            let (a, b) = if waiting == Side::A { (waits, comes) } else { (comes, waits) };
            let mut punch = Punch::new(spec(a), spec(b), seed);
            punch.unix_ms += chance.below(360_000);
            punch.starts[waiting.other().index()] =
                Duration::from_millis(after.start * 1000 + chance.below((after.end - after.start) * 1000));
            punch.patience = Duration::from_secs(1200);
            let outcome = punch.run();
            let what = format!("{waits} waits, {comes} comes, seed {seed}: {outcome:?}");
            assert!(outcome.packets_in_a_second.iter().all(|packets| *packets <= 500), "too fast: {what}");
            for (side, name) in [a, b].into_iter().enumerate() {
                let foreign = if name == "spoilt" { 512 } else { 0 };
                assert!(outcome.flow_peak[side] <= 1536 + foreign, "too many mappings: {what}");
            }
            outcome.took.unwrap_or(punch.patience)
        })
        .collect();
    times.sort_unstable();
    times
}

/// Prints a row, and asserts that half of the runs and 95 of 100 took no longer than that.
#[expect(clippy::print_stdout, reason = "figures are read")]
fn check(pair: [&str; 2], after: Range<u64>, [median, p95]: [u64; 2]) {
    let times = times(pair, after.clone());
    let at = |share: usize| times[(times.len() * share).div_ceil(100) - 1].as_secs_f64();
    let [waits, comes] = pair;
    println!(
        "| {waits} waits, {comes} comes {} to {} s later | {:.1} s | {:.1} s | {:.1} s |",
        after.start,
        after.end,
        at(50),
        at(95),
        at(100),
    );
    let late = |seconds: u64| times.iter().filter(|took| took.as_secs() >= seconds).count();
    assert!(late(median) * 2 <= times.len(), "{waits} × {comes}, {after:?}: {times:?}");
    // One in twenty, and what chance explains in 999 of 1,000 cases where there are few runs: there are many rows.
    let runs = u32::try_from(times.len()).map(f64::from).expect("few");
    let allowed = 0.05 * runs + 3.1 * (0.05 * 0.95 * runs).sqrt();
    assert!(
        f64::from(u32::try_from(late(p95)).expect("few")) <= allowed,
        "{waits} × {comes}, {after:?}: {times:?}"
    );
}

#[test]
fn minutes_later_they_meet_within_twenty_seconds_mostly_and_a_minute() {
    for pair in BY_CHANCE.into_iter().chain(SPOILT) {
        check(pair, 75..600, [20, 60]);
    }
}

/// Nothing changes any more by then: so it is after hours and days, too.
#[test]
fn hours_later_they_meet_within_half_a_minute_mostly_and_two_minutes() {
    for pair in BY_CHANCE.into_iter().chain(SPOILT) {
        check(pair, 1500..2400, [30, 120]);
    }
}
