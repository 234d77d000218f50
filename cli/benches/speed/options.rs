//! The command line of the benchmark: definitions only.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::{peers::Peer, role::Role, sections::Part};

/// Measures goodput, CPU and latency of pinhole and its peers side by side; needs root.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench speed --")]
pub(crate) struct Options {
    /// Only these parts
    #[arg(long, value_enum, value_name = "A,B", value_delimiter = ',')]
    pub(crate) only: Vec<Part>,

    /// Only these peers
    #[arg(long, value_enum, value_name = "A,B", value_delimiter = ',')]
    pub(crate) peers: Vec<Peer>,

    /// Only these links: 100x50, 100x50-0.1, 100x50-1, 300x100, 20x200-2, 20x40
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) links: Vec<String>,

    /// Rounds; each measures every peer once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = parse_runs)]
    pub(crate) runs: usize,

    /// Seconds of one bulk transfer without a link's delay
    #[arg(long, value_name = "S", default_value = "1", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,

    /// Another build of pinhole, measured beside this one as the peer `other`
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) other: Option<PathBuf>,

    /// Where dumbpipe is, or is built
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers"))]
    pub(crate) peers_folder: PathBuf,

    /// Put tables and plots into docs/benchmarks.md: of every part that is measured
    #[arg(long, conflicts_with_all = ["peers", "links", "other"])]
    pub(crate) write: bool,

    /// Said by cargo
    #[arg(long, hide = true)]
    pub(crate) bench: bool,

    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

impl Options {
    /// Whether a part is wanted.
    pub(crate) fn wants_part(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Whether a link is wanted.
    pub(crate) fn wants_road(&self, name: &str) -> bool {
        self.links.is_empty() || self.links.iter().any(|link| link == name)
    }

    /// Returns those of the peers that are wanted, in their order.
    pub(crate) fn peers_of(&self, all: &[Peer]) -> Vec<Peer> {
        let is_wanted = |peer: &Peer| self.peers.is_empty() || self.peers.contains(peer);
        let mut wanted: Vec<Peer> = all.iter().copied().filter(is_wanted).collect();
        if self.other.is_some() {
            wanted.push(Peer::Other);
        }
        wanted
    }
}

fn parse_runs(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|runs| (1..=1000).contains(runs)).ok_or_else(|| "from 1 to 1000".into())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "a number of seconds is wanted, like 1 or 0.5".into())
}
