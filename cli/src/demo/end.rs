//! One of the two processes.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ExitStatus, Stdio},
    sync::{
        PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use natlab::Side;
use pinhole::Phrase;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    super::message::{Message, OrSay},
    Running,
    stage::Stage,
};

/// A running `pinhole`, which is killed if it was not ended before.
pub(super) struct End {
    child: Child,
    pid: Pid,
    events: Receiver<Value>,
    running: Running,
}

/// What an event says, as far as the demo wants it.
pub(super) struct Told {
    pub(super) remote: String,
    pub(super) seconds: f64,
    pub(super) rtt: Duration,
}

impl End {
    pub(super) fn serve_args(stage: &Stage, service: SocketAddr) -> (Side, Vec<String>) {
        (Side::A, arguments(stage, Side::A, "serve", format!("demo={service}")))
    }

    pub(super) fn open_args(stage: &Stage) -> (Side, Vec<String>) {
        (Side::B, arguments(stage, Side::B, "open", format!("{}:demo", stage.tcp_port())))
    }

    pub(super) fn start(
        stage: &Stage,
        key: &Phrase,
        (side, args): (Side, Vec<String>),
        running: &Running,
    ) -> Result<Self> {
        let mut command = stage.command(side)?;
        // What worked in a demo is not worth remembering, and there are other peers in the user's cache.
        command.args(args).env("PINHOLE_KEY", key.as_str()).env("XDG_STATE_HOME", "/dev/null");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().or_say(|| Message::demo("cannot start the second process"))?;
        let pid = Pid::from_child(&child);
        running.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
        let (sender, events) = channel();
        let stdout = child.stdout.take().or_say(|| Message::demo("the process has no stdout"))?;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(event) = serde_json::from_str(&line) else { continue };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, pid, events, running: running.clone() })
    }

    /// Waits for an event by its name; `None` when it does not come in time.
    pub(super) fn wait_for(&mut self, name: &str, patience: Duration) -> Result<Option<Told>> {
        let until = Instant::now() + patience;
        loop {
            let event = match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended_early()),
            };
            if event["event"] == name {
                return Ok(Some(Told {
                    remote: event["remote"].as_str().unwrap_or_default().to_owned(),
                    seconds: event["seconds"].as_f64().unwrap_or_default(),
                    rtt: Duration::from_secs_f64(event["rtt_ms"].as_f64().unwrap_or_default() / 1000.0),
                }));
            }
        }
    }

    /// The process has ended, and nobody has asked it to: what did it say?
    fn ended_early(&mut self) -> anyhow::Error {
        match self.child.wait() {
            Ok(status) => self.failed(status),
            Err(error) => Message::demo(format!("cannot wait for the process: {error}")).into(),
        }
    }

    fn failed(&mut self, status: ExitStatus) -> anyhow::Error {
        let mut talk = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _as_far_as_it_goes = stderr.read_to_string(&mut talk);
        }
        Message::demo(format!("an end of the tunnel failed ({status}): {}", talk.trim_end())).into()
    }

    /// Ends the process as a user would, with Ctrl-C.
    pub(super) fn end(&mut self) -> Result<()> {
        kill_process(self.pid, Signal::INT).or_say(|| Message::demo("the process is gone already"))?;
        let status = self.child.wait().or_say(|| Message::demo("cannot wait for the process"))?;
        if status.success() { Ok(()) } else { Err(self.failed(status)) }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).retain(|pid| *pid != self.pid);
        let _ended_before = self.child.kill();
        let _reaped_before = self.child.wait();
    }
}

fn arguments(stage: &Stage, side: Side, verb: &str, spec: String) -> Vec<String> {
    let (peer, bind) = (stage.public_ip(side.other()), stage.bind_ip(side));
    let words = [verb, &spec, "--json", "--peer", &peer.to_string(), "--bind", &bind.to_string()];
    let mut args: Vec<String> = words.map(str::to_owned).to_vec();
    args.extend(["--port".into(), stage.udp_port().to_string()]);
    args
}
