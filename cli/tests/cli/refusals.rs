//! What cannot be done is refused with a sentence that names the way out, and exit status 2.

use crate::{
    loopback::{Loopback, with_key},
    program::{Ended, KEY, Run, pinhole},
};

#[test]
fn an_unknown_option_is_named_and_help_is_offered() {
    assert_refused(&["--no-such-option"], &["--no-such-option", "--help"]);
}

#[test]
fn without_arguments_both_commands_are_shown() {
    assert_refused(&[], &["-c TCP_PORT PEER", "-l TCP_PORT PEER", "--help", "Usage: pinhole -c TCP_PORT"]);
}

#[test]
fn what_is_missing_is_named() {
    assert_refused(&["-c", "22"], &["<PEER>", "pinhole -c TCP_PORT PEER"]);
    assert_refused(&["-l"], &["<TCP_PORT>", "pinhole -l TCP_PORT PEER"]);
    assert_refused(&["serve", "22"], &["--peer PEER"]);
    assert_refused(&["serve"], &["--peer PEER"]);
    assert_refused(&["open", "--peer", "127.0.0.2"], &["<SPEC>"]);
}

#[test]
fn a_side_must_be_named() {
    assert_refused(&["22", "127.0.0.2"], &["-c", "-l"]);
}

#[test]
fn both_sides_at_once_are_refused() {
    assert_refused(&["-c", "-l", "22", "127.0.0.2"], &["-c", "-l", "one side", "start two"]);
    assert_refused(&["-c", "22", "-l", "2222", "127.0.0.2"], &["-c", "-l", "one side", "start two"]);
}

