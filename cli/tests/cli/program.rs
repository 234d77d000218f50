//! A run of a program: what it says on stderr, what it prints on stdout, and how it ends.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::program::{Line, Lines, text};

/// Longest wait for something that must happen; generous, for machines that are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(5);

/// The key that both sides use unless a test is about keys.
pub(crate) const KEY: &str = "moonlight-spotter-shush-theft-relocate-vending-affix";

/// Describes a run of pinhole that sees neither key nor home of whoever runs the tests.
pub(crate) fn pinhole(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command.args(args);
    isolate(&mut command);
    command
}

/// Where the programs of tests have their sockets, unless a test is about them.
const RUNTIME: &str = env!("CARGO_TARGET_TMPDIR");

/// Takes the tester's own key and home from a command's environment.
pub(crate) fn isolate(command: &mut Command) {
    for variable in [
        "PINHOLE_KEY",
        "PINHOLE_CONFIG",
        "PINHOLE_COMPLETE",
        "XDG_CONFIG_HOME",
        "CREDENTIALS_DIRECTORY",
        "NOTIFY_SOCKET",
        "JOURNAL_STREAM",
        "RUNTIME_DIRECTORY",
    ] {
        command.env_remove(variable);
    }
    command.env("XDG_RUNTIME_DIR", RUNTIME);
    // Nothing is remembered from test to test, not even by root.
    command.env("HOME", "/nonexistent").env("XDG_STATE_HOME", "/dev/null");
}

/// Has another program, which is to become the first one, start it: `prlimit --nofile=9`, for example.
pub(crate) fn under(starter: &[&str], command: &Command) -> Command {
    let mut started = Command::new(starter[0]);
    started.args(&starter[1..]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => started.env(name, value),
            None => started.env_remove(name),
        };
    }
    started
}

/// A program that runs; killed when dropped.
pub(crate) struct Run {
    child: Child,
    stderr: Lines,
    stdout: Lines,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status, none if a signal killed it.
    pub(crate) code: Option<i32>,
    /// All of stderr.
    pub(crate) stderr: String,
    /// All of stdout.
    pub(crate) stdout: String,
}

impl Run {
    /// Starts a program, without anything to read.
    pub(crate) fn start(command: Command) -> Self {
        Self::start_reading(command, Stdio::null())
    }

    /// Starts a program with this as its stdin.
    pub(crate) fn start_reading(mut command: Command, stdin: Stdio) -> Self {
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = Lines::of([Box::new(child.stderr.take().expect("stderr was piped"))]);
        let stdout = Lines::of([Box::new(child.stdout.take().expect("stdout was piped"))]);
        Self { child, stderr, stdout }
    }

    /// Waits until a line on stderr, after those waited for before, has `part` in it; returns that line.
    pub(crate) fn says(&mut self, part: &str) -> String {
        self.says_within(PATIENCE, part)
    }

    /// Does the same with another patience than [`PATIENCE`].
    pub(crate) fn says_within(&mut self, patience: Duration, part: &str) -> String {
        let said = self.stderr.wait_for(part, patience);
        self.or_show(said)
    }

    /// Waits until a line on stdout, after those waited for before, has `part` in it; returns that line.
    pub(crate) fn prints(&mut self, part: &str) -> String {
        let printed = self.stdout.wait_for(part, PATIENCE);
        self.or_show(printed)
    }

    /// Returns the first line on stdout so far that has `part` in it.
    pub(crate) fn has_printed(&mut self, part: &str) -> Option<String> {
        self.stdout.so_far().iter().find(|line| line.text.contains(part)).map(|line| line.text.clone())
    }

    /// Sends a signal to the program itself.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the program still runs");
    }

    /// Waits until the program has ended.
    pub(crate) fn ends(self) -> Ended {
        self.ends_within(PATIENCE)
    }

    /// Waits until the program has ended, which may take as long as `patience`.
    pub(crate) fn ends_within(mut self, patience: Duration) -> Ended {
        let until = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            assert!(Instant::now() < until, "it does not end; it said:\n{}", text(self.stderr.so_far()));
            thread::sleep(LOOK);
        };
        let [stderr, stdout] = [&mut self.stderr, &mut self.stdout].map(|lines| text(lines.all_to_the_end()));
        Ended { code: status.code(), stderr, stdout }
    }

    /// Ends the program as Ctrl-C does, and waits for that.
    pub(crate) fn interrupt(self) -> Ended {
        self.signal(Signal::INT);
        self.ends()
    }

    /// Returns the process's id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns the most memory that it has had, KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Returns the line that it has said, or panics with all that it has said instead.
    fn or_show(&mut self, said: Result<Line, String>) -> String {
        said.map(|line| line.text).unwrap_or_else(|why| {
            let [stderr, stdout] = [&mut self.stderr, &mut self.stdout].map(|lines| text(lines.so_far()));
            panic!("it {why}\n--- its stderr:\n{stderr}\n--- its stdout:\n{stdout}")
        })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _reaped_before = self.child.wait();
    }
}
