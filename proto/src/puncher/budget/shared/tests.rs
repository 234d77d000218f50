//! Peers that share one budget.

use std::net::SocketAddr;

use super::{super::Budget, *};

#[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
fn begin() -> Instant {
    Instant::now()
}

fn flow(peer: u8, port: u16) -> (u16, SocketAddr) {
    (5555, SocketAddr::from(([203, 0, 113, peer], port)))
}

fn peers(count: u8) -> Vec<Budget> {
    let shared = SharedBudget::new(Limits::DEFAULT);
    (0..count).map(|_| Budget::new(Limits::DEFAULT, Some(&shared))).collect()
}

/// Each peer tries to make that many mappings a second to search with, for some time. Returns how many each has made.
fn search(peers: &mut [Budget], seconds: u64, now: &mut Instant) -> Vec<usize> {
    let mut made = vec![0; peers.len()];
    for step in 0..seconds * 20 {
        *now += Duration::from_millis(50);
        for (index, peer) in peers.iter_mut().enumerate() {
            let port = u16::try_from(1 + step % 2000).expect("small");
            let flow = flow(u8::try_from(index).expect("few"), port);
            let is_new = !peer.has_mapping(flow);
            made[index] += usize::from(is_new && peer.admit(flow, Purpose::Search, *now));
        }
    }
    made
}

#[test]
fn a_lone_peer_has_all_of_it() {
    let (mut peers, mut now) = (peers(1), begin());
    assert_eq!(search(&mut peers, 100, &mut now), [Limits::DEFAULT.search()]);
}

#[test]
fn peers_that_search_have_equal_parts_and_no_more_than_one_would() {
    let (mut peers, mut now) = (peers(3), begin());
    let made = search(&mut peers, 100, &mut now);
    assert!(made.iter().all(|count| count.abs_diff(made[0]) <= 1), "{made:?}");
    let all: usize = made.iter().sum();
    assert!((1300..=Limits::DEFAULT.search()).contains(&all), "{all}");
}

#[test]
fn of_a_hundred_peers_some_search_at_a_time_and_all_can_be_met_by_their_plain_pairs() {
    let (mut peers, mut now) = (peers(100), begin());
    let made = search(&mut peers, 20, &mut now);
    assert!(made.iter().sum::<usize>() <= Limits::DEFAULT.search());
    assert!(made.iter().filter(|count| **count >= 150).count() >= 4, "{made:?}");
    for (index, peer) in peers.iter_mut().enumerate() {
        now += Duration::from_millis(10);
        let flow = flow(u8::try_from(index).expect("few"), 5555);
        assert!(peer.admit(flow, Purpose::Talk, now), "{index}");
    }
}

#[test]
fn turns_go_round() {
    let (mut peers, mut now) = (peers(20), begin());
    let mut made = vec![0; 20];
    for _ in 0..8 {
        for (sum, more) in made.iter_mut().zip(search(&mut peers, 300, &mut now)) {
            *sum += more;
        }
    }
    assert!(made.iter().all(|count| *count >= 150), "{made:?}");
}

#[test]
fn what_a_peer_that_is_gone_has_made_counts_until_it_is_forgotten() {
    let (mut peers, mut now) = (peers(2), begin());
    let _gone = peers.pop().map(|mut peer| search(std::slice::from_mut(&mut peer), 100, &mut now));
    let before = search(&mut peers, 100, &mut now)[0];
    assert!(before < 100, "{before}");
    now += MAPPING_LIFE;
    assert!(search(&mut peers, 100, &mut now)[0] > 1000);
}

#[test]
fn packets_of_all_keep_to_one_pace() {
    let (mut peers, now) = (peers(10), begin());
    let mut sent = 0;
    for step in 0..1000 {
        let now = now + Duration::from_millis(step);
        for peer in &mut peers {
            sent += usize::from(peer.admit(flow(1, 1), Purpose::Talk, now));
        }
    }
    assert!(sent <= usize::from(Limits::DEFAULT.packets_per_second), "{sent}");
}
#[test]
fn a_path_in_use_is_tested_whatever_another_peer_has_us_answer() {
    let (mut peers, mut now) = (peers(3), begin());
    for step in 0..60_000 {
        now += Duration::from_millis(1);
        // Over its path in use as well: that is its own claim, and no other's.
        for purpose in [Purpose::Talk, Purpose::Unproven, Purpose::Path] {
            let _may_leave = peers[0].admit(flow(0, 1), purpose, now);
        }
        if step % 150 == 0 {
            assert!(peers[1].admit(flow(1, 1), Purpose::Path, now), "the test, {step}");
            assert!(peers[1].admit(flow(1, 1), Purpose::Path, now), "the answer, {step}");
        }
    }
}

#[test]
fn of_256_peers_some_search_at_a_time() {
    let (mut peers, mut now) = (peers(255), begin());
    let made = search(&mut peers, 20, &mut now);
    assert!(made.iter().filter(|count| **count >= 150).count() >= 2, "{made:?}");
    assert!(made.iter().sum::<usize>() <= Limits::DEFAULT.search());
}
#[test]
fn a_search_goes_on_whatever_another_peer_has_us_answer() {
    let (mut peers, mut now) = (peers(2), begin());
    let (mut searched, mut tested) = (0, 0);
    for step in 0..10_000_u32 {
        now += Duration::from_millis(1);
        for purpose in [Purpose::Talk, Purpose::Path, Purpose::Unproven] {
            let _may_leave = peers[0].admit(flow(0, 1), purpose, now);
        }
        let port = u16::try_from(2 + searched).expect("small");
        searched += usize::from(peers[1].admit(flow(1, port), Purpose::Search, now));
        if step % 50 == 25 {
            tested += usize::from(peers[1].admit(flow(1, 1), Purpose::Talk, now));
        }
    }
    assert!(searched >= 1300, "{searched} probes of a fan or a sweep within 10 s");
    assert!(tested >= 190, "{tested} of 200 tests");
}

#[test]
fn whoever_copies_probes_takes_no_answer_away_from_the_address_that_was_named() {
    for count in [2, 8, 16, 100] {
        let (mut peers, mut now) = (peers(count), begin());
        let (mut asked, mut left) = (0, 0);
        for step in 0..20_000 {
            now += Duration::from_millis(1);
            let _search =
                peers[1].admit(flow(1, u16::try_from(1 + step % 2000).expect("small")), Purpose::Search, now);
            if step % 200 == 100 {
                // Copies come first, from ever new ports; then the probe itself is answered, and its pair tested.
                for port in 1..=10 {
                    let _copy = peers[0].admit(flow(9, port), Purpose::Unproven, now);
                }
                for _ in 0..2 {
                    asked += 1;
                    left += usize::from(peers[0].admit(flow(0, 5555), Purpose::Talk, now));
                }
            }
        }
        assert!(left * 100 >= asked * 97, "of {count} peers: {left} of {asked}");
    }
}
