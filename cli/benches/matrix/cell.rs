//! What was found out about one pair of sides, and the figures that are made of it.

use std::collections::BTreeMap;

use natlab::NatSpec;
use pinhole_proto::{
    nat::{Access, Verdict, punchable},
    puncher::Method,
};

/// One half of the report.
#[derive(Debug)]
pub(crate) struct Half {
    /// What made it.
    pub(crate) kind: Kind,
    /// How it was made, in words.
    pub(crate) setting: String,
    /// The sides, both as rows (serve) and as columns (open).
    pub(crate) presets: Vec<NatSpec>,
    /// Row after row.
    pub(crate) cells: Vec<Cell>,
}

impl Half {
    /// Returns the cells, a row for each serve side.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[Cell]> {
        self.cells.chunks(self.presets.len().max(1))
    }
}

/// Tells the halves apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The core between modelled NATs.
    Model,
    /// The program between NATs of the kernel.
    Kernel,
}

/// All runs of one pair of sides.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) serve: NatSpec,
    pub(crate) open: NatSpec,
    pub(crate) runs: Vec<Run>,
}

/// How one run went.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Names the run; the model repeats it exactly.
    pub(crate) seed: u64,
    /// From the later start until both sides were connected; none when that did not happen in time.
    pub(crate) seconds: Option<f64>,
    /// How the pair was found, where that is told.
    pub(crate) method: Option<Method>,
    /// Datagrams sent by both sides together.
    pub(crate) packets: u64,
    /// Most of them that one side sent within a second, where that is known.
    pub(crate) packets_in_a_second: Option<usize>,
    /// Most flows alive at once in any box.
    pub(crate) flow_peak: usize,
}

impl Cell {
    /// Returns what is promised for the pair.
    pub(crate) fn verdict(&self) -> Verdict {
        punchable(self.serve.access(), self.open.access())
    }

    /// Returns the number of sides whose outside port cannot be known; none where UDP does not pass.
    pub(crate) fn unpredictable_sides(&self) -> Option<usize> {
        let sides = [self.serve.access(), self.open.access()];
        let passes = !sides.contains(&Access::Blocked);
        passes.then(|| sides.iter().filter(|side| !side.is_predictable()).count())
    }

    pub(crate) fn connected(&self) -> usize {
        self.runs.iter().filter(|run| run.seconds.is_some()).count()
    }

    pub(crate) fn failed(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.seconds.is_none())
    }

    /// Returns the share of runs that connected, if there was any run.
    pub(crate) fn success(&self) -> Option<f64> {
        share(self.connected(), self.runs.len())
    }

    /// Returns the seconds within which that share of *all* runs was connected; none where fewer ever were.
    pub(crate) fn seconds(&self, quantile: f64) -> Option<f64> {
        let mut seconds: Vec<f64> =
            self.runs.iter().map(|run| run.seconds.unwrap_or(f64::INFINITY)).collect();
        seconds.sort_by(f64::total_cmp);
        let rank = nearest_rank(quantile, seconds.len())?;
        Some(seconds[rank]).filter(|seconds| seconds.is_finite())
    }

    pub(crate) fn median_packets(&self) -> Option<u64> {
        let mut packets: Vec<u64> = self.runs.iter().map(|run| run.packets).collect();
        packets.sort_unstable();
        nearest_rank(0.5, packets.len()).map(|rank| packets[rank])
    }

    pub(crate) fn worst_second(&self) -> Option<usize> {
        self.runs.iter().filter_map(|run| run.packets_in_a_second).max()
    }

    pub(crate) fn worst_flows(&self) -> Option<usize> {
        self.runs.iter().map(|run| run.flow_peak).max()
    }

    /// Returns the share of each method among the runs that connected and told theirs, the commonest first.
    pub(crate) fn methods(&self) -> Vec<(Method, f64)> {
        let mut counts: BTreeMap<Method, usize> = BTreeMap::new();
        for method in self.runs.iter().filter(|run| run.seconds.is_some()).filter_map(|run| run.method) {
            *counts.entry(method).or_default() += 1;
        }
        let told: usize = counts.values().sum();
        let mut shares: Vec<(Method, f64)> =
            counts.into_iter().map(|(method, count)| (method, count as f64 / told as f64)).collect();
        shares.sort_by(|one, other| other.1.total_cmp(&one.1));
        shares
    }
}

/// Returns a part of a whole, if there is one.
pub(crate) fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Returns the index of a quantile in a sorted list of that length (nearest rank: the least that covers the share).
fn nearest_rank(quantile: f64, len: usize) -> Option<usize> {
    let rank = (quantile * len as f64).ceil() as usize;
    (len > 0).then(|| rank.clamp(1, len) - 1)
}
