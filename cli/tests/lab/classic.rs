//! One side stays with the old script, the other one has pinhole: pages, secure shell, and bytes both ways.
//!
//! The script is cli/tests/classic/script.py, a second implementation; `PINHOLE_OLD_SCRIPT` names another one to run in its
//! place, the original for example.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use natlab::{LinkSpec, Side};

use crate::{
    ground::{Ground, LOCAL_PORT, between, note},
    page::{WEB_PORT, Web, fetch_page},
    program::{PATIENCE, Run, isolate},
    ssh::{SSHD_PORT, ground_with_sshd},
};

const PORT: u16 = 7001;

/// How often is looked whether somebody listens.
const LOOK: Duration = Duration::from_millis(20);

/// Each way, bytes; more than a hundred datagrams.
const BYTES: usize = 8 << 20;

#[test]
fn a_page_comes_through_whichever_side_stays_with_the_script() {
    let test = "a_page_comes_through_whichever_side_stays_with_the_script";
    let Some(ground) = Ground::or_skip(test, between("home", "carrier")) else { return };
    let _web = Web::start(&ground);

    let ours = Run::start(classic(&ground, Side::B, LOCAL_PORT));
    await_listener(&ground);
    for _ in 0..2 {
        let script = Run::start(script(&ground, Side::A, WEB_PORT));
        fetch_page(&ground);
        script.ends();
    }
    assert_eq!(ours.interrupt().code, Some(0));

    let ours = Run::start(classic(&ground, Side::A, WEB_PORT));
    for _ in 0..2 {
        let script = Run::start(script(&ground, Side::B, LOCAL_PORT));
        await_listener(&ground);
        fetch_page(&ground);
        script.ends();
    }
    assert_eq!(ours.interrupt().code, Some(0));
}

#[test]
fn ssh_runs_a_command_whichever_side_stays_with_the_script() {
    let test = "ssh_runs_a_command_whichever_side_stays_with_the_script";
    let Some((ground, sshd)) = ground_with_sshd(test, LinkSpec::default()) else { return };
    let answer = || {
        let output = sshd.ssh(&ground, "ssh").args(["root@localhost", "echo $((6 * 7))"]).output();
        let output = output.expect("ssh runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n", "{output:?}");
    };

    let ours = Run::start(classic(&ground, Side::B, LOCAL_PORT));
    await_listener(&ground);
    let there = Run::start(script(&ground, Side::A, SSHD_PORT));
    answer();
    there.ends();
    drop(ours);

    let _ours = Run::start(classic(&ground, Side::A, SSHD_PORT));
    let there = Run::start(script(&ground, Side::B, LOCAL_PORT));
    await_listener(&ground);
    answer();
    there.ends();
}

#[test]
fn bytes_are_the_same_both_ways_whichever_side_stays_with_the_script() {
    let test = "bytes_are_the_same_both_ways_whichever_side_stays_with_the_script";
    let Some(ground) = Ground::or_skip(test, between("home", "home")) else { return };
    let service = ground.listen(Side::A, PORT);
    for ours_serves in [true, false] {
        let (mut serve, mut open) = if ours_serves {
            (Run::start(classic(&ground, Side::A, PORT)), Run::start(script(&ground, Side::B, LOCAL_PORT)))
        } else {
            (Run::start(script(&ground, Side::A, PORT)), Run::start(classic(&ground, Side::B, LOCAL_PORT)))
        };
        await_listener(&ground);
        let client = ground.dial(Side::B, LOCAL_PORT).expect("the local port accepts");
        let served = service.accept().expect("one client").0;
        let ends = [(client, 1), (served, 2)]
            .map(|(tcp, salt)| thread::spawn(move || exchange(tcp, salt, 3 - salt)));
        for tcp in ends.map(|end| end.join().expect("what came is what was sent")) {
            // So that nobody takes it for half-closed, and waits.
            socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).expect("settable");
        }
        let ours = if ours_serves { &mut serve } else { &mut open };
        note(&ours.says("bytes sent"));
    }
}

/// Waits until somebody listens on the local port of host B, without connecting: the script takes just one connection.
fn await_listener(ground: &Ground) {
    let listens = || {
        let sockets = fs::read_to_string("/proc/thread-self/net/tcp").expect("there");
        sockets.lines().any(|line| line.contains(&format!(":{LOCAL_PORT:04X} 00000000:0000 0A")))
    };
    let until = Instant::now() + PATIENCE;
    while !ground.lab.host(Side::B).enter(listens).expect("entered") {
        assert!(Instant::now() < until, "nobody listens");
        thread::sleep(LOOK);
    }
}

/// Sends one pattern and demands another one.
fn exchange(tcp: TcpStream, sends: u64, expects: u64) -> TcpStream {
    let mut writer = tcp.try_clone().expect("a second handle");
    let writing = thread::spawn(move || writer.write_all(&pattern(sends)));
    let mut got = vec![0; BYTES];
    (&tcp).read_exact(&mut got).expect("all of it arrives");
    writing.join().expect("no panic").expect("all of it is taken");
    assert!(got == pattern(expects), "other bytes");
    tcp
}

/// Bytes that do not compress.
fn pattern(salt: u64) -> Vec<u8> {
    let mut state = salt;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..BYTES).map(|_| next()).collect()
}

/// Describes our side: the serve side on host A, the open side on host B.
fn classic(ground: &Ground, side: Side, port: u16) -> Command {
    with_side(ground, side, env!("CARGO_BIN_EXE_pinhole"), &["classic"], port)
}

/// Describes the script: the serve side on host A, the open side on host B.
fn script(ground: &Ground, side: Side, port: u16) -> Command {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/classic/script.py").to_owned();
    let script = std::env::var("PINHOLE_OLD_SCRIPT").unwrap_or(own);
    with_side(ground, side, "python3", &[&script], port)
}

fn with_side(ground: &Ground, side: Side, program: &str, words: &[&str], port: u16) -> Command {
    let peer = ground.lab.side(side.other()).public_ip().to_string();
    let option = if side == Side::A { "-c" } else { "-l" };
    let mut command = ground.lab.host(side).command(program);
    isolate(&mut command);
    command.args(words).args([option, &port.to_string(), &peer]);
    command
}
