//! One side starts long before the other.

use std::time::{Duration, Instant};

use natlab::{BoxSpec, LabSpec, NatSpec, Translation, spec::UdpTimers};

use crate::{
    ground::{Ground, between, note},
    page::{WEB_PORT, Web, fetch_page},
    program::Run,
};

/// A mapping that is kept warm must let the later side in at once.
const SOON: Duration = Duration::from_secs(2);

/// The waiting side's slowest probing plus [`SOON`].
const EVENTUALLY: Duration = Duration::from_secs(17);

#[test]
fn an_open_side_that_starts_late_finds_the_waiting_serve_side() {
    let test = "an_open_side_that_starts_late_finds_the_waiting_serve_side";
    let Some(ground) = Ground::or_skip(test, between("home", "home")) else { return };
    let _web = Web::start(&ground);
    let mut serve = Run::start(ground.serve(WEB_PORT));
    serve.says("Still trying");
    let took = found(Run::start(ground.open()), &ground);
    assert!(took < SOON, "{took:?}");
}

#[test]
fn a_serve_side_that_starts_late_finds_the_waiting_open_side() {
    let test = "a_serve_side_that_starts_late_finds_the_waiting_open_side";
    let Some(ground) = Ground::or_skip(test, between("home", "home")) else { return };
    let _web = Web::start(&ground);
    let mut open = Run::start(ground.open());
    open.says("Still trying");
    let took = found(Run::start(ground.serve(WEB_PORT)), &ground);
    assert!(took < SOON, "{took:?}");
}

#[test]
fn a_waiting_side_whose_nat_forgets_within_seconds_is_found_all_the_same() {
    let test = "a_waiting_side_whose_nat_forgets_within_seconds_is_found_all_the_same";
    let forgetful = UdpTimers { unreplied: Duration::from_secs(1), stream: Duration::from_secs(60) };
    let nat = BoxSpec::nat(Translation::LINUX).with_timers(forgetful);
    let sides = ["a", "b"].map(|name| NatSpec::new(name, vec![nat.clone()]));
    let [a, b] = sides;
    let Some(ground) = Ground::or_skip(test, LabSpec::new(a, b)) else { return };
    let _web = Web::start(&ground);
    let mut serve = Run::start(ground.serve(WEB_PORT));
    serve.says("Still trying");
    let took = found(Run::start(ground.open()), &ground);
    assert!(took < EVENTUALLY, "{took:?}");
}

/// Returns the time that the side which starts now takes to have a tunnel through which the page comes.
fn found(mut later: Run, ground: &Ground) -> Duration {
    let begun = Instant::now();
    later.says("tunnel up");
    let took = begun.elapsed();
    fetch_page(ground);
    note(&format!("tunnel up {} ms after the later side's start", took.as_millis()));
    took
}
