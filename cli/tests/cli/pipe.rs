//! One connection of the tunnel as stdin and stdout: over the instance that runs, or one that starts by itself.

use std::{
    fs::{self, File},
    io::{PipeWriter, Read, Write},
    net::{Shutdown, TcpListener},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use rustix::process::Signal;

use crate::{
    config::{Home, sections},
    loopback::{Loopback, start_echo, with_key},
    program::{KEY, PATIENCE, Run, pinhole},
};

/// Describes a pipe to the pair's service, which `-c` offers by its port.
fn pipe(ends: &Loopback, more: &[&str]) -> Command {
    let (peer, own) = (ends.serve_ip.to_string(), ends.open_ip.to_string());
    let service = ends.service().port().to_string();
    let at_once = if more.contains(&"--stay") { &[][..] } else { &["--stay", "0"] };
    with_key(pinhole(&[&["pipe", &service, &peer, "--bind", &own], at_once, more].concat()), KEY)
}

/// Starts a program whose stdin is the other end of what is returned.
fn start(command: Command) -> (Run, PipeWriter) {
    let (theirs, ours) = std::io::pipe().expect("a pipe");
    (Run::start_reading(command, Stdio::from(theirs)), ours)
}

/// Sends lines through a pipe and returns what comes back.
fn send(command: Command, text: &str) -> String {
    let (run, mut stdin) = start(command);
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let ended = run.ends();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    ended.stdout
}

#[test]
fn a_pipe_is_a_connection_of_the_instance_that_runs_and_leaves_it_alone() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let (serve, open) = ends.connect();
    assert_eq!(send(pipe(&ends, &[]), "through a pipe\n"), "through a pipe\n");
    assert_eq!(ends.ask("beside it"), "beside it");
    let mut without_a_key = pipe(&ends, &[]);
    without_a_key.env_remove("PINHOLE_KEY");
    assert_eq!(send(without_a_key, "the tunnel has one\n"), "the tunnel has one\n");
    for ended in [open.interrupt(), serve.interrupt()] {
        assert_eq!(ended.stderr.matches("tunnel up").count(), 1, "{}", ended.stderr);
        assert!(!ended.stderr.contains("taken this one's place"), "{}", ended.stderr);
    }
}

#[test]
fn pipes_without_an_instance_share_one_that_ends_by_itself() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut serve = Run::start(ends.serve(&[]));
    let all: Vec<_> = (0..4).map(|_| start(pipe(&ends, &[]))).collect();
    // All of them are there before the first one may end.
    let mut all: Vec<_> = all
        .into_iter()
        .map(|(mut run, mut stdin)| {
            stdin.write_all(b"one of four\n").expect("it reads");
            run.prints("one of four");
            (run, stdin)
        })
        .collect();
    while let Some((run, stdin)) = all.pop() {
        drop(stdin);
        let ended = run.ends();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
    serve.says("peer left");
    assert_eq!(send(pipe(&ends, &[]), "and a fifth\n"), "and a fifth\n");
    serve.says("peer left");
    assert_eq!(serve.interrupt().stderr.matches("tunnel up").count(), 2);
}

#[test]
fn a_tunnel_that_no_pipe_needs_makes_way_for_another_program() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut serve = Run::start(ends.serve(&[]));
    let stay = ["--stay", "600"];
    assert_eq!(send(pipe(&ends, &stay), "hello\n"), "hello\n");
    let (mut run, mut stdin) = start(pipe(&ends, &[]));
    stdin.write_all(b"I am here\n").expect("it reads");
    run.prints("I am here");
    let refused = Run::start(ends.open(&[])).ends();
    assert_eq!(refused.code, Some(2), "a pipe needs it: {}", refused.stderr);
    assert!(refused.stderr.contains("ends with the last pipe"), "{}", refused.stderr);
    drop(stdin);
    assert_eq!(run.ends().code, Some(0));
    let mut open = Run::start(ends.open(&[]));
    open.says("tunnel up");
    serve.says("peer left");
    assert_eq!(ends.ask("in its place"), "in its place");
    assert_eq!(send(pipe(&ends, &stay), "over that one\n"), "over that one\n");
}

