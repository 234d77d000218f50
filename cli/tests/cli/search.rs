//! The search for a path: its bounds, its verdict, and how little it needs.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpStream, UdpSocket},
    process::{Command, Stdio},
};

use natlab::skip;
use serde_json::Value;

use crate::{
    loopback::{Loopback, start_echo, with_key},
    program::{Ended, KEY, PATIENCE, Run, pinhole},
};

/// Descriptors of a program that has hardly any: a fan wants 256.
const FEW_DESCRIPTORS: u32 = 40;

#[test]
fn the_help_names_the_bounds_and_the_usual_values() {
    for verb in [&["--help"][..], &["serve", "--help"], &["open", "--help"]] {
        let help = Run::start(pinhole(verb)).ends().stdout;
        for word in ["--max-mappings", "1536", "--max-pps", "500", "--gentle", "512", "100"] {
            assert!(help.contains(word), "{word:?} is missing: {help}");
        }
    }
}

#[test]
fn bounds_out_of_range_are_refused_with_the_range() {
    for (option, range, wrong) in [
        ("--max-mappings", "192 to 4096", ["0", "191", "4097", "many"]),
        ("--max-pps", "20 to 2000", ["0", "19", "2001", "fast"]),
    ] {
        for value in wrong {
            let ended = Run::start(with_key(pinhole(&["-c", "22", "127.0.0.2", option, value]), KEY)).ends();
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{option} {value}");
            assert!(ended.stderr.contains(option) && ended.stderr.contains(value), "{}", ended.stderr);
            let is_number = value.parse::<u32>().is_ok();
            assert!(ended.stderr.contains(range) || !is_number, "{}", ended.stderr);
        }
    }
}

#[test]
fn the_least_and_the_most_are_taken_alone_and_with_gentle() {
    for more in [
        &["--max-mappings", "192", "--max-pps", "20"][..],
        &["--max-mappings", "4096", "--max-pps", "2000"],
        &["--gentle"],
        &["--gentle", "--max-mappings", "4096"],
        &["--gentle", "--max-pps", "2000"],
    ] {
        let mut serve = Run::start(Loopback::new().serve(more));
        serve.says("waiting for the peer");
        assert_eq!(serve.interrupt().code, Some(0), "{more:?}");
    }
}

#[test]
fn a_bound_that_is_named_counts_more_than_gentle() {
    // A quarter of the mappings at the most are sockets that fan out; the main one comes on top.
    let most = 256 / 4 + 1;
    let mut gentle = Fan::watch(&["--gentle", "--max-pps", "2000"]);
    while gentle.sources.len() <= most {
        gentle.hear().expect("more sockets than that");
    }

    let mut named = Fan::watch(&["--gentle", "--max-pps", "2000", "--max-mappings", "256", "--wait", "10"]);
    while named.sources.len() < 2 {
        named.hear().expect("a fan");
    }
    assert_eq!(named.run.ends().code, Some(1));
    named.socket.set_nonblocking(true).expect("settable");
    while let Ok((_, from)) = named.socket.recv_from(&mut [0; 256]) {
        named.sources.insert(from);
    }
    assert!(named.sources.len() <= most, "{} sockets", named.sources.len());
}

#[test]
fn whoever_gives_up_says_why_to_people_and_to_programs() {
    let ends = Loopback::new();
    for side in [ends.serve(&["--wait", "1", "--json"]), ends.open(&["--wait", "1", "--json"])] {
        let ended = Run::start(side).ends();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let given_up = last_event(&ended);
        assert_eq!(given_up["event"], "gave_up");
        assert_eq!(given_up["cause"], "refused", "this machine answers for the peer: {given_up}");
        assert_eq!(given_up["found"]["refused"], true, "{given_up}");
        assert_eq!(given_up["found"]["heard_from"], Value::Null, "{given_up}");
        let text = given_up["text"].as_str().expect("a sentence");
        assert!(text.starts_with("no tunnel after 1 s, giving up: "), "{text}");
        assert!(ended.stderr.contains(text), "{text:?} is not in {}", ended.stderr);
    }
}

