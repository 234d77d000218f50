//! Ports that cannot be had: the sentence says which one, why, and what else would do.

use std::{
    fs,
    net::{Ipv6Addr, TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use natlab::skip;
use tempfile::TempDir;

use crate::{
    loopback::{Loopback, with_key},
    program::{KEY, Run, isolate, pinhole},
};

#[test]
fn a_local_port_that_another_program_has_is_named() {
    let ends = Loopback::new();
    let _other = TcpListener::bind(ends.local()).expect("the pair's own address");
    let refused = Run::start(ends.open(&[])).ends();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    for word in ["TCP port 2222", "in use", "another port"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
}

#[test]
fn the_ipv6_half_of_localhost_in_other_hands_is_refused_with_the_way_out() {
    let test = "the_ipv6_half_of_localhost_in_other_hands_is_refused_with_the_way_out";
    let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return skip(test, "this machine has no IPv6");
    };
    let ends = Loopback::new();
    let port = other.local_addr().expect("bound").port().to_string();
    let (own, peer) = (ends.open_ip.to_string(), ends.serve_ip.to_string());
    let open = |spec: &str| with_key(pinhole(&["-l", spec, &peer, "--bind", &own]), KEY);
    let refused = Run::start(open(&port)).ends();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    for word in ["in use on ::1", "another port", &format!("127.0.0.1:{port} alone")] {
        assert!(refused.stderr.contains(word), "{word:?}: {}", refused.stderr);
    }
    Run::start(open(&format!("127.0.0.1:{port}"))).says("listening on 127.0.0.1");
}

#[test]
fn a_udp_port_that_another_program_has_is_named_with_another_one_to_use() {
    let ends = Loopback::new();
    let _other = UdpSocket::bind((ends.serve_ip, 5555)).expect("the pair's own address");
    let refused = Run::start(ends.serve(&[])).ends();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    for word in ["UDP port 5555", "another pinhole", "both sides", "5556"] {
        assert!(refused.stderr.contains(word), "{word:?}: {}", refused.stderr);
    }
}

#[test]
fn two_pinholes_cannot_share_a_udp_port() {
    let ends = Loopback::new();
    let mut first = Run::start(ends.serve(&[]));
    first.says("waiting for the peer");
    let second = Run::start(ends.serve(&[])).ends();
    assert_eq!(second.code, Some(2));
    let first = format!("process {} of pinhole has it, waiting for the peer", first.pid());
    for word in [&first, "end it and name all services in one `pinhole serve", "5556"] {
        assert!(second.stderr.contains(word), "{word:?}: {}", second.stderr);
    }
}

#[test]
fn a_low_local_port_without_the_right_to_it_is_refused_with_one_that_works() {
    let Some(unprivileged) =
        Unprivileged::or_skip("a_low_local_port_without_the_right_to_it_is_refused_with_one_that_works")
    else {
        return;
    };
    let ends = Loopback::new();
    let (own, peer) = (ends.open_ip.to_string(), ends.serve_ip.to_string());
    for (low, other) in [("22", "2222"), ("80", "8080"), ("443", "8443"), ("631", "10631")] {
        let refused = Run::start(unprivileged.pinhole(&["-l", low, &peer, "--bind", &own])).ends();
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        for word in ["no permission", &format!("TCP port {low}"), other] {
            assert!(refused.stderr.contains(word), "{word:?}: {}", refused.stderr);
        }
    }
}

#[test]
fn a_low_udp_port_without_the_right_to_it_is_refused_with_the_range_that_works() {
    let Some(unprivileged) =
        Unprivileged::or_skip("a_low_udp_port_without_the_right_to_it_is_refused_with_the_range_that_works")
    else {
        return;
    };
    let ends = Loopback::new();
    let (own, peer) = (ends.serve_ip.to_string(), ends.open_ip.to_string());
    let refused = Run::start(unprivileged.pinhole(&["-c", "22", &peer, "53", "--bind", &own])).ends();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    for word in ["53", "1024", "both sides"] {
        assert!(refused.stderr.contains(word), "{word:?}: {}", refused.stderr);
    }
}

/// A way to run pinhole without the right to low ports.
struct Unprivileged {
    /// Holds a copy of the program: the one that was built may be in a folder that is root's alone.
    folder: TempDir,
    is_root: bool,
}

impl Unprivileged {
    fn or_skip(test: &str) -> Option<Self> {
        let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
        if first.trim().parse().is_ok_and(|first: u16| first < 1024) {
            skip(test, "every user may have low ports here (net.ipv4.ip_unprivileged_port_start)");
            return None;
        }
        let is_root = rustix::process::geteuid().is_root();
        if is_root && Command::new("setpriv").arg("--version").output().is_err() {
            skip(test, "root may have any port, and there is no setpriv to run as somebody else");
            return None;
        }
        let folder = TempDir::new().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("own folder");
        let program = folder.path().join("pinhole");
        fs::copy(env!("CARGO_BIN_EXE_pinhole"), &program).expect("the program can be copied");
        Some(Self { folder, is_root })
    }

    fn pinhole(&self, args: &[&str]) -> Command {
        let program = self.folder.path().join("pinhole");
        let mut command = if self.is_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(args);
        isolate(&mut command);
        with_key(command, KEY)
    }
}
