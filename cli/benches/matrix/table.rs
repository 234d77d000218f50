//! The figures as tables: text for a terminal, Markdown for the documents.

use std::fmt::Write;

use pinhole_proto::nat::Verdict;

use crate::{
    cell::{Cell, Half},
    wording,
};

/// What stands for a figure that there is not.
pub(crate) const NONE: &str = "–";

/// Prints the cells of one serve side, a line for each open side.
pub(crate) fn print_row(row: &[Cell]) {
    let Some(first) = row.first() else { return };
    println!("\nserve side: {}", first.serve);
    println!(
        "  {:18} {:>8} {:>8} {:>8} {:>9} {:>8} {:>7}  {:10} methods",
        "open side", "success", "median", "p95", "packets", "most/s", "flows", "promise"
    );
    for cell in row {
        let figures = Figures::of(cell);
        println!(
            "  {:18} {:>8} {:>8} {:>8} {:>9} {:>8} {:>7}  {:10} {}",
            cell.open.name(),
            figures.success,
            figures.median,
            figures.p95,
            figures.packets,
            figures.worst_second,
            figures.worst_flows,
            promise(cell),
            figures.methods
        );
    }
}

/// Writes the whole matrix for a terminal: success and median.
pub(crate) fn matrix(half: &Half) -> String {
    let wide = 10;
    let first = half.presets.iter().map(|spec| spec.name().len()).max().unwrap_or(0).max(12);
    let mut text = format!("{:first$}", "serve \\ open");
    for spec in &half.presets {
        write!(text, " {:>wide$}", shorten(spec.name(), wide)).expect("writing to a String never fails");
    }
    for row in half.rows() {
        let name = row.first().map_or("", |cell| cell.serve.name());
        write!(text, "\n{name:first$}").expect("writing to a String never fails");
        for cell in row {
            write!(text, " {:>wide$}", short(cell)).expect("writing to a String never fails");
        }
    }
    text
}

/// Writes the whole matrix in Markdown; what meets by chance is set in italics.
pub(crate) fn markdown(half: &Half) -> String {
    let names = half.presets.iter().map(|spec| format!(" {} |", spec.name()));
    let mut text = format!(
        "| serve \\ open |{}\n|---|{}\n",
        names.collect::<String>(),
        "---|".repeat(half.presets.len())
    );
    for row in half.rows() {
        let name = row.first().map_or("", |cell| cell.serve.name());
        let cells = row.iter().map(|cell| match cell.verdict() {
            Verdict::ByChance => format!(" *{}* |", short(cell)),
            Verdict::Direct | Verdict::No(_) => format!(" {} |", short(cell)),
        });
        writeln!(text, "| **{name}** |{}", cells.collect::<String>())
            .expect("writing to a String never fails");
    }
    text
}

/// Writes a line for each cell that has a path, in Markdown.
pub(crate) fn details(half: &Half) -> String {
    let mut text =
        "| serve | open | success | median | p95 | packets | most in a second | flows | methods |\n\
                    |---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for cell in half.cells.iter().filter(|cell| !matches!(cell.verdict(), Verdict::No(_))) {
        let figures = Figures::of(cell);
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            cell.serve,
            cell.open,
            figures.success,
            figures.median,
            figures.p95,
            figures.packets,
            figures.worst_second,
            figures.worst_flows,
            figures.methods
        )
        .expect("writing to a String never fails");
    }
    text
}

/// Writes success and median; a mere dash where nothing is promised and nothing happened.
pub(crate) fn short(cell: &Cell) -> String {
    let figures = Figures::of(cell);
    match cell.verdict() {
        Verdict::No(_) if cell.connected() == 0 => NONE.to_owned(),
        _ if cell.runs.is_empty() => NONE.to_owned(),
        Verdict::Direct | Verdict::ByChance | Verdict::No(_) => {
            format!("{} {}", figures.success, figures.median)
        }
    }
}

/// The figures of a cell as text.
pub(crate) struct Figures {
    pub(crate) success: String,
    pub(crate) median: String,
    pub(crate) p95: String,
    pub(crate) packets: String,
    pub(crate) worst_second: String,
    pub(crate) worst_flows: String,
    pub(crate) methods: String,
}

impl Figures {
    pub(crate) fn of(cell: &Cell) -> Figures {
        let or_none = |figure: Option<String>| figure.unwrap_or_else(|| NONE.to_owned());
        Figures {
            success: or_none(cell.success().map(|share| wording::percent(share, 0))),
            median: or_none(cell.seconds(0.5).map(wording::seconds)),
            p95: or_none(cell.seconds(0.95).map(wording::seconds)),
            packets: or_none(cell.median_packets().map(|packets| packets.to_string())),
            worst_second: or_none(cell.worst_second().map(|packets| packets.to_string())),
            worst_flows: or_none(cell.worst_flows().map(|flows| flows.to_string())),
            methods: wording::methods(&cell.methods()),
        }
    }
}

/// Names what is promised for the pair.
fn promise(cell: &Cell) -> &'static str {
    match cell.verdict() {
        Verdict::Direct => "direct",
        Verdict::ByChance => "by chance",
        Verdict::No(_) => "no path",
    }
}

/// Cuts a name at its parts, so that it fits into a column.
fn shorten(name: &str, wide: usize) -> String {
    if name.len() <= wide {
        return name.to_owned();
    }
    match name.split_once('-') {
        Some((first, rest)) => {
            let kept: String = first.chars().take(wide.saturating_sub(4)).collect();
            format!("{kept}-{}", rest.chars().take(3).collect::<String>())
        }
        None => name.chars().take(wide).collect(),
    }
}