#[test]
fn what_belongs_elsewhere_is_told_with_its_right_form() {
    let short = |more: &[&'static str]| [&["-c", "22", "127.0.0.2"], more].concat();
    let behind = "stands behind PEER: `pinhole -c TCP_PORT PEER 6666`";
    assert_refused(&short(&["--port", "6666"]), &["serve", "open", behind]);
    assert_refused(&["-c", "22", "--peer", "127.0.0.2"], &["`pinhole -c TCP_PORT PEER`"]);
    assert_refused(&short(&["-p", "6666"]), &["UDP_PORT stands behind PEER", "--port"]);
    assert_refused(&short(&["-v"]), &["-d", "--version"]);
    assert_refused(&["-L", "2222:localhost:22", "127.0.0.2"], &["`pinhole open 2222:22 --peer PEER`"]);
    assert_refused(&["-c22", "127.0.0.2"], &["`pinhole -c 22 PEER`"]);
    assert_refused(&["--json", "serve", "22", "--peer", "127.0.0.2"], &["`pinhole serve --json …`"]);
    assert_refused(&["serve", "22", "--peers", "127.0.0.2"], &["--peers", "did you mean --peer?"]);
}

#[test]
fn a_misspelt_command_is_told_with_the_one_that_was_meant() {
    for line in [&["server", "22", "127.0.0.2"][..], &["sever"], &["opne", "2222:22", "--peer", "127.0.0.2"]]
    {
        assert_refused(line, &["is no command of pinhole", "serve, open", "Did you mean `pinhole "]);
    }
}

#[test]
fn one_local_port_for_two_services_is_refused_with_the_way_out() {
    assert_refused(&["open", "2222:22", "2222:80", "--peer", "127.0.0.2"], &["local port 2222", "8080:80"]);
    assert_refused(&["open", "2222:22", "0.0.0.0:2222:80", "--peer", "127.0.0.2"], &["local port 2222"]);
}

#[test]
fn what_is_no_tcp_port_is_refused_with_the_range() {
    for side in ["-c", "-l"] {
        for port in ["0", "70000", "ssh", "", "22x"] {
            assert_refused(&[side, port, "127.0.0.2"], &[&format!("{port:?}"), "from 1 to 65535"]);
        }
    }
}

#[test]
fn what_is_no_udp_port_is_refused_with_the_range() {
    for port in ["0", "70000"] {
        assert_refused(&["-c", "22", "127.0.0.2", port], &["UDP_PORT", port, "1", "65535"]);
    }
}

#[test]
fn a_word_in_place_of_a_udp_port_is_refused_with_the_range() {
    assert_refused(&["-c", "22", "127.0.0.2", "quic"], &["UDP_PORT", "quic", "1", "65535"]);
    assert_refused(&["serve", "22", "--peer", "127.0.0.2", "--port", "quic"], &["quic", "1", "65535"]);
}

#[test]
fn a_name_that_does_not_resolve_is_refused_with_what_to_check() {
    let refused =
        assert_refused(&["-c", "22", "no-such-host.invalid"], &["no-such-host.invalid", "spelling"]);
    assert!(refused.stderr.contains("public IP"), "{}", refused.stderr);
}

#[test]
fn a_port_glued_to_the_peer_is_refused_with_its_right_place() {
    assert_refused(&["-c", "22", "127.0.0.2:5555"], &["127.0.0.2:5555", "UDP_PORT"]);
}

#[test]
fn the_own_address_as_peer_is_refused() {
    let ends = Loopback::new();
    let own = ends.serve_ip.to_string();
    for side in ["-c", "-l"] {
        let own_twice = [side, "22", &own, "--bind", &own];
        assert_refused(&own_twice, &[&own, "own address", "the other machine"]);
    }
    assert_refused(&["-c", "22", "127.0.0.1", "55550"], &["127.0.0.1", "own address", "pinhole demo"]);
}

#[test]
fn an_address_that_no_machine_has_is_refused() {
    for peer in ["0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        assert_refused(&["-l", "2222", peer], &[peer, "not the address of a machine"]);
    }
}

#[test]
fn an_ipv6_peer_is_refused() {
    assert_refused(&["-c", "22", "::1"], &["::1", "IPv4"]);
}

#[test]
fn an_ipv6_address_to_send_from_is_refused() {
    assert_refused(&["-c", "22", "127.0.0.2", "--bind", "::1", "--wait", "1"], &["--bind", "IPv4"]);
}

#[test]
fn an_address_to_send_from_that_is_not_ours_is_refused() {
    assert_refused(&["-c", "22", "127.0.0.2", "--bind", "192.0.2.1"], &["192.0.2.1", "0.0.0.0"]);
}

#[test]
fn two_services_of_one_name_are_refused_with_the_way_to_name_them() {
    let ends = Loopback::new();
    let (own, peer) = (ends.serve_ip.to_string(), ends.open_ip.to_string());
    assert_refused(&["serve", "22", "printer:22", "--peer", &peer, "--bind", &own], &["\"22\"", "NAME="]);
}

#[test]
fn what_is_no_waiting_time_is_refused_with_an_example() {
    assert_refused(&["-c", "22", "127.0.0.2", "--wait", "long"], &["long", "30"]);
}

#[test]
fn an_argument_too_many_is_called_so() {
    let refused = assert_refused(&["-c", "22", "127.0.0.2", "5555", "7"], &["'7'"]);
    assert!(!refused.stderr.contains("subcommand"), "{}", refused.stderr);
}

#[test]
fn an_unknown_nat_of_the_demo_is_refused_with_the_known_ones() {
    assert_refused(&["demo", "--nat", "dream,home"], &["dream", "carrier"]);
    assert_refused(&["demo", "--nat", "home"], &["two names", "cone,home"]);
}

/// Runs pinhole with a good key; it must refuse at once, with all of these words, and nothing on stdout.
fn assert_refused(args: &[&str], words: &[&str]) -> Ended {
    let ended = Run::start(with_key(pinhole(args), KEY)).ends();
    assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
    assert_eq!(ended.stdout, "", "{args:?}");
    assert!(ended.stderr.starts_with("error: "), "{args:?}: {}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is missing for {args:?}: {}", ended.stderr);
    }
    ended
}
