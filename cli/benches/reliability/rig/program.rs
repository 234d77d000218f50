//! One run of the program, and the events that it prints.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// A running program; ended when dropped.
pub(crate) struct Program {
    child: Child,
    incoming: Receiver<(Instant, String)>,
    said: Vec<(Instant, String)>,
}

impl Program {
    /// Starts a program that prints events as JSON lines.
    pub(crate) fn start(mut command: Command) -> Result<Program, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("the program does not start: {e}"))?;
        let stdout = child.stdout.take().ok_or("its stdout is not piped")?;
        let stderr = child.stderr.take().ok_or("its stderr is not piped")?;
        let (sender, incoming) = channel();
        let streams: [Box<dyn Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
        for stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if sender.send((Instant::now(), line)).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Program { child, incoming, said: Vec::new() })
    }

    /// Waits for an event of that name.
    pub(crate) fn wait_for(&mut self, event: &str, patience: Duration) -> Result<(), String> {
        let part = format!(r#""event":"{event}""#);
        let until = Instant::now() + patience;
        loop {
            match self.incoming.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((at, line)) => {
                    let is_it = line.contains(&part);
                    self.said.push((at, line));
                    if is_it {
                        return Ok(());
                    }
                }
                Err(_) => return Err(format!("no {event} within {} s", patience.as_secs())),
            }
        }
    }

    /// Sends a signal to the program itself.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(Pid::from_child(&self.child), signal).map_err(|e| format!("signalling the program: {e}"))
    }

    /// Returns what it said from then on, each line with the seconds since.
    pub(crate) fn said_since(&mut self, then: Instant) -> Vec<String> {
        self.said.extend(self.incoming.try_iter());
        let later = self.said.iter().filter(|(at, _)| *at >= then);
        later.map(|(at, line)| format!("{:.1} s: {line}", (*at - then).as_secs_f64())).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _reaped_before = self.child.wait();
    }
}
