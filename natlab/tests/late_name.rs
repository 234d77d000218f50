//! A side gets another public IP under a tunnel, and the name by which the other side knows it follows later.

use std::time::Duration;

use natlab::{
    Side,
    chance::Chance,
    punch::{NewPublicIp, Punch},
};

/// Times after which the name is right, s: before the loss is noticed, while the first search is young, around the time in
/// which a search is not begun anew, and later.
const FOLLOWS: [u64; 6] = [1, 5, 10, 29, 31, 45];

/// Runs for each of these.
const SEEDS: u64 = 6;

/// Runs for each time and seed, and returns how long after the name was right the two were connected, sorted.
fn times([a, b]: [&str; 2], side: Side, names: [bool; 2]) -> Vec<Duration> {
    let runs = FOLLOWS.into_iter().flat_map(|follows| (0..SEEDS).map(move |seed| (follows, seed)));
    let mut times: Vec<Duration> = runs
        .map(|(follows, seed)| {
            let mut chance = Chance::new(seed);
            let mut punch = Punch::new(a.parse().expect("presets"), b.parse().expect("presets"), seed);
            punch.unix_ms += chance.below(360_000);
            punch.names = names;
            let after = Duration::from_millis(5000 + chance.below(400_000));
            let name_follows = Duration::from_secs(follows);
            punch.new_public_ip = Some(NewPublicIp { side, after, name_follows });
            punch.patience = Duration::from_secs(900);
            let outcome = punch.run();
            let what = format!("{a} × {b}, {side:?} moves, {follows} s, seed {seed}: {outcome:?}");
            assert!(outcome.packets_in_a_second.iter().all(|packets| *packets <= 500), "too fast: {what}");
            assert!(outcome.flow_peak.iter().all(|flows| *flows <= 1536), "too many mappings: {what}");
            outcome.took.unwrap_or_else(|| panic!("not connected: {what}"))
        })
        .collect();
    times.sort_unstable();
    times
}

#[test]
fn where_ports_are_kept_a_name_that_follows_late_costs_three_seconds_at_most() {
    for side in Side::BOTH {
        let times = times(["home", "home"], side, [true; 2]);
        assert!(times.last() <= Some(&Duration::from_secs(3)), "{side:?}: {times:?}");
    }
}

#[test]
fn where_one_side_s_ports_are_picked_at_random_it_costs_ten() {
    for side in Side::BOTH {
        let knows = Side::BOTH.map(|knower| knower != side);
        for names in [knows, [true; 2]] {
            let times = times(["home", "random"], side, names);
            let soon = times.iter().filter(|time| **time <= Duration::from_secs(10)).count();
            assert!(soon * 100 >= times.len() * 95, "{side:?} moves, {names:?}: {times:?}");
        }
    }
}
