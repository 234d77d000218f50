//! The program against a second implementation of docs/protocol.md, in another language: cli/tests/independent.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use natlab::skip;

use crate::{
    loopback::{Loopback, start_echo},
    program::{KEY, PATIENCE, Run, isolate},
};

#[test]
fn the_documented_vectors_are_those_of_the_second_implementation() {
    let Some(python) = python("the_documented_vectors") else { return };
    let mut command = script(&python, "vectors.py");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors.json"));
    let ended = Run::start(command).ends();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn it_opens_a_tunnel_to_our_serve_side_and_uses_it() {
    let Some(python) = python("it_opens_a_tunnel") else { return };
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut serve = Run::start(ends.serve(&[]));
    let mut theirs = Run::start(talk(&python, "open", ends.open_ip, ends.serve_ip));
    theirs.prints("nominated");
    theirs.prints(&format!("observed {} 5555", ends.open_ip));
    serve.says("tunnel up");
    theirs.prints("hello 2 2200");
    theirs.prints("unmarked 0");
    theirs.prints("reply 0");
    theirs.prints("echo through another implementation");
    serve.says("peer left");
    assert_eq!(theirs.ends().code, Some(0));
    assert_eq!(serve.interrupt().code, Some(0));
}

#[test]
fn it_serves_our_open_side() {
    let Some(python) = python("it_serves") else { return };
    let ends = Loopback::new();
    let mut open = Run::start(ends.open(&[]));
    let mut theirs = Run::start(talk(&python, "serve", ends.serve_ip, ends.open_ip));
    open.says("tunnel up");
    theirs.prints("hello 2");
    open.says("reaches the peer's service web");
    theirs.prints("unmarked 0");
    let mut tcp = TcpStream::connect(ends.local()).expect("the local port accepts");
    tcp.set_read_timeout(Some(PATIENCE)).expect("settable");
    tcp.write_all(b"there and back").expect("sent");
    tcp.shutdown(Shutdown::Write).expect("half-closed");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).expect("the answer arrives");
    assert_eq!(answer, "there and back");
    theirs.prints("request 2222 flags 5");
    theirs.prints("answered there and back");
    assert_eq!(open.interrupt().code, Some(0));
    theirs.prints("peer left (True, 1)");
    assert_eq!(theirs.ends().code, Some(0));
}

#[test]
fn its_sealed_goodbye_is_believed_before_any_handshake() {
    let Some(python) = python("its_sealed_goodbye") else { return };
    let ends = Loopback::new();
    let mut serve = Run::start(ends.serve(&[]));
    let theirs = Run::start(talk(&python, "goodbye", ends.open_ip, ends.serve_ip));
    serve.says("hole punched");
    serve.says("peer left");
    assert_eq!(theirs.ends().code, Some(0));
    assert_eq!(serve.interrupt().code, Some(0));
}

/// Each of them is followed by a probe that must be acked, over the same socket: so nothing depends on waiting.
#[test]
fn a_stranger_with_another_key_a_recording_or_quic_gets_no_answer() {
    let Some(python) = python("a_stranger") else { return };
    let ends = Loopback::new();
    let serve = Run::start(ends.serve(&[]));
    let strangers_ip = Loopback::new().open_ip;
    let mut theirs = Run::start(talk(&python, "strangers", strangers_ip, ends.serve_ip));
    for what in [
        "another key",
        "a probe of 20 s ago",
        "the same probe again",
        "a bent probe",
        "a probe of 257 bytes",
        "QUIC of a stranger",
    ] {
        theirs.prints(&format!("no answer to {what}"));
    }
    assert_eq!(theirs.ends().code, Some(0));
    assert_eq!(serve.interrupt().code, Some(0));
}

#[test]
fn forged_first_packets_from_the_peer_s_own_address_get_no_answer_and_delay_no_tunnel() {
    let Some(python) = python("forged_first_packets") else { return };
    let ends = Loopback::new();
    let mut serve = Run::start(ends.serve(&[]));
    let mut theirs = Run::start(talk(&python, "forged", ends.open_ip, ends.serve_ip));
    serve.says("tunnel up");
    theirs.prints("handshake");
    theirs.prints("unopened 0");
    assert_eq!(theirs.ends().code, Some(0));
    assert_eq!(serve.interrupt().code, Some(0));
}

/// Returns the interpreter that `PINHOLE_PYTHON` names, or the usual one, if it has what the scripts need.
fn python(test: &str) -> Option<PathBuf> {
    let python = std::env::var_os("PINHOLE_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let has_all = script(&python, "tls.py").output().is_ok_and(|output| output.status.success());
    if !has_all {
        let reason =
            "python3 with what cli/tests/independent/requirements.txt names is needed (see PINHOLE_PYTHON)";
        skip(test, reason);
        return None;
    }
    Some(python)
}

fn script(python: &Path, name: &str) -> Command {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/independent/");
    let mut command = Command::new(python);
    command.arg("-B").arg(format!("{folder}{name}"));
    isolate(&mut command);
    command
}

fn talk(python: &Path, scene: &str, own: Ipv4Addr, peer: Ipv4Addr) -> Command {
    let mut command = script(python, "talk.py");
    command.args([scene, &own.to_string(), &peer.to_string()]).env("PINHOLE_KEY", KEY);
    command
}
