//! Tables in Markdown.

use crate::{figures::Figures, peers::Peer};

/// A table whose first column names the line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    title: String,
    head: Vec<String>,
    pub(crate) lines: Vec<Vec<String>>,
}

/// One kind of figure as a column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) head: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) digits: usize,
}

/// What stands where there is no figure.
pub(crate) const NONE: &str = "–";

impl Table {
    /// Makes a table without lines.
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Table {
        Table { title: String::new(), head: head.map(str::to_owned).to_vec(), lines: Vec::new() }
    }

    /// Makes a table of medians, a line for each peer.
    pub(crate) fn of(columns: &[Column], peers: &[Peer], figures: &Figures) -> Table {
        let mut table = Table::new([""]);
        table.head.extend(columns.iter().map(|column| column.head.to_owned()));
        for peer in peers {
            let medians = columns.iter().map(|c| figure(figures.median(*peer, c.kind), c.digits));
            table.lines.push([peer.name().to_owned()].into_iter().chain(medians).collect());
        }
        table
    }

    /// Returns the same table with words before it.
    pub(crate) fn titled(self, title: String) -> Table {
        Table { title, ..self }
    }

    /// Writes it; columns stand below each other.
    pub(crate) fn markdown(&self) -> String {
        let width = |column: usize| {
            let cells = self.lines.iter().chain([&self.head]).filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &[String]| -> String {
            let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!(" {cell:width$} |") } else { format!(" {cell:>width$} |") }
            });
            format!("|{}\n", padded.collect::<String>())
        };
        let rule = |(column, width): (usize, &usize)| {
            if column == 0 {
                format!("{}|", "-".repeat(width + 2))
            } else {
                format!("{}:|", "-".repeat(width + 1))
            }
        };
        let rules: String = widths.iter().enumerate().map(rule).collect();
        let title = if self.title.is_empty() { String::new() } else { format!("{}:\n\n", self.title) };
        format!(
            "{title}{}|{rules}\n{}",
            line(&self.head),
            self.lines.iter().map(|cells| line(cells)).collect::<String>()
        )
    }
}

/// Writes a figure with so many digits, or that there is none.
pub(crate) fn figure(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| NONE.to_owned(), |figure| format!("{figure:.digits$}"))
}
