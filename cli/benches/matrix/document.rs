//! docs/nat.md and the maps: what stands between two marks is replaced, all else stays.

use std::{fs, path::PathBuf};

use crate::{
    cell::{Half, Kind},
    machine, map, marks, table, verdict,
};

/// Writes every half that was made into the documents.
pub(crate) fn write(halves: &[Half]) -> Result<(), String> {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let path = docs.join("nat.md");
    let mut text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    for half in halves {
        text = marks::replaced(&text, mark(half.kind), &section(half))
            .ok_or_else(|| format!("docs/nat.md has no marks for '{}'", mark(half.kind)))?;
        let image = docs.join(image(half.kind));
        fs::write(&image, map::svg(half)).map_err(|e| format!("{}: {e}", image.display()))?;
    }
    fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn section(half: &Half) -> String {
    let totals: String = verdict::totals(half).iter().map(|line| format!("- {line}\n")).collect();
    let findings = verdict::findings(half);
    let findings = if findings.is_empty() {
        "Every promise was kept, and no pair was slow.\n".to_owned()
    } else {
        format!("```text\n{}\n```\n", findings.join("\n"))
    };
    format!(
        "![The matrix as a map]({})\n\n{}\n{totals}\n{findings}\n\
         <details>\n<summary>Every pair that has a path</summary>\n\n{}\n</details>\n\n\
         Made by `{}` on {} cores: {}.\n",
        image(half.kind),
        table::markdown(half),
        table::details(half),
        command(),
        machine::cores(),
        half.setting,
    )
}

fn mark(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "matrix of the model",
        Kind::Kernel => "matrix of the kernel",
    }
}

fn image(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "matrix.svg",
        Kind::Kernel => "matrix-kernel.svg",
    }
}

/// Returns the command of this very run.
fn command() -> String {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != crate::BENCH).collect();
    format!("cargo bench --bench matrix -- {}", args.join(" "))
}
