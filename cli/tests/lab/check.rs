//! `pinhole check` behind NATs of the kernel: what it says of them, alone, with the other side, and with a STUN server.

use std::{
    net::{SocketAddr, UdpSocket},
    process::Command,
    thread,
    time::Duration,
};

use natlab::{Lab, LabSpec, NatSpec, STRANGER_IPS, Side, UdpTimers};
use pinhole::proto::survey::{Agreement, Seen};
use serde_json::{Value, json};
use stun_types::{
    attribute::{MappedSocketAddr, RawAttribute, XorMappedAddress},
    message::{Message, MessageWriteVec},
    prelude::{MessageWrite, MessageWriteExt},
};

use crate::{
    ground::{Ground, between},
    program::{Ended, KEY, Run, isolate},
};

#[test]
fn both_sides_name_both_nats() {
    // One laboratory is the turn; the pairs mostly wait, and have theirs at the same time.
    let Some(_turn) = Ground::or_skip("both_sides_name_both_nats", between("open", "open")) else { return };
    let pairs =
        [("home", "spoilt"), ("restricted", "carrier"), ("open", "sequential"), ("firewall", "block")];
    thread::scope(|scope| {
        for (a, b) in pairs {
            scope.spawn(move || name_both(a, b));
        }
    });
}

fn name_both(a: &str, b: &str) {
    let lab = Lab::build(between(a, b)).expect("the laboratory is built");
    let runs = [(Side::A, "serve"), (Side::B, "open")].map(|(side, role)| {
        let peer = lab.side(side.other()).public_ip().to_string();
        Run::start(check(&lab, side, &[&peer, "--as", role, "--transfer", "1", "--json"]))
    });
    let [serve, open] = runs.map(|run| report(&run.ends(), 0));
    let seen = |report: &Value, side: &str| -> Seen {
        serde_json::from_value(report["pair"]["nats"][side].clone()).expect("a judgement")
    };
    for (own, peers, name) in [(&serve, &open, a), (&open, &serve, b)] {
        let own = seen(own, "own");
        assert_eq!(own, seen(peers, "peer"), "both say the same of {name}");
        let agreement = own.agreement(NatSpec::preset(name).expect("a preset").access());
        // A block may be met too seldom to be told from chance for certain.
        let least = if name == "block" { Agreement::Partial } else { Agreement::Whole };
        assert!(agreement <= least, "{name} in {a} × {b}: {own:?}");
    }
    assert!(open["pair"]["path"]["sent_bits_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
}

#[test]
fn how_long_each_nat_keeps_a_mapping_is_told_to_both() {
    let test = "how_long_each_nat_keeps_a_mapping_is_told_to_both";
    let forgetful = |seconds| {
        let home = NatSpec::preset("home").expect("a preset");
        let timers = UdpTimers { unreplied: Duration::from_secs(10), stream: Duration::from_secs(seconds) };
        NatSpec::new("forgetful", home.boxes().iter().map(|spec| spec.clone().with_timers(timers)).collect())
    };
    let Some(ground) = Ground::or_skip(test, LabSpec::new(forgetful(21), forgetful(90))) else { return };
    // One side's wish is enough.
    let runs =
        [(Side::A, "serve", &[][..]), (Side::B, "open", &["--lifetime", "30"])].map(|(side, role, wish)| {
            let peer = ground.lab.side(side.other()).public_ip().to_string();
            let args = [&[&peer, "--as", role, "--transfer", "0", "--json"], wish].concat();
            Run::start(check(&ground.lab, side, &args))
        });
    let [serve, open] = runs.map(|run| {
        let ended = run.ends_within(Duration::from_secs(90));
        assert!(ended.stderr.contains("how long both NATs keep an idle mapping: 30 s"), "{}", ended.stderr);
        report(&ended, 0)["pair"]["mapping_lifetime"].take()
    });
    let [short, long] =
        [json!({ "kept_s": 14, "gone_s": 28 }), json!({ "kept_s": 28, "gone_s": Value::Null })];
    assert_eq!((&serve["own"], &serve["peer"]), (&short, &long));
    assert_eq!((&open["own"], &open["peer"]), (&long, &short));
}

#[test]
fn a_carriers_nat_shows_in_the_first_hops_without_the_peer() {
    let test = "a_carriers_nat_shows_in_the_first_hops_without_the_peer";
    let Some(ground) = Ground::or_skip(test, between("carrier", "open")) else { return };
    let peer = ground.lab.side(Side::B).public_ip().to_string();
    let mut command = check(&ground.lab, Side::A, &[&peer, "--json"]);
    command.env_remove("PINHOLE_KEY");
    let own = report(&Run::start(command).ends(), 0)["own"].take();
    assert_eq!(own["standing"], "carrier_nat", "{own}");
    let reaches: Vec<&str> =
        own["hops"].as_array().expect("hops").iter().filter_map(|hop| hop["reach"].as_str()).collect();
    assert_eq!(reaches[..3], ["private", "carrier", "public"]);
}

#[test]
fn two_sides_that_cannot_meet_say_what_would_help() {
    let test = "two_sides_that_cannot_meet_say_what_would_help";
    let Some(ground) = Ground::or_skip(test, between("blocked", "home")) else { return };
    let runs = [(Side::A, "serve"), (Side::B, "open")].map(|(side, role)| {
        let peer = ground.lab.side(side.other()).public_ip().to_string();
        Run::start(check(&ground.lab, side, &[&peer, "--as", role, "--wait", "4", "--json"]))
    });
    let [blocked, home] = runs.map(|run| report(&run.ends(), 1));
    assert_eq!(blocked["cause"], "own_side_blocks", "{blocked}");
    assert_eq!(home["cause"], "silent", "{home}");
}

#[test]
fn a_check_and_a_tunnel_with_one_key_tell_each_other_apart() {
    let test = "a_check_and_a_tunnel_with_one_key_tell_each_other_apart";
    let Some(ground) = Ground::or_skip(test, between("home", "home")) else { return };
    let mut serve = Run::start(ground.serve(9));
    let peer = ground.lab.side(Side::A).public_ip().to_string();
    let told = report(&Run::start(check(&ground.lab, Side::B, &[&peer, "--wait", "3", "--json"])).ends(), 1);
    assert!(told["sentence"].as_str().is_some_and(|said| said.contains("runs a tunnel")), "{told}");
    serve.says("runs `pinhole check`");
    let mut open = Run::start(ground.open());
    open.says("tunnel up");
    // Now it has a tunnel, which a check from the other side's address leaves alone.
    let beside = report(&Run::start(check(&ground.lab, Side::B, &[&peer, "--json"])).ends(), 1);
    assert_eq!(beside["own"]["standing"], "port_taken", "{beside}");
    let ended = open.interrupt();
    assert!(
        !ended.stderr.contains("lost") && !ended.stderr.contains("taken this one's place"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_stun_server_with_two_addresses_tells_mapping_and_filtering_in_full() {
    let test = "a_stun_server_with_two_addresses_tells_mapping_and_filtering_in_full";
    for (name, mapping, filtering) in [
        ("cone", "endpoint-independent", "endpoint-independent"),
        ("restricted", "endpoint-independent", "address-dependent"),
        ("random", "address-and-port-dependent", "address-and-port-dependent"),
    ] {
        let Some(ground) = Ground::or_skip(test, between(name, "open")) else { return };
        serve_stun(&ground);
        let stun = STRANGER_IPS[0].to_string();
        let run = Run::start(check(&ground.lab, Side::A, &["--stun", &stun, "--json"]));
        let seen = report(&run.ends(), 0)["own"]["stun"].take();
        assert_eq!(
            (seen["mapping"].as_str(), seen["filtering"].as_str()),
            (Some(mapping), Some(filtering)),
            "{name}"
        );
    }
}

fn check(lab: &Lab, side: Side, args: &[&str]) -> Command {
    let mut command = lab.host(side).command(env!("CARGO_BIN_EXE_pinhole"));
    isolate(&mut command);
    command.arg("check").args(args).env("PINHOLE_KEY", KEY);
    command
}

fn report(ended: &Ended, code: i32) -> Value {
    assert_eq!(ended.code, Some(code), "{}{}", ended.stdout, ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|why| panic!("{why}: {}", ended.stdout))
}

/// Answers at both addresses of the stranger, each with two ports (RFC 5780), until the laboratory is gone.
fn serve_stun(ground: &Ground) {
    let bind = || {
        let addresses =
            STRANGER_IPS.into_iter().flat_map(|ip| [3478, 3479].map(|port| SocketAddr::from((ip, port))));
        addresses.map(UdpSocket::bind).collect::<Result<Vec<_>, _>>()
    };
    let sockets = ground.lab.stranger().enter(bind).expect("entered").expect("ports");
    for index in 0..sockets.len() {
        let own: Vec<UdpSocket> = sockets.iter().map(|socket| socket.try_clone().expect("a clone")).collect();
        thread::spawn(move || answer(index, &own));
    }
}

fn answer(index: usize, sockets: &[UdpSocket]) {
    let mut buffer = [0; 548];
    sockets[index].set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    while let Ok((length, from)) = sockets[index].recv_from(&mut buffer) {
        let Ok(request) = Message::from_bytes(&buffer[..length]) else { continue };
        let change = request.raw_attribute(0x0003.into()).map_or(0, |flags| flags.value[3]);
        // Bit 2 of the flags is the other IP, bit 1 the other port: they are bits 1 and 0 of the index.
        let by = index ^ usize::from(change >> 1);
        let other = sockets[index ^ 3].local_addr().expect("bound");
        let mut reply = Message::builder_success(&request, MessageWriteVec::new());
        let mapped = XorMappedAddress::new(from, request.transaction_id());
        reply.add_attribute(&mapped).expect("room");
        let other = MappedSocketAddr::new(other);
        let other: RawAttribute<'_> = other.to_raw(0x802c.into());
        reply.add_attribute(&other).expect("room");
        let _gone = sockets[by].send_to(&reply.finish(), from);
    }
}
