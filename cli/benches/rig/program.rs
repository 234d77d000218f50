//! A program that runs: what it says on stdout and stderr, line by line, and when.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// A phrase as the program makes them; checking a phrase of the user's own would load dictionaries of 5 MiB.
pub(crate) const KEY: &str = "pureblood-mandate-purist-proton-worrier-affected-sporty";

/// A running program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Lines,
}

impl Program {
    /// Starts a program, with nothing to read.
    pub(crate) fn start(mut command: Command) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("the program does not start: {e}"))?;
        let stdout = child.stdout.take().ok_or("its stdout is not piped")?;
        let stderr = child.stderr.take().ok_or("its stderr is not piped")?;
        Ok(Self { child, lines: Lines::of([Box::new(stdout), Box::new(stderr)]) })
    }

    /// Waits for a line, after those waited for before, that has `part` in it.
    pub(crate) fn wait_for(&mut self, part: &str, patience: Duration) -> Result<Line, String> {
        self.lines.wait_for(part, patience)
    }

    /// Returns what it has said so far.
    pub(crate) fn said(&mut self) -> &[Line] {
        self.lines.so_far()
    }

    /// Sends a signal to the program itself.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(Pid::from_child(&self.child), signal).map_err(|e| format!("signalling the program: {e}"))
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Waits for its end, and returns all that it has said.
    pub(crate) fn ends(&mut self) -> Result<&[Line], String> {
        self.child.wait().map_err(|e| format!("waiting for the program: {e}"))?;
        Ok(self.lines.all_to_the_end())
    }

    /// Returns the process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _reaped_before = self.child.wait();
    }
}

/// A line of stdout or stderr.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) at: Instant,
    pub(crate) text: String,
}

/// The lines of one stream or several, as they come.
pub(crate) struct Lines {
    incoming: Receiver<Line>,
    said: Vec<Line>,
}

impl Lines {
    pub(crate) fn of<const N: usize>(streams: [Box<dyn Read + Send>; N]) -> Self {
        let (sender, incoming) = channel();
        for stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                for text in BufReader::new(stream).lines().map_while(Result::ok) {
                    if sender.send(Line { at: Instant::now(), text }).is_err() {
                        return;
                    }
                }
            });
        }
        Self { incoming, said: Vec::new() }
    }

    /// Waits for a line, after those waited for before, that has `part` in it.
    pub(crate) fn wait_for(&mut self, part: &str, patience: Duration) -> Result<Line, String> {
        let until = Instant::now() + patience;
        loop {
            match self.incoming.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.text.contains(part) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("did not say '{part}' within {} s", patience.as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(format!("ended without saying '{part}'")),
            }
        }
    }

    /// Returns those that have come.
    pub(crate) fn so_far(&mut self) -> &[Line] {
        self.said.extend(self.incoming.try_iter());
        &self.said
    }

    /// Returns all, once the writers have closed their ends.
    pub(crate) fn all_to_the_end(&mut self) -> &[Line] {
        self.said.extend(self.incoming.iter());
        &self.said
    }
}

/// Returns lines as they were written.
pub(crate) fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{}\n", line.text)).collect()
}
