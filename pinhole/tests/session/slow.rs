//! A path that becomes slow at once, in virtual time, while copies go in both directions.

use std::time::Duration;

use natlab::{LinkSpec, NatSpec, Side};

use sim::{Op, Setting, Sides, World};

const SEEDS: u64 = 8;
const STEP: Duration = Duration::from_millis(100);

/// More than either side says in the test.
const BYTES: u64 = 40_000_000;

/// How slow it becomes, each way.
const DELAY: Duration = Duration::from_secs(2);

/// Most time without a byte: what the acknowledgements of the last ones let out comes a round trip after them.
const GAP: Duration = Duration::from_millis(4500);

/// How long the copies are watched.
const WATCHED: Duration = Duration::from_secs(10);

#[test]
fn two_full_windows_do_not_wait_for_each_other() {
    for seed in 0..SEEDS {
        let mut world = copying(seed);
        let mut quiet = [Duration::ZERO; 2];
        Op::Delay { from: Sides::Both, by: DELAY, lasts: Duration::from_secs(60) }.apply(&mut world);
        for _ in 0..WATCHED.as_millis() / STEP.as_millis() {
            let before = Side::BOTH.map(|side| world.heard(side));
            world.run_for(STEP).expect("nothing is wrong");
            for side in Side::BOTH {
                let (quiet, has_heard) = (&mut quiet[side.index()], world.heard(side) > before[side.index()]);
                *quiet = if has_heard { Duration::ZERO } else { *quiet + STEP };
                assert!(*quiet <= GAP, "seed {seed}, {side:?}: {}", world.describe());
            }
        }
    }
}

/// Two sides in the middle of copies to each other.
fn copying(seed: u64) -> World {
    let home: NatSpec = "home".parse().expect("a preset");
    let link = LinkSpec {
        rate_bits_per_s: Some(4_000_000),
        queue_bytes: 80_000,
        ..LinkSpec::delayed(Duration::from_millis(20))
    };
    let mut world = World::new(&Setting::usual([home.clone(), home], link, seed));
    world.run_for(Duration::from_secs(5)).expect("nothing is wrong");
    Side::BOTH.into_iter().for_each(|side| world.say(side, BYTES));
    world.run_for(Duration::from_secs(3)).expect("nothing is wrong");
    world
}
