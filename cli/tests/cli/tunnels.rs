//! A tunnel that stands: bytes, goodbyes, returns, and what machines are told.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    loopback::{Loopback, start_echo, with_key},
    program::{Ended, KEY, PATIENCE, Run, pinhole},
};

#[test]
fn both_sides_say_that_the_hole_is_punched_and_the_tunnel_up_and_bytes_pass() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let (mut serve, mut open) = (Run::start(ends.serve(&[])), Run::start(ends.open(&[])));
    for (run, peer) in [(&mut serve, ends.open_ip), (&mut open, ends.serve_ip)] {
        let punched = run.says("hole punched in ");
        assert!(punched.contains(&format!("{peer}:")), "{punched}");
        run.says("tunnel up");
    }
    assert_eq!(ends.ask("hello"), "hello");
    for ended in [open.interrupt(), serve.interrupt()] {
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    }
}

#[test]
fn a_megabyte_goes_each_way_at_once_unchanged() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let _both = ends.connect();
    let sent: Vec<u8> = (0..1_u32 << 20).map(|at| (at % 251) as u8).collect();
    let mut tcp = TcpStream::connect(ends.local()).expect("the local port accepts");
    tcp.set_read_timeout(Some(PATIENCE)).expect("settable");
    let mut writer = tcp.try_clone().expect("cloneable");
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).expect("sent");
        writer.shutdown(Shutdown::Write).expect("half-closed");
    });
    let mut got = Vec::new();
    tcp.read_to_end(&mut got).expect("it comes back");
    writing.join().expect("written");
    assert!(got == sent, "{} of {} bytes, or changed", got.len(), sent.len());
}

#[test]
fn a_service_that_is_down_is_told_on_both_sides_and_the_client_is_reset() {
    let ends = Loopback::new();
    let (mut serve, mut open) = ends.connect();
    let mut tcp = TcpStream::connect(ends.local()).expect("the local port accepts");
    tcp.set_read_timeout(Some(PATIENCE)).expect("settable");
    let error = tcp.read(&mut [0]).expect_err("nobody is there");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(serve.says("service").contains(&ends.service().to_string()));
    open.says("service");

    start_echo(ends.service());
    assert_eq!(ends.ask("now it is up"), "now it is up");
    serve.says("answers again");
}

#[test]
fn an_open_side_that_leaves_says_so_and_its_return_is_taken() {
    for signal in [Signal::INT, Signal::TERM] {
        let ends = Loopback::new();
        start_echo(ends.service());
        let (mut serve, open) = ends.connect();
        open.signal(signal);
        assert_eq!(open.ends().code, Some(0));
        serve.says("peer left");

        let mut open = Run::start(ends.open(&[]));
        serve.says("tunnel up");
        open.says("tunnel up");
        assert_eq!(ends.ask("back again"), "back again");
    }
}

#[test]
fn a_serve_side_that_leaves_says_so_and_its_return_is_taken() {
    for signal in [Signal::INT, Signal::TERM] {
        let ends = Loopback::new();
        start_echo(ends.service());
        let (serve, mut open) = ends.connect();
        serve.signal(signal);
        assert_eq!(serve.ends().code, Some(0));
        open.says("peer left");

        let mut serve = Run::start(ends.serve(&[]));
        serve.says("tunnel up");
        open.says("tunnel up");
        assert_eq!(ends.ask("back again"), "back again");
    }
}

#[test]
fn a_goodbye_ends_the_connections_that_were_open() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let (serve, mut open) = ends.connect();
    let mut tcp = TcpStream::connect(ends.local()).expect("the local port accepts");
    tcp.set_read_timeout(Some(PATIENCE)).expect("settable");
    tcp.write_all(b"a").expect("sent");
    tcp.read_exact(&mut [0]).expect("the echo");

    assert_eq!(serve.interrupt().code, Some(0));
    open.says("peer left");
    let error = tcp.read(&mut [0]).expect_err("cut off, which is no end of file");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn the_waiting_time_counts_again_when_the_peer_has_left() {
    let ends = Loopback::new();
    let (mut serve, mut open) = (Run::start(ends.serve(&["--wait", "3"])), Run::start(ends.open(&[])));
    serve.says("tunnel up");
    open.says("tunnel up");
    assert_eq!(open.interrupt().code, Some(0));
    let ended = serve.ends();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("no tunnel after 3 s"), "{}", ended.stderr);
}

