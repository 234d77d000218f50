//! While there is no tunnel: what is said, for how long, and what ends it.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use crate::{
    loopback::{Loopback, start_echo, with_key},
    program::{KEY, PATIENCE, Run},
};

/// Another good key.
const OTHER_KEY: &str = "hazy-requisite-engraver-gawk-naming-wispy-suing";

#[test]
fn two_serve_sides_are_both_told_what_to_change_and_one_of_them_may_be_mended() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let (service, own, peer) =
        (ends.service().to_string(), ends.open_ip.to_string(), ends.serve_ip.to_string());
    let second = with_key(crate::program::pinhole(&["-c", &service, &peer, "--bind", &own]), KEY);
    let (mut serve, mut second) = (Run::start(ends.serve(&[])), Run::start(second));
    for run in [&mut serve, &mut second] {
        let said = run.says("both sides offer a service (-c)");
        assert!(said.contains("-l"), "{said}");
    }
    assert_eq!(second.interrupt().code, Some(0));
    let mut open = Run::start(ends.open(&[]));
    open.says("tunnel up");
    assert_eq!(ends.ask("mended"), "mended");
}

#[test]
fn two_open_sides_are_both_told_what_to_change() {
    let ends = Loopback::new();
    let local = format!("{}:2222", ends.serve_ip);
    let (own, peer) = (ends.serve_ip.to_string(), ends.open_ip.to_string());
    let second = with_key(crate::program::pinhole(&["-l", &local, &peer, "--bind", &own]), KEY);
    let mut runs = [Run::start(ends.open(&[])), Run::start(second)];
    for run in &mut runs {
        let said = run.says("both sides open a port (-l)");
        assert!(said.contains("-c"), "{said}");
    }
    for run in runs {
        assert_eq!(run.interrupt().code, Some(0));
    }
}

#[test]
fn a_probe_that_somebody_sends_back_is_told_and_ends_nothing() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mirror = UdpSocket::bind((ends.open_ip, 5555)).expect("the pair's own address");
    mirror.set_read_timeout(Some(PATIENCE)).expect("settable");
    let mut serve = Run::start(ends.serve(&[]));
    let mut probe = [0; 2048];
    let (length, from) = mirror.recv_from(&mut probe).expect("it probes the peer");
    mirror.send_to(&probe[..length], from).expect("sent");
    serve.says("our own packets come back");
    drop(mirror);
    let mut open = Run::start(ends.open(&[]));
    open.says("tunnel up");
    assert_eq!(ends.ask("still there"), "still there");
    assert_eq!(serve.interrupt().code, Some(0));
}

#[test]
fn ten_seconds_of_silence_bring_advice_and_a_side_outlives_a_wrong_role() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let begun = Instant::now();
    let mut serve = Run::start(ends.serve(&[]));

    let advice = serve.says("Still trying");
    assert!(begun.elapsed() >= Duration::from_secs(10));
    for word in ["PEER", "does pinhole run there", "UDP port", "forward"] {
        assert!(advice.contains(word), "{advice}");
    }

    let (service, own, peer) =
        (ends.service().to_string(), ends.open_ip.to_string(), ends.serve_ip.to_string());
    let wrong = with_key(crate::program::pinhole(&["-c", &service, &peer, "--bind", &own]), KEY);
    let wrong = Run::start(wrong);
    serve.says("both sides offer a service (-c)");
    assert_eq!(wrong.interrupt().code, Some(0));

    let mut open = Run::start(ends.open(&[]));
    open.says("tunnel up");
    assert_eq!(ends.ask("it waited"), "it waited");
}

#[test]
fn a_wrong_key_is_told_on_both_sides_and_is_no_path() {
    let ends = Loopback::new();
    let serve = Run::start(ends.serve(&["--wait", "3"]));
    let open = Run::start(with_key(ends.open(&["--wait", "3"]), OTHER_KEY));
    for (ended, peer) in [(serve.ends(), ends.open_ip), (open.ends(), ends.serve_ip)] {
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("wrong key: packets arrive from {peer}")), "{}", ended.stderr);
        assert!(ended.stderr.contains("pinhole key show"), "{}", ended.stderr);
        assert!(ended.stderr.contains("no tunnel after 3 s"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("tunnel up"), "{}", ended.stderr);
    }
}

#[test]
fn after_a_wrong_key_the_right_one_connects_without_a_restart_of_the_other_side() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut serve = Run::start(ends.serve(&[]));
    let mut wrong = Run::start(with_key(ends.open(&[]), OTHER_KEY));
    serve.says("wrong key");
    wrong.says("wrong key");
    assert_eq!(wrong.interrupt().code, Some(0));

    let mut right = Run::start(ends.open(&[]));
    right.says("tunnel up");
    serve.says("tunnel up");
    assert_eq!(ends.ask("the right key"), "the right key");
}

#[test]
fn without_a_peer_the_waiting_time_ends_the_program_with_one() {
    let ends = Loopback::new();
    for side in [ends.serve(&["--wait", "1"]), ends.open(&["--wait", "1"])] {
        let begun = Instant::now();
        let ended = Run::start(side).ends();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("no tunnel after 1 s, giving up: "), "{}", ended.stderr);
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(3), "{took:?}");
    }
}

#[test]
fn a_part_of_a_second_is_named_as_typed() {
    let ended = Run::start(Loopback::new().serve(&["--wait", "0.5"])).ends();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("no tunnel after 0.5 s"), "{}", ended.stderr);
}

#[test]
fn a_waiting_side_ends_with_zero_when_the_user_ends_it() {
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::TERM] {
        let mut serve = Run::start(Loopback::new().serve(&[]));
        serve.says("waiting for the peer");
        serve.signal(signal);
        let ended = serve.ends();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    }
}

#[test]
fn a_connection_made_while_waiting_is_carried_once_the_tunnel_is_up() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut open = Run::start(ends.open(&[]));
    open.says("waiting for the peer");
    let local = ends.local();
    let early = std::thread::spawn(move || crate::loopback::ask(local, "early"));

    let mut serve = Run::start(ends.serve(&[]));
    serve.says("tunnel up");
    assert_eq!(early.join().expect("the early client succeeds"), "early");
}

#[test]
fn what_arrives_from_the_peers_address_without_the_key_changes_nothing() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let peer = UdpSocket::bind((ends.open_ip, 5555)).expect("the pair's own address");
    peer.set_read_timeout(Some(PATIENCE)).expect("settable");
    let mut serve = Run::start(ends.serve(&[]));
    serve.says("waiting for the peer");
    let mut probe = [0; 2048];
    let (length, from) = peer.recv_from(&mut probe).expect("it probes the peer");
    let mut changed = probe;
    changed[length - 1] ^= 1;
    for bytes in [&changed[..length], &probe[..length / 2], &[], &[0xc0; 1200], &[0xff; 40]] {
        peer.send_to(bytes, from).expect("sent");
    }
    drop(peer);

    let mut open = Run::start(ends.open(&[]));
    open.says("tunnel up");
    assert_eq!(ends.ask("still there"), "still there");
}
