//! docs/reliability.md, written whole.

use std::{fs, path::PathBuf};

use crate::{
    machine,
    options::Options,
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

/// Writes the document.
pub(crate) fn write(cells: &[Cell], options: &Options) -> Result<(), String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let table = table::markdown(cells);
    let setting = format!(
        "\nMade by `cargo bench --bench reliability -- --runs {} --jobs {} --write` on {} cores: {} trials a line; 20 ms \
         each way; {}.\n",
        options.runs,
        options.jobs,
        machine::cores(),
        options.runs,
        machine::kernel(),
    );
    fs::write(&path, format!("{INTRODUCTION}{table}{setting}"))
        .map_err(|e| format!("{}: {e}", path.display()))
}
