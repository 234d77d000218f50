//! Sessions through random faults: `cargo bench --bench sessions -- --seeds 10000 --jobs 2`.
//!
//! Runs the sessions of the seeds from `--first` on, and prints how long they were unwell after the last fault. With
//! `--seed N` it runs that one alone and tells what happened in it. Failures are shrunk and
//! told; any makes the run fail. With `--over MS` the seeds are named that were unwell for longer though something is
//! promised to them.
//!
//! With `--power-cut SECONDS --nats SERVE,OPEN` the open side's router is off for that time in each session, and nothing
//! else happens: `cargo bench --bench sessions -- --seeds 2000 --jobs 2 --power-cut 60 --nats home,random --over 10000`.

#![cfg(target_os = "linux")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use natlab::NatSpec;
use sim::{Outcome, Plan, Promise};

fn main() -> ExitCode {
    if let Some(seed) = argument("--seed") {
        return tell(seed);
    }
    let (first, seeds) = (argument("--first").unwrap_or(0), argument("--seeds").unwrap_or(300));
    let jobs = argument("--jobs").unwrap_or(1);
    let over = argument("--over").map(Duration::from_millis);
    let next = AtomicU64::new(first);
    let run = || {
        let mut outcomes = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return outcomes;
            }
            let result = draw(seed).run();
            if let Err(why) = &result {
                println!("seed {seed}: {why}\n  {}", draw(seed).shrink(why));
            }
            if let (Ok(outcome), Some(over)) = (&result, over)
                && outcome.promise != Promise::None
                && outcome.stall.is_some_and(|stall| stall > over)
            {
                println!("seed {seed}: unwell for {:?}", outcome.stall);
            }
            outcomes.push(result);
        }
    };
    let results: Vec<Result<Outcome, String>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(run)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it catches panics")).collect()
    });
    let failures = results.iter().filter(|result| result.is_err()).count();
    let outcomes: Vec<Outcome> = results.into_iter().flatten().collect();
    println!("{seeds} seeds, {failures} failed");
    for promise in [Promise::Soon, Promise::Later, Promise::None] {
        summarise(promise, &outcomes);
    }
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn summarise(promise: Promise, outcomes: &[Outcome]) {
    let outcomes: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.promise == promise).collect();
    let mut stalls: Vec<Duration> = outcomes.iter().filter_map(|outcome| outcome.stall).collect();
    stalls.sort_unstable();
    let Some(longest) = stalls.last() else { return };
    let sum =
        |count: fn(&Outcome) -> u32| outcomes.iter().map(|outcome| u64::from(count(outcome))).sum::<u64>();
    println!(
        "{}: {} sessions, {} never well again, {} steps, {} paths lost, {} tunnels ended, {} stillborn, {} handshakes failed",
        match promise {
            Promise::Soon => "soon",
            Promise::Later => "later",
            Promise::None => "without a promise",
        },
        outcomes.len(),
        outcomes.len() - stalls.len(),
        outcomes.iter().map(|outcome| outcome.steps).sum::<usize>(),
        sum(|outcome| outcome.counts.paths_lost),
        sum(|outcome| outcome.counts.tunnels_ended),
        sum(|outcome| outcome.counts.stillborn),
        sum(|outcome| outcome.counts.handshakes_failed),
    );
    let at = |share: usize| stalls[(stalls.len() - 1) * share / 100];
    println!("  unwell after the last fault: median {:?}, p95 {:?}, max {longest:?}", at(50), at(95));
}

fn tell(seed: u64) -> ExitCode {
    let plan = draw(seed);
    let plan = plan.run().map_or_else(|why| plan.shrink(&why), |_| plan.clone());
    println!("{plan}");
    let level = if flag("--verbose") { tracing::Level::TRACE } else { tracing::Level::DEBUG };
    tracing_subscriber::fmt().with_max_level(level).with_ansi(false).without_time().init();
    let result = plan.run();
    println!("{result:?}");
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns what happens in the session of a seed.
fn draw(seed: u64) -> Plan {
    let Some(seconds) = argument("--power-cut") else { return Plan::draw(seed) };
    let nats = text("--nats").unwrap_or_else(|| "home,home".to_owned());
    let nats: Vec<NatSpec> = nats.split(',').map(|name| name.parse().expect("a preset of natlab")).collect();
    Plan::power_cut(nats.try_into().expect("two NATs"), Duration::from_secs(seconds), seed)
}

fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

fn argument(name: &str) -> Option<u64> {
    text(name).and_then(|value| value.parse().ok())
}

fn text(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}