#[test]
fn services_are_reached_by_name_and_an_unknown_one_is_told() {
    let ends = Loopback::new();
    let (first, second) = (ends.service(), SocketAddr::from((ends.serve_ip, 2201)));
    start_echo(first);
    let greeter = TcpListener::bind(second).expect("the pair's own address");
    thread::spawn(move || {
        for mut tcp in greeter.incoming().flatten() {
            tcp.read_to_end(&mut Vec::new()).expect("the client says what it has to say");
            tcp.write_all(b"greetings").expect("sent");
        }
    });
    let (serve_ip, open_ip) = (ends.serve_ip.to_string(), ends.open_ip.to_string());
    let services = [format!("echo={first}"), format!("greet={second}")];
    let serve = ["serve", &services[0], &services[1], "--peer", &open_ip, "--bind", &serve_ip];
    let locals =
        [(3001, "echo"), (3002, "greet"), (3003, "nothing")].map(|(p, name)| format!("{open_ip}:{p}:{name}"));
    let open = ["open", &locals[0], &locals[1], &locals[2], "--peer", &serve_ip, "--bind", &open_ip];

    let _serve = Run::start(with_key(pinhole(&serve), KEY));
    let mut open = Run::start(with_key(pinhole(&open), KEY));
    open.says("tunnel up");
    let ask = |port, word| crate::loopback::ask((ends.open_ip, port).into(), word);
    assert_eq!(ask(3001, "echo this"), "echo this");
    assert_eq!(ask(3002, "hello"), "greetings");
    let mut unknown = TcpStream::connect((ends.open_ip, 3003)).expect("the local port accepts");
    unknown.set_read_timeout(Some(PATIENCE)).expect("settable");
    unknown.read(&mut [0]).expect_err("no such service");
    open.says("nothing");
}

#[test]
fn machines_are_told_each_event_as_one_line_of_json() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut serve = Run::start(ends.serve(&["--json"]));
    let mut open = Run::start(ends.open(&["--json"]));
    serve.prints("tunnel_up");
    open.prints("tunnel_up");
    assert_eq!(ends.ask("hello"), "hello");
    let open = open.interrupt();
    serve.prints("peer_left");
    let serve = serve.interrupt();

    for (ended, peer) in [(&open, ends.serve_ip), (&serve, ends.open_ip)] {
        let events = events(ended);
        for name in ["searching", "punched", "tunnel_up"] {
            assert!(events.iter().any(|e| e["event"] == name), "{name}: {}", ended.stdout);
        }
        let punched = events.iter().find(|e| e["event"] == "punched").expect("just seen");
        let remote: SocketAddr = punched["remote"].as_str().and_then(|r| r.parse().ok()).expect("an address");
        assert_eq!(remote.ip(), peer);
        let method = punched["method"].as_str().expect("a method");
        assert!(["base", "slot", "spare", "fan", "sweep"].contains(&method), "{punched}");
        assert!(punched["seconds"].is_number() && punched["rtt_ms"].is_number(), "{punched}");
    }
}

#[test]
fn a_client_that_only_listens_gets_what_the_service_says() {
    let ends = Loopback::new();
    let greeter = TcpListener::bind(ends.service()).expect("the pair's own address");
    thread::spawn(move || {
        for mut tcp in greeter.incoming().flatten() {
            tcp.write_all(b"greetings").expect("sent");
        }
    });
    let _both = ends.connect();
    for _ in 0..20 {
        assert_eq!(ends.ask(""), "greetings");
    }
}

/// All of stdout, of which each line must be an object with the event's name.
fn events(ended: &Ended) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let events: Vec<Value> = ended.stdout.lines().map(parse).collect();
    assert!(events.iter().all(|event| event["event"].is_string()), "{}", ended.stdout);
    events
}
