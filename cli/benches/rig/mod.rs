//! Two running programs with a tunnel between them.

#[expect(dead_code, reason = "other benches use more of it")]
mod program;

use std::{process::Command, time::Duration};

use rustix::process::Signal;

/// Longest wait for a line.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `pinhole`; killed when dropped.
pub(crate) struct Program(program::Program);

impl Program {
    /// Starts the program of this package by a command that runs it somewhere.
    pub(crate) fn start(mut command: Command, args: &[&str]) -> Self {
        command.args(args).env("PINHOLE_KEY", program::KEY);
        Self(program::Program::start(command).expect("the program starts"))
    }

    /// Waits for a line that contains `words`.
    pub(crate) fn wait_for(&mut self, words: &str) {
        self.0.wait_for(words, PATIENCE).expect("it says so");
    }

    /// Ends it by a signal, and waits for that.
    pub(crate) fn end(&mut self, signal: Signal) {
        self.0.signal(signal).expect("it runs");
        self.0.ends().expect("it ends");
    }

    /// Returns how many descriptors it has open.
    pub(crate) fn descriptors(&self) -> u64 {
        std::fs::read_dir(format!("/proc/{}/fd", self.0.id())).expect("it runs").count() as u64
    }

    /// Returns a figure of /proc/PID/status, of those in KiB or without a unit.
    pub(crate) fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let line = status.lines().find(|l| l.starts_with(name)).expect("a known figure");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    }
}
