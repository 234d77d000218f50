//! `pinhole demo`: a page on stdout, figures on stderr, and nothing left behind.

use std::{fs, thread, time::Instant};

use rustix::process::{Pid, Signal};

use crate::program::{PATIENCE, Run, pinhole};

#[test]
fn the_demo_prints_the_page_and_says_what_it_measured() {
    let ended = Run::start(pinhole(&["demo", "--size", "8"])).ends();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("This page came through a pinhole"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("Mbit/s"), "figures are talk: {}", ended.stdout);
    for word in ["hole punched", "first byte", "round trip", "throughput", "8 MiB"] {
        assert!(ended.stderr.contains(word), "{word:?}: {}", ended.stderr);
    }
}

#[test]
fn an_interrupted_demo_leaves_no_process_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut demo = Run::start(pinhole(&["demo", "--size", "65536"]));
        demo.prints("This page came through");
        let children = children(demo.pid());
        assert_eq!(children.len(), 2, "both ends run");

        demo.signal(signal);
        let ended = demo.ends();
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        let until = Instant::now() + PATIENCE;
        while children.iter().any(|child| parent(*child).is_some()) {
            assert!(Instant::now() < until, "{children:?} still run");
            thread::yield_now();
        }
    }
}

fn children(of: Pid) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent(*pid) == Some(of.as_raw_nonzero().get())).collect()
}

/// Returns the parent of a process, none if there is no such process.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // pid (name, which may have blanks and brackets) state ppid …
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
