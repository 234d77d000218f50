mod gone;
mod hostile;
mod lone;
mod turns;
mod vectors;
mod wire;

use std::net::SocketAddr;

use self::{lone::Lone, wire::*};
use super::*;
use crate::{nat::NotPublic, probe::PROBE_BYTES};

const MS: Duration = Duration::from_millis(1);

#[test]
fn two_sides_that_start_together_connect_in_a_few_round_trips() {
    let mut wire = Wire::new(20 * MS);
    wire.start_both();
    wire.run_until_connected();
    assert!(wire.elapsed() <= 110 * MS, "{:?}", wire.elapsed());
    assert_eq!(wire.connected(SERVE).pair.remote, OPEN_ADDRESS);
    assert_eq!(wire.connected(OPEN).rtt, 40 * MS);
    assert_eq!(wire.connected(OPEN).observed, Some(OPEN_ADDRESS));
}

#[test]
fn a_late_side_finds_one_that_has_waited_for_an_hour() {
    let mut wire = Wire::new(20 * MS);
    wire.start(SERVE);
    wire.run_for(Duration::from_secs(3600));
    let before = wire.elapsed();
    wire.start(OPEN);
    wire.run_until_connected();
    assert!(wire.elapsed() - before <= 250 * MS, "{:?}", wire.elapsed() - before);
    assert!(wire.connected(SERVE).took <= 250 * MS);
}

#[test]
fn waiting_is_quiet_but_keeps_the_own_mapping_alive() {
    let mut wire = Wire::new(20 * MS);
    wire.start(SERVE);
    wire.run_for(Duration::from_secs(600));
    let before = wire.sent[SERVE];
    wire.run_for(Duration::from_secs(3600));
    assert_eq!(wire.sent[SERVE] - before, 360);
}

#[test]
fn the_answer_goes_to_where_the_probe_came_from() {
    let mut wire = Wire::new(5 * MS);
    wire.translate = Some((OPEN_ADDRESS, address("203.0.113.9:61234")));
    wire.start_both();
    wire.run_until_connected();
    assert_eq!(wire.connected(SERVE).pair.remote, address("203.0.113.9:61234"));
    assert_eq!(wire.connected(OPEN).observed, Some(address("203.0.113.9:61234")));
}

#[test]
fn heavy_loss_delays_the_connection_but_does_not_prevent_it() {
    for seed in 0..200 {
        let mut wire = Wire::new(30 * MS);
        wire.lose = Some((seed, 50));
        wire.start_both();
        wire.run_until_connected();
        assert!(wire.elapsed() < Duration::from_secs(20), "seed {seed}: {:?}", wire.elapsed());
    }
}

#[test]
fn probes_that_a_router_held_back_do_not_slow_down_the_nomination() {
    let mut wire = Wire::new(Duration::from_secs(3));
    wire.block = Some(SERVE);
    wire.start_both();
    wire.run_for(2990 * MS);
    (wire.block, wire.delay) = (None, 20 * MS);
    wire.run_until_connected();
    assert!(wire.elapsed() <= 3400 * MS, "{:?}", wire.elapsed());
}

#[test]
fn a_choice_that_was_taken_in_words_that_got_lost_is_confirmed_whenever_they_get_through() {
    let mut wire = Wire::new(20 * MS);
    wire.start_both();
    let until = wire.now.instant + Duration::from_secs(5);
    while !wire.events[SERVE].iter().any(|e| matches!(e, Event::Connected(_))) {
        assert!(wire.step(until), "not connected: {:?}", wire.events);
    }
    wire.under_way.retain(|_, (receiver, ..)| *receiver == SERVE);
    wire.block = Some(SERVE);
    wire.run_for(Duration::from_secs(15));
    assert!(!wire.events[OPEN].iter().any(|e| matches!(e, Event::Connected(_))));
    wire.block = None;
    wire.run_for(Duration::from_secs(5));
    assert!(wire.events[OPEN].iter().any(|e| matches!(e, Event::Connected(_))), "{:?}", wire.events);
}

