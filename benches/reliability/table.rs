//! The table: one line for each row with each pair of NATs and each load.

use std::time::Duration;

use crate::rig::{
    rows::{Load, Trouble},
    trial::{Case, Outcome},
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
        let bar = self.case.bar();
        let is_good = |outcome: &Outcome| outcome.continued.is_ok() && outcome.stall <= bar;
        self.undone.is_empty() && !self.outcomes.is_empty() && self.outcomes.iter().all(is_good)
    }

    /// Returns the line's fields.
    pub(crate) fn fields(&self) -> [String; 8] {
        let continued = self.outcomes.iter().filter(|outcome| outcome.continued.is_ok()).count();
        let stalls = sorted(self.outcomes.iter().map(|outcome| outcome.stall));
        let from_fault = sorted(self.outcomes.iter().map(|outcome| outcome.from_fault));
        let bar = self.case.bar().as_secs();
        let met = if self.is_held() { "met" } else { "**not met**" };
        let [serve, open] = self.case.pair;
        [
            self.case.row.what.to_owned(),
            format!("{serve} × {open}"),
            self.load().to_owned(),
            format!("{continued} of {}", self.outcomes.len() + self.undone.len()),
            seconds(stalls.get(stalls.len().saturating_sub(1) / 2)),
            seconds(stalls.last()),
            seconds(from_fault.last()),
            format!("≤ {bar} s: {met}"),
        ]
    }

    /// Says why the row does not hold, a line for each trial at fault.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let undone = self.undone.iter().map(|why| format!("not done: {why}"));
        let bar = self.case.bar();
        let failed = self.outcomes.iter().filter_map(|outcome| match &outcome.continued {
            Err(why) => Some(format!("{why}; {:.1} s after the fault", outcome.from_fault.as_secs_f64())),
            Ok(()) if outcome.stall > bar => {
                Some(format!("stalled for {:.1} s", outcome.stall.as_secs_f64()))
            }
            Ok(()) => None,
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
    let rule = "---|".repeat(HEAD.len());
    let lines = cells.iter().map(|cell| format!("| {} |\n", cell.fields().join(" | ")));
    format!("| {} |\n|{rule}\n{}", HEAD.join(" | "), lines.collect::<String>())
}

fn sorted(durations: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut durations: Vec<Duration> = durations.collect();
    durations.sort_unstable();
    durations
}

fn seconds(duration: Option<&Duration>) -> String {
    duration.map_or_else(|| "–".to_owned(), |duration| format!("{:.1} s", duration.as_secs_f64()))
}
