//! Names that tell whose a namespace is, and the removal of what dead owners left.
//!
//! A laboratory removes its namespaces when dropped. An owner that is killed cannot; so each name carries its
//! owner's pid and, against reused pids, the time that process started: `pinlab-<pid>-<start>-<lab>-<role>`.
//! The next laboratory built by anybody removes what belongs to no living process.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::LabError;
use super::namespace::{self, DIRECTORY};

const PREFIX: &str = "pinlab";

/// Identifies a process for good: a pid is reused, a pid together with its start is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    pid: u32,
    /// Clock ticks from boot to the start of the process.
    started: u64,
}

/// Returns the common beginning of the names of a new laboratory of this process.
pub(super) fn new_prefix() -> Result<String, LabError> {
    static LABS: AtomicU32 = AtomicU32::new(0);
    let pid = std::process::id();
    let started = start_of(pid).ok_or_else(|| std::io::Error::other("no start time in /proc/self/stat"));
    let started = started.map_err(LabError::io("reading this process's start time"))?;
    let lab = LABS.fetch_add(1, Ordering::Relaxed);
    Ok(format!("{PREFIX}-{pid}-{started}-{lab}"))
}

/// Removes the namespaces, and the processes in them, of laboratories whose owner is dead; returns their names.
///
/// Namespaces of living owners and of anybody else are left alone, so any number of processes may sweep at once.
///
/// # Errors
/// When a namespace of a dead owner cannot be removed.
pub fn sweep_leftovers() -> Result<Vec<String>, LabError> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return Ok(Vec::new()) };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let leftovers: Vec<String> = names.filter(|name| owner(name).is_some_and(is_dead)).collect();
    namespace::remove(&leftovers)?;
    Ok(leftovers)
}

fn owner(name: &str) -> Option<Owner> {
    let mut parts = name.split('-');
    if parts.next() != Some(PREFIX) {
        return None;
    }
    let pid = parts.next()?.parse().ok()?;
    let started = parts.next()?.parse().ok()?;
    Some(Owner { pid, started })
}

fn is_dead(owner: Owner) -> bool {
    start_of(owner.pid) != Some(owner.started)
}

/// Returns when the process started, or nothing when it does not run (a zombie does not).
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may itself hold anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // proc(5): state is field 3, starttime field 22.
    fields.nth(22 - 3 - 1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_belongs_to_this_living_process() {
        let name = new_prefix().expect("proc is readable") + "-host-a";
        let owner = owner(&name).expect("the name says whose it is");
        assert_eq!(owner.pid, std::process::id());
        assert!(!is_dead(owner));
    }

    #[test]
    fn a_reused_pid_is_not_the_owner() {
        let pid = std::process::id();
        let started = start_of(pid).expect("this process runs") + 1;
        assert!(is_dead(Owner { pid, started }));
    }

    #[test]
    fn names_of_others_have_no_owner_here() {
        for name in ["blue", "pinlab", "pinlab-x-1-0-host-a", "other-1-2-3-host-a"] {
            assert_eq!(owner(name), None, "{name}");
        }
    }
}
