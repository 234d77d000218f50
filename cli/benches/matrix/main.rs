//! Every NAT preset × every preset, in either role: `cargo bench --bench matrix`.
//!
//! How often a pair connects, how long that takes and what it costs. Two halves, one table each:
//!
//! - the *model* ([`model`]): the protocol's core between two modelled NATs, many worlds for each pair. A few minutes.
//! - the *kernel* ([`kernel`], `--kernel RUNS`; root and nftables): the program itself between two NATs of this Linux.
//!
//! The life of a half: its cells are filled and shown row by row ([`table`]), then judged against what
//! `pinhole_proto::nat::punchable` promises ([`verdict`]). A line that starts with `!` is a promise not kept; one that
//! starts with `~` is a slow pair. With `--write` the tables go into docs/nat.md ([`document`]), as maps ([`map`]) besides.
//!
//! `cargo test --bench matrix` checks the rules of the report ([`rules`]).

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod cell;
mod document;
mod kernel;
mod machine;
mod map;
mod marks;
mod model;
mod options;
#[expect(dead_code, reason = "other benches use more of it")]
#[path = "../rig/program.rs"]
mod program;
mod rules;
mod table;
mod verdict;
mod watched;
mod wording;
mod worlds;

use std::process::ExitCode;

use cell::{Half, Kind};
use clap::Parser;
use options::Options;

/// Cargo says so when the figures are wanted; a test run does not.
const BENCH: &str = "--bench";

fn main() -> ExitCode {
    if !std::env::args().any(|arg| arg == BENCH) {
        rules::check();
        println!("the report's rules hold; `cargo bench --bench matrix` fills the matrix");
        return ExitCode::SUCCESS;
    }
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("matrix: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let presets = options.presets()?;
    let mut halves = Vec::new();
    if options.seeds > 0 || options.seed.is_some() {
        halves.push(show(model::run(&presets, &options.seeds(), table::print_row)));
    }
    if options.kernel > 0 {
        match natlab::available() {
            Ok(()) => halves.push(show(kernel::run(&presets, options, table::print_row))),
            Err(missing) => println!("SKIPPED the kernel's half: {missing}"),
        }
    }
    if options.write {
        document::write(&halves)?;
    }
    Ok(())
}

/// Shows what is told about a half as a whole.
fn show(half: Half) -> Half {
    println!("\n{}", table::matrix(&half));
    let findings = verdict::findings(&half);
    for line in verdict::totals(&half).iter().chain(&findings) {
        println!("{line}");
    }
    if findings.is_empty() {
        println!("every promise is kept");
    }
    match half.kind {
        Kind::Model => println!("model: {}\n", half.setting),
        Kind::Kernel => println!("kernel: {}\n", half.setting),
    }
    half
}
