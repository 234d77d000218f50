//! Tables in Markdown.

/// A table whose first column names the line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) lines: Vec<Vec<String>>,
}

/// What stands where there is no figure.
pub(crate) const NONE: &str = "–";

impl Table {
    /// Makes a table without lines.
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Table {
        Table { head: head.map(str::to_owned).to_vec(), lines: Vec::new() }
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
        format!(
            "{}|{rules}\n{}",
            line(&self.head),
            self.lines.iter().map(|cells| line(cells)).collect::<String>()
        )
    }
}

/// Writes a figure with so many digits, or that there is none.
pub(crate) fn figure(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| NONE.to_owned(), |figure| format!("{figure:.digits$}"))
}
