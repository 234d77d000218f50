//! Figures of several rounds.

/// One figure, once for each round; a round that failed has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    figures: Vec<f64>,
}

impl Samples {
    /// Adds a round's figure.
    pub(crate) fn push(&mut self, figure: f64) {
        self.figures.push(figure);
    }

    /// Returns the median; of an even number the lower one of the two in the middle.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.figures.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len().saturating_sub(1) / 2).copied()
    }

    /// Returns the smallest and the largest figure.
    pub(crate) fn range(&self) -> Option<[f64; 2]> {
        let least = self.figures.iter().copied().min_by(f64::total_cmp)?;
        let most = self.figures.iter().copied().max_by(f64::total_cmp)?;
        Some([least, most])
    }
}
