//! What a search tells, and what it hides.

use super::*;

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
            if let Trouble::NoPath(found) = trouble { found.cause() } else { panic!("{trouble:?}") }
        });
        causes.collect::<Vec<_>>()
    };
    wire.run_for(SILENCE - MS);
    assert_eq!(told(&wire), []);
    wire.run_for(2 * MS);
    assert_eq!(told(&wire), [NoPathCause::Silent]);
    wire.run_for(Duration::from_secs(3600));
    assert_eq!(told(&wire), [NoPathCause::Silent, NoPathCause::Unmet]);
}

#[test]
fn a_peer_at_an_address_that_leads_nowhere_is_told_at_once_and_once() {
    let mut wire = Wire::new(5 * MS);
    let ip = OPEN_ADDRESS.ip();
    wire.sides[SERVE].set_not_public(Some((ip, NotPublic::Private)));
    wire.start(SERVE);
    let told = |wire: &Wire| {
        let found = |trouble| {
            if let Trouble::NoPath(found) = trouble { found.cause() } else { panic!("{trouble:?}") }
        };
        wire.troubles(SERVE).map(found).collect::<Vec<_>>()
    };
    let expected = [NoPathCause::NotPublic { ip, why: NotPublic::Private }];
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
    let is_moved = matches!(reason, Some(Trouble::NoPath(found)) if found.cause() == NoPathCause::Moved);
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
    let is_unmet = matches!(last, Some(Trouble::NoPath(found)) if found.cause() == NoPathCause::Unmet);
    assert!(is_unmet, "{last:?}");
}
