//! One run of the program, and the events that it prints.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use pinhole_proto::puncher::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Time to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A running program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    events: Receiver<(Instant, Value)>,
    pub(crate) started: Instant,
    pub(crate) punched: Option<Punched>,
}

/// The first hole that a program reports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Punched {
    pub(crate) at: Instant,
    pub(crate) method: Option<Method>,
}

impl Program {
    /// Starts a program that prints events as JSON lines.
    pub(crate) fn start(mut command: Command) -> Result<Program, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let started = Instant::now();
        let mut child = command.spawn().map_err(|e| format!("the program does not start: {e}"))?;
        let stdout = child.stdout.take().ok_or("its stdout is not piped")?;
        let (sender, events) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(event) = serde_json::from_str(&line) else { continue };
                if sender.send((Instant::now(), event)).is_err() {
                    return;
                }
            }
        });
        Ok(Program { child, events, started, punched: None })
    }

    /// Takes note of what it has printed since the last time.
    pub(crate) fn listen(&mut self) {
        while let Ok((at, event)) = self.events.try_recv() {
            if event["event"] == "punched" {
                self.punched
                    .get_or_insert(Punched { at, method: event["method"].as_str().and_then(Method::named) });
            }
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Ends it as Ctrl-C does, so that the next one finds no leftovers of it.
    pub(crate) fn interrupt(&mut self) {
        if self.is_running() {
            let _ended = kill_process(Pid::from_child(&self.child), Signal::INT);
        }
        let until = Instant::now() + GOODBYE;
        while self.is_running() && Instant::now() < until {
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _reaped_before = self.child.wait();
    }
}
