//! What worked with a peer: kept for its owner alone, used at the next start, and never a reason not to start.

use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{
    loopback::Loopback,
    program::{PATIENCE, Run},
};

/// Pairs of programs that share one file. They write it at about the same time.
const PAIRS_AT_ONCE: usize = 4;

/// Peers that are remembered.
const MAX_PEERS: usize = 64;

/// Longest file that is read, bytes.
const MAX_FILE_BYTES: usize = 64 * 1024;

#[test]
fn a_success_is_kept_for_its_owner_alone() {
    let (ends, states) = (Loopback::new(), [folder(), folder()]);
    connect(&ends, [states[0].path(), states[1].path()]);
    for (state, peer) in [(&states[0], ends.open_ip), (&states[1], ends.serve_ip)] {
        let known = known(state);
        let (name, entry) = known.iter().next().expect("an entry");
        assert!(name.contains(&format!("{peer}:5555")), "{name}");
        assert!(entry["method"].is_string() && entry["port"].is_u64(), "{entry}");
        assert_eq!(known.len(), 1, "{known:?}");
        let mode = fs::metadata(file(state)).expect("just read").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn without_a_state_folder_of_the_environment_the_homes_is_used() {
    let (ends, home) = (Loopback::new(), folder());
    let (mut serve, mut open) = (ends.serve(&[]), ends.open(&[]));
    for command in [&mut serve, &mut open] {
        command.env("HOME", home.path()).env_remove("XDG_STATE_HOME");
    }
    let mut runs = [Run::start(serve), Run::start(open)];
    for run in &mut runs {
        run.says("tunnel up");
    }
    assert!(home.path().join(".local/state/pinhole/peers.json").is_file());
}

#[test]
fn what_is_remembered_is_tried_first_at_the_next_start() {
    let (ends, state) = (Loopback::new(), folder());
    connect(&ends, [state.path(), folder().path()]);
    let mut known = known(&state);
    for entry in known.values_mut() {
        *entry = json!({"method": "sweep", "port": 40_000});
    }
    fs::write(file(&state), Value::Object(known).to_string()).expect("written");

    // No sweep has three neighbours among its 1,184 ports unless it aims at them.
    let aimed = [40_000, 40_001, 40_002].map(|port| UdpSocket::bind((ends.open_ip, port)).expect("free"));
    let _serve = Run::start(keeping(ends.serve(&[]), state.path()));
    for socket in aimed {
        socket.set_read_timeout(Some(PATIENCE)).expect("settable");
        let (_, from) = socket.recv_from(&mut [0; 256]).expect("a probe arrives");
        assert_eq!(from.ip(), ends.serve_ip);
    }
}

/// Makes the bytes of a file, for a peer.
type Content<'a> = &'a dyn Fn(&str) -> Vec<u8>;

#[test]
fn whatever_the_file_contains_the_tunnel_comes_up_and_nobody_hears_of_it() {
    let wrong_types = |peer: &str| json!({format!("serve {peer}"): {"method": 7, "port": "x"}}).to_string();
    let wrong_port =
        |peer: &str| json!({format!("serve {peer}"): {"method": "sweep", "port": 70_000}}).to_string();
    let contents: [Content<'_>; 7] = [
        &|_| Vec::new(),
        &|_| b"{\"serve".to_vec(),
        &|_| b"[1, 2]".to_vec(),
        &|_| vec![0xff; 100],
        &|_| vec![b' '; MAX_FILE_BYTES * 20],
        &|peer| wrong_types(peer).into_bytes(),
        &|peer| wrong_port(peer).into_bytes(),
    ];
    for content in contents {
        let (ends, state) = (Loopback::new(), folder());
        let bytes = content(&format!("{}:5555", ends.open_ip));
        fs::create_dir_all(state.path().join("pinhole")).expect("made");
        fs::write(file(&state), &bytes).expect("written");
        let said = connect(&ends, [state.path(), folder().path()]);
        assert!(!said.contains("peers.json") && !said.contains("panicked"), "{said}");
        let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        assert_eq!(known(&state).len(), 1, "it is right again after {begin:?}");
    }
}

#[test]
fn a_file_that_is_none_or_cannot_be_written_costs_nothing_but_the_cache() {
    let no_folder: fn(&Path) = |state| fs::write(state.join("pinhole"), "a file").expect("written");
    let no_file: fn(&Path) = |state| fs::create_dir_all(state.join("pinhole/peers.json/full")).expect("made");
    let no_end: fn(&Path) = |state| {
        fs::create_dir(state.join("pinhole")).expect("made");
        let made = Command::new("mkfifo").arg(state.join("pinhole/peers.json")).status();
        assert!(made.expect("mkfifo runs").success());
    };
    let nowhere: fn(&Path) = |state| symlink("/nonexistent/folder", state.join("pinhole")).expect("made");
    for spoil in [no_folder, no_file, no_end, nowhere] {
        let (ends, state) = (Loopback::new(), folder());
        spoil(state.path());
        let said = connect(&ends, [state.path(), folder().path()]);
        assert!(!said.contains("pinhole/") && !said.contains("panicked"), "{said}");
        assert_eq!(unfinished(state.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_file_does_not_grow_for_ever() {
    let (ends, state) = (Loopback::new(), folder());
    let name = |n: usize| format!("serve 198.51.100.{n}:5555");
    let entry = || json!({"method": "base", "port": 5555});
    let full: Map<String, Value> = (0..MAX_PEERS + 20).map(|n| (name(n), entry())).collect();
    fs::create_dir_all(state.path().join("pinhole")).expect("made");
    fs::write(file(&state), Value::Object(full).to_string()).expect("written");
    connect(&ends, [state.path(), folder().path()]);
    let known = known(&state);
    assert_eq!(known.len(), MAX_PEERS);
    assert!(known.keys().any(|name| name.contains(&ends.open_ip.to_string())), "the newest is there");
}

#[test]
fn programs_that_write_at_once_never_leave_a_broken_file() {
    let state = folder();
    let pairs: Vec<Loopback> = (0..PAIRS_AT_ONCE).map(|_| Loopback::new()).collect();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !is_done.load(Ordering::Relaxed) {
                if let Ok(bytes) = fs::read(file(&state)) {
                    let whole: Result<Map<String, Value>, _> = serde_json::from_slice(&bytes);
                    whole.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes)));
                    seen += 1;
                }
                thread::yield_now();
            }
            seen
        });
        let both = |ends: &Loopback| [ends.serve(&[]), ends.open(&[])];
        let commands = pairs.iter().flat_map(both).map(|command| keeping(command, state.path()));
        let mut runs: Vec<Run> = commands.map(Run::start).collect();
        for run in &mut runs {
            run.says("tunnel up");
        }
        is_done.store(true, Ordering::Relaxed);
        assert!(reader.join().expect("whatever was read was whole") > 0);
    });
    assert!((1..=2 * PAIRS_AT_ONCE).contains(&known(&state).len()));
    assert_eq!(unfinished(state.path()), Vec::<PathBuf>::new());
}

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn file(state: &TempDir) -> PathBuf {
    state.path().join("pinhole/peers.json")
}

/// Names the folder in which a program keeps its state.
fn keeping(mut command: Command, state: &Path) -> Command {
    command.env("XDG_STATE_HOME", state);
    command
}

/// Brings a tunnel up between a serve side and an open side with these state folders, and ends both. Returns what the
/// serve side said.
fn connect(ends: &Loopback, [serve, open]: [&Path; 2]) -> String {
    let mut runs = [keeping(ends.serve(&[]), serve), keeping(ends.open(&[]), open)].map(Run::start);
    for run in &mut runs {
        run.says("tunnel up");
    }
    let [serve, open] = runs;
    assert_eq!(open.interrupt().code, Some(0));
    let ended = serve.interrupt();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stderr
}

/// What the file has: one object, whole.
fn known(state: &TempDir) -> Map<String, Value> {
    let text = fs::read_to_string(file(state)).expect("something is remembered");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Files that a writer has left behind.
fn unfinished(state: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(state.join("pinhole")) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending != "json")).collect()
}