#[test]
fn whoever_only_asks_a_tunnel_for_pipes_does_not_keep_it() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut serve = Run::start(ends.serve(&[]));
    assert_eq!(send(pipe(&ends, &["--stay", "600"]), "hello\n"), "hello\n");
    let end = format!("-open-{}_5555.sock", ends.serve_ip);
    let folder = fs::read_dir(concat!(env!("CARGO_TARGET_TMPDIR"), "/pinhole")).expect("the sockets' folder");
    let socket = folder.map(|entry| entry.expect("listed").path());
    let socket = socket.into_iter().find(|path| path.to_string_lossy().ends_with(&end)).expect("it runs");
    let _asks_for_nothing = UnixStream::connect(socket).expect("it listens");
    let mut open = Run::start(ends.open(&[]));
    open.says("tunnel up");
    serve.says("peer left");
}

#[test]
fn a_half_close_of_either_side_leaves_the_other_direction_open() {
    let ends = Loopback::new();
    let rest = start_service_that_finishes_first(&ends);
    let _both = ends.connect();
    let (mut run, mut stdin) = start(pipe(&ends, &[]));
    run.prints("all I say");
    // Its stdout has ended; its stdin goes on.
    stdin.write_all(b"and then some").expect("it reads");
    drop(stdin);
    assert_eq!(rest.recv().expect("the service reads on"), "and then some");
    assert_eq!(run.ends().code, Some(0));
}

#[test]
fn a_half_close_is_seen_by_whoever_has_one_socket_as_both_stdin_and_stdout() {
    let ends = Loopback::new();
    let rest = start_service_that_finishes_first(&ends);
    let _both = ends.connect();
    let (theirs, mut ours) = UnixStream::pair().expect("a pair");
    ours.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let mut command = pipe(&ends, &[]);
    command.stdin(OwnedFd::from(theirs.try_clone().expect("a copy"))).stdout(OwnedFd::from(theirs));
    let mut child = command.spawn().expect("it starts");
    // It has copies of its own.
    drop(command);
    let mut said = String::new();
    let read = ours.read_to_string(&mut said);
    ours.write_all(b"and then some").expect("it reads");
    ours.shutdown(Shutdown::Write).expect("half-closed");
    assert_eq!(rest.recv().expect("the service reads on"), "and then some");
    assert!(child.wait().expect("it ends").success());
    assert_eq!((read.map_err(|error| error.kind()), said.as_str()), (Ok(10), "all I say\n"));
}

/// A service that has its say and finishes, and then hears the client out.
fn start_service_that_finishes_first(ends: &Loopback) -> Receiver<String> {
    let listener = TcpListener::bind(ends.service()).expect("the pair's own address");
    let (heard, rest) = channel();
    thread::spawn(move || {
        let (mut tcp, _) = listener.accept().expect("a client");
        tcp.write_all(b"all I say\n").expect("sent");
        tcp.shutdown(Shutdown::Write).expect("half-closed");
        let mut text = String::new();
        tcp.read_to_string(&mut text).expect("the client ends");
        heard.send(text).expect("the test waits");
    });
    rest
}

#[test]
fn megabytes_that_are_no_text_pass_unchanged() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let _both = ends.connect();
    let sent: Vec<u8> = (0..8_u32 << 20).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    let mut command = pipe(&ends, &[]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let copy = sent.clone();
    let writing = thread::spawn(move || stdin.write_all(&copy).expect("it reads"));
    let mut got = Vec::new();
    child.stdout.take().expect("piped").read_to_end(&mut got).expect("it writes");
    writing.join().expect("written");
    assert!(child.wait().expect("it ends").success());
    assert!(got == sent, "{} of {} bytes, or changed", got.len(), sent.len());
}

