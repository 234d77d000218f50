//! What a connection survives: `cargo bench --bench reliability`.
//!
//! Each row ([`rig::rows`]) is one thing that goes wrong under a TCP connection through the tunnel, between two NATs of
//! this Linux: it must go on byte for byte ([`rig::talk`]), and soon. A line that starts with `!` is a row that does not
//! hold. With `--write` the table goes into docs/reliability.md ([`document`]). The same trials, one of each kind, are the
//! tests `cargo test --test lab survives`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod document;
#[path = "../matrix/machine.rs"]
mod machine;
mod options;
mod rig;
mod table;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use options::Options;
use rig::{
    clock, crew,
    rows::{self, Row},
    talk::Pace,
    trial::Case,
};
use table::Cell;

/// 1 Mbit/s, in packets as large as the road takes.
const PACE: Pace = Pace { chunk_bytes: 1400, every: Duration::from_micros(11_200) };

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("`cargo bench --bench reliability` lets things fail");
        return ExitCode::SUCCESS;
    }
    if let Err(missing) = natlab::available() {
        println!("SKIPPED: {missing}");
        return ExitCode::SUCCESS;
    }
    let cells = run(&options);
    println!("\n{}", table::markdown(&cells));
    let complaints: Vec<String> = cells.iter().flat_map(Cell::complaints).collect();
    complaints.iter().for_each(|line| println!("{line}"));
    if options.write
        && let Err(why) = document::write(&cells, &options)
    {
        println!("reliability: {why}");
        return ExitCode::FAILURE;
    }
    if complaints.is_empty() && !cells.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs every trial that is wanted; the longest begin first.
fn run(options: &Options) -> Vec<Cell> {
    let mut cells: Vec<Cell> = cases(options).into_iter().map(Cell::new).collect();
    let mut tasks: Vec<(usize, Case)> = cells.iter().map(|cell| cell.case).enumerate().collect();
    tasks = std::iter::repeat_n(tasks, options.runs).flatten().collect();
    tasks.sort_by_key(|(_, case)| std::cmp::Reverse(case.row.lasts));
    crew::work(
        &tasks,
        options.jobs,
        |(_, case)| case.run(PACE),
        |task, outcome| {
            let cell = &mut cells[tasks[task].0];
            match outcome {
                Ok(outcome) => {
                    let is_good = cell.case.is_met_by(&outcome, 1, Duration::ZERO);
                    if options.tell && !is_good {
                        outcome.said.iter().for_each(|line| println!("    {line}"));
                    }
                    cell.outcomes.push(outcome);
                }
                Err(why) => cell.undone.push(why),
            }
            println!("{}", cell.fields().join(" | "));
        },
    );
    cells
}

fn cases(options: &Options) -> Vec<Case> {
    let (able, unable): (Vec<Row>, Vec<Row>) = rows::rows()
        .into_iter()
        .filter(|row| options.wants_row(row.name))
        .partition(|row| row.clock().is_none() || clock::is_available());
    unable.iter().for_each(|row| println!("SKIPPED {}: libfaketime is not installed", row.name));
    able.into_iter().flat_map(Row::cases).filter(|case| options.wants_pair(case.pair)).collect()
}
