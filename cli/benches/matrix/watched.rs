//! One run of the program, and the hole that it reports.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use pinhole_proto::puncher::Method;
use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Line, Program};

/// Time to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A running program that prints events as JSON lines.
pub(crate) struct Watched {
    program: Program,
    pub(crate) started: Instant,
    pub(crate) punched: Option<Punched>,
}

/// The first hole that a program reports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Punched {
    pub(crate) at: Instant,
    pub(crate) method: Option<Method>,
}

impl Watched {
    pub(crate) fn start(command: Command) -> Result<Self, String> {
        let started = Instant::now();
        Ok(Self { program: Program::start(command)?, started, punched: None })
    }

    /// Looks for the hole in what it has said so far.
    pub(crate) fn listen(&mut self) {
        if self.punched.is_none() {
            self.punched = self.program.said().iter().find_map(punched);
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.program.is_running()
    }

    /// Ends it as Ctrl-C does, so that the next one finds no leftovers of it.
    pub(crate) fn interrupt(&mut self) {
        if self.is_running() {
            let _ended = self.program.signal(Signal::INT);
        }
        let until = Instant::now() + GOODBYE;
        while self.is_running() && Instant::now() < until {
            thread::sleep(LOOK);
        }
    }
}

fn punched(line: &Line) -> Option<Punched> {
    let event: Value = serde_json::from_str(&line.text).ok()?;
    let method = event["method"].as_str().and_then(Method::named);
    (event["event"] == "punched").then_some(Punched { at: line.at, method })
}
