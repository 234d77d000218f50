//! Somebody holds answers back, or hands on a part of them.

use super::{wire::*, *};

const STRANGER: &str = "192.0.2.66:9999";

fn acks_of(wire: &Wire, side: usize, from: usize) -> Vec<Vec<u8>> {
    let is_ack =
        |payload: &[u8]| wire.sides[side].seal.open(payload).is_ok_and(|probe| probe.kind == Kind::Ack);
    let recorded = wire.recorded.iter().skip(from);
    recorded.filter(|(of, payload)| *of == side && is_ack(payload)).map(|(_, p)| p.clone()).collect()
}

/// The moment in a token comes again after 2^24 × 10 µs = 167.77 s. An ack of a run that is dead was held back until then.
fn recorded_ack_of_a_dead_run(tunnel_waits: bool) -> Wire {
    let mut wire = Wire::new(20 * MS);
    wire.block = Some(OPEN);
    wire.start_both();
    let mut held_back: Vec<(Duration, Vec<u8>)> = Vec::new();
    for _ in 0..2000 {
        let before = wire.recorded.len();
        wire.run_for(100 * MS);
        held_back.extend(acks_of(&wire, OPEN, before).into_iter().map(|ack| (wire.elapsed(), ack)));
    }
    // The first run is killed. Another one follows, and has a path at once.
    let second = Wire::with_seeds(20 * MS, [1, 77]);
    let [_, second] = second.sides;
    wire.sides[OPEN] = second;
    wire.block = None;
    wire.start(OPEN);
    wire.run_until_connected();
    if tunnel_waits {
        wire.block = Some(OPEN);
        wire.run_for(Duration::from_secs(1800));
    }
    wire.events = Default::default();
    let round = Duration::from_micros(10 << 24);
    let now = wire.elapsed();
    let again = |at: Duration| {
        let rounds = (now.saturating_sub(at).as_micros() / round.as_micros()) as u32 + 1;
        at + round * rounds + 100 * MS
    };
    let (at, ack) = held_back.iter().map(|(at, ack)| (again(*at), ack)).min().expect("it has answered");
    assert!(at - now < Duration::from_secs(8), "{:?}", at - now);
    wire.run_for(at - now);
    let ack = ack.clone();
    wire.inject(SERVE, OPEN_ADDRESS, &ack);
    wire
}

#[test]
fn an_ack_of_a_dead_run_that_was_held_back_ends_no_tunnel() {
    let wire = recorded_ack_of_a_dead_run(false);
    assert!(!wire.events[SERVE].contains(&Event::PeerRestarted), "{:?}", wire.events[SERVE]);
}

#[test]
fn an_ack_of_a_dead_run_that_was_held_back_ends_no_tunnel_that_waits() {
    let wire = recorded_ack_of_a_dead_run(true);
    assert!(!wire.events[SERVE].contains(&Event::PeerRestarted), "{:?}", wire.events[SERVE]);
}

/// Somebody's copies of what the open side sends come first, from his own address. He hands on the acks to them, and
/// nothing else: the serve side never proves the pair that the open side is told of first.
#[test]
fn whoever_is_faster_with_copies_and_hands_on_the_acks_alone_keeps_nobody_apart() {
    let mut wire = Wire::new(20 * MS);
    wire.copier[SERVE] = Some(Pair { socket: SocketId::MAIN, remote: address(STRANGER) });
    wire.hands_on_acks_alone = true;
    wire.start_both();
    wire.run_for(Duration::from_secs(600));
    let is_connected = |side: usize| wire.events[side].iter().any(|e| matches!(e, Event::Connected(_)));
    assert!(is_connected(SERVE) && is_connected(OPEN), "apart after ten minutes");
}

/// Whoever is faster has his address chosen, and carries no tunnel. His late copies of the choice come from the address that
/// the user has named, where the peer is not, and take the place of the peer's own among the pairs to turn to.
#[test]
fn late_copies_of_a_choice_do_not_hide_where_the_peer_is() {
    let mut wire = Wire::new(20 * MS);
    let outside = address("203.0.113.9:61234");
    wire.translate = Some((OPEN_ADDRESS, outside));
    let main = |remote| Pair { socket: SocketId::MAIN, remote };
    wire.copier = [Some(main(address(STRANGER))); 2];
    (wire.late_copier[SERVE], wire.hands_on) = (Some(main(OPEN_ADDRESS)), true);
    wire.start_both();
    wire.run_until_connected();
    wire.run_for(100 * MS);
    let mut tried = Vec::new();
    for _ in 0..6 {
        tried.extend(wire.sides[SERVE].connected_pair().map(|pair| pair.remote));
        let now = wire.clock(SERVE);
        wire.sides[SERVE].doubt_choice(now);
        wire.drain(SERVE);
        wire.run_for(200 * MS);
    }
    assert!(tried.contains(&outside), "{tried:?}");
}
