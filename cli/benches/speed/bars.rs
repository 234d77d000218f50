//! The bars: what was promised, what was measured, and whether it is met.

use crate::table::{NONE, Table};

/// One promise.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    what: String,
    figure: Option<f64>,
    bound: Bound,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    Least(f64),
    Most(f64),
}

impl Bar {
    /// A figure that must not be smaller.
    pub(crate) fn least(what: impl Into<String>, figure: Option<f64>, bound: f64) -> Bar {
        Bar { what: what.into(), figure, bound: Bound::Least(bound) }
    }

    /// A figure that must not be larger.
    pub(crate) fn most(what: impl Into<String>, figure: Option<f64>, bound: f64) -> Bar {
        Bar { what: what.into(), figure, bound: Bound::Most(bound) }
    }

    /// Whether it is met; nothing where nothing was measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.figure.map(|figure| match self.bound {
            Bound::Least(bound) => figure >= bound,
            Bound::Most(bound) => figure <= bound,
        })
    }

    fn fields(&self) -> Vec<String> {
        let bound = match self.bound {
            Bound::Least(bound) => format!("≥ {bound}"),
            Bound::Most(bound) => format!("≤ {bound}"),
        };
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => NONE,
        };
        let figure = self.figure.map_or_else(|| NONE.to_owned(), short);
        vec![self.what.clone(), bound, figure, verdict.to_owned()]
    }
}

/// Writes them as a table.
pub(crate) fn table(bars: &[Bar]) -> Table {
    let mut table = Table::new(["bar", "bound", "measured", ""]);
    table.lines = bars.iter().map(Bar::fields).collect();
    table
}

/// Writes three digits, or the whole number where it is larger.
fn short(figure: f64) -> String {
    match figure.abs() {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
