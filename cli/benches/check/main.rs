//! What `pinhole check` says of both NATs, for every pair of presets between which a tunnel comes up, against what they
//! are: `cargo bench --bench check` (root and nftables).
//!
//! The program runs on both hosts of a laboratory in the kernel; both reports must agree, and are held against
//! `natlab`'s description ([`Seen::agreement`]). A cell has a sign for the row's side and one for the column's. With
//! `--write` the table goes into docs/check.md; with `--show` both reports are printed as people get them.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[expect(dead_code, reason = "other benches use more of it")]
#[path = "../rig/program.rs"]
mod program;
mod table;
mod trial;

use std::{
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use clap::Parser;
use natlab::{NatSpec, kernel::supports};
use pinhole::proto::nat::{Verdict, punchable};
#[cfg(doc)]
use pinhole::proto::survey::Seen;

use trial::Cell;

/// Cargo says so when the figures are wanted; a test run does not.
const BENCH: &str = "--bench";

/// Which pairs, and what is done with the table.
#[derive(Debug, Parser)]
struct Options {
    /// These presets alone, instead of all
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Pairs that are tried at the same time: they mostly wait
    #[arg(long, default_value_t = 6)]
    jobs: usize,
    /// Print both reports of each pair
    #[arg(long)]
    show: bool,
    /// Write the table into docs/check.md
    #[arg(long)]
    write: bool,
    /// Cargo's own
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if !std::env::args().any(|arg| arg == BENCH) {
        println!("`cargo bench --bench check` fills the table");
        return ExitCode::SUCCESS;
    }
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("check: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    if let Err(missing) = natlab::available() {
        println!("SKIPPED: {missing}");
        return Ok(());
    }
    let presets = presets(&options.only)?;
    let pairs: Vec<[NatSpec; 2]> =
        presets.iter().flat_map(|serve| presets.iter().map(|open| [serve.clone(), open.clone()])).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let indices = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
        let indices = indices.take_while(|index| *index < pairs.len());
        indices.map(|index| (index, fill(&pairs[index], options.show))).collect::<Vec<_>>()
    };
    let mut cells: Vec<(usize, Cell)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a pair is tried")).collect()
    });
    cells.sort_by_key(|(index, _)| *index);
    let cells: Vec<Cell> = cells.into_iter().map(|(_, cell)| cell).collect();
    let text = table::markdown(&presets, &cells);
    println!("{text}");
    if options.write { table::write(&text) } else { Ok(()) }
}

fn presets(only: &[String]) -> Result<Vec<NatSpec>, String> {
    if only.is_empty() {
        let able = NatSpec::presets().into_iter().filter(|spec| supports(spec).is_ok());
        return Ok(able.filter(|spec| spec.name() != "blocked").collect());
    }
    only.iter()
        .map(|name| name.parse().map_err(|unknown: natlab::UnknownPreset| unknown.to_string()))
        .collect()
}

fn fill([serve, open]: &[NatSpec; 2], show: bool) -> Cell {
    if matches!(punchable(serve.access(), open.access()), Verdict::No(_)) {
        return Cell::NoPath;
    }
    let cell = trial::run(serve, open, show).unwrap_or_else(Cell::Failed);
    println!("{serve} × {open}: {}", cell.in_words());
    cell
}
