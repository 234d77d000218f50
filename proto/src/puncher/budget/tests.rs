//! The bounds, kept by every probe.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
fn begin() -> Instant {
    Instant::now()
}

fn flow(port: u16) -> Flow {
    (5555, SocketAddr::from(([203, 0, 113, 9], port)))
}

#[test]
fn no_window_of_a_second_holds_more_packets_and_no_moment_more_mappings_than_allowed() {
    let steps = prop::collection::vec((0u64..30_000_000, 1u16..2000, any::<bool>()), 0..4000);
    proptest!(ProptestConfig::with_cases(32), |(steps in steps, mappings in 192u16..600, pps in 20u16..600)| {
        let limits = Limits { mappings, packets_per_second: pps };
        let (mut budget, mut now) = (Budget::new(limits, None), begin());
        let (mut second, mut used) = (VecDeque::new(), BTreeMap::new());
        for (ns, port, talk) in steps {
            now += Duration::from_nanos(ns);
            let purpose = if talk { Purpose::Talk } else { Purpose::Search };
            if !budget.admit(flow(port), purpose, now) {
                continue;
            }
            second.push_back(now);
            while second.front().is_some_and(|at| *at + Duration::from_secs(1) <= now) {
                second.pop_front();
            }
            prop_assert!(second.len() <= usize::from(pps));
            used.insert(port, now);
            let alive = used.values().filter(|at| now < **at + MAPPING_LIFE).count();
            prop_assert!(alive <= usize::from(mappings));
        }
    });
}

#[test]
fn a_full_table_still_has_room_for_slots_and_answers_and_neither_takes_the_other_s() {
    for limits in [Limits::DEFAULT, Limits::GENTLE, Limits::LEAST] {
        let (mut budget, mut now) = (Budget::new(limits, None), begin());
        let mut admitted = |purpose, first: u16, count: u16| {
            let ports = (first..first + count).filter(|port| {
                now += Duration::from_millis(60);
                budget.admit(flow(*port), purpose, now)
            });
            ports.count()
        };
        assert_eq!(admitted(Purpose::Search, 1, limits.mappings), limits.search());
        let at_once = admitted(Purpose::Talk, 10_000, 100);
        assert_eq!(at_once, TALK_AT_ONCE as usize);
        assert_eq!(admitted(Purpose::Slot, 20_000, 100), FOR_SLOTS);
        assert_eq!(admitted(Purpose::Talk, 30_000, 10), 0, "the next one is to be had soon");
        assert_eq!(admitted(Purpose::Reserve, 40_000, 100), FOR_RESERVE + FOR_TALK - at_once);
    }
}

#[test]
fn what_was_sent_from_another_own_address_counts_but_keeps_nobody_from_talking() {
    let (mut budget, mut now) = (Budget::new(Limits::DEFAULT, None), begin());
    let mut admitted = |budget: &mut Budget, own: &str, purpose| {
        budget.set_own(own.parse().expect("an address"));
        let sent = (1..=2000).filter(|port| {
            now += Duration::from_millis(20);
            budget.admit(flow(*port), purpose, now)
        });
        sent.count()
    };
    let room = Limits::DEFAULT.search();
    assert_eq!(admitted(&mut budget, "192.168.0.2", Purpose::Search), room);
    assert_eq!(admitted(&mut budget, "192.168.0.3", Purpose::Search), 0);
    assert_eq!(admitted(&mut budget, "192.168.0.3", Purpose::Slot), FOR_SLOTS + FOR_TALK + FOR_RESERVE);
    assert_eq!(admitted(&mut budget, "192.168.0.2", Purpose::Search), room, "the same as before");
}

#[test]
fn answers_in_vain_never_use_up_what_is_kept_for_answers() {
    let (mut budget, mut now) = (Budget::new(Limits::DEFAULT, None), begin());
    let full = now + MAPPING_LIFE / 2;
    for port in 1..=1536 {
        now += Duration::from_millis(60);
        budget.admit(flow(port), Purpose::Search, now);
    }
    let (mut answered, mut port) = (Vec::new(), 20_000);
    while now < full + MAPPING_LIFE / 2 {
        now += Duration::from_millis(100);
        port += 1;
        budget.admit(flow(1 + port % 1400), Purpose::Search, now);
        answered.extend(budget.admit(flow(port), Purpose::Talk, now).then_some(now));
    }
    assert!((20..=28).contains(&answered.len()), "{}", answered.len());
    let later = answered.iter().skip(TALK_AT_ONCE as usize).copied().collect::<Vec<_>>();
    let gaps = later.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.max() <= Some(TALK_GAP + Duration::from_secs(1)));
}

#[test]
fn a_search_at_full_pace_leaves_room_for_answers() {
    let (mut budget, now) = (Budget::new(Limits::DEFAULT, None), begin());
    while budget.admit(flow(1), Purpose::Search, now) {}
    assert!(budget.admit(flow(1), Purpose::Talk, now));
    let later = budget.ready_at(Purpose::Search, now);
    assert!(later > now && budget.admit(flow(1), Purpose::Search, later));
}
