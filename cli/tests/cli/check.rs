//! `pinhole check` on loopback: the report of this machine, and two checks that meet.

use std::net::{Ipv4Addr, UdpSocket};

use serde_json::Value;

use crate::{
    loopback::{Loopback, with_key},
    program::{Ended, KEY, Run, pinhole},
};

#[test]
fn alone_it_says_whether_the_udp_port_is_free() {
    let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let port = holder.local_addr().expect("bound").port().to_string();
    let args = ["check", "--port", &port, "--json"];
    let state = |ended: &Ended| {
        let value: Value = serde_json::from_str(&ended.stdout).expect("one object");
        value["own"]["udp_port"]["state"].as_str().map(str::to_owned)
    };
    let taken = Run::start(pinhole(&args)).ends();
    assert_eq!((state(&taken).as_deref(), taken.code), (Some("in_use"), Some(1)));
    drop(holder);
    assert_eq!(state(&Run::start(pinhole(&args)).ends()).as_deref(), Some("free"));
}

#[test]
fn a_person_gets_the_sentence_first_and_no_json() {
    let ended = Run::start(pinhole(&["check", "--port", "5557"])).ends();
    assert!(ended.stdout.ends_with('\n') && !ended.stdout.contains('{'), "{}", ended.stdout);
    assert!(ended.stdout.lines().next().is_some_and(|first| first.ends_with('.')), "{}", ended.stdout);
    assert!(ended.stdout.contains("\nthis machine\n"), "{}", ended.stdout);
}

#[test]
fn two_checks_meet_and_say_the_same_of_each_other() {
    let ends = Loopback::new();
    let [serve, open] = both(&ends, ["serve", "open"], "120").map(|ended| report(&ended, 0));
    assert_eq!(serve["pair"]["nats"]["own"], open["pair"]["nats"]["peer"]);
    assert_eq!(serve["pair"]["nats"]["peer"], open["pair"]["nats"]["own"]);
    assert_eq!(open["pair"]["nats"]["own"]["filtering"], "any_port", "{open}");
    assert_eq!(open["pair"]["nats"]["own"]["ports"], "preserving");
    assert!(open["pair"]["path"]["received_bits_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
}

#[test]
fn two_checks_of_one_role_are_told_what_to_change() {
    let ends = Loopback::new();
    for ended in both(&ends, ["open", "open"], "3") {
        let told = report(&ended, 1);
        assert!(told["sentence"].as_str().is_some_and(|said| said.contains("--as serve")), "{told}");
    }
}

#[test]
fn without_a_key_the_other_side_is_left_alone() {
    let ends = Loopback::new();
    let (own, peer) = (ends.serve_ip.to_string(), ends.open_ip.to_string());
    let ended = Run::start(pinhole(&["check", &peer, "--bind", &own, "--json"])).ends();
    assert!(report(&ended, 0).get("pair").is_none());
    assert!(ended.stderr.contains("pinhole key save"), "{}", ended.stderr);
}

fn both(ends: &Loopback, roles: [&str; 2], wait: &str) -> [Ended; 2] {
    let (first, second) = (ends.serve_ip.to_string(), ends.open_ip.to_string());
    let runs = [(&first, &second, roles[0]), (&second, &first, roles[1])].map(|(own, peer, role)| {
        let args = ["check", peer, "--bind", own, "--as", role, "--transfer", "1", "--wait", wait, "--json"];
        Run::start(with_key(pinhole(&args), KEY))
    });
    runs.map(Run::ends)
}

fn report(ended: &Ended, code: i32) -> Value {
    assert_eq!(ended.code, Some(code), "{}{}", ended.stdout, ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|why| panic!("{why}: {}", ended.stdout))
}
