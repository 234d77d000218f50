//! The Puncher against the model: what a user relies on, in every kind of NAT, loss, delay and wrong clocks.

use std::time::Duration;

use natlab::{
    BoxSpec, LinkSpec, NatSpec, Side, Translation, Unsolicited,
    chance::Chance,
    punch::{Punch, Restart},
};
use pinhole_proto::{
    nat::{Cause, PortAssignment, Verdict, punchable},
    puncher::Limits,
};

/// Runs for each pair of presets; `cargo bench --bench matrix` does more.
const SEEDS: u64 = 2;

/// A punch like those that users meet: 10 to 100 ms each way, 5 % loss, clocks up to 5 s apart, any time of the day,
/// either side first.
fn ordinary(a: &NatSpec, b: &NatSpec, seed: u64) -> Punch {
    let mut chance = Chance::new(seed);
    let mut ms = |below| Duration::from_millis(chance.below(below));
    let mut punch = Punch::new(a.clone(), b.clone(), seed);
    punch.link = LinkSpec { loss: 0.05, ..LinkSpec::delayed(Duration::from_millis(10) + ms(91)) };
    punch.unix_ms += u64::try_from(ms(600_000).as_millis()).expect("ten minutes");
    punch.ahead_ms = [(); 2].map(|()| i64::try_from(ms(5000).as_millis()).expect("seconds") - 2500);
    let late = [0, 1500, 7000, 31_000][usize::try_from(chance.below(4)).expect("one of four")];
    punch.starts[usize::try_from(chance.below(2)).expect("one of two")] = Duration::from_millis(late);
    punch
}

fn pairs() -> impl Iterator<Item = (NatSpec, NatSpec)> {
    NatSpec::presets().into_iter().flat_map(|a| NatSpec::presets().into_iter().map(move |b| (a.clone(), b)))
}

#[test]
fn every_pair_does_what_the_verdict_says_within_its_bounds() {
    let (mut chance_runs, mut lucky) = (0, 0);
    let mut chance_failures = Vec::new();
    for (a, b) in pairs() {
        let verdict = punchable(a.access(), b.access());
        for seed in 0..SEEDS {
            let punch = ordinary(&a, &b, seed);
            let outcome = punch.run();
            let what = format!("{a} × {b}, seed {seed}: {outcome:?}");
            for side in Side::BOTH.map(Side::index) {
                assert!(outcome.packets_in_a_second[side] <= 500, "too fast: {what}");
                let foreign = if [&a, &b][side].remembers_strangers() { 512 } else { 0 };
                assert!(outcome.flow_peak[side] <= 1536 + foreign, "too many mappings: {what}");
            }
            match verdict {
                Verdict::Direct => assert!(outcome.took.is_some(), "not connected: {what}"),
                Verdict::No(Cause::UdpBlocked(_)) => {
                    assert!(outcome.took.is_none(), "a path where there is none: {what}");
                }
                Verdict::No(Cause::BothUnpredictable) => lucky += usize::from(outcome.took.is_some()),
                Verdict::ByChance => {
                    chance_runs += 1;
                    chance_failures.extend(outcome.took.is_none().then_some(what));
                }
            }
        }
    }
    assert!(lucky <= 1, "{lucky} pairs of two unpredictable sides connect");
    assert!(chance_failures.len() * 50 <= chance_runs, "{chance_runs} runs, failed: {chance_failures:#?}");
}

