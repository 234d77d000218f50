//! Runs of the program on both sides: recordings of former ones, wrong clocks, restarts, rivals.

use super::*;

#[test]
fn a_recording_gets_no_answer() {
    let mut wire = Wire::new(5 * MS);
    wire.start_both();
    wire.run_until_connected();
    let recorded: Vec<_> = wire.recorded.clone();
    let before = wire.sent;
    for (_, payload) in recorded.iter().filter(|(from, _)| *from == OPEN) {
        wire.inject(SERVE, address("192.0.2.66:9999"), payload);
        wire.inject(SERVE, OPEN_ADDRESS, payload);
    }
    assert_eq!(wire.sent, before);
    assert!(wire.sides[SERVE].dropped().replayed > 0);
}

#[test]
fn a_recording_that_never_arrived_gets_no_more_back_than_it_is_worth() {
    let mut wire = Wire::new(5 * MS);
    wire.lose = Some((1, 100));
    wire.start(OPEN);
    let (_, before_our_start) = wire.recorded[0].clone();
    wire.run_for(Duration::from_millis(20));
    wire.start(SERVE);
    let sent = wire.sent[SERVE];
    wire.inject(SERVE, address("192.0.2.66:9999"), &before_our_start);
    assert_eq!(wire.sent[SERVE], sent, "it was sealed before anybody could have answered");
    wire.run_for(Duration::from_millis(60));
    let (_, fresh) = wire.recorded.iter().rfind(|(from, _)| *from == OPEN).expect("a probe").clone();
    let sent = wire.sent_to("192.0.2.66:9999");
    wire.inject(SERVE, address("192.0.2.66:9999"), &fresh);
    wire.run_for(Duration::from_secs(30));
    assert_eq!(wire.sent_to("192.0.2.66:9999") - sent, 2, "one ack and one test");
}

#[test]
fn a_recording_of_an_earlier_run_neither_gets_an_answer_nor_ends_the_tunnel() {
    let mut first = Wire::new(5 * MS);
    first.start_both();
    first.run_until_connected();
    let mut second = Wire::with_seeds(5 * MS, [3, 4]);
    second.now = first.now.after(Duration::from_secs(60));
    second.start_both();
    second.run_until_connected();
    let before = second.sent;
    for (_, payload) in first.recorded.iter().filter(|(from, _)| *from == OPEN) {
        second.inject(SERVE, address("192.0.2.66:9999"), payload);
    }
    assert_eq!(second.sent, before, "a stranger's recording is answered");
    for (_, payload) in first.recorded.iter().filter(|(from, _)| *from == OPEN) {
        second.inject(SERVE, OPEN_ADDRESS, payload);
    }
    second.run_for(Duration::from_secs(60));
    assert!(second.sides[SERVE].connected_pair().is_some(), "a recording ends the tunnel");
}

#[test]
fn a_wrong_clock_keeps_nobody_apart_and_is_told() {
    let mut wire = Wire::new(5 * MS);
    wire.skew[OPEN] = Duration::from_secs(7200);
    wire.start_both();
    wire.run_until_connected();
    assert!(wire.troubles(SERVE).any(
        |t| matches!(t, Trouble::Clock { apart } if apart.as_secs() == 7200 || apart.as_secs() == 7199)
    ));
}

#[test]
fn a_peer_whose_clock_is_some_seconds_behind_ours_is_heard_from_any_port_from_our_start_on() {
    let mut wire = Wire::new(5 * MS);
    wire.translate = Some((OPEN_ADDRESS, address("203.0.113.9:61234")));
    wire.skew[SERVE] = Duration::from_secs(5);
    wire.start_both();
    wire.run_until_connected();
    assert!(wire.elapsed() < Duration::from_secs(1), "{:?}", wire.elapsed());
}

#[test]
fn probes_that_waited_in_a_buffer_say_nothing_about_clocks() {
    let mut wire = Wire::new(5 * MS);
    wire.start(OPEN);
    wire.start(SERVE);
    wire.lose = Some((1, 100));
    wire.run_for(Duration::from_secs(1));
    let held = wire.recorded.clone();
    wire.now = wire.now.after(Duration::from_secs(20));
    for (_, payload) in held.iter().filter(|(from, _)| *from == OPEN) {
        wire.inject(SERVE, OPEN_ADDRESS, payload);
    }
    wire.lose = None;
    wire.run_until_connected();
    assert!(!wire.troubles(SERVE).any(|t| matches!(t, Trouble::Clock { .. })));
}

