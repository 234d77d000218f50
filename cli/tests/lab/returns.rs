//! What ends without a goodbye comes back.

use natlab::Side;
use rustix::process::Signal;

use crate::{
    ground::{Ground, between},
    page::{WEB_PORT, Web, fetch_page},
    program::Run,
};

/// Goodbyes in a row.
const ROUNDS: usize = 40;

#[test]
fn a_serve_side_that_was_killed_comes_back() {
    let test = "a_serve_side_that_was_killed_comes_back";
    let Some(ground) = Ground::or_skip(test, between("home", "carrier")) else { return };
    let _web = Web::start(&ground);
    let (serve, mut open) = ground.connect(WEB_PORT);
    fetch_page(&ground);
    serve.signal(Signal::KILL);
    assert_eq!(serve.ends().code, None);

    let mut serve = Run::start(ground.serve(WEB_PORT));
    serve.says("tunnel up");
    open.says("tunnel up");
    fetch_page(&ground);
}

#[test]
fn an_open_side_that_was_killed_comes_back() {
    let test = "an_open_side_that_was_killed_comes_back";
    let Some(ground) = Ground::or_skip(test, between("home", "carrier")) else { return };
    let _web = Web::start(&ground);
    let (mut serve, open) = ground.connect(WEB_PORT);
    fetch_page(&ground);
    open.signal(Signal::KILL);
    assert_eq!(open.ends().code, None);

    let mut open = Run::start(ground.open());
    open.says("tunnel up");
    serve.says("tunnel up");
    fetch_page(&ground);
}

#[test]
fn a_router_that_forgets_everything_costs_no_new_connection() {
    let test = "a_router_that_forgets_everything_costs_no_new_connection";
    let Some(ground) = Ground::or_skip(test, between("home", "home")) else { return };
    let _web = Web::start(&ground);
    let (_serve, _open) = ground.connect(WEB_PORT);
    fetch_page(&ground);
    for side in Side::BOTH {
        ground.lab.nat(side, 0).flush_conntrack().expect("flushable");
    }
    fetch_page(&ground);
}

#[test]
fn a_side_that_leaves_is_not_connected_to_again() {
    let test = "a_side_that_leaves_is_not_connected_to_again";
    let Some(ground) = Ground::or_skip(test, between("home", "firewall")) else { return };
    let _web = Web::start(&ground);
    let mut serve = Run::start(ground.serve(WEB_PORT));
    for _ in 0..ROUNDS {
        let mut open = Run::start(ground.open());
        open.says("tunnel up");
        serve.says("tunnel up");
        fetch_page(&ground);
        assert_eq!(open.interrupt().code, Some(0));
        serve.says("peer left");
    }
    let ended = serve.interrupt();
    for once_a_round in ["hole punched", "tunnel up", "peer left"] {
        assert_eq!(ended.stderr.matches(once_a_round).count(), ROUNDS, "{once_a_round}: {}", ended.stderr);
    }
}