#[test]
fn what_the_peer_does_not_offer_and_what_does_not_answer_is_told_with_status_1() {
    let ends = Loopback::new();
    let _both = ends.connect();
    let (peer, own) = (ends.serve_ip.to_string(), ends.open_ip.to_string());
    let unknown = with_key(pinhole(&["pipe", "no-such", &peer, "--bind", &own]), KEY);
    for (command, part) in
        [(unknown, "no-such: the peer offers no service"), (pipe(&ends, &[]), "service 2200: ")]
    {
        let (run, _stdin) = start(command);
        let ended = run.ends();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(ended.stderr.contains(part) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    }
}

#[test]
fn a_connection_that_is_cut_does_not_look_finished() {
    let ends = Loopback::new();
    start_echo(ends.service());
    for signal in [Signal::INT, Signal::KILL] {
        let (_serve, open) = ends.connect();
        let (mut run, mut stdin) = start(pipe(&ends, &[]));
        stdin.write_all(b"it works\n").expect("it reads");
        run.prints("it works");
        open.signal(signal);
        let ended = run.ends();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let is_told = ["the connection was cut", "has ended"].iter().any(|part| ended.stderr.contains(part));
        assert!(is_told && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    }
}

#[test]
fn a_stdin_that_cannot_be_read_does_not_look_finished() {
    let ends = Loopback::new();
    let listener = TcpListener::bind(ends.service()).expect("the pair's own address");
    let _both = ends.connect();
    let folder = File::open("/").expect("a folder");
    let run = Run::start_reading(pipe(&ends, &[]), Stdio::from(folder));
    let ended = run.ends();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("directory"), "{}", ended.stderr);
    // It may be gone before the service is asked.
    listener.set_nonblocking(true).expect("a socket");
    if let Ok((mut tcp, _)) = listener.accept() {
        tcp.set_nonblocking(false).expect("a socket");
        let error = tcp.read(&mut [0]).expect_err("cut off, which is no end of file");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_pipe_that_is_killed_resets_its_connection() {
    let ends = Loopback::new();
    let listener = TcpListener::bind(ends.service()).expect("the pair's own address");
    let _both = ends.connect();
    let (run, _stdin) = start(pipe(&ends, &[]));
    let (mut tcp, _) = listener.accept().expect("a client");
    run.signal(Signal::KILL);
    let error = tcp.read(&mut [0]).expect_err("cut off, which is no end of file");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn without_a_path_it_gives_up_after_the_waiting_time_and_says_why() {
    let ends = Loopback::new();
    let (run, _stdin) = start(pipe(&ends, &["--wait", "1"]));
    let ended = run.ends();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("no tunnel after 1 s, giving up: "), "{}", ended.stderr);
}

#[test]
fn wrong_use_is_told_with_status_2() {
    let ends = Loopback::new();
    let mut without_a_key = pipe(&ends, &[]);
    without_a_key.env_remove("PINHOLE_KEY");
    let own = ends.open_ip.to_string();
    let same = with_key(pinhole(&["pipe", "22", &own, "--bind", &own]), KEY);
    let nameless = with_key(pinhole(&["pipe", "a b", &own]), KEY);
    let home = Home::with("[peer.home]\n");
    let slip = with_key(home.run(&["pipe", "22", "home.invalid"]), KEY);
    for (command, part) in [
        (without_a_key, "PINHOLE_KEY"),
        (same, "own address"),
        (nameless, "service"),
        (slip, "does not resolve: check the spelling and the network, or use the peer's public IP; "),
    ] {
        let (run, _stdin) = start(command);
        let ended = run.ends();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(part), "{part:?} is missing: {}", ended.stderr);
    }
}

#[test]
fn a_name_is_enough_and_finds_the_instance_that_was_started_by_its_address() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let home = Home::with(&sections(&ends));
    let port = ["--port", "5600"];
    let mut serve = Run::start(with_key(home.run(&["serve", "away"]), KEY));
    let (peer, own, local) = (ends.serve_ip.to_string(), ends.open_ip.to_string(), ends.local().to_string());
    let open = [&["open", &local, "--peer", &peer, "--bind", &own], &port[..]].concat();
    let mut open = Run::start(with_key(pinhole(&open), KEY));
    open.says("tunnel up");
    serve.says("tunnel up");
    let (save, mut typed) = start(home.run(&["key", "save", "home"]));
    typed.write_all(KEY.as_bytes()).expect("it reads");
    drop(typed);
    assert_eq!(save.ends().code, Some(0));
    assert_eq!(send(home.run(&["pipe", "2200", "home"]), "by name\n"), "by name\n");
    // A default key for other peers is no reason to leave the tunnel alone that stands.
    assert_eq!(Run::start(home.run(&["key", "new", "--save"])).ends().code, Some(0));
    let by_address = home.run(&["pipe", "2200", &peer, "--port", "5600"]);
    assert_eq!(send(by_address, "by address\n"), "by address\n");
}

#[test]
fn a_key_that_was_named_is_the_tunnel_s_or_the_pipe_is_not_carried() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let (serve, open) = ends.connect();
    let (run, _stdin) =
        start(with_key(pipe(&ends, &[]), "turbojet-lion-copier-dividing-brought-eject-cuddly"));
    let ended = run.ends();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("UDP port 5555 is in use"), "{}", ended.stderr);
    assert_eq!(ends.ask("undisturbed"), "undisturbed");
    drop((serve, open));
}
