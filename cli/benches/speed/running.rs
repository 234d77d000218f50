//! A program that runs in a namespace: what it says, and what it costs.

use std::{collections::HashMap, fs, process::Command, time::Duration};

use crate::program::Program;

/// Ticks a second of the times in /proc, the same on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Last lines that are shown of a program that fails.
const LAST_LINES: usize = 12;

/// A running program; killed when dropped.
pub(crate) struct Running {
    name: &'static str,
    program: Program,
}

impl Running {
    /// Starts a program.
    pub(crate) fn start(name: &'static str, command: Command) -> Result<Running, String> {
        let program = Program::start(command).map_err(|why| format!("{name}: {why}"))?;
        Ok(Running { name, program })
    }

    /// Waits for a line that contains `words`, and returns it.
    pub(crate) fn wait_for(&mut self, words: &str, patience: Duration) -> Result<String, String> {
        match self.program.wait_for(words, patience) {
            Ok(line) => Ok(line.text),
            Err(why) => Err(self.complaint(&why)),
        }
    }

    /// Waits for the next line and returns its numbers: that is how a role speaks.
    pub(crate) fn numbers<const N: usize>(&mut self, patience: Duration) -> Result<[u64; N], String> {
        let line = self.wait_for("", patience)?;
        let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok());
        numbers.ok_or_else(|| format!("{}: {line}", self.name))
    }

    /// Returns the CPU time of it and of all below it, in user space and in the kernel.
    pub(crate) fn cpu(&self) -> Duration {
        let ticks: u64 = self.family().iter().map(|stat| stat.ticks).sum();
        Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND)
    }

    /// Returns the resident memory of it and of all below it.
    pub(crate) fn rss_kib(&self) -> u64 {
        let rss = |stat: &Stat| status(stat.pid, "VmRSS:").unwrap_or_default();
        self.family().iter().map(rss).sum()
    }

    /// Says what went wrong with it, with its last words.
    fn complaint(&mut self, what: &str) -> String {
        let said: Vec<&str> = self.program.said().iter().map(|line| &*line.text).collect();
        let last = &said[said.len().saturating_sub(LAST_LINES)..];
        format!("{} {what}; it said:\n    {}", self.name, last.join("\n    "))
    }

    fn family(&self) -> Vec<Stat> {
        let stats = all_stats();
        let mut family: Vec<Stat> = stats.get(&self.program.id()).copied().into_iter().collect();
        let mut at = 0;
        while let Some(parent) = family.get(at).map(|stat| stat.pid) {
            family.extend(stats.values().filter(|stat| stat.parent == parent));
            at += 1;
        }
        family
    }
}

/// What /proc/PID/stat says.
#[derive(Debug, Clone, Copy)]
struct Stat {
    pid: u32,
    parent: u32,
    /// Its own and those of its children that have ended.
    ticks: u64,
}

fn all_stats() -> HashMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may have blanks.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Stat { pid, parent: fields.get(1)?.parse().ok()?, ticks })
}

fn status(pid: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
