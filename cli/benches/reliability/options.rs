//! The command line of the benchmark: definitions only.

use clap::Parser;

/// Lets networks, clocks and programs fail under a connection and measures how it goes on; needs root and nftables.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench reliability --")]
pub(crate) struct Options {
    /// Only these rows
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// Only these NATs, written as serve side and open side
    #[arg(long, value_name = "A:B", value_delimiter = ',')]
    pub(crate) pairs: Vec<String>,

    /// Trials of each row with each pair of NATs
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) runs: usize,

    /// Trials at the same time; they mostly wait
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) jobs: usize,

    /// Also show what the programs said where a row does not hold
    #[arg(long)]
    pub(crate) tell: bool,

    /// Put the table into docs/reliability.md; of a part of the rows, those lines
    #[arg(long)]
    pub(crate) write: bool,

    /// Said by cargo
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Options {
    /// Whether a row is wanted.
    pub(crate) fn wants_row(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Whether all rows are wanted, with all pairs.
    pub(crate) fn wants_all(&self) -> bool {
        self.only.is_empty() && self.pairs.is_empty()
    }

    /// Whether a pair of NATs is wanted.
    pub(crate) fn wants_pair(&self, [serve, open]: [&str; 2]) -> bool {
        self.pairs.is_empty() || self.pairs.contains(&format!("{serve}:{open}"))
    }
}