#[test]
fn one_direction_alone_never_counts_as_connected() {
    let mut wire = Wire::new(5 * MS);
    wire.block = Some(SERVE);
    wire.start_both();
    wire.run_for(Duration::from_secs(30));
    assert!(wire.events[SERVE].iter().any(|e| matches!(e, Event::Heard { .. })));
    assert!(!wire.events.iter().flatten().any(|e| matches!(e, Event::Connected(_))));
}

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
fn a_peer_that_lost_its_tunnel_is_joined_in_the_search() {
    for side in [SERVE, OPEN] {
        let mut wire = Wire::new(5 * MS);
        wire.start_both();
        wire.run_until_connected();
        wire.run_for(Duration::from_secs(100));
        wire.events = Default::default();
        wire.command(side, Puncher::search);
        wire.run_until_connected();
        assert!(wire.events[1 - side].contains(&Event::PeerSearching));
    }
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

#[test]
fn another_key_gets_no_answer_and_is_named() {
    let mut wire = Wire::new(5 * MS);
    wire.sides[OPEN] = puncher(Role::Open, "another key", 2);
    wire.start_both();
    wire.run_for(Duration::from_secs(30));
    assert!(!wire.recorded.is_empty());
    for side in [SERVE, OPEN] {
        assert_eq!(wire.troubles(side).filter(|t| matches!(t, Trouble::WrongKey { .. })).count(), 1);
        let is_silence_told = wire.troubles(side).any(|t| matches!(t, Trouble::NoPath(_)));
        assert!(is_silence_told, "what does not open may be forged, and hides no other reason");
        assert!(wire.sides[side].dropped().unopened > 0);
    }
}

#[test]
fn the_other_verb_is_believed_while_it_is_fresh_and_hides_no_other_reason() {
    let mut wire = Wire::new(5 * MS);
    let seal = puncher(Role::Open, "check", 2).seal;
    wire.sides[SERVE].sibling = Some(Sibling { seal, checks: true });
    let tunnel = std::mem::replace(&mut wire.sides[OPEN], puncher(Role::Open, "check", 2));
    wire.lose = Some((1, 100));
    wire.start(OPEN);
    wire.command(OPEN, Puncher::leave);
    let recorded = wire.recorded[0].1.clone();
    wire.run_for(FRESH + MS);
    wire.start(SERVE);
    let told = |wire: &Wire| wire.troubles(SERVE).filter(|t| matches!(t, Trouble::OtherVerb { .. })).count();
    for _ in 0..5 {
        wire.inject(SERVE, OPEN_ADDRESS, &recorded);
    }
    assert_eq!(wire.troubles(SERVE).count(), 0, "a recording is believed");

    wire.sides[OPEN] = puncher(Role::Open, "check", 3);
    wire.lose = None;
    wire.start(OPEN);
    wire.run_for(SILENCE + MS);
    assert_eq!(told(&wire), 1);
    assert!(wire.troubles(SERVE).any(|t| matches!(t, Trouble::NoPath(_))));
    let foreign = wire.last_probe_of(OPEN);
    wire.sides[OPEN] = tunnel;
    wire.start(OPEN);
    wire.run_for(12 * MS);
    wire.inject(SERVE, OPEN_ADDRESS, &foreign);
    wire.run_until_connected();
    assert_eq!(told(&wire), 1);
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
fn the_old_script_is_named_once_and_hides_no_other_reason() {
    let mut wire = Wire::new(5 * MS);
    wire.start(SERVE);
    let told = |wire: &Wire| wire.troubles(SERVE).filter(|t| matches!(t, Trouble::OldScript { .. })).count();
    wire.inject(SERVE, address("192.0.2.66:5555"), b"HELOCLNT");
    wire.inject(SERVE, OPEN_ADDRESS, b"HELOCLNT longer than the script's");
    assert_eq!(told(&wire), 0);
    for _ in 0..3 {
        wire.inject(SERVE, OPEN_ADDRESS, b"HELOCLNT");
    }
    assert_eq!(told(&wire), 1);
    wire.run_for(SILENCE + MS);
    assert!(wire.troubles(SERVE).any(|t| matches!(t, Trouble::NoPath(_))));
    wire.start(OPEN);
    wire.run_until_connected();
    wire.inject(SERVE, OPEN_ADDRESS, b"HELOCLNT");
    assert_eq!(told(&wire), 1);
}

#[test]
fn both_sides_in_one_role_are_told() {
    let mut wire = Wire::new(5 * MS);
    wire.sides[OPEN] = puncher(Role::Serve, "key", 2);
    wire.start_both();
    wire.run_for(Duration::from_secs(1));
    assert!(wire.troubles(SERVE).any(|t| t == Trouble::SameRole { role: Role::Serve }));

    let mut later = Wire::with_seeds(5 * MS, [5, 6]);
    later.now = wire.now.after(Duration::from_secs(60));
    later.start(SERVE);
    for (_, payload) in &wire.recorded {
        later.inject(SERVE, OPEN_ADDRESS, payload);
    }
    assert_eq!(later.troubles(SERVE).count(), 0, "a recording is believed");
}

#[test]
fn our_own_probes_coming_back_are_told() {
    let mut wire = Wire::new(5 * MS);
    wire.start(SERVE);
    let (_, payload) = wire.recorded[0].clone();
    wire.inject(SERVE, OPEN_ADDRESS, &payload);
    assert!(wire.troubles(SERVE).any(|t| t == Trouble::OwnEcho { from: OPEN_ADDRESS }));
}

#[test]
fn silence_is_told_and_told_once_more_when_every_method_has_failed() {
    let mut wire = Wire::new(5 * MS);
    wire.start(OPEN);
    let told = |wire: &Wire| {
        let causes = wire.troubles(OPEN).map(|trouble| {
            if let Trouble::NoPath(found) = trouble { found.diagnosis() } else { panic!("{trouble:?}") }
        });
        causes.collect::<Vec<_>>()
    };
    wire.run_for(SILENCE - MS);
    assert_eq!(told(&wire), []);
    wire.run_for(2 * MS);
    assert_eq!(told(&wire), [Diagnosis::Silent]);
    wire.run_for(Duration::from_secs(3600));
    assert_eq!(told(&wire), [Diagnosis::Silent, Diagnosis::Unmet]);
}

#[test]
fn a_peer_at_an_address_that_leads_nowhere_is_told_at_once_and_once() {
    let mut wire = Wire::new(5 * MS);
    let ip = OPEN_ADDRESS.ip();
    wire.sides[SERVE].set_not_public(Some((ip, NotPublic::Private)));
    wire.start(SERVE);
    let told = |wire: &Wire| {
        let found = |trouble| {
            if let Trouble::NoPath(found) = trouble { found.diagnosis() } else { panic!("{trouble:?}") }
        };
        wire.troubles(SERVE).map(found).collect::<Vec<_>>()
    };
    let expected = [Diagnosis::NotPublic { ip, why: NotPublic::Private }];
    assert_eq!(told(&wire), expected);
    wire.run_for(Duration::from_secs(600));
    assert_eq!(told(&wire), expected);
    wire.start(OPEN);
    wire.run_until_connected();
}

#[test]
fn where_the_own_address_has_changed_that_is_the_reason_that_is_told() {
    let mut wire = Wire::new(5 * MS);
    wire.start_both();
    wire.sides[OPEN].set_local(Some(OPEN_ADDRESS.ip()), wire.now);
    wire.run_until_connected();
    wire.run_for(Duration::from_secs(3));
    wire.events = Default::default();
    wire.block = Some(SERVE);
    wire.sides[OPEN].set_local(address("192.0.2.7:0").ip().into(), wire.now);
    wire.run_for(SILENCE + MS);
    let reason = wire.troubles(OPEN).next();
    let is_moved = matches!(reason, Some(Trouble::NoPath(found)) if found.diagnosis() == Diagnosis::Moved);
    assert!(is_moved, "{reason:?}");
    wire.block = None;
    wire.run_until_connected();
    wire.block = Some(SERVE);
    wire.run_for(Duration::from_secs(60));
    let last = wire.troubles(OPEN).last();
    assert!(matches!(last, Some(Trouble::NoPath(found)) if !found.own_changed), "{last:?}");
}

#[test]
fn a_search_that_runs_into_a_new_window_has_tried_no_less() {
    let mut wire = Wire::new(5 * MS);
    wire.now = wire.now.after(Duration::from_secs(340));
    wire.start(OPEN);
    wire.run_for(Duration::from_secs(34));
    let last = wire.troubles(OPEN).last();
    let is_unmet = matches!(last, Some(Trouble::NoPath(found)) if found.diagnosis() == Diagnosis::Unmet);
    assert!(is_unmet, "{last:?}");
}

#[test]
fn a_path_at_rest_costs_one_exchange_a_minute() {
    let mut wire = Wire::new(5 * MS);
    wire.start_both();
    wire.run_until_connected();
    wire.run_for(Duration::from_secs(86_400));
    let before = wire.sent;
    wire.run_for(Duration::from_secs(3600));
    let hour = [wire.sent[0] - before[0], wire.sent[1] - before[1]];
    assert!(hour.iter().all(|packets| (58..=64).contains(packets)), "{hour:?}");
    assert!(!wire.events.iter().flatten().any(|e| matches!(e, Event::PathLost(_))));
}

#[test]
fn two_years_at_rest_change_nothing() {
    let mut wire = Wire::new(5 * MS);
    wire.start_both();
    wire.run_until_connected();
    wire.events = Default::default();
    for month in 0..24 {
        let before = wire.sent;
        wire.run_for(Duration::from_secs(30 * 86_400));
        wire.recorded.clear();
        let sent = wire.sent[0] - before[0];
        assert!((43_000..=44_500).contains(&sent), "month {month}: {sent} packets");
    }
    assert_eq!(wire.events, [[], []]);
    assert!(wire.sides.iter().all(|side| side.connected_pair().is_some()));
}

#[test]
fn a_path_that_dies_is_given_up_by_both_sides_and_found_again() {
    let mut wire = Wire::new(20 * MS);
    wire.start_both();
    wire.run_until_connected();
    wire.run_for(Duration::from_secs(3));
    wire.events = Default::default();
    wire.lose = Some((1, 100));
    wire.run_for(Duration::from_secs(90));
    for side in [SERVE, OPEN] {
        assert!(
            matches!(wire.events[side][..], [Event::PathLost(Loss::Silent(_)), ..]),
            "{:?}",
            wire.events[side]
        );
    }
    wire.lose = None;
    let back = wire.elapsed();
    wire.run_until_connected();
    assert!(wire.elapsed() - back <= Duration::from_secs(2), "{:?}", wire.elapsed() - back);
}

#[test]
fn a_nearer_path_takes_the_place_of_the_one_in_use_without_a_search() {
    let mut wire = Wire::new(40 * MS);
    wire.start_both();
    wire.run_until_connected();
    wire.second = Some(4 * MS);
    let now = wire.now;
    wire.sides[OPEN].set_peer(&[SERVE_ADDRESS, SECOND_ADDRESSES[SERVE]], now);
    wire.events = Default::default();
    wire.run_for(Duration::from_secs(700));
    for side in [SERVE, OPEN] {
        assert!(matches!(wire.events[side][..], [Event::Connected(_)]), "{:?}", wire.events[side]);
        assert_eq!(wire.connected(side).pair.remote, SECOND_ADDRESSES[1 - side]);
    }
}

#[test]
fn a_main_socket_that_a_sweep_has_met_is_one_of_a_fan_for_as_long_as_a_tunnel_waits() {
    let mut wire = Wire::new(20 * MS);
    wire.translate = Some((OPEN_ADDRESS, address("203.0.113.9:61234")));
    wire.start_both();
    wire.run_until_connected();
    wire.lose = Some((1, 100));
    wire.run_for(Duration::from_secs(120));
    let before = wire.tries;
    wire.run_for(Duration::from_secs(60));
    let tries = [OPEN, SERVE].map(|side| wire.tries[side] - before[side]);
    assert!(tries[0] > 3000 && tries[1] < 300, "{tries:?}");
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

#[test]
fn a_path_that_died_at_rest_teaches_both_sides() {
    let mut wire = Wire::new(20 * MS);
    wire.start_both();
    wire.run_until_connected();
    wire.run_for(Duration::from_secs(2 * 3600));
    let intervals = |wire: &Wire| wire.sides.each_ref().map(Puncher::keepalive);
    let rested = intervals(&wire);
    assert!(rested.iter().all(|interval| *interval > path::keepalive::START), "{rested:?}");
    wire.lose = Some((1, 100));
    while !wire.events[OPEN].iter().any(|e| matches!(e, Event::PathLost(_))) {
        let until = wire.now.instant + Duration::from_secs(100);
        assert!(wire.step(until), "the open side asks first");
    }
    wire.lose = None;
    wire.run_for(Duration::from_secs(2));
    assert!(wire.events[SERVE].contains(&Event::PeerSearching), "{:?}", wire.events[SERVE]);
    assert_eq!(intervals(&wire), [path::keepalive::START; 2]);
}

#[test]
fn a_nat_that_moves_us_is_noticed_and_the_peer_told() {
    for role in [SERVE, OPEN] {
        let mut wire = Wire::new(20 * MS);
        let [inside, peer] = [[SERVE_ADDRESS, OPEN_ADDRESS], [OPEN_ADDRESS, SERVE_ADDRESS]][role];
        wire.start_both();
        wire.run_until_connected();
        wire.events = Default::default();
        let outside = SocketAddr::new(inside.ip(), 61_234);
        wire.translate = Some((inside, outside));
        wire.run_until_connected();
        assert!(wire.elapsed() <= Duration::from_secs(5), "{:?}", wire.elapsed());
        assert_eq!(wire.connected(1 - role).pair.remote, outside);
        assert_eq!(wire.connected(role).pair.remote, peer);
    }
}

#[test]
fn a_flood_of_noise_and_lookalikes_changes_nothing() {
    let mut wire = Wire::new(5 * MS);
    wire.start(SERVE);
    let before = wire.sent;
    for n in 0..20_000u32 {
        let mut noise = vec![0x82; PROBE_BYTES + (n % 40) as usize];
        noise[3..7].copy_from_slice(&n.to_be_bytes());
        wire.inject(SERVE, SocketAddr::new([10, 0, 0, 1].into(), (n % 60_000) as u16), &noise);
    }
    assert_eq!(wire.sent, before);
    assert!(wire.sides[SERVE].checks.count() <= 1);
}

#[test]
fn nothing_leaves_by_a_socket_that_was_closed() {
    let mut lone = Lone::start(Limits::DEFAULT, Duration::from_secs(1_800_000_000));
    lone.run_for(8900 * MS);
    let pair = Pair { socket: SocketId(1), remote: OPEN_ADDRESS }; // the first slot's
    lone.receive(pair, Kind::Probe, 7);
    let test = lone.sent.iter().rfind(|t| t.pair == pair).expect("a test");
    let token = lone.seal.open(&test.payload).expect("a probe").token;
    lone.receive(pair, Kind::Ack, token);
    lone.run_for(Duration::from_secs(20));
}

#[test]
fn an_answer_to_what_was_no_test_has_its_pair_tested_once() {
    let mut lone = Lone::start(Limits::DEFAULT, Duration::from_secs(1_800_000_000));
    lone.run_for(8900 * MS);
    let pair = Pair { socket: SocketId(1), remote: OPEN_ADDRESS }; // the first slot's
    lone.sent.clear();
    lone.receive(pair, Kind::Ack, 7);
    let [test] = lone.sent.as_slice() else { panic!("{:?}", lone.sent) };
    assert_eq!((test.pair, lone.seal.open(&test.payload).expect("a probe").kind), (pair, Kind::Probe));

    lone.sent.clear();
    let elsewhere = SocketAddr::new([198, 51, 100, 66].into(), OPEN_ADDRESS.port());
    lone.receive(Pair { remote: elsewhere, ..pair }, Kind::Ack, 8);
    assert!(lone.sent.is_empty(), "no letter of ours went there: {:?}", lone.sent);
}

#[test]
fn a_clock_far_in_the_future_does_not_keep_the_timer_busy() {
    let mut lone = Lone::start(Limits::DEFAULT, Duration::from_secs(13_000_000_000));
    lone.run_for(Duration::from_secs(60));
    let before = lone.wakeups;
    lone.run_for(Duration::from_secs(60));
    assert!(lone.wakeups - before < 1000, "{} timeouts a minute", lone.wakeups - before);
}

#[test]
fn a_full_search_leaves_mappings_for_answers_even_with_the_least_limits() {
    let mut lone = Lone::start(Limits::LEAST, Duration::from_secs(1_800_000_000));
    lone.run_for(Duration::from_secs(30));
    let pair = Pair { socket: SocketId::MAIN, remote: SocketAddr::new(OPEN_ADDRESS.ip(), 61234) };
    lone.receive(pair, Kind::Probe, 7);
    assert!(lone.sent.iter().any(|t| t.pair == pair), "the peer is heard and gets no answer");
}

#[test]
fn a_side_that_waits_holds_few_sockets() {
    let mut lone = Lone::start(Limits::DEFAULT, Duration::from_secs(1_800_000_000));
    lone.run_for(Duration::from_secs(30));
    assert!(lone.open.len() > 480, "{} sockets", lone.open.len());
    lone.run_for(Duration::from_secs(90));
    assert!(lone.open.len() <= 4, "{} sockets", lone.open.len());
    lone.run_for(Duration::from_secs(7 * 86_400));
    assert!(lone.open.len() <= 4 + 192, "{} sockets", lone.open.len());
}

#[test]
fn a_hundred_sockets_of_the_peer_at_once_do_not_take_each_other_s_place() {
    let mut lone = Lone::start(Limits::DEFAULT, Duration::from_secs(1_800_000_000));
    for port in 20_000..20_100 {
        let remote = SocketAddr::new(OPEN_ADDRESS.ip(), port);
        lone.receive(Pair { socket: SocketId::MAIN, remote }, Kind::Probe, port.into());
    }
    lone.run_for(Duration::from_millis(200));
    let first = Pair { socket: SocketId::MAIN, remote: SocketAddr::new(OPEN_ADDRESS.ip(), 20_000) };
    assert!(lone.puncher.checks.get_mut(first).is_some(), "its ack may be on its way");
}

#[test]
fn the_slots_of_a_search_for_a_tunnel_s_path_go_to_all_of_the_peer_s_addresses() {
    let mut wire = Wire::new(20 * MS);
    wire.start_both();
    wire.run_until_connected();
    let now = wire.now;
    let both = [address("198.18.0.1:5555"), OPEN_ADDRESS];
    wire.sides[SERVE].set_peer(&both, now);
    wire.lose = Some((1, 100));
    while !wire.events[SERVE].iter().any(|e| matches!(e, Event::PathLost(_))) {
        let until = wire.now.instant + Duration::from_secs(100);
        assert!(wire.step(until), "the loss is noticed");
    }
    let (side, began, mut now) = (&mut wire.sides[SERVE], wire.now.instant, wire.now);
    let mut letters = [0; 2];
    while now.instant < began + Duration::from_secs(300) {
        let next = loop {
            match side.poll_output() {
                Output::Transmit(Transmit { pair, .. }) => {
                    let is_slot =
                        (16_384..24_576).contains(&pair.remote.port()) && pair.socket != SocketId::MAIN;
                    let is_late = now.instant > began + Duration::from_secs(40);
                    let to = both.iter().position(|peer| peer.ip() == pair.remote.ip());
                    to.filter(|_| is_slot && is_late).into_iter().for_each(|index| letters[index] += 1);
                }
                Output::Timeout(at) => break at.expect("it goes on"),
                Output::Open { .. } | Output::Close(_) | Output::Event(_) => {}
            }
        };
        now = now.after(next.saturating_duration_since(now.instant));
        side.handle_timeout(now);
    }
    assert!(letters.iter().all(|count| *count > 20), "{letters:?}");
}
