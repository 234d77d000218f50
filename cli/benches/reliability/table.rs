//! The table: one line for each row with each pair of NATs and each load.

use std::time::Duration;

use crate::rig::{
    rows::{Load, Trouble},
    trial::{Case, GIVE_UP, Outcome},
};

/// All trials of one case.
pub(crate) struct Cell {
    pub(crate) case: Case,
    pub(crate) outcomes: Vec<Outcome>,
    /// Why trials could not be done.
    pub(crate) undone: Vec<String>,
}

/// The table's columns.
pub(crate) const HEAD: [&str; 8] =
    ["what happens", "NATs", "load", "continued", "stall: median", "max", "from the fault", "bar"];

impl Cell {
    pub(crate) fn new(case: Case) -> Cell {
        Cell { case, outcomes: Vec::new(), undone: Vec::new() }
    }

    /// Whether every trial was done, continued, and stalled no longer than the bar.
    pub(crate) fn is_held(&self) -> bool {
        let is_good = |outcome: &Outcome| self.case.is_met_by(outcome, 1, Duration::ZERO);
        self.undone.is_empty() && !self.outcomes.is_empty() && self.outcomes.iter().all(is_good)
    }

    /// Whether these are the trials of that case.
    pub(crate) fn has(&self, case: Case) -> bool {
        Cell::new(case).key() == self.key()
    }

    /// Returns how the line begins, by which it is known.
    pub(crate) fn key(&self) -> String {
        let [what, pair, load, ..] = self.fields();
        format!("| {what} | {pair} | {load} |")
    }

    /// Returns the line.
    pub(crate) fn line(&self) -> String {
        format!("| {} |", self.fields().join(" | "))
    }

    /// Returns the line's fields.
    pub(crate) fn fields(&self) -> [String; 8] {
        let continued = self.outcomes.iter().filter(|outcome| outcome.continued.is_ok()).count();
        let stalls = sorted(self.outcomes.iter().map(|outcome| outcome.stall));
        let from_fault = sorted(self.outcomes.iter().map(|outcome| outcome.from_fault));
        let bar = self.case.bar();
        let met = if self.is_held() { "met" } else { "**not met**" };
        let [serve, open] = self.case.pair;
        [
            self.case.row.what.to_owned(),
            format!("{serve} × {open}"),
            self.load().to_owned(),
            format!("{continued} of {}", self.outcomes.len() + self.undone.len()),
            stall(stalls.get(stalls.len().saturating_sub(1) / 2)),
            stall(stalls.last()),
            seconds(from_fault.last()),
            format!("{bar}: {met}"),
        ]
    }

    /// Says why the row does not hold, a line for each trial at fault.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let undone = self.undone.iter().map(|why| format!("not done: {why}"));
        let failed = self.outcomes.iter().filter_map(|outcome| match &outcome.continued {
            Err(why) => Some(format!("{why}; {:.1} s after the fault", outcome.from_fault.as_secs_f64())),
            Ok(()) if self.case.is_met_by(outcome, 1, Duration::ZERO) => None,
            Ok(()) => Some(format!("stalled for {:.1} s", outcome.stall.as_secs_f64())),
        });
        let [serve, open] = self.case.pair;
        let name = format!("! {}, {serve}:{open}, {}", self.case.row.name, self.load());
        undone.chain(failed).map(|why| format!("{name}: {why}")).collect()
    }

    /// Names what the connection does meanwhile; one that ends does nothing.
    fn load(&self) -> &'static str {
        match (self.case.row.trouble, self.case.load) {
            (Trouble::Death(_), _) => "–",
            (Trouble::Fault(_), Load::Busy) => "busy",
            (Trouble::Fault(_), Load::Idle) => "idle",
        }
    }
}

/// Writes the table in Markdown.
pub(crate) fn markdown(cells: &[Cell]) -> String {
    with_lines(&cells.iter().map(Cell::line).collect::<Vec<_>>())
}

/// Writes a table of these lines.
pub(crate) fn with_lines(lines: &[String]) -> String {
    let rule = "---|".repeat(HEAD.len());
    let lines = lines.iter().map(|line| format!("{line}\n"));
    format!("| {} |\n|{rule}\n{}", HEAD.join(" | "), lines.collect::<String>())
}

fn sorted(durations: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut durations: Vec<Duration> = durations.collect();
    durations.sort_unstable();
    durations
}

/// Shows a stall; one that did not end within the time for which it was watched is longer.
fn stall(duration: Option<&Duration>) -> String {
    match duration {
        Some(duration) if *duration >= GIVE_UP => format!("> {} s", GIVE_UP.as_secs()),
        _ended => seconds(duration),
    }
}

fn seconds(duration: Option<&Duration>) -> String {
    duration.map_or_else(|| "–".to_owned(), |duration| format!("{:.1} s", duration.as_secs_f64()))
}
