//! The kernel's laboratory: it comes up, carries packets, and leaves nothing behind.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use natlab::kernel::{Host, LabError, supports};
use natlab::{BoxSpec, Lab, LabSpec, NatSpec, Side, Translation, lab_or_skip, sweep_leftovers};
use pinhole_proto::nat::Access;
use rustix::net::{AddressFamily, SocketType};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn hosts_behind_any_preset_reach_an_open_host_and_get_its_answer() {
    if !lab_or_skip("hosts_behind_any_preset_reach_an_open_host_and_get_its_answer") {
        return;
    }
    let works = |spec: &NatSpec| supports(spec).is_ok() && spec.access() != Access::Blocked;
    for spec in NatSpec::presets().into_iter().filter(works) {
        let lab = build(spec.clone(), preset("open"));
        let server = bind(lab.host(Side::B), 7000);
        let client = bind(lab.host(Side::A), 5555);
        client.send_to(b"ask", to(lab.side(Side::B).public_ip(), 7000)).expect("sent");
        let seen = receive(&server).expect("the question arrives");
        assert_eq!(*seen.ip(), lab.side(Side::A).public_ip(), "through {spec}");
        if spec.access().is_predictable() {
            assert_eq!(seen.port(), 5555, "through {spec}");
        }
        server.send_to(b"answer", seen).expect("sent");
        assert_eq!(receive(&client), Some(to(lab.side(Side::B).public_ip(), 7000)), "through {spec}");
    }
}

#[test]
fn the_stranger_reaches_both_open_hosts() {
    if !lab_or_skip("the_stranger_reaches_both_open_hosts") {
        return;
    }
    let lab = build(preset("open"), preset("open"));
    let stranger = bind(lab.stranger(), 9000);
    for side in Side::BOTH {
        let server = bind(lab.host(side), 7000);
        stranger.send_to(b"hello", to(lab.side(side).public_ip(), 7000)).expect("sent");
        assert_eq!(receive(&server), Some(to(lab.stranger_ips()[0], 9000)), "{side:?}");
    }
}

#[test]
fn firewalls_and_nats_chain_in_any_order() {
    if !lab_or_skip("firewalls_and_nats_chain_in_any_order") {
        return;
    }
    let (nat, firewall) = (BoxSpec::nat(Translation::LINUX), BoxSpec::firewall());
    let chain = vec![firewall.clone(), nat.clone(), firewall.clone(), firewall.clone(), nat, firewall];
    let lab = build(NatSpec::new("long", chain), preset("open"));
    let server = bind(lab.host(Side::B), 7000);
    let client = bind(lab.host(Side::A), 5555);
    client.send_to(b"ask", to(lab.side(Side::B).public_ip(), 7000)).expect("sent");
    assert_eq!(receive(&server), Some(to(lab.side(Side::A).public_ip(), 5555)));
}

#[test]
fn two_labs_at_once_do_not_meet() {
    if !lab_or_skip("two_labs_at_once_do_not_meet") {
        return;
    }
    let (first, second) = (build(preset("open"), preset("open")), build(preset("open"), preset("open")));
    let elsewhere = bind(second.host(Side::B), 7000);
    let server = bind(first.host(Side::B), 7000);
    let client = bind(first.host(Side::A), 5555);
    client.send_to(b"hello", to(first.side(Side::B).public_ip(), 7000)).expect("sent");
    assert!(receive(&server).is_some());
    elsewhere.set_nonblocking(true).expect("settable");
    assert!(elsewhere.recv_from(&mut [0; 16]).is_err());
}

#[test]
fn a_box_forgets_its_flows_when_flushed() {
    if !lab_or_skip("a_box_forgets_its_flows_when_flushed") {
        return;
    }
    let lab = build(preset("cone"), preset("open"));
    let client = bind(lab.host(Side::A), 5555);
    let server = bind(lab.host(Side::B), 7000);
    let nat = lab.nat(Side::A, 0);
    client.send_to(b"ask", to(lab.side(Side::B).public_ip(), 7000)).expect("sent");
    assert!(receive(&server).is_some());
    assert_eq!(nat.conntrack_count().expect("countable"), 1);
    nat.flush_conntrack().expect("flushable");
    assert_eq!(nat.conntrack_count().expect("countable"), 0);
    server.set_read_timeout(Some(Duration::from_millis(200))).expect("settable");
    server.send_to(b"late", to(lab.side(Side::A).public_ip(), 5555)).expect("sent");
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("settable");
    assert!(client.recv_from(&mut [0; 16]).is_err(), "a forgotten mapping lets nobody in");
}

#[test]
fn a_program_on_a_host_is_killed_by_its_own_pid() {
    if !lab_or_skip("a_program_on_a_host_is_killed_by_its_own_pid") {
        return;
    }
    let lab = build(preset("open"), preset("open"));
    let mut child = lab.host(Side::A).command("cat").stdin(Stdio::piped()).spawn().expect("spawned");
    let until = Instant::now() + PATIENCE;
    while name_of(&child) != Some("cat\n".to_owned()) {
        assert!(Instant::now() < until, "the child becomes the program");
    }
    child.kill().expect("killed");
    assert!(!child.wait().expect("waited").success());
}

#[test]
fn programs_still_running_end_with_the_lab() {
    if !lab_or_skip("programs_still_running_end_with_the_lab") {
        return;
    }
    let lab = build(preset("open"), preset("open"));
    let mut child = announced(lab.host(Side::A).command("sh").args(["-c", "echo ready; exec cat"]));
    drop(lab);
    assert!(!child.wait().expect("waited").success(), "it was killed; it had no other reason to end");
}

