//! The table, and its place in docs/check.md.

use std::{fmt::Write, fs, path::PathBuf};

use natlab::NatSpec;
use pinhole::proto::survey::Agreement;

use crate::{BENCH, trial::Cell};

/// Between these lines of docs/check.md stands what the command has written.
const BEGIN: &str = "<!-- check in the kernel -->\n";
const END: &str = "<!-- /check in the kernel -->";

/// Writes the table and what it says as a whole.
pub(crate) fn markdown(presets: &[NatSpec], cells: &[Cell]) -> String {
    let names: Vec<&str> = presets.iter().map(NatSpec::name).collect();
    let mut text =
        format!("| serve \\ open | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for (row, cells) in names.iter().zip(cells.chunks(names.len())) {
        let signs: Vec<String> = cells.iter().map(sign).collect();
        let _infallible = writeln!(text, "| **{row}** | {} |", signs.join(" | "));
    }
    let judged: Vec<Agreement> = cells
        .iter()
        .flat_map(|cell| match cell {
            Cell::Judged(sides) => sides.iter().map(|(agreement, _)| *agreement).collect(),
            Cell::NoPath | Cell::Failed(_) => Vec::new(),
        })
        .collect();
    let count = |wanted| judged.iter().filter(|agreement| **agreement == wanted).count();
    let failed = cells.iter().filter(|cell| matches!(cell, Cell::Failed(_))).count();
    let _infallible = writeln!(
        text,
        "\n{} NATs in {} pairs: {} named in full, {} in part, {} wrongly; {failed} pairs came to no end.\n\n\
         Made by `{}`{}: 20 ms each way, no loss; Linux {}.",
        judged.len(),
        judged.len() / 2,
        count(Agreement::Whole),
        count(Agreement::Partial),
        count(Agreement::None),
        command(),
        if cfg!(debug_assertions) { " with a debug build" } else { "" },
        fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
    );
    text
}

/// Puts the text into docs/check.md.
pub(crate) fn write(text: &str) -> Result<(), String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/check.md");
    let shown = path.display();
    let before = fs::read_to_string(&path).map_err(|error| format!("{shown}: {error}"))?;
    let (head, rest) =
        before.split_once(BEGIN).ok_or_else(|| format!("{shown} has no '{}'", BEGIN.trim()))?;
    let (_old, tail) = rest.split_once(END).ok_or_else(|| format!("{shown} has no '{END}'"))?;
    fs::write(&path, format!("{head}{BEGIN}{text}{END}{tail}")).map_err(|error| format!("{shown}: {error}"))
}

fn sign(cell: &Cell) -> String {
    let one = |agreement| match agreement {
        Agreement::Whole => "✓",
        Agreement::Partial => "~",
        Agreement::None => "✗",
    };
    match cell {
        Cell::NoPath => "–".into(),
        Cell::Judged([(serve, _), (open, _)]) => format!("{} {}", one(*serve), one(*open)),
        Cell::Failed(_) => "?".into(),
    }
}

fn command() -> String {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != BENCH).collect();
    format!("cargo bench --bench check -- {}", args.join(" ")).trim_end_matches(" -- ").to_owned()
}
