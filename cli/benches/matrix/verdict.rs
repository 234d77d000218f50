//! Holds the figures against what `punchable` promises.

use pinhole_proto::{
    nat::{Cause, Verdict},
    puncher::Limits,
};

use crate::{
    cell::{Cell, Half, Kind, share},
    wording,
};

/// What pairs by chance promise together.
const BY_CHANCE: f64 = 0.99;

/// What is too rare to be chance.
const RARE: f64 = 0.001;

/// A pair slower than this in one of twenty runs is worth a line, seconds.
const SLOW: f64 = 10.0;

/// Two unpredictable sides meet in fewer than one of so many runs: each has 1,440 mappings out of 64,512, and both ports
/// must be right.
const LUCKY: usize = 100;

/// Most seeds in one line.
const MOST_SEEDS: usize = 8;

/// Returns the figures over whole classes of pairs.
pub(crate) fn totals(half: &Half) -> Vec<String> {
    let in_bar = |cell: &&Cell| is_in_bar(cell);
    let moved = |cell: &&Cell| cell.unpredictable_sides() == Some(1);
    let by_chance = |cell: &&Cell| cell.verdict() == Verdict::ByChance;
    let cells = || half.cells.iter();
    vec![
        total("one side predictable at least, UDP passes", cells().filter(in_bar)),
        total("exactly one side unpredictable", cells().filter(moved)),
        total("all pairs that meet by chance", cells().filter(by_chance)),
    ]
}

/// Returns a line for each promise that is not kept, and for each pair that is slow.
pub(crate) fn findings(half: &Half) -> Vec<String> {
    let mut lines: Vec<String> = half.cells.iter().flat_map(|cell| judge(half.kind, cell)).collect();
    let by_chance = half.cells.iter().filter(|cell| cell.verdict() == Verdict::ByChance);
    let (connected, runs) = count(by_chance);
    if share(connected, runs).is_some_and(|success| success < BY_CHANCE) {
        let sign = if runs - connected > allowed_failures(runs) { '!' } else { '~' };
        lines.push(format!("{sign} all pairs by chance: {connected} of {runs} runs connect, less than 99 %"));
    }
    lines
}

/// Whether at least one side's outside port is known beforehand and UDP passes on both.
fn is_in_bar(cell: &Cell) -> bool {
    cell.unpredictable_sides().is_some_and(|sides| sides < 2)
}

fn total<'a>(class: &str, cells: impl Iterator<Item = &'a Cell>) -> String {
    let cells: Vec<&Cell> = cells.collect();
    let (connected, runs) = count(cells.iter().copied());
    let success = share(connected, runs).map_or("no run".to_owned(), |success| wording::percent(success, 2));
    format!("{class}: {success} ({connected} of {runs} runs, {} pairs)", cells.len())
}

fn count<'a>(cells: impl Iterator<Item = &'a Cell>) -> (usize, usize) {
    cells.fold((0, 0), |(connected, runs), cell| (connected + cell.connected(), runs + cell.runs.len()))
}

fn judge(kind: Kind, cell: &Cell) -> Vec<String> {
    let (connected, runs) = (cell.connected(), cell.runs.len());
    let pair = format!("{} × {}", cell.serve, cell.open);
    let tally = format!("{connected} of {runs} runs connect");
    let mut lines = Vec::new();
    match cell.verdict() {
        Verdict::Direct if connected < runs => {
            lines.push(format!(
                "! {pair}: {tally}, all should; {}",
                seeds(kind, cell.failed().map(|run| run.seed))
            ));
        }
        Verdict::ByChance if runs - connected > allowed_failures(runs) => {
            lines.push(format!(
                "! {pair}: {tally}, too few for 99 %; {}",
                seeds(kind, cell.failed().map(|run| run.seed))
            ));
        }
        Verdict::ByChance if connected < runs => {
            lines.push(format!(
                "~ {pair}: {tally}, within the chance of 99 %; {}",
                seeds(kind, cell.failed().map(|run| run.seed))
            ));
        }
        Verdict::No(cause) if connected > 0 => {
            let is_luck = cause == Cause::BothUnpredictable && connected <= 2 + runs / LUCKY;
            let (sign, word) = if is_luck { ('~', "by mere luck") } else { ('!', "none should") };
            let connected = cell.runs.iter().filter(|run| run.seconds.is_some()).map(|run| run.seed);
            lines.push(format!("{sign} {pair}: {tally}, {word}; {}", seeds(kind, connected)));
        }
        Verdict::Direct | Verdict::ByChance | Verdict::No(_) => {}
    }
    lines.extend(slow(kind, cell, &pair));
    lines.extend(greedy(cell, &pair));
    lines
}

/// Failures that chances of 99 % explain but for one case in a thousand.
fn allowed_failures(runs: usize) -> usize {
    let mut exactly = BY_CHANCE.powi(i32::try_from(runs).unwrap_or(i32::MAX));
    let mut at_most = exactly;
    let mut failures = 0;
    while at_most < 1.0 - RARE && failures < runs {
        exactly *= (runs - failures) as f64 / (failures + 1) as f64 * (1.0 - BY_CHANCE) / BY_CHANCE;
        failures += 1;
        at_most += exactly;
    }
    failures
}

fn slow(kind: Kind, cell: &Cell, pair: &str) -> Option<String> {
    let p95 = cell.seconds(0.95).filter(|seconds| is_in_bar(cell) && *seconds > SLOW)?;
    let late = cell.runs.iter().filter(|run| run.seconds.is_none_or(|seconds| seconds > SLOW));
    Some(format!("~ {pair}: p95 {p95:.1} s; {}", seeds(kind, late.map(|run| run.seed))))
}

/// More than the bounds that a side promises to keep. A router that takes strangers' packets for its own may remember
/// half of the peer's sweep as well.
fn greedy(cell: &Cell, pair: &str) -> Option<String> {
    let limits = Limits::DEFAULT;
    let (packets, flows) = (cell.worst_second().unwrap_or(0), cell.worst_flows().unwrap_or(0));
    let foreign = if cell.serve.remembers_strangers() || cell.open.remembers_strangers() {
        limits.mappings / 3
    } else {
        0
    };
    let too_much = packets > limits.packets_per_second.into() || flows > (limits.mappings + foreign).into();
    too_much.then(|| format!("! {pair}: {packets} packets in a second, {flows} flows at once"))
}

fn seeds(kind: Kind, seeds: impl Iterator<Item = u64>) -> String {
    let all: Vec<String> = seeds.map(|seed| seed.to_string()).collect();
    let more = if all.len() > MOST_SEEDS { " …" } else { "" };
    let name = match kind {
        Kind::Model => "--seed",
        Kind::Kernel => "run",
    };
    format!("{name} {}{more}", all[..all.len().min(MOST_SEEDS)].join(" "))
}
