//! Keys that are renewed under a tunnel, in virtual time.

use std::time::Duration;

use natlab::{LinkSpec, NatSpec, Side};

use sim::{Setting, World};

/// The library begins one update by itself, after a number of packets that chance picks.
const SEEDS: u64 = 20;

/// Longer than keys are used (proto/src/session).
const PAUSE: Duration = Duration::from_secs(130);

/// Bytes said at a time, and the time until they must be heard.
const SAYS: u64 = 3000;
const SOON: Duration = Duration::from_secs(8);

#[test]
fn keys_are_renewed_by_turns_and_everything_still_opens() {
    for seed in 0..SEEDS {
        let nats = ["home", "home"].map(|name| -> NatSpec { name.parse().expect("a preset") });
        let mut world = World::new(&Setting::usual(nats, LinkSpec::delayed(Duration::from_millis(20)), seed));
        world.run_for(Duration::from_secs(5)).expect("nothing is wrong");
        for round in 0..40 {
            // By turns, and both at once each third time.
            for side in Side::BOTH.into_iter().filter(|side| round % 3 == 2 || side.index() == round % 2) {
                world.say(side, SAYS);
            }
            let end = world.now() + SOON;
            world.run_until_or(end, World::is_well).expect("nothing is wrong");
            assert!(world.is_well(), "seed {seed}, round {round}: {}", world.describe());
            world.run_for(PAUSE).expect("nothing is wrong");
        }
    }
}
