//! docs/benchmarks.md and its plots: what stands between two marks is replaced, all else stays.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{bars, machine, marks, options::Options, sections::Section};

/// Writes one part into the document, and its plots beside it.
pub(crate) fn write(section: &Section, options: &Options) -> Result<(), String> {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let path = docs.join("benchmarks.md");
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let text = fs::read_to_string(&path).map_err(|e| failed(&path, e))?;
    let text = marks::replaced(&text, section.name, &part(section, options))
        .ok_or_else(|| format!("docs/benchmarks.md has no marks for '{}'", section.name))?;
    for plot in &section.plots {
        let image = docs.join(image(plot.name));
        fs::write(&image, &plot.svg).map_err(|e| failed(&image, e))?;
    }
    fs::write(&path, text).map_err(|e| failed(&path, e))
}

fn part(section: &Section, options: &Options) -> String {
    let plots = section.plots.iter().map(|plot| format!("![{}]({})\n\n", plot.title, image(plot.name)));
    let tables = section.tables.iter().map(|table| format!("{}\n", table.markdown()));
    let bars = if section.bars.is_empty() {
        String::new()
    } else {
        format!("{}\n", bars::table(&section.bars).markdown())
    };
    let undone = section.undone.iter().map(|why| format!("- {}\n", one_line(why)));
    let undone: String = undone.collect();
    let undone =
        if undone.is_empty() { undone } else { format!("What could not be measured:\n\n{undone}\n") };
    format!(
        "{}{}{bars}{undone}Made by `cargo bench --bench speed -- --only {} --runs {} --write`, medians of {} rounds: {}.\n",
        plots.collect::<String>(),
        tables.collect::<String>(),
        section.name,
        options.runs,
        options.runs,
        setting(options),
    )
}

/// Names what made the figures.
fn setting(options: &Options) -> String {
    let dumbpipe = options.peers_folder.join("bin/dumbpipe");
    let word_after = |text: String, before: &str| {
        text.split_once(before)?.1.split([' ', ',', '\n']).next().map(str::to_owned)
    };
    let said = |program: &str, option: &str, before: &str| {
        word_after(told_by(Path::new(program), option)?, before).map(|version| (program.to_owned(), version))
    };
    let tools = [said("socat", "-V", "socat version "), said("ssh", "-V", "OpenSSH_")];
    let dumbpipe = told_by(&dumbpipe, "--version").map(|text| text.trim().to_owned());
    let cores = cpu().map(|name| format!("{} cores of {name}", machine::cores()));
    let mut parts = vec![machine::linux()];
    parts.extend(cores);
    parts.push(format!("pinhole {}", env!("CARGO_PKG_VERSION")));
    parts.extend(dumbpipe);
    parts.extend(tools.into_iter().flatten().map(|(name, version)| format!("{name} {version}")));
    parts.join(", ")
}

fn cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(": ").map(|(_, name)| name.to_owned())
}

fn told_by(program: &Path, option: &str) -> Option<String> {
    let output = Command::new(program).arg(option).output().ok()?;
    String::from_utf8([output.stdout, output.stderr].concat()).ok()
}

fn image(plot: &str) -> String {
    format!("benchmarks-{plot}.svg")
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
