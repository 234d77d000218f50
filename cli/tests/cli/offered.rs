//! What the serve side offers is told to the open side as soon as the tunnel stands.

use serde_json::Value;

use crate::{
    loopback::{Loopback, start_echo, with_key},
    program::{KEY, Run, pinhole},
};

/// Starts a serve side that offers these.
fn serve(ends: &Loopback, specs: &[&str]) -> Run {
    let (own, peer) = (ends.serve_ip.to_string(), ends.open_ip.to_string());
    let args = [&["serve"], specs, &["--peer", &peer, "--bind", &own]].concat();
    Run::start(with_key(pinhole(&args), KEY))
}

/// Starts an open side with these local ports.
fn open(ends: &Loopback, specs: &[&str]) -> Run {
    let (own, peer) = (ends.open_ip.to_string(), ends.serve_ip.to_string());
    let args = [&["open", "--json"], specs, &["--peer", &peer, "--bind", &own]].concat();
    Run::start(with_key(pinhole(&args), KEY))
}

#[test]
fn each_local_port_is_told_which_service_it_reaches() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let _serve = serve(&ends, &[&format!("ssh={}", ends.service()), "web=8080"]);
    let ip = ends.open_ip;
    let mut open = open(&ends, &[&format!("{}:ssh", ends.local()), &format!("{ip}:8080:web")]);
    open.says("tunnel up");
    open.says("reaches the peer's service ");
    open.says("reaches the peer's service ");
    let line = open.prints("\"peer_services\"");
    let told: Value = serde_json::from_str(&line).expect("an object");
    assert_eq!((&told["services"], &told["complete"]), (&serde_json::json!(["ssh", "web"]), &true.into()));
    assert_eq!(ends.ask("named"), "named");
}

#[test]
fn a_port_for_any_service_is_told_which_one_it_is() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let _serve = serve(&ends, &[&format!("ssh={}", ends.service())]);
    let mut open = open(&ends, &[&ends.local().to_string()]);
    assert!(open.says("reaches the peer's service").ends_with(" ssh"));
    assert_eq!(ends.ask("any"), "any");
}

#[test]
fn a_port_for_what_nobody_offers_is_told_so_at_once_with_what_is_offered() {
    let ends = Loopback::new();
    let _serve = serve(&ends, &["22", "web=8080"]);
    let mut open = open(&ends, &[&format!("{}:9999", ends.open_ip)]);
    open.says("tunnel up");
    let said = open.says("reaches nothing");
    for word in ["the peer offers 22, web and no 9999", "`pinhole open 9999:22 --peer PEER`"] {
        assert!(said.contains(word), "{said}");
    }
    open.prints("\"service_missing\"");
}
