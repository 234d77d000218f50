//! `pinhole classic` against a second implementation of the old script's format, cli/tests/classic/script.py.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    loopback::{Loopback, start_echo},
    program::{PATIENCE, Run, pinhole},
};

/// TCP ports of the service and of the local port, as `Loopback` has them.
const PORTS: [u16; 2] = [2200, 2222];

/// Small, for many datagrams in a short time.
const MAX_DATA: &str = "1000";

#[test]
fn either_side_may_be_the_script_though_datagrams_are_lost_broken_and_doubled() {
    for ours_serves in [true, false] {
        let ends = Loopback::new();
        start_echo(ends.service());
        let faults = ["--lose", "0.02", "--twice", "0.02", "--max-data", MAX_DATA, "--resend", "0.1"];
        let (mut ours, mut script) = if ours_serves {
            let script = script(&ends, "-l", &faults);
            (Run::start(classic(&ends, "-c", &["--max-data", MAX_DATA])), Run::start(script))
        } else {
            // Its type byte must stay what it is: the script would be right to end at another one.
            let script = script(&ends, "-c", &faults);
            (Run::start(classic(&ends, "-l", &["--max-data", MAX_DATA])), Run::start(script))
        };
        let open = if ours_serves { &mut script } else { &mut ours };
        open.says("listening");
        let sent: Vec<u8> = (0..200_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut tcp = TcpStream::connect(ends.local()).expect("the local port accepts");
        tcp.set_read_timeout(Some(PATIENCE)).expect("settable");
        let (mut writer, bytes) = (tcp.try_clone().expect("a second handle"), sent.clone());
        let writing = thread::spawn(move || writer.write_all(&bytes));
        let mut got = vec![0; sent.len()];
        tcp.read_exact(&mut got).expect("everything comes back");
        assert!(got == sent, "other bytes came back");
        writing.join().expect("no panic").expect("taken");
        reset(tcp);
        script.ends();
        let ended = ours.interrupt();
        assert_eq!(ended.code, Some(0));
        assert_eq!(
            ended.stderr.matches("neither encrypted nor authenticated").count(),
            1,
            "{}",
            ended.stderr
        );
        assert!(
            ended.stderr.contains("the local connection has ended: 200000 bytes sent"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn connections_follow_each_other_where_the_script_is_started_again() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut ours = Run::start(classic(&ends, "-l", &[]));
    ours.says("listening");
    for word in ["one", "two", "three"] {
        let there = Run::start(script(&ends, "-c", &[]));
        assert_eq!(talk(&ends, word), word);
        ours.says("the local connection has ended");
        // It is told of the end; by itself it would notice after minutes.
        assert_eq!(there.ends().code, Some(1));
    }
    assert_eq!(ours.interrupt().code, Some(0));
}

#[test]
fn pinhole_on_both_sides_speaks_it_too() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let (mut open, serve) = (Run::start(classic(&ends, "-l", &[])), Run::start(classic(&ends, "-c", &[])));
    open.says("listening");
    for word in ["one", "two", "three"] {
        assert_eq!(talk(&ends, word), word);
    }
    for run in [open, serve] {
        assert_eq!(run.interrupt().code, Some(0));
    }
}

#[test]
fn a_second_client_at_the_same_time_is_reset_and_the_first_one_goes_on() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut ours = Run::start(classic(&ends, "-l", &[]));
    ours.says("listening");
    let _script = Run::start(script(&ends, "-c", &[]));
    let mut first = TcpStream::connect(ends.local()).expect("the local port accepts");
    first.write_all(b"a").expect("taken");
    first.read_exact(&mut [0]).expect("echoed");
    let mut second = TcpStream::connect(ends.local()).expect("the system accepts");
    second.read(&mut [0]).expect_err("reset");
    ours.says("a second connection");
    first.write_all(b"b").expect("taken");
    first.read_exact(&mut [0]).expect("echoed");
}

#[test]
fn pinhole_and_the_old_script_recognise_each_other_and_say_what_to_run() {
    let ends = Loopback::new();
    let mut new = Run::start(ends.open(&[]));
    let mut old = Run::start(classic(&ends, "-c", &[]));
    let said = new.says("the old Python script");
    assert!(said.contains("start pinhole there, with -c") && !said.contains("classic -"), "{said}");
    let said = old.says("packets of pinhole arrive");
    assert!(said.contains("`pinhole -c ") && said.contains("`pinhole classic -l "), "{said}");
    for run in [new, old] {
        assert_eq!(run.interrupt().code, Some(0));
    }
}

#[test]
fn stray_datagrams_and_strangers_end_nothing() {
    let ends = Loopback::new();
    let listener = TcpListener::bind(ends.service()).expect("free");
    let mut ours = Run::start(classic(&ends, "-c", &[]));
    ours.says("waiting for the peer");
    let peer = UdpSocket::bind((ends.open_ip, 5555)).expect("free");
    peer.set_read_timeout(Some(PATIENCE)).expect("settable");
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let strays: [&[u8]; 6] =
        [b"", b"Z", b"U", b"C\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0no zlib", b"A", b"E\0\0\0\0pinhole ends"];
    for stray in strays {
        for socket in [&peer, &stranger] {
            socket.send_to(stray, (ends.serve_ip, 5555)).expect("sent");
        }
    }
    peer.send_to(b"N\0\0", (ends.serve_ip, 5555)).expect("sent");
    let mut service = listener.accept().expect("the peer is ready, so it connects").0;
    service.write_all(b"hello").expect("taken");
    let mut datagram = [0; 100];
    let until = Instant::now() + PATIENCE;
    let data = loop {
        assert!(Instant::now() < until, "no data");
        let length = peer.recv(&mut datagram).expect("a datagram");
        if datagram[0] == b'U' && datagram[1..3] == [0, 0] {
            break &datagram[..length];
        }
    };
    // md5sum of "hello": 5d41402abc4b2a76b9719d911017c592
    assert_eq!(data, b"U\0\0\0\x05\x5d\x41\x40\x2a\xbc\x4b\x2a\x76\xb9\x71\x9dhello");
}

#[test]
fn without_a_word_of_the_peer_the_waiting_time_ends_with_status_1() {
    let ends = Loopback::new();
    let ended = Run::start(classic(&ends, "-l", &["--wait", "0.2"])).ends();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("the same UDP port"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_done_is_refused_with_the_way_out() {
    let cases: [(&[&str], &str); 8] = [
        (&["22", "127.0.0.2"], "<-c|-l>"),
        (&["-c", "22"], "<PEER>"),
        (&["-c", "-l", "22", "127.0.0.2"], "cannot be used with"),
        (&["-c", "70000", "127.0.0.2"], "from 1 to 65535"),
        (&["-c", "22", "127.0.0.2", "--max-data", "65492"], "65491"),
        (&["-c", "22", "127.0.0.2", "5555", "7"], "one argument too many"),
        (&["-c", "22", "127.0.0.1", "55551"], "own address"),
        (&["-c", "22", "no-such-host.invalid"], "check the spelling"),
    ];
    for (args, word) in cases {
        let ended = Run::start(pinhole(&[&["classic"], args].concat())).ends();
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(word), "{word:?} is missing for {args:?}: {}", ended.stderr);
    }
}

/// Ends a connection so that nobody can take it for half-closed, and wait.
fn reset(tcp: TcpStream) {
    socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).expect("settable");
}

/// Says a word on a new connection and takes what comes back.
fn talk(ends: &Loopback, word: &str) -> String {
    let mut tcp = TcpStream::connect(ends.local()).expect("the local port accepts");
    tcp.set_read_timeout(Some(PATIENCE)).expect("settable");
    tcp.write_all(word.as_bytes()).expect("taken");
    let mut answer = vec![0; word.len()];
    tcp.read_exact(&mut answer).expect("echoed");
    reset(tcp);
    String::from_utf8(answer).expect("as it was sent")
}

fn classic(ends: &Loopback, side: &str, more: &[&str]) -> Command {
    let serves = side == "-c";
    let (spec, peer, own) = if serves {
        (ends.service(), ends.open_ip, ends.serve_ip)
    } else {
        (ends.local(), ends.serve_ip, ends.open_ip)
    };
    let (spec, peer, own) = (spec.to_string(), peer.to_string(), own.to_string());
    pinhole(&[&["classic", side, &spec, &peer, "--bind", &own], more].concat())
}

fn script(ends: &Loopback, side: &str, more: &[&str]) -> Command {
    let serves = side == "-c";
    let [own, peer] = if serves { [ends.serve_ip, ends.open_ip] } else { [ends.open_ip, ends.serve_ip] };
    let port = PORTS[usize::from(!serves)].to_string();
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/classic/script.py"));
    command.args([
        side,
        &port,
        &peer.to_string(),
        "--bind",
        &own.to_string(),
        "--tcp-host",
        &own.to_string(),
    ]);
    command.args(more);
    command
}