#[test]
fn a_new_run_of_the_peer_takes_the_place_of_the_former() {
    let mut wire = Wire::new(5 * MS);
    wire.start_both();
    wire.run_until_connected();
    wire.sides[OPEN] = puncher(Role::Open, "key", 9);
    wire.events = Default::default();
    wire.start(OPEN);
    wire.run_until_connected();
    assert!(wire.events[SERVE].contains(&Event::PeerRestarted));
}

#[test]
fn a_goodbye_is_heard_and_the_other_side_waits_for_the_return() {
    let mut wire = Wire::new(5 * MS);
    wire.start_both();
    wire.run_until_connected();
    wire.command(OPEN, Puncher::leave);
    wire.run_for(Duration::from_secs(1));
    assert_eq!(wire.events[SERVE].iter().filter(|e| **e == Event::PeerLeft).count(), 1);
    wire.sides[OPEN] = puncher(Role::Open, "key", 9);
    wire.events = Default::default();
    wire.start(OPEN);
    wire.run_until_connected();
}

#[test]
fn a_run_that_was_displaced_is_heard_again_when_the_newer_one_has_left() {
    let mut wire = Wire::new(5 * MS);
    wire.start_both();
    wire.run_until_connected();
    let newer = puncher(Role::Open, "key", 9);
    let older = std::mem::replace(&mut wire.sides[OPEN], newer);
    wire.start(OPEN);
    wire.events = Default::default();
    wire.run_until_connected();
    wire.command(OPEN, Puncher::leave);
    wire.run_for(Duration::from_secs(1));
    wire.sides[OPEN] = older;
    wire.events = Default::default();
    wire.command(OPEN, Puncher::search);
    wire.run_until_connected();
}

#[test]
fn a_run_that_began_while_the_path_was_lost_is_told_before_the_path_is_back() {
    for side in [SERVE, OPEN] {
        let other = 1 - side;
        let mut wire = Wire::new(5 * MS);
        wire.start_both();
        wire.run_until_connected();
        wire.block = Some(other);
        wire.run_for(Duration::from_secs(120));
        assert!(wire.events[side].iter().any(|e| matches!(e, Event::PathLost(_))), "{:?}", wire.events[side]);
        wire.sides[other] = puncher([Role::Serve, Role::Open][other], "key", 9);
        wire.events = Default::default();
        wire.block = None;
        wire.start(other);
        wire.run_until_connected();
        let told = |wanted: fn(&Event) -> bool| wire.events[side].iter().position(wanted);
        let restarted = told(|e| *e == Event::PeerRestarted).expect("told");
        assert!(told(|e| matches!(e, Event::Connected(_))).is_some_and(|connected| restarted < connected));
    }
}

#[test]
fn an_answer_that_was_read_after_a_sleep_proves_nothing() {
    let mut wire = Wire::new(5 * MS);
    wire.start_both();
    wire.run_for(6 * MS);
    // Both have asked and answered, and sleep.
    wire.now = wire.now.after(Duration::from_secs(60));
    wire.run_until_connected();
    for side in [SERVE, OPEN] {
        assert!(wire.connected(side).rtt < checks::LATE, "{:?}", wire.connected(side));
    }
}

#[test]
fn a_side_whose_new_peer_falls_silent_before_the_nomination_goes_on_searching() {
    let mut wire = Wire::new(5 * MS);
    wire.start_both();
    wire.run_until_connected();
    wire.run_for(Duration::from_secs(30));
    wire.sides[OPEN] = puncher(Role::Open, "key", 9);
    wire.events = Default::default();
    wire.start(OPEN);
    while !wire.events[SERVE].contains(&Event::PeerRestarted) {
        let until = wire.now.instant + Duration::from_secs(5);
        assert!(wire.step(until), "the restart goes unnoticed");
    }
    wire.block = Some(OPEN);
    let before = wire.sent[SERVE];
    wire.run_for(Duration::from_secs(60));
    assert!(wire.sent[SERVE] > before + 30, "silent after {} probes", wire.sent[SERVE] - before);
}

