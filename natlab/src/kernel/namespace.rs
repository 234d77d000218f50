//! One network namespace: entering it, running programs in it, removing it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::LabError;
use super::tool;

/// Where `ip netns` keeps its names.
pub(super) const DIRECTORY: &str = "/run/netns";

/// A named network namespace of a running laboratory.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Opens a namespace that exists.
    pub(super) fn open(name: &str) -> Result<Namespace, LabError> {
        let file = File::open(path(name)).map_err(LabError::io(format!("opening namespace {name}")))?;
        Ok(Namespace { name: name.to_owned(), file })
    }

    /// Returns the name that `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts the description of a program that will run in this namespace.
    ///
    /// It begins as `nsenter`, which becomes the program itself: the child's pid, stdin and signals are the
    /// program's own. A program that does not exist shows as exit status 127, not as an error of `spawn`.
    /// Only the network is the namespace's; files, `/sys` included, are the caller's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={DIRECTORY}/{}", self.name)).arg("--").arg(program);
        command
    }

    /// Runs the closure on a fresh thread inside this namespace and returns what it returns; a panic in it
    /// goes on in the caller. Sockets made inside stay inside, wherever they are used; threads started inside
    /// (an async runtime's, say) stay inside as well.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let inside = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        };
        let joined = thread::scope(|scope| scope.spawn(inside).join());
        let entered: Result<T, rustix::io::Errno> = joined.unwrap_or_else(|panic| resume_unwind(panic));
        entered.map_err(LabError::io(format!("entering namespace {}", self.name)))
    }
}

/// Makes namespaces of these names in one go.
pub(super) fn create(names: &[String]) -> Result<(), LabError> {
    tool::run("ip", &["-batch", "-"], &batch("add", names))
}

/// Removes namespaces and the processes in them; what is already gone is fine.
pub(super) fn remove(names: &[String]) -> Result<(), LabError> {
    // The second attempt only has something left when two processes swept the same names at once and one
    // of them saw a name between its unmounting and its deletion, or when it really cannot be removed.
    remove_existing(names).or_else(|_| remove_existing(names))
}

fn remove_existing(names: &[String]) -> Result<(), LabError> {
    let existing: Vec<String> = names.iter().filter(|name| path(name).exists()).cloned().collect();
    if existing.is_empty() {
        return Ok(());
    }
    kill_inhabitants(&existing);
    match tool::run("ip", &["-force", "-batch", "-"], &batch("del", &existing)) {
        Err(error) if existing.iter().any(|name| path(name).exists()) => Err(error),
        _gone => Ok(()),
    }
}

fn batch(verb: &str, names: &[String]) -> String {
    names.iter().map(|name| format!("netns {verb} {name}\n")).collect()
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Kills the processes whose network namespace is one of these, and no other process.
fn kill_inhabitants(names: &[String]) {
    let doomed: HashSet<(u64, u64)> = names.iter().filter_map(|name| identity(&path(name)).ok()).collect();
    let Ok(entries) = fs::read_dir("/proc") else { return };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids {
        kill_if_inside(pid, &doomed);
    }
}

fn kill_if_inside(pid: i32, doomed: &HashSet<(u64, u64)>) {
    if pid.unsigned_abs() == std::process::id() {
        return;
    }
    let namespace = PathBuf::from(format!("/proc/{pid}/ns/net"));
    let is_inside = || identity(&namespace).is_ok_and(|id| doomed.contains(&id));
    if !is_inside() {
        return;
    }
    let Some(pid) = Pid::from_raw(pid) else { return };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    // Looked at again: from here on the handle, unlike the number, can only mean the process looked at.
    if is_inside() {
        // It may have ended by itself, which is as good.
        let _ended = pidfd_send_signal(&process, Signal::KILL);
    }
}

fn identity(namespace: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(namespace)?;
    Ok((metadata.dev(), metadata.ino()))
}
