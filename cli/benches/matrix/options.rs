//! The command line of the benchmark: definitions only.

use std::ops::Range;

use clap::Parser;
use natlab::NatSpec;

/// Seeds of one cell unless told otherwise.
const SEEDS: u64 = 40;

/// Fills the matrix of NATs: success, time to connect and packets, for every preset × every preset.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench matrix --")]
pub(crate) struct Options {
    /// Worlds of the model for each pair; 0 leaves the model out
    #[arg(long, value_name = "N", default_value_t = SEEDS)]
    pub(crate) seeds: u64,

    /// Only this world of the model, to look at one run again
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,

    /// Runs of the program in this kernel's NATs for each pair; needs root and nftables
    #[arg(long, value_name = "RUNS", default_value_t = 0)]
    pub(crate) kernel: u32,

    /// Seconds from the first side's start to the other's, in the kernel; several are taken in turn by the runs
    #[arg(long, value_name = "S", value_delimiter = ',', num_args = 1.., default_value = "1.5", value_parser = parse_offset)]
    pub(crate) offset: Vec<f64>,

    /// Cells of the kernel that are filled at the same time
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) jobs: usize,

    /// Only these presets, on either side; `home+random` is a chain
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// Put the tables and the maps into docs/
    #[arg(long, conflicts_with_all = ["only", "seed"])]
    pub(crate) write: bool,

    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Returns the sides of the matrix.
    pub(crate) fn presets(&self) -> Result<Vec<NatSpec>, String> {
        if self.only.is_empty() {
            return Ok(NatSpec::presets());
        }
        self.only.iter().map(|name| name.parse::<NatSpec>().map_err(|e| e.to_string())).collect()
    }

    /// Returns the seeds of each cell of the model.
    pub(crate) fn seeds(&self) -> Range<u64> {
        self.seed.map_or(0..self.seeds, |seed| seed..seed.saturating_add(1))
    }
}

fn parse_offset(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().map_err(|e| e.to_string())?;
    if (0.0..=60.0).contains(&seconds) { Ok(seconds) } else { Err("from 0 to 60 seconds".to_owned()) }
}
