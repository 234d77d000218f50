//! Addresses, networks and NATs that change under a tunnel while routers refuse for a peer that lives: no tunnel is cut.

use std::time::Duration;

use natlab::{LinkSpec, NatSpec, Side};

use sim::{Op, Setting, Sides, World};

/// NATs of which at least one answers "port unreachable" to packets that it does not know.
const REFUSING: [[&str; 2]; 9] = [
    ["spoilt", "random"],
    ["spoilt", "spoilt"],
    ["spoilt", "home"],
    ["reject", "home"],
    ["reject", "random"],
    ["reject", "random+reject"],
    ["random", "spoilt"],
    ["home", "spoilt"],
    ["home", "reject"],
];

/// Both sides say something this often, and so much, bytes.
const SAYS_EVERY: Duration = Duration::from_millis(200);
const SAYS_BYTES: u64 = 3000;

/// A living peer was once taken for dead 6 s after the fault, or after 50 s.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_public_ip_that_changes_before_its_name_does() {
    for (pair, side) in REFUSING.iter().flat_map(|pair| Side::BOTH.map(|side| (pair, side))) {
        for late in [3, 20] {
            check(*pair, |world| {
                world.set_public_ip(side, 77);
                talk(world, Duration::from_secs(late));
                world.tell_public_ip(side.other());
            });
        }
    }
}

#[test]
fn both_routers_reboot() {
    REFUSING.iter().for_each(|pair| check(*pair, |world| Op::Flush(Sides::Both).apply(world)));
}

#[test]
fn both_routers_forget_everything_again_and_again() {
    for pair in REFUSING {
        check(pair, |world| {
            for _ in 0..8 {
                Op::Flush(Sides::Both).apply(world);
                talk(world, Duration::from_secs(10));
            }
        });
    }
}

#[test]
fn the_nats_become_others() {
    for [serve, open] in REFUSING {
        check(["home", "home"], |world| {
            Op::Nat { side: Side::A, to: serve.to_owned() }.apply(world);
            Op::Nat { side: Side::B, to: open.to_owned() }.apply(world);
        });
    }
}

#[test]
fn a_machine_gets_another_address_while_it_searches() {
    for (pair, side) in REFUSING.iter().flat_map(|pair| Side::BOTH.map(|side| (pair, side))) {
        check(*pair, |world| {
            Op::Silence { from: Sides::Both, lasts: Duration::from_secs(4) }.apply(world);
            talk(world, Duration::from_secs(3));
            Op::Lease { side, last_octet: 99 }.apply(world);
        });
    }
}

/// Lets something happen to a tunnel on which both sides talk; a world in which a tunnel of two living programs ends
/// refuses to go on.
fn check(pair: [&str; 2], happens: impl FnOnce(&mut World)) {
    let nats = pair.map(|name| -> NatSpec { name.parse().expect("presets") });
    let link = LinkSpec::delayed(Duration::from_millis(20));
    let mut world = World::new(&Setting::usual(nats, link, 1));
    let up = world.now() + Duration::from_secs(120);
    world.run_until_or(up, World::is_well).expect("nothing is wrong");
    assert!(world.is_well(), "{pair:?} do not meet: {}", world.describe());
    talk(&mut world, Duration::from_secs(5));
    happens(&mut world);
    talk(&mut world, LONG);
}

fn talk(world: &mut World, time: Duration) {
    let until = world.now() + time;
    while world.now() < until {
        Side::BOTH.into_iter().for_each(|side| world.say(side, SAYS_BYTES));
        world.run_for(SAYS_EVERY).expect("nobody who lives is called dead");
    }
}
