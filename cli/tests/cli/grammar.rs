//! The old script's command lines keep their meaning; help and version are products.

use std::net::{Ipv4Addr, TcpListener};

use crate::{
    loopback::{Loopback, with_key},
    program::{KEY, Run, pinhole},
};

#[test]
fn the_old_grammar_is_understood_in_every_order() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = free.local_addr().expect("bound").port().to_string();
    drop(free);
    for (line, udp) in [
        ("-c -d 5901 PEER 6666", 6666),
        ("-d -c 5901 PEER 6666", 6666),
        ("-c 5901 PEER", 5555),
        ("-l -d PORT PEER 6666", 6666),
        ("-d -l PORT PEER", 5555),
        ("-l PORT PEER", 5555),
        ("-cd 5901 PEER", 5555),
    ] {
        let ends = Loopback::new();
        let (own, peer) = (ends.serve_ip.to_string(), ends.open_ip.to_string());
        let words = line.split(' ').map(|word| match word {
            "PEER" => peer.as_str(),
            "PORT" => port.as_str(),
            other => other,
        });
        let args: Vec<&str> = words.chain(["--bind", &own]).collect();
        let mut run = Run::start(with_key(pinhole(&args), KEY));
        run.says(&format!("waiting for the peer at {peer}:{udp}"));
        let ended = run.interrupt();
        assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
        let debugs = ended.stderr.contains("DEBUG");
        assert_eq!(debugs, line.contains('d'), "{line} shows the inside: {}", ended.stderr);
    }
}

#[test]
fn the_open_side_listens_on_loopback_alone_unless_told_otherwise() {
    let ends = Loopback::new();
    let (own, peer) = (ends.open_ip.to_string(), ends.serve_ip.to_string());
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = free.local_addr().expect("bound").port().to_string();
    drop(free);
    let mut run = Run::start(with_key(pinhole(&["-l", &port, &peer, "--bind", &own]), KEY));
    run.says(&format!("listening on 127.0.0.1:{port}"));
}

#[test]
fn help_goes_to_stdout_and_shows_both_sides_and_the_exit_status() {
    for option in ["--help", "-h"] {
        let ended = Run::start(pinhole(&[option])).ends();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        for word in ["pinhole -c 22", "pinhole -l 2222", "Exit status: 0", "key", "demo"] {
            assert!(ended.stdout.contains(word), "{word:?} is missing: {}", ended.stdout);
        }
    }
}

#[test]
fn each_verb_has_a_help_of_its_own() {
    let classic = cfg!(feature = "classic").then_some("classic");
    for verb in ["serve", "open", "key", "check", "demo"].into_iter().chain(classic) {
        let ended = Run::start(pinhole(&[verb, "--help"])).ends();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout.contains(&format!("pinhole {verb}")), "{}", ended.stdout);
    }
}

#[test]
fn the_version_goes_to_stdout() {
    for option in ["--version", "-V"] {
        let ended = Run::start(pinhole(&[option])).ends();
        assert_eq!(ended.code, Some(0));
        assert_eq!(ended.stdout, format!("pinhole {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(ended.stderr, "");
    }
}
