//! docs/reliability.md: all of its lines, or those of the rows that were run.

use std::{fs, io, path::PathBuf};

use crate::{
    machine,
    options::Options,
    rig::rows::{self, Row},
    table::{self, Cell},
};

const INTRODUCTION: &str = "\
# What a connection survives

One TCP connection goes through the tunnel while routers, addresses, roads, machines and clocks fail under it. It must \
go on byte for byte, and soon.

*Busy*: both ends send 1 Mbit/s of a known stream all the time and check every byte that comes. The stall is the longest \
time without an arrival, in the worse direction, from the moment on at which the network is usable again; *from the fault* \
counts from the fault itself. *Idle*: nothing is said until the network is usable again; the stall is the time until a \
byte has gone there and one has come back. Where a program dies, *continued* means that the far end of its connection was \
reset, and the stall is counted from the new start, until that reset and a new connection that carries bytes; where a \
program ends politely, it is the time to the reset.

The first NAT is the serve side's. `random` picks the port of each connection at random; all others keep ports. \
[nat.md](nat.md) describes them.

";

/// How the lines begin that say how the table was made.
const MADE: &str = "Made by `cargo bench";

/// Writes the document. Where only a part of the rows was run, all other lines stay as they are.
pub(crate) fn write(cells: &[Cell], options: &Options) -> Result<(), String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reliability.md");
    let fault = |e: io::Error| format!("{}: {e}", path.display());
    let before =
        if options.wants_all() { String::new() } else { fs::read_to_string(&path).map_err(fault)? };
    let made = before.lines().filter(|line| line.starts_with(MADE) && *line != setting(options));
    let made: String = made.chain([setting(options).as_str()]).map(|line| format!("\n{line}\n")).collect();
    let table = table::with_lines(&lines(&before, cells));
    fs::write(&path, format!("{INTRODUCTION}{table}{made}")).map_err(fault)
}

/// Returns the table's lines in the order of the rows: those of these cells, and of all others what was there before.
fn lines(before: &str, cells: &[Cell]) -> Vec<String> {
    let cases = rows::rows().into_iter().flat_map(Row::cases);
    let line = |case| {
        let new = cells.iter().find(|cell| cell.has(case)).map(Cell::line);
        let key = Cell::new(case).key();
        new.or_else(|| before.lines().find(|line| line.starts_with(&key)).map(str::to_owned))
    };
    cases.filter_map(line).collect()
}

/// Says how lines were made.
fn setting(options: &Options) -> String {
    let list = |name: &str, values: &[String]| match values {
        [] => String::new(),
        values => format!("--{name} {} ", values.join(",")),
    };
    let profile = if cfg!(debug_assertions) { "--profile dev " } else { "" };
    format!(
        "{MADE} {profile}--bench reliability -- {}{}--runs {} --jobs {} --write` on {} cores: {} trials a line; 20 ms each way; {}.",
        list("only", &options.only),
        list("pairs", &options.pairs),
        options.runs,
        options.jobs,
        machine::cores(),
        options.runs,
        machine::kernel(),
    )
}
