//! What was measured: one figure for each peer, kind and round.

use std::collections::HashMap;

use crate::peers::Peer;

/// One figure, once for each round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    /// By round; a round that failed has none.
    rounds: Vec<Option<f64>>,
}

impl Samples {
    /// Returns the median; of an even number the lower one of the two in the middle.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.rounds.iter().copied().flatten().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len().saturating_sub(1) / 2).copied()
    }

    /// Returns the smallest and the largest figure.
    pub(crate) fn range(&self) -> Option<[f64; 2]> {
        let figures = || self.rounds.iter().copied().flatten();
        Some([figures().min_by(f64::total_cmp)?, figures().max_by(f64::total_cmp)?])
    }

    /// Divides round by round, so that what slowed down both does not count.
    pub(crate) fn over(&self, other: &Samples) -> Samples {
        let pairs = self.rounds.iter().zip(&other.rounds);
        Samples { rounds: pairs.map(|(one, other)| Some((*one)? / (*other)?)).collect() }
    }
}

/// All figures of a part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    samples: HashMap<(Peer, &'static str), Samples>,
    /// Why something could not be measured.
    pub(crate) undone: Vec<String>,
}

impl Figures {
    /// Keeps a figure.
    pub(crate) fn record(&mut self, round: usize, peer: Peer, kind: &'static str, figure: f64) {
        let rounds = &mut self.samples.entry((peer, kind)).or_default().rounds;
        rounds.resize(rounds.len().max(round + 1), None);
        rounds[round] = Some(figure);
    }

    /// Keeps why a peer could not be measured.
    pub(crate) fn give_up(&mut self, peer: Peer, why: &str) {
        let line = format!("{}: {why}", peer.name());
        if !self.undone.contains(&line) {
            self.undone.push(line);
        }
    }

    /// Returns the figures of a peer; none where nothing was measured.
    pub(crate) fn samples(&self, peer: Peer, kind: &'static str) -> Samples {
        self.samples.get(&(peer, kind)).cloned().unwrap_or_default()
    }

    /// Returns the median of a peer's figures.
    pub(crate) fn median(&self, peer: Peer, kind: &'static str) -> Option<f64> {
        self.samples.get(&(peer, kind)).and_then(Samples::median)
    }

    /// Returns how many times another peer's figure a peer's figure is: the median over the rounds.
    pub(crate) fn ratio(&self, peer: Peer, other: Peer, kind: &'static str) -> Option<f64> {
        self.samples(peer, kind).over(&self.samples(other, kind)).median()
    }
}
