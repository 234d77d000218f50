//! NAT × NAT: every preset that keeps ports, as serve side and as open side, with every other one.

use std::time::{Duration, Instant};

use crate::{
    ground::{Ground, between, note},
    page::{PAGE, Web, fetch},
    program::Run,
};

/// From the later side's start to the first byte; a fast machine takes a fifth of it.
const SOON: Duration = Duration::from_secs(2);

const PRESETS: [&str; 5] = ["open", "firewall", "home", "cone", "carrier"];

#[test]
fn a_serve_side_that_is_open_is_reached_from_behind_every_nat() {
    a_page_comes_through("a_serve_side_that_is_open_is_reached_from_behind_every_nat", "open");
}

#[test]
fn a_serve_side_behind_a_firewall_is_reached_from_behind_every_nat() {
    a_page_comes_through("a_serve_side_behind_a_firewall_is_reached_from_behind_every_nat", "firewall");
}

#[test]
fn a_serve_side_at_home_is_reached_from_behind_every_nat() {
    a_page_comes_through("a_serve_side_at_home_is_reached_from_behind_every_nat", "home");
}

#[test]
fn a_serve_side_behind_a_full_cone_is_reached_from_behind_every_nat() {
    a_page_comes_through("a_serve_side_behind_a_full_cone_is_reached_from_behind_every_nat", "cone");
}

#[test]
fn a_serve_side_behind_a_carriers_nat_is_reached_from_behind_every_nat() {
    a_page_comes_through("a_serve_side_behind_a_carriers_nat_is_reached_from_behind_every_nat", "carrier");
}

fn a_page_comes_through(test: &str, serve_nat: &str) {
    for open_nat in PRESETS {
        let Some(ground) = Ground::or_skip(test, between(serve_nat, open_nat)) else { return };
        let web = Web::start(&ground);
        let open_later = open_last(&ground);
        let serve_later = serve_last(&ground);
        drop(web);
        note(&format!(
            "{serve_nat} / {open_nat}: first byte {} ms after the open side's start, {} ms after the serve side's",
            open_later.as_millis(),
            serve_later.as_millis()
        ));
        assert!(open_later < SOON && serve_later < SOON, "{serve_nat} / {open_nat}");
    }
}

/// Returns the time from the open side's start to the first byte, the serve side having waited.
fn open_last(ground: &Ground) -> Duration {
    let mut serve = Run::start(ground.serve(crate::page::WEB_PORT));
    serve.says("waiting for the peer");
    let begun = Instant::now();
    let mut open = Run::start(ground.open());
    open.says("listening on");
    let local_port_after = begun.elapsed();
    let fetched = fetch(ground);
    assert_eq!(fetched.page, PAGE, "{}", fetched.error);
    end_well(serve, open);
    local_port_after + fetched.first_byte
}

/// Returns the time from the serve side's start to the first byte, the open side and a browser having waited.
fn serve_last(ground: &Ground) -> Duration {
    let mut open = Run::start(ground.open());
    open.says("waiting for the peer");
    let begun = Instant::now();
    let serve = Run::start(ground.serve(crate::page::WEB_PORT));
    let browser_started = begun.elapsed();
    let fetched = fetch(ground);
    assert_eq!(fetched.page, PAGE, "{}", fetched.error);
    end_well(serve, open);
    browser_started + fetched.first_byte
}

fn end_well(mut serve: Run, mut open: Run) {
    for run in [&mut serve, &mut open] {
        run.says("hole punched");
        run.says("tunnel up");
    }
    for ended in [open.interrupt(), serve.interrupt()] {
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    }
}
