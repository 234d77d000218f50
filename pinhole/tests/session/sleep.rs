//! Machines that sleep with data under way, in virtual time.

use std::time::Duration;

use natlab::{LinkSpec, NatSpec, Side};

use sim::{Op, Setting, Sides, World};

const SEEDS: u64 = 30;

/// Time from waking until all is there: a path that is looked for again, and a lost packet or two. Of 900 such nights one took
/// 13 s, and none of the others more than 8 s.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn who_falls_asleep_in_the_middle_of_a_burst_goes_on_when_it_wakes() {
    check(|world| {
        world.say(Side::B, 285_000);
        run(world, Duration::from_millis(31));
        sleep(world, Sides::B);
    });
}

#[test]
fn who_falls_asleep_on_a_slow_path_does_not_take_its_sleep_for_a_round_trip() {
    check(|world| {
        Op::Delay { from: Sides::B, by: Duration::from_secs(2), lasts: Duration::from_secs(20) }.apply(world);
        run(world, Duration::from_secs(18));
        Side::BOTH.into_iter().for_each(|side| world.say(side, 3000));
        run(world, Duration::from_millis(500));
        sleep(world, Sides::B);
    });
}

#[test]
fn who_falls_asleep_together_does_not_take_its_sleep_for_a_round_trip() {
    check(|world| {
        Side::BOTH.into_iter().for_each(|side| world.say(side, 3000));
        run(world, Duration::from_millis(60));
        sleep(world, Sides::Both);
    });
}

fn check(happens: fn(&mut World)) {
    for seed in 0..SEEDS {
        let mut world = connected(seed);
        happens(&mut world);
        Side::BOTH.into_iter().for_each(|side| world.say(side, 3000));
        let end = world.now() + SOON;
        world.run_until_or(end, World::is_well).expect("nothing is wrong");
        assert!(world.is_well(), "seed {seed}: {}", world.describe());
    }
}

fn sleep(world: &mut World, sides: Sides) {
    let lasts = Duration::from_secs(61);
    Op::Sleep { sides, lasts }.apply(world);
    run(world, lasts + Duration::from_millis(1));
}

fn run(world: &mut World, time: Duration) {
    world.run_for(time).expect("nothing is wrong");
}

fn connected(seed: u64) -> World {
    let preset = |name: &str| -> NatSpec { name.parse().expect("a preset") };
    let link = LinkSpec { loss: 0.015, ..LinkSpec::delayed(Duration::from_millis(48)) };
    let mut world = World::new(&Setting::usual([preset("open"), preset("restricted")], link, seed));
    run(&mut world, Duration::from_secs(25));
    assert!(world.is_well(), "{}", world.describe());
    world
}
