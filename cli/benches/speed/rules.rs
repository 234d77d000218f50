//! The rules by which figures are kept and judged: what `cargo test --bench speed` checks.

use crate::{bars::Bar, figures::Figures, peers::Peer, role, table::Table};

const KIND: &str = "a kind";

/// Checks all of them; a panic names the one that does not hold.
pub(crate) fn check() {
    a_median_leaves_out_rounds_that_failed();
    a_ratio_is_taken_within_each_round();
    a_bar_without_a_figure_is_neither_met_nor_missed();
    a_table_has_a_line_for_each_peer();
    role::check();
}

fn figures_of(peer: Peer, figures: &[(usize, f64)], into: &mut Figures) {
    figures.iter().for_each(|(round, figure)| into.record(*round, peer, KIND, *figure));
}

fn a_median_leaves_out_rounds_that_failed() {
    let mut figures = Figures::default();
    figures_of(Peer::Pinhole, &[(0, 3.0), (2, 1.0), (4, 2.0)], &mut figures);
    assert_eq!(figures.median(Peer::Pinhole, KIND), Some(2.0));
    assert_eq!(figures.samples(Peer::Pinhole, KIND).range(), Some([1.0, 3.0]));
    assert_eq!(figures.median(Peer::Ssh, KIND), None);
}

fn a_ratio_is_taken_within_each_round() {
    let mut figures = Figures::default();
    figures_of(Peer::Pinhole, &[(0, 2.0), (1, 20.0), (2, 200.0), (3, 7.0)], &mut figures);
    figures_of(Peer::Ssh, &[(0, 1.0), (1, 10.0), (2, 50.0)], &mut figures);
    assert_eq!(figures.ratio(Peer::Pinhole, Peer::Ssh, KIND), Some(2.0));
}

fn a_bar_without_a_figure_is_neither_met_nor_missed() {
    let met = |bar: Bar| bar.is_met();
    assert_eq!(met(Bar::least("", Some(2.0), 2.0)), Some(true));
    assert_eq!(met(Bar::most("", Some(2.1), 2.0)), Some(false));
    assert_eq!(met(Bar::most("", None, 2.0)), None);
}

fn a_table_has_a_line_for_each_peer() {
    let table = Table::of(&[], &[Peer::Direct, Peer::Pinhole], &Figures::default()).markdown();
    assert_eq!(table.lines().count(), 4, "{table}");
}
