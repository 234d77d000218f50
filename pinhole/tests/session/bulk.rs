//! What a transfer makes of a link, in virtual time: the rate that QUIC's congestion control finds, and how soon.

use std::time::Duration;

use natlab::{LinkSpec, NatSpec, Side};

use sim::{Setting, World};

const BITS_PER_S: u64 = 20_000_000;
const DELAY: Duration = Duration::from_millis(20);

/// Four times what the link has in flight.
const QUEUE_BYTES: usize = 400_000;

/// 5 s at the link's rate.
const BYTES: u64 = 12_500_000;

/// A line, word for word, as somebody types it: one round trip apart.
const KEYSTROKES: u32 = 100;

#[test]
fn a_copy_that_follows_a_long_talk_fills_the_link_from_its_first_second_on() {
    let mut world = connected(0.0);
    for _ in 0..KEYSTROKES {
        Side::BOTH.into_iter().for_each(|side| world.say(side, 1));
        world.run_for(2 * DELAY + Duration::from_millis(5)).expect("nothing is wrong");
    }
    assert_is_soon(copy(&mut world));
}

#[test]
fn a_copy_keeps_the_rate_that_it_has_found() {
    assert_is_soon(second_copy(0.0));
}

#[test]
fn a_copy_that_loses_one_packet_of_a_hundred_is_not_much_slower() {
    assert_is_soon(second_copy(0.01));
}

fn second_copy(loss: f64) -> Duration {
    let mut world = connected(loss);
    copy(&mut world);
    copy(&mut world)
}

fn assert_is_soon(took: Duration) {
    assert!(took < Duration::from_millis(5700), "{took:?}");
}

fn connected(loss: f64) -> World {
    let home: NatSpec = "home".parse().expect("a preset");
    let link = LinkSpec {
        rate_bits_per_s: Some(BITS_PER_S),
        queue_bytes: QUEUE_BYTES,
        loss,
        ..LinkSpec::delayed(DELAY)
    };
    let mut world = World::new(&Setting::usual([home.clone(), home], link, 3));
    world.run_for(Duration::from_secs(5)).expect("nothing is wrong");
    assert!(world.is_well(), "{}", world.describe());
    world
}

/// Sends so much from the serve side and returns how long it takes until all of it is there.
fn copy(world: &mut World) -> Duration {
    let began = world.elapsed();
    world.say(Side::A, BYTES);
    let end = world.now() + Duration::from_secs(60);
    world.run_until_or(end, World::is_well).expect("nothing is wrong");
    assert!(world.is_well(), "{}", world.describe());
    Duration::from_secs_f64(world.elapsed() - began)
}
