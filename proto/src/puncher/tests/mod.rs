mod gone;
mod held_back;
mod hostile;
mod lone;
mod runs;
mod told;
mod turns;
mod vectors;
mod wire;

use std::net::SocketAddr;

use self::{lone::Lone, wire::*};
use super::*;
use crate::{
    nat::NotPublic,
    probe::{PROBE_BYTES, Probe},
};

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
fn a_path_at_rest_comes_to_cost_an_exchange_a_minute_whatever_its_round_trip() {
    for rtt in [2, 20, 120, 600] {
        let mut wire = Wire::new(rtt * MS);
        wire.start_both();
        wire.run_until_connected();
        wire.run_for(Duration::from_secs(2 * 3600));
        assert_eq!(wire.sides[OPEN].keepalive(), Duration::from_secs(60), "{rtt} ms");
        let before: u64 = wire.sent.iter().sum();
        wire.run_for(Duration::from_secs(3600));
        let sent = wire.sent.iter().sum::<u64>() - before;
        assert!((110..=130).contains(&sent), "{rtt} ms: {sent}");
    }
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
fn an_answer_to_a_probe_that_left_is_a_proof_and_no_other_is() {
    let mut lone = Lone::start(Limits::DEFAULT, Duration::from_secs(1_800_000_000));
    lone.run_for(8900 * MS);
    let is_swept =
        |t: &&Transmit| t.pair.socket == SocketId::MAIN && t.pair.remote.port() != OPEN_ADDRESS.port();
    let sent = lone.sent.iter().rfind(is_swept).expect("it has swept").clone();
    let token = lone.seal.open(&sent.payload).expect("a probe").token;
    let is_proven = |lone: &Lone| lone.puncher.checks.proof(sent.pair).is_some();
    let elsewhere = SocketAddr::new([198, 51, 100, 66].into(), sent.pair.remote.port());
    for (over, token) in [
        (sent.pair, 7),
        (sent.pair, token ^ 1 << 40),
        (Pair { remote: elsewhere, ..sent.pair }, token),
        (Pair { socket: SocketId(1), ..sent.pair }, token),
    ] {
        lone.receive(over, Kind::Ack, token);
        assert!(!is_proven(&lone), "{over:?}");
    }
    lone.receive(sent.pair, Kind::Ack, token);
    assert!(is_proven(&lone));
}

#[test]
fn a_clock_far_in_the_future_does_not_keep_the_timer_busy() {
    let mut lone = Lone::start(Limits::DEFAULT, Duration::from_secs(13_000_000_000));
    lone.run_for(Duration::from_secs(150));
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
    lone.run_for(Duration::from_secs(120));
    assert!((240..=4 + 250).contains(&lone.open.len()), "{} sockets", lone.open.len());
    lone.run_for(Duration::from_secs(7 * 86_400));
    assert!((30..=4 + 47).contains(&lone.open.len()), "{} sockets", lone.open.len());
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
    let mut counts = [0; 2];
    while now.instant < began + Duration::from_secs(300) {
        let next = loop {
            match side.poll_output() {
                Output::Transmit(Transmit { pair, .. }) => {
                    let is_slot =
                        (16_384..24_576).contains(&pair.remote.port()) && pair.socket != SocketId::MAIN;
                    let is_late = now.instant > began + Duration::from_secs(40);
                    let to = both.iter().position(|peer| peer.ip() == pair.remote.ip());
                    to.filter(|_| is_slot && is_late).into_iter().for_each(|index| counts[index] += 1);
                }
                Output::Timeout(at) => break at.expect("it goes on"),
                Output::Open { .. } | Output::Close(_) | Output::Event(_) => {}
            }
        };
        now = now.after(next.saturating_duration_since(now.instant));
        side.handle_timeout(now);
    }
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}