#[test]
fn a_search_without_a_path_is_told_to_programs_after_ten_seconds() {
    let mut serve = Run::start(Loopback::new().serve(&["--json"]));
    let line = serve.prints(r#""event":"trouble""#);
    let trouble: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!((&trouble["kind"], &trouble["cause"]), (&"no_path".into(), &"refused".into()), "{line}");
    let text = trouble["text"].as_str().expect("a sentence");
    assert!(text.contains("Still trying"), "{text}");
    assert!(serve.says("Still trying").contains(text), "people hear the same");
}

#[test]
fn a_machine_without_a_way_to_the_peer_is_told_so() {
    let Some(alone) = without_network("a_machine_without_a_way_to_the_peer_is_told_so") else { return };
    let mut command = alone;
    command.args([env!("CARGO_BIN_EXE_pinhole"), "-c", "22", "192.0.2.1", "--wait", "1", "--json"]);
    let ended = Run::start(with_key(command, KEY)).ends();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let given_up = last_event(&ended);
    assert_eq!((&given_up["event"], &given_up["cause"]), (&"gave_up".into(), &"send_refused".into()));
    for word in ["this machine does not let us send", "ip route get"] {
        assert!(ended.stderr.contains(word), "{}", ended.stderr);
    }
}

#[test]
fn hardly_any_descriptors_are_enough_and_nobody_is_frightened() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut serve = Run::start(with_few_descriptors(&ends.serve(&[])));
    serve.says("Still trying"); // all methods have had their turn, and the fan has taken what there was
    let mut open = Run::start(with_few_descriptors(&ends.open(&[])));
    open.says("tunnel up");
    serve.says("tunnel up");
    assert_eq!(ends.ask("few are enough"), "few are enough");
    for ended in [open.interrupt(), serve.interrupt()] {
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
        for word in ["error", "WARN", "Too many", "files", "panicked"] {
            assert!(!ended.stderr.contains(word), "{word:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_local_client_is_taken_while_the_search_has_all_descriptors_that_it_can_get() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut open = Run::start(with_few_descriptors(&ends.open(&[])));
    open.says("Still trying");
    drop(TcpStream::connect(ends.local()).expect("the local port accepts"));
    let mut serve = Run::start(ends.serve(&[]));
    open.says("tunnel up");
    serve.says("tunnel up");
    assert_eq!(ends.ask("afterwards"), "afterwards");
    let ended = open.interrupt();
    assert!(!ended.stderr.contains("cannot take connections"), "{}", ended.stderr);
}

/// A serve side that searches, and the peer's main port, which hears it and never answers.
struct Fan {
    run: Run,
    socket: UdpSocket,
    /// Where probes came from.
    sources: BTreeSet<SocketAddr>,
}

impl Fan {
    fn watch(more: &[&str]) -> Self {
        let ends = Loopback::new();
        let socket = UdpSocket::bind((ends.open_ip, 5555)).expect("the pair's own address");
        socket.set_read_timeout(Some(PATIENCE)).expect("settable");
        Self { run: Run::start(ends.serve(more)), socket, sources: BTreeSet::new() }
    }

    fn hear(&mut self) -> std::io::Result<()> {
        let (_, from) = self.socket.recv_from(&mut [0; 256])?;
        self.sources.insert(from);
        Ok(())
    }
}

/// Lets a program have few descriptors, soft and hard: it raises the one to the other.
fn with_few_descriptors(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {FEW_DESCRIPTORS}; exec \"$@\""), "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// Begins a command in a network of its own, which has no interface that is up; none where that is not allowed.
fn without_network(test: &str) -> Option<Command> {
    let alone = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "--"]);
        crate::program::isolate(&mut command);
        command
    };
    let tried = alone().arg("true").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if tried.is_ok_and(|status| status.success()) {
        return Some(alone());
    }
    let reason = "`unshare --user --map-root-user --net` is not allowed here";
    skip(test, reason);
    None
}

/// The last line on stdout.
fn last_event(ended: &Ended) -> Value {
    let line = ended.stdout.lines().last().expect("events");
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
