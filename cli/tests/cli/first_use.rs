//! The very first start: no key anywhere.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use crate::{
    loopback::{Loopback, ask, start_echo},
    program::{Run, isolate, pinhole},
};

#[test]
fn the_serve_side_makes_a_private_key_and_the_line_that_it_prints_connects_the_other_side() {
    let ends = Loopback::new();
    let args = serve_args(&ends);
    start_echo(args[1].parse().expect("an address"));
    let home = TempDir::new().expect("a temporary folder");
    let mut serve = pinhole(&args.each_ref().map(String::as_str));
    serve.env("HOME", home.path());

    let mut serve = Run::start(serve);
    let line = serve.says("pinhole -l");
    let mut open = Run::start(as_typed(&line, &ends));
    open.says("tunnel up");

    let file = home.path().join(".config/pinhole/key");
    let mode = std::fs::metadata(&file).expect("the key was kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(ask(local(&line), "through the printed line"), "through the printed line");
    let ended = serve.interrupt();
    assert!(ended.stderr.contains(file.to_str().expect("UTF-8")), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "the key is talk here, not the product");
}

#[test]
fn the_configuration_folder_of_the_environment_is_respected() {
    let ends = Loopback::new();
    let config = TempDir::new().expect("a temporary folder");
    let mut serve = pinhole(&serve_args(&ends).each_ref().map(String::as_str));
    serve.env("XDG_CONFIG_HOME", config.path());
    let mut serve = Run::start(serve);
    serve.says("pinhole -l");
    assert!(config.path().join("pinhole/key").is_file());
}

#[test]
fn the_second_start_uses_the_key_and_does_not_show_it_again() {
    let ends = Loopback::new();
    let home = TempDir::new().expect("a temporary folder");
    let start = || {
        let mut serve = pinhole(&serve_args(&ends).each_ref().map(String::as_str));
        serve.env("HOME", home.path());
        let mut serve = Run::start(serve);
        serve.says("waiting for the peer");
        serve.interrupt()
    };
    let (first, second) = (start(), start());
    let key = std::fs::read_to_string(home.path().join(".config/pinhole/key")).expect("kept");
    assert!(first.stderr.contains(key.trim()), "{}", first.stderr);
    assert!(!second.stderr.contains(key.trim()), "{}", second.stderr);
}

#[test]
fn a_start_that_is_refused_leaves_no_key_behind_that_nobody_was_shown() {
    let home = TempDir::new().expect("a temporary folder");
    for peer in ["0.0.0.0", "127.0.0.1", "localhost", "203.0.113.9:5555", "no-such-host.invalid"] {
        let mut serve = pinhole(&["-c", "22", peer]);
        serve.env("HOME", home.path());
        let ended = Run::start(serve).ends();
        assert_eq!(ended.code, Some(2));
        assert!(!home.path().join(".config/pinhole/key").exists(), "{}", ended.stderr);
    }
}

/// A serve side whose service has a port that is free on 127.0.0.1, where the printed line will listen.
fn serve_args(ends: &Loopback) -> [String; 6] {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let service = SocketAddr::from((ends.serve_ip, free.local_addr().expect("bound").port()));
    let (peer, own) = (ends.open_ip.to_string(), ends.serve_ip.to_string());
    ["-c", &service.to_string(), &peer, "6677", "--bind", &own].map(str::to_owned)
}

/// The printed line, as a user types it into a shell: this machine's IP filled in. Loopback needs an own address
/// on top, because both sides are on one machine here.
fn as_typed(line: &str, ends: &Loopback) -> Command {
    let line = line.replace("THIS_IP", &ends.serve_ip.to_string());
    let folder = Path::new(env!("CARGO_BIN_EXE_pinhole")).parent().expect("a file is in a folder");
    let path = std::env::var("PATH").expect("there is a PATH");
    let mut shell = Command::new("sh");
    isolate(&mut shell);
    shell.args(["-c", &format!("exec env {line} --bind {}", ends.open_ip)]);
    shell.env("PATH", format!("{}:{path}", folder.display()));
    shell
}

/// Where the printed line listens.
fn local(line: &str) -> SocketAddr {
    let port = line.split_once("-l ").and_then(|(_, rest)| rest.split(' ').next()).expect("a port after -l");
    (Ipv4Addr::LOCALHOST, port.parse().expect("a number")).into()
}
