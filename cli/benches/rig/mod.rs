//! Two running programs with a tunnel between them.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// A phrase as the program makes them; checking a phrase of the user's own would load dictionaries of 5 MiB.
const KEY: &str = "pureblood-mandate-purist-proton-worrier-affected-sporty";

/// A running `pinhole`; killed when dropped.
pub(crate) struct Program {
    child: Child,
    talk: BufReader<ChildStderr>,
}

impl Program {
    /// Starts the program of this package by a command that runs it somewhere.
    pub(crate) fn start(mut command: Command, args: &[&str]) -> Self {
        command
            .args(args)
            .env("PINHOLE_KEY", KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let talk = BufReader::new(child.stderr.take().expect("its stderr is piped"));
        Self { child, talk }
    }

    /// Waits for a line that contains `words`.
    pub(crate) fn wait_for(&mut self, words: &str) {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(
                self.talk.read_line(&mut line).expect("stderr is text") > 0,
                "ended without saying {words:?}"
            );
        }
    }

    /// Ends it by a signal, and waits for that.
    pub(crate) fn end(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Returns how many descriptors it has open.
    pub(crate) fn descriptors(&self) -> u64 {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count() as u64
    }

    /// Returns a figure of /proc/PID/status, of those in KiB or without a unit.
    pub(crate) fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|l| l.starts_with(name)).expect("a known figure");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