#[test]
fn a_panic_leaves_no_namespace() {
    if !lab_or_skip("a_panic_leaves_no_namespace") {
        return;
    }
    let mut name = String::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let lab = build(preset("carrier"), preset("home"));
        name = lab.host(Side::A).name().to_owned();
        assert!(exists(&name));
        panic!("a test fails");
    }));
    assert!(panicked.is_err());
    assert!(!exists(&name), "{name} is gone");
}

#[test]
fn what_a_killed_owner_left_is_swept_and_what_a_living_one_has_is_not() {
    if !lab_or_skip("what_a_killed_owner_left_is_swept_and_what_a_living_one_has_is_not") {
        return;
    }
    let mine = build(preset("open"), preset("open"));
    let this_test = std::env::current_exe().expect("known");
    let arguments = ["--exact", "holds_a_lab_until_killed", "--ignored", "--nocapture"];
    let mut command = Command::new(this_test);
    command.args(arguments).env("NATLAB_HOLD", "1").stdout(Stdio::piped());
    let mut owner = command.spawn().expect("spawned");
    let left = announcement(&mut owner, "LAB ");
    sweep_leftovers().expect("swept");
    assert!(exists(&left), "its owner lives");
    owner.kill().expect("killed");
    owner.wait().expect("waited");
    sweep_leftovers().expect("swept");
    assert!(!exists(&left), "its owner is dead");
    assert!(exists(mine.host(Side::A).name()), "this process lives");
}

#[test]
#[ignore = "the child process of the test above; by itself it tests nothing"]
#[expect(clippy::print_stdout, reason = "tells its parent the name")]
fn holds_a_lab_until_killed() {
    if std::env::var_os("NATLAB_HOLD").is_none() {
        return;
    }
    let lab = build(preset("home"), preset("open"));
    println!("LAB {}", lab.host(Side::A).name());
    loop {
        std::thread::park();
    }
}

#[test]
fn what_nftables_cannot_do_is_refused_and_leaves_nothing() {
    if !lab_or_skip("what_nftables_cannot_do_is_refused_and_leaves_nothing") {
        return;
    }
    let hairpin = BoxSpec::nat(Translation { hairpin: true, ..Translation::LINUX });
    let refused = Lab::build(LabSpec::new(NatSpec::new("hairpin", vec![hairpin]), preset("open")));
    assert!(matches!(refused, Err(LabError::Unsupported { .. })));
}

#[test]
fn a_router_of_the_kernel_complains_six_times_at_once() {
    if !lab_or_skip("a_router_of_the_kernel_complains_six_times_at_once") {
        return;
    }
    let lab = build(preset("reject"), preset("open"));
    let errors = raw_icmp(lab.host(Side::B));
    let peer = bind(lab.host(Side::B), 7000);
    let begun = Instant::now();
    for port in 5000..5020 {
        peer.send_to(b"unasked", to(lab.side(Side::A).public_ip(), port)).expect("sent");
    }
    // The wire has no delay: what was answered is here by the time a later packet has come through.
    let client = bind(lab.host(Side::A), 5555);
    client.send_to(b"last", to(lab.side(Side::B).public_ip(), 7000)).expect("sent");
    assert!(receive(&peer).is_some());
    errors.set_nonblocking(true).expect("settable");
    let count = std::iter::from_fn(|| errors.recv_from(&mut [0; 64]).ok()).count();
    let longest = 6 + usize::try_from(begun.elapsed().as_secs()).expect("few");
    assert!((6..=longest).contains(&count), "{count} errors for 20 packets");
}

fn preset(name: &str) -> NatSpec {
    NatSpec::preset(name).expect("a preset")
}

fn build(a: NatSpec, b: NatSpec) -> Lab {
    Lab::build(LabSpec::new(a, b)).expect("the lab is built")
}

fn bind(host: &Host, port: u16) -> UdpSocket {
    let socket = host.enter(|| UdpSocket::bind(to(Ipv4Addr::UNSPECIFIED, port))).expect("entered");
    let socket = socket.expect("the port is free");
    socket.set_read_timeout(Some(PATIENCE)).expect("settable");
    socket
}

/// Opens a socket that gets all ICMP of a host.
fn raw_icmp(host: &Host) -> UdpSocket {
    let open = || rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(rustix::net::ipproto::ICMP));
    UdpSocket::from(host.enter(open).expect("entered").expect("root may open raw sockets"))
}

fn to(ip: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ip, port)
}

/// Returns the sender of the next datagram, or nothing when none comes in time.
fn receive(socket: &UdpSocket) -> Option<SocketAddrV4> {
    match socket.recv_from(&mut [0; 64]) {
        Ok((_, SocketAddr::V4(sender))) => Some(sender),
        // A read with a timeout is not resumed by the kernel when something stops the process for a while.
        Err(error) if error.kind() == ErrorKind::Interrupted => receive(socket),
        Ok((_, SocketAddr::V6(_))) | Err(_) => None,
    }
}

fn exists(namespace: &str) -> bool {
    std::path::Path::new("/run/netns").join(namespace).exists()
}

fn name_of(child: &Child) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{}/comm", child.id())).ok()
}

/// Starts a program that says `ready` and waits for that.
fn announced(command: &mut Command) -> Child {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("spawned");
    announcement(&mut child, "ready");
    child
}

/// Returns what follows the word on the first line of the child's output that has it.
fn announcement(child: &mut Child, word: &str) -> String {
    let output = BufReader::new(child.stdout.take().expect("stdout was piped"));
    let found = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once(word).map(|(_, rest)| rest.to_owned()));
    found.expect("the child says the word")
}
