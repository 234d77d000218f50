//! A connected pair at rest for months: what it costs, and that nothing drifts.

use std::time::Duration;

use natlab::{BoxSpec, LinkSpec, NatSpec, Side, Translation, UdpTimers};

use sim::{Setting, World};

const HOUR: Duration = Duration::from_secs(3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
const MONTHS: u32 = 4;
const HOURS: u64 = 24 * 30 * MONTHS as u64;

/// A probe as an IP packet.
const PACKET_BYTES: u64 = 101 + 28;

#[test]
fn months_at_rest_cost_two_packets_a_minute_and_lose_nothing() {
    let home: NatSpec = "home".parse().expect("a preset");
    let rest = rest(&home, 1);
    assert_eq!(rest.paths_lost, 0);
    assert!(rest.packets / HOURS <= 125, "{rest:?}");
    assert!(rest.packets / HOURS * PACKET_BYTES <= 16_500, "{rest:?}");
}

#[test]
fn a_nat_that_forgets_after_40_s_costs_a_path_a_day_and_no_tunnel() {
    let timers = UdpTimers { unreplied: Duration::from_secs(30), stream: Duration::from_secs(40) };
    let hasty = NatSpec::new("hasty", vec![BoxSpec { timers, ..BoxSpec::nat(Translation::LINUX) }]);
    let rest = rest(&hasty, 2);
    assert!(rest.paths_lost <= 2 * 30 * MONTHS, "{rest:?}");
    assert!(rest.packets / HOURS <= 300, "{rest:?}");
}

#[derive(Debug)]
struct Rest {
    /// Counted on both sides.
    paths_lost: u32,
    packets: u64,
}

/// Connects two sides behind such NATs, lets them rest, and sees that they still are what they were.
fn rest(nat: &NatSpec, seed: u64) -> Rest {
    let mut world = World::new(&Setting::usual(
        [nat.clone(), nat.clone()],
        LinkSpec::delayed(Duration::from_millis(20)),
        seed,
    ));
    world.run_for(HOUR).expect("nothing is wrong");
    assert!(world.is_well(), "{}", world.describe());
    let sent = |world: &World| Side::BOTH.map(|side| world.probe_count(side)).iter().sum::<u64>();
    let mut months = Vec::new();
    for _ in 0..MONTHS {
        let begin = sent(&world);
        world.run_for(MONTH).expect("nothing is wrong");
        months.push(sent(&world) - begin);
    }
    assert_eq!(world.counts.tunnels_ended + world.counts.stillborn, 0, "{:?}", world.counts);
    Side::BOTH.into_iter().for_each(|side| world.say(side, 5000));
    world.run_for(Duration::from_secs(15)).expect("nothing is wrong");
    assert!(world.is_well(), "{}", world.describe());
    assert!(months[MONTHS as usize - 1].abs_diff(months[1]) * 20 <= months[1], "it drifts: {months:?}");
    Rest { paths_lost: world.counts.paths_lost, packets: months.iter().sum() }
}