#[test]
fn a_clock_that_is_set_back_after_the_start_does_not_make_fresh_probes_old() {
    let mut wire = Wire::new(5 * MS);
    wire.translate = Some((OPEN_ADDRESS, address("192.0.2.7:5555")));
    wire.skew[SERVE] = Duration::from_secs(3 * 3600);
    wire.start(SERVE);
    wire.skew[SERVE] = Duration::ZERO;
    wire.start(OPEN);
    wire.run_until_connected();
}

/// The peer reaches this side from an IP that the user has not named: it has another one since. Then somebody sets a clock.
#[test]
fn a_clock_that_is_set_does_not_end_a_path_to_a_peer_that_has_another_address_than_the_user_named() {
    for (side, ahead) in [(SERVE, 60), (SERVE, 7200), (OPEN, 60), (OPEN, 7200)] {
        let mut wire = Wire::new(20 * MS);
        wire.translate = Some((OPEN_ADDRESS, address("203.0.113.77:5555")));
        wire.start_both();
        wire.run_until_connected();
        wire.run_for(Duration::from_secs(100));
        wire.events = Default::default();
        wire.skew[side] = Duration::from_secs(ahead);
        wire.run_for(Duration::from_secs(3600));
        let is_lost = |event: &Event| matches!(event, Event::PathLost(_) | Event::PeerSearching);
        assert!(!wire.events.iter().flatten().any(is_lost), "{side}, {ahead} s: {:?}", wire.events);
    }
}

#[test]
fn a_run_that_was_displaced_is_told_so_at_the_peer_s_address_alone_and_no_recording_is() {
    let mut wire = Wire::new(5 * MS);
    wire.start_both();
    wire.run_until_connected();
    let older = std::mem::replace(&mut wire.sides[OPEN], puncher(Role::Open, "key", 9));
    let recorded = wire.recorded.clone();
    wire.start(OPEN);
    wire.run_for(Duration::from_secs(5));
    let before = wire.sent[SERVE];
    for (_, payload) in recorded.iter().filter(|(from, _)| *from == OPEN) {
        wire.inject(SERVE, address("192.0.2.66:9999"), payload);
        wire.inject(SERVE, OPEN_ADDRESS, payload);
    }
    assert_eq!(wire.sent[SERVE], before, "what it has said before is answered");
    wire.sides[OPEN] = older;
    wire.block = Some(OPEN);
    wire.command(OPEN, Puncher::search);
    let probe = wire.last_probe_of(OPEN);
    let before = wire.sent[SERVE];
    wire.inject(SERVE, address("192.0.2.66:9999"), &probe);
    assert_eq!(wire.sent[SERVE], before, "a stranger gets an answer");
    for _ in 0..2 {
        wire.inject(SERVE, OPEN_ADDRESS, &probe);
        assert_eq!(wire.sent[SERVE], before + 1);
    }
}

#[test]
fn of_two_runs_on_one_side_the_newer_wins_and_the_older_is_told_and_waits() {
    let mut wire = Wire::new(5 * MS);
    wire.start_both();
    wire.run_until_connected();
    let older = std::mem::replace(&mut wire.sides[OPEN], puncher(Role::Open, "key", 9));
    wire.start(OPEN);
    wire.run_for(Duration::from_secs(5));
    assert!(wire.events[SERVE].contains(&Event::PeerRestarted));
    wire.sides[OPEN] = older;
    wire.events = Default::default();
    wire.command(OPEN, Puncher::search);
    wire.run_for(Duration::from_millis(500));
    assert!(wire.events[SERVE].is_empty(), "{:?}", wire.events[SERVE]);
    assert_eq!(wire.events[OPEN].iter().filter(|e| **e == Event::Displaced).count(), 1);
    wire.events = Default::default();
    wire.run_until_connected(); // the newer one does not answer any more
    assert!(wire.elapsed() < Duration::from_secs(60), "{:?}", wire.elapsed());
    assert!(wire.sent[OPEN] <= 250, "{} probes", wire.sent[OPEN]);
}