#[test]
fn an_unpredictable_side_is_met_where_both_routers_answer_for_themselves() {
    let random = Translation::LINUX.with_ports(PortAssignment::Random);
    let answering = |ports: &Translation, input| {
        NatSpec::new(format!("{input:?}"), vec![BoxSpec::nat(*ports).with_input(input)])
    };
    let inputs = [Unsolicited::Reject, Unsolicited::Accept];
    let pairs = inputs
        .iter()
        .flat_map(|a| inputs.map(|b| (answering(&random, *a), answering(&Translation::LINUX, b))));
    let (mut runs, mut soon) = (0, 0);
    for (index, (unpredictable, other)) in pairs.enumerate() {
        for seed in 0..8 {
            let (a, b) = if seed % 2 == 0 { (&unpredictable, &other) } else { (&other, &unpredictable) };
            let mut punch = ordinary(a, b, seed + 8 * index as u64);
            punch.patience = Duration::from_secs(800);
            let outcome = punch.run();
            let took = outcome.took.unwrap_or_else(|| panic!("{a} × {b}, seed {seed}: {outcome:?}"));
            assert!(outcome.packets_in_a_second.iter().all(|packets| *packets <= 500), "{outcome:?}");
            assert!(outcome.flow_peak.iter().all(|flows| *flows <= 1536 + 512), "{outcome:?}");
            (runs, soon) = (runs + 1, soon + usize::from(took <= Duration::from_secs(20)));
        }
    }
    assert!(soon * 10 >= runs * 8, "{soon} of {runs} within 20 s");
}

#[test]
fn gentle_bounds_are_kept_as_well() {
    let spec = |name: &str| name.parse::<NatSpec>().expect("a preset");
    for (a, b) in [("home", "random"), ("spoilt", "spoilt"), ("spoilt", "random"), ("random", "block")] {
        let mut punch = ordinary(&spec(a), &spec(b), 3);
        punch.limits = Limits::GENTLE;
        punch.patience = Duration::from_secs(120);
        let outcome = punch.run();
        assert!(outcome.packets_in_a_second.iter().all(|packets| *packets <= 100), "{a} × {b}: {outcome:?}");
        for (side, name) in [a, b].into_iter().enumerate() {
            // Such a router remembers what the peer's sweep brings: a third as much again, as in the usual bounds.
            let foreign = if spec(name).remembers_strangers() { 512 / 3 } else { 0 };
            assert!(outcome.flow_peak[side] <= 512 + foreign, "{a} × {b}: {outcome:?}");
        }
    }
}

#[test]
fn a_side_that_starts_behind_a_spoilt_nat_meets_it_within_two_minutes() {
    let spoilt: NatSpec = "spoilt".parse().expect("a preset");
    for seed in 0..10 {
        let mut punch = ordinary(&spoilt, &spoilt, seed);
        punch.starts = [Duration::ZERO, Duration::from_secs(7200 + 37 * seed)];
        punch.patience = Duration::from_secs(130);
        let outcome = punch.run();
        assert!(outcome.took.is_some(), "seed {seed}: {outcome:?}");
    }
}

#[test]
fn a_program_that_starts_anew_uses_the_mappings_of_its_former_run_and_connects_as_fast() {
    let spec = |name: &str| name.parse::<NatSpec>().expect("a preset");
    for (a, b) in [("home", "random"), ("spoilt", "random"), ("spoilt", "spoilt")] {
        for seed in 0..12 {
            let mut punch = ordinary(&spec(a), &spec(b), seed);
            punch.starts = [Duration::ZERO; 2];
            // In the middle of six minutes: at their end another set begins.
            punch.unix_ms = 1_800_000_000_000 + 100_000;
            let says_goodbye = seed % 2 == 0;
            punch.restarts[usize::from(seed % 4 < 2)] =
                Some(Restart { at: Duration::from_secs(9), says_goodbye });
            let outcome = punch.run();
            assert!(outcome.flow_peak.iter().all(|flows| *flows <= 1536), "{a} × {b}, {seed}: {outcome:?}");
            // Without a goodbye the other side waits for its tunnel to fail, and there is none in the model.
            assert!(outcome.took.is_some() || !says_goodbye, "{a} × {b}, {seed}: {outcome:?}");
        }
    }
}

#[test]
fn the_bounds_hold_while_a_side_waits_for_a_day() {
    let spec = |name: &str| name.parse::<NatSpec>().expect("a preset");
    let mut punch = Punch::new(spec("random"), spec("spoilt"), 5);
    punch.starts = [Duration::ZERO, Duration::from_secs(86_400)];
    punch.patience = Duration::from_secs(20);
    let outcome = punch.run();
    assert!(outcome.packets_in_a_second[0] <= 500 && outcome.flow_peak[0] <= 1536, "{outcome:?}");
    let a_minute = outcome.packets[0] / (86_400 / 60);
    assert!(a_minute <= 330, "{a_minute} packets a minute");
}
