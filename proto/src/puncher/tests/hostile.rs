//! Somebody plays recordings, forges addresses, sends our own probes back.

use super::{lone::Lone, wire::*, *};

const STRANGER: &str = "192.0.2.66:9999";

impl Wire {
    /// Makes what an earlier run of the open side has sent, as somebody on the way recorded it.
    fn recording(&self, instance: u64, sequence: u64, age: Duration) -> [u8; PROBE_BYTES] {
        let sent = Now { unix: self.now.unix - age, ..self.now };
        let probe = Probe {
            kind: Kind::Probe,
            role: Role::Open,
            nominate: false,
            heard: false,
            direct: false,
            tunnel: false,
            epoch: 1,
            instance,
            sequence,
            unix_ms: sent.unix_ms(),
            token: sequence ^ 77,
            observed: None,
        };
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&instance.to_be_bytes());
        nonce[8..16].copy_from_slice(&sequence.to_be_bytes());
        self.sides[SERVE].seal.seal(&probe, nonce)
    }

    pub(super) fn last_probe_of(&self, side: usize) -> Vec<u8> {
        let is_probe =
            |payload: &[u8]| self.sides[side].seal.open(payload).is_ok_and(|probe| probe.kind == Kind::Probe);
        let found = self.recorded.iter().rfind(|(from, payload)| *from == side && is_probe(payload));
        found.expect("it has sent one").1.clone()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_probe_that_has_arrived_is_never_let_in_again_whatever_else_is_replayed() {
    let mut wire = Wire::new(20 * MS);
    wire.start(SERVE);
    wire.run_for(Duration::from_secs(20));
    wire.block = Some(SERVE);
    wire.start(OPEN);
    wire.run_for(30 * MS);
    let probe = wire.last_probe_of(OPEN);
    for round in 0..3 {
        for run in 0..100 {
            let recorded = wire.recording(1000 + run, 5, HOUR);
            wire.inject(SERVE, OPEN_ADDRESS, &recorded);
        }
        wire.inject(SERVE, address(STRANGER), &probe);
        wire.inject(SERVE, OPEN_ADDRESS, &probe);
        assert!(
            wire.sent_to(STRANGER) <= 1,
            "round {round}: it may have been the copy that came first, once"
        );
    }
}

#[test]
fn what_a_run_has_said_before_it_left_is_not_let_in_again_when_it_is_forgiven() {
    let mut wire = Wire::new(20 * MS);
    wire.start_both();
    wire.run_until_connected();
    let probe = wire.last_probe_of(OPEN);
    wire.command(OPEN, Puncher::leave);
    wire.run_for(Duration::from_secs(1));
    wire.command(SERVE, Puncher::search);
    wire.inject(SERVE, address(STRANGER), &probe);
    wire.inject(SERVE, OPEN_ADDRESS, &probe);
    assert_eq!(wire.sent_to(STRANGER), 0);
    assert!(!wire.events[SERVE].iter().skip_while(|e| **e != Event::PeerLeft).any(is_heard));
}

#[test]
fn old_recordings_are_answered_out_of_a_purse_of_their_own() {
    let mut wire = Wire::new(20 * MS);
    wire.start(SERVE);
    wire.run_for(Duration::from_secs(600));
    for n in 0..1000 {
        let recorded = wire.recording(42, n, HOUR);
        wire.inject(SERVE, SocketAddr::new(OPEN_ADDRESS.ip(), 10_000 + n as u16), &recorded);
    }
    let acks = |wire: &Wire| {
        let opened =
            wire.recorded.iter().filter_map(|(_, payload)| wire.sides[SERVE].seal.open(payload).ok());
        opened.filter(|probe| probe.kind == Kind::Ack).count()
    };
    let at_once = acks(&wire);
    assert!(at_once <= 4, "{at_once} acks at once");
    for n in 1000..2000 {
        let recorded = wire.recording(42, n, HOUR);
        wire.inject(SERVE, OPEN_ADDRESS, &recorded);
        wire.run_for(10 * MS);
    }
    let later = acks(&wire) - at_once;
    assert!((4..=15).contains(&later), "{later} acks in 10 s");
    assert!(!wire.events[SERVE].iter().any(is_heard), "a recording counts as a word of the peer");
}

/// Whether the serve side notices within a minute that its path carries nothing any more, while somebody plays what an earlier
/// run of the open side has sent, in the name of the path in use.
fn notices_a_dead_path(plays_recordings: bool) -> bool {
    let mut wire = Wire::new(20 * MS);
    wire.start_both();
    wire.run_until_connected();
    wire.events = Default::default();
    wire.lose = Some((1, 100));
    for n in 0..60 {
        if plays_recordings {
            let recorded = wire.recording(42, n, 24 * HOUR);
            wire.inject(SERVE, OPEN_ADDRESS, &recorded);
        }
        wire.run_for(Duration::from_secs(1));
    }
    wire.events[SERVE].iter().any(|event| matches!(event, Event::PathLost(Loss::Silent(_))))
}

#[test]
fn recordings_of_an_earlier_run_in_the_name_of_the_path_in_use_are_no_signs_of_life() {
    assert!(notices_a_dead_path(false));
    assert!(notices_a_dead_path(true), "recordings of yesterday keep a dead path alive");
}

#[test]
fn recordings_from_ports_of_the_peer_s_ip_take_no_time_from_a_birthday() {
    let took = |is_attacked: bool| {
        let mut wire = Wire::new(20 * MS);
        wire.translate = Some((OPEN_ADDRESS, address("203.0.113.9:61234")));
        wire.start(SERVE);
        wire.run_for(Duration::from_secs(120));
        for n in 0..if is_attacked { 1600 } else { 0 } {
            let recorded = wire.recording(42, n, 24 * HOUR);
            wire.inject(SERVE, SocketAddr::new(OPEN_ADDRESS.ip(), 10_000 + n as u16), &recorded);
            wire.run_for(6 * MS);
        }
        let began = wire.elapsed();
        wire.events = Default::default();
        wire.start(OPEN);
        wire.run_until_connected();
        wire.elapsed() - began
    };
    assert!(took(true) <= took(false) + 100 * MS, "{:?} and {:?}", took(true), took(false));
}

/// Whether each side uses the pair that the user named, and has never lost it.
fn both_keep_the_named_pair(wire: &Wire) -> bool {
    [(SERVE, OPEN_ADDRESS), (OPEN, SERVE_ADDRESS)].into_iter().all(|(side, peer)| {
        let named = Pair { socket: SocketId::MAIN, remote: peer };
        let is_lost = |event: &Event| matches!(event, Event::PathLost(_) | Event::PeerSearching);
        wire.sides[side].connected_pair() == Some(named) && !wire.events[side].iter().any(is_lost)
    })
}

#[test]
fn copies_that_come_first_and_are_handed_on_make_a_relay_at_most() {
    let mut wire = Wire::new(20 * MS);
    wire.copier = [Some(to_main(STRANGER)); 2];
    wire.start_both();
    wire.run_for(Duration::from_secs(1));
    let told = wire.connected(OPEN).observed.expect("an ack told it");
    assert_eq!(wire.sides[SERVE].connected_pair().map(|pair| pair.remote), Some(told));
    let now = wire.clock(SERVE);
    wire.sides[SERVE].doubt_choice(now); // it carries no tunnel
    wire.drain(SERVE);
    assert!(both_keep_the_named_pair(&wire), "{:?}", wire.events);
    wire.run_for(Duration::from_secs(300));
    assert!(both_keep_the_named_pair(&wire), "{:?}", wire.events);
}

#[test]
fn copies_that_come_late_from_elsewhere_change_nothing() {
    let mut wire = Wire::new(20 * MS);
    wire.late_copier = [Some(to_main(STRANGER)); 2];
    wire.start_both();
    wire.run_for(Duration::from_secs(1));
    assert!(both_keep_the_named_pair(&wire), "{:?}", wire.events);
    wire.run_for(Duration::from_secs(300));
    assert!(both_keep_the_named_pair(&wire), "{:?}", wire.events);
}

/// A pair of the main socket.
fn to_main(remote: &str) -> Pair {
    Pair { socket: SocketId::MAIN, remote: address(remote) }
}

/// An address of somebody who has not the key, and who hands nothing on.
const BYSTANDER: &str = "198.51.100.66:9999";

/// Whether two sides meet where copies of all that the serve side gets come first, over that pair.
fn meet_in_spite_of_copies(mut wire: Wire, copy: Pair) {
    wire.copier[SERVE] = Some(copy);
    let began = wire.elapsed();
    wire.run_until_connected();
    assert!(wire.elapsed() - began <= Duration::from_secs(2), "{:?}", wire.elapsed() - began);
    let expected = wire.translate.map_or(OPEN_ADDRESS, |(_, outside)| outside);
    assert_eq!(wire.connected(SERVE).pair, Pair { socket: SocketId::MAIN, remote: expected });
}

#[test]
fn copies_in_the_name_of_the_named_address_do_not_silence_a_peer_whose_nat_has_changed_its_port() {
    let mut wire = Wire::new(20 * MS);
    wire.translate = Some((OPEN_ADDRESS, address("203.0.113.9:61234")));
    wire.start_both();
    meet_in_spite_of_copies(wire, Pair { socket: SocketId::MAIN, remote: OPEN_ADDRESS });
}

#[test]
fn copies_to_another_open_port_of_ours_do_not_silence_the_originals() {
    let mut wire = Wire::new(20 * MS);
    wire.translate = Some((OPEN_ADDRESS, address("203.0.113.9:61234")));
    wire.lose = Some((1, 100));
    wire.start_both();
    wire.run_for(Duration::from_secs(20));
    assert!(wire.opened[SERVE].is_some());
    wire.lose = None;
    meet_in_spite_of_copies(wire, Pair { socket: SocketId(1), remote: address("203.0.113.9:61234") });
}

#[test]
fn copies_from_a_stranger_do_not_silence_a_peer_that_has_lost_its_named_address() {
    let mut wire = Wire::new(20 * MS);
    wire.translate = Some((OPEN_ADDRESS, address("192.0.2.7:5555")));
    wire.start_both();
    meet_in_spite_of_copies(wire, to_main(BYSTANDER));
}

#[test]
fn copies_in_the_name_of_another_named_address_do_not_silence_the_originals() {
    let mut wire = Wire::new(20 * MS);
    wire.start(SERVE);
    let now = wire.clock(SERVE);
    wire.sides[SERVE].set_peer(&[address(BYSTANDER), OPEN_ADDRESS], now);
    wire.start(OPEN);
    meet_in_spite_of_copies(wire, to_main(BYSTANDER));
}

#[test]
fn a_path_that_a_nat_moves_is_found_again_in_spite_of_copies_in_its_name() {
    let mut wire = Wire::new(20 * MS);
    wire.start_both();
    wire.run_until_connected();
    wire.events = Default::default();
    wire.translate = Some((OPEN_ADDRESS, address("203.0.113.9:61234")));
    wire.copier[SERVE] = Some(to_main("203.0.113.9:5555"));
    wire.run_until_connected();
    assert_eq!(wire.connected(SERVE).pair.remote, address("203.0.113.9:61234"));
}

#[test]
fn a_copied_nomination_leads_nobody_to_another_pair_than_the_peer_has_chosen() {
    for copies_late in [false, true] {
        let mut wire = Wire::new(20 * MS);
        let outside = address("203.0.113.9:61234");
        wire.translate = Some((OPEN_ADDRESS, outside));
        wire.hands_on = true;
        let copier = if copies_late { &mut wire.late_copier } else { &mut wire.copier };
        copier[SERVE] = Some(Pair { socket: SocketId::MAIN, remote: OPEN_ADDRESS });
        wire.start_both();
        wire.run_until_connected();
        wire.run_for(Duration::from_secs(100));
        let chosen = wire.connected(OPEN).observed.expect("an ack told it");
        assert_eq!(wire.sides[SERVE].connected_pair(), Some(Pair { socket: SocketId::MAIN, remote: chosen }));
        // Whoever is faster than the original may be a relay.
        assert!(!copies_late || chosen == outside, "{chosen}");
    }
}

#[test]
fn copies_from_ever_new_ports_do_not_keep_a_peer_with_another_port_away() {
    let took = |swarm| {
        let mut wire = Wire::new(20 * MS);
        wire.translate = Some((OPEN_ADDRESS, address("203.0.113.9:61234")));
        wire.swarm = swarm;
        wire.start_both();
        wire.run_until_connected();
        wire.elapsed()
    };
    assert!(took(40) <= took(0) + Duration::from_secs(1), "{:?} and {:?}", took(40), took(0));
}

#[test]
fn copies_from_ever_new_ports_take_a_part_of_a_search_alone() {
    let copied = 1024..9024;
    let probes = |is_attacked: bool| {
        let mut lone = Lone::start(Limits::DEFAULT, Duration::from_secs(1_800_000_000));
        let (mut all, mut tried) = (0, std::collections::BTreeSet::new());
        for port in copied.clone() {
            if is_attacked {
                let remote = SocketAddr::new(OPEN_ADDRESS.ip(), port);
                lone.receive(Pair { socket: SocketId::MAIN, remote }, Kind::Probe, 7);
            }
            lone.run_for(Duration::from_micros(2500));
            all += lone.sent.len();
            let blue = lone.sent.drain(..).map(|transmit| transmit.pair);
            tried.extend(blue.filter(|pair| !copied.contains(&pair.remote.port())));
        }
        (all, tried.len())
    };
    let ((attacked, tried), (_, undisturbed)) = (probes(true), probes(false));
    assert!(tried * 10 >= undisturbed * 7, "{tried} of {undisturbed} mappings");
    assert!(attacked <= 20 * 500, "{attacked} packets in 20 s");
}

#[test]
fn a_copy_that_comes_again_from_elsewhere_gets_one_answer() {
    let mut wire = Wire::new(20 * MS);
    wire.start(SERVE);
    wire.run_for(Duration::from_secs(1));
    wire.block = Some(SERVE);
    wire.start(OPEN);
    wire.run_for(30 * MS);
    let probe = wire.last_probe_of(OPEN);
    let before = wire.sent[SERVE] + wire.tries[SERVE];
    for port in 1000..1100 {
        wire.inject(SERVE, SocketAddr::new(address(STRANGER).ip(), port), &probe);
    }
    let answers = wire.sent[SERVE] + wire.tries[SERVE] - before;
    assert!((1..=5).contains(&answers), "{answers} answers to a hundred copies of one probe");
}

#[test]
fn answers_to_copies_that_are_handed_on_do_not_move_a_path() {
    let mut wire = Wire::new(20 * MS);
    wire.start_both();
    wire.run_until_connected();
    wire.copier[SERVE] = Some(to_main(STRANGER));
    wire.run_for(Duration::from_secs(300));
    assert!(both_keep_the_named_pair(&wire), "{:?}", wire.events);
    assert!(wire.sent_to(STRANGER) > 0, "the copies are answered");
}

#[test]
fn a_machine_that_was_copied_uses_no_nonce_for_two_texts() {
    let [first, second] = [0, 3600].map(|later| {
        let mut wire = Wire::new(20 * MS);
        wire.now.unix += Duration::from_secs(later);
        wire.start_both();
        wire.run_for(Duration::from_secs(1));
        wire.recorded
    });
    let nonces = |recorded: &[(usize, Vec<u8>)]| -> std::collections::BTreeSet<Vec<u8>> {
        recorded.iter().map(|(_, payload)| payload[1..25].to_vec()).collect()
    };
    assert!(first.len() > 4 && nonces(&first).is_disjoint(&nonces(&second)));
}

#[test]
fn an_own_probe_that_comes_back_is_told_until_the_peer_is_heard_and_never_after() {
    let mut wire = Wire::new(20 * MS);
    wire.start(SERVE);
    let own = wire.last_probe_of(SERVE);
    wire.inject(SERVE, OPEN_ADDRESS, &own);
    wire.start(OPEN);
    wire.run_until_connected();
    let told = |wire: &Wire, wanted: fn(&Event) -> bool| wire.events[SERVE].iter().position(wanted);
    let echo = told(&wire, is_echo).expect("told");
    assert!(told(&wire, is_heard).is_some_and(|heard| echo < heard), "{:?}", wire.events[SERVE]);

    let mut wire = Wire::new(20 * MS);
    wire.block = Some(SERVE);
    wire.start_both();
    wire.run_for(Duration::from_secs(1));
    let own = wire.last_probe_of(SERVE);
    wire.inject(SERVE, OPEN_ADDRESS, &own);
    assert!(told(&wire, is_heard).is_some() && told(&wire, is_echo).is_none(), "{:?}", wire.events[SERVE]);
}

#[test]
fn a_peer_that_is_heard_after_an_echo_has_its_troubles_told() {
    let mut wire = Wire::new(20 * MS);
    wire.block = Some(SERVE);
    wire.start(SERVE);
    let own = wire.last_probe_of(SERVE);
    wire.inject(SERVE, OPEN_ADDRESS, &own);
    wire.start(OPEN);
    wire.run_for(Duration::from_secs(60));
    let is_told = |trouble| matches!(trouble, Trouble::NoPath(found) if matches!(found.cause(), NoPathCause::OneWay { .. }));
    assert!(wire.troubles(SERVE).any(is_told), "{:?}", wire.events[SERVE]);
}

fn is_heard(event: &Event) -> bool {
    matches!(event, Event::Heard { .. })
}

fn is_echo(event: &Event) -> bool {
    matches!(event, Event::Trouble(Trouble::OwnEcho { .. }))
}

/// Another run of the peer's role with the same key waits elsewhere (a second machine). Somebody on the way, without the key, hands
/// one test of the path in use to it, and is faster with its answer than the peer.
#[test]
fn an_answer_of_another_live_run_that_was_handed_on_ends_no_tunnel() {
    let mut wire = Wire::new(20 * MS);
    let mut other = puncher(Role::Serve, "key", 77);
    wire.start_both();
    wire.run_until_connected();
    wire.run_for(Duration::from_secs(30));
    other.set_peer(&[OPEN_ADDRESS], wire.now);
    other.search(wire.now);
    while !matches!(other.poll_output(), Output::Timeout(_)) {}
    wire.events = Default::default();
    let mut handed_on = 0;
    for _ in 0..3 {
        let known = wire.recorded.len();
        let is_test = |wire: &Wire, (from, payload): &(usize, Vec<u8>)| {
            *from == OPEN && wire.sides[OPEN].seal.open(payload).is_ok_and(|probe| probe.kind == Kind::Probe)
        };
        while !wire.recorded[known..].iter().any(|sent| is_test(&wire, sent)) {
            wire.run_for(MS);
        }
        let test = wire.last_probe_of(OPEN);
        other.handle_timeout(wire.now);
        while !matches!(other.poll_output(), Output::Timeout(_)) {}
        other.handle_datagram(Pair { socket: SocketId::MAIN, remote: OPEN_ADDRESS }, &test, wire.now);
        loop {
            match other.poll_output() {
                Output::Transmit(transmit) => {
                    let opened = other.seal.open(&transmit.payload);
                    if opened.is_ok_and(|probe| probe.kind == Kind::Ack) {
                        handed_on += 1;
                        wire.inject(OPEN, SERVE_ADDRESS, &transmit.payload);
                    }
                }
                Output::Timeout(_) => break,
                Output::Open { .. } | Output::Close(_) | Output::Event(_) => {}
            }
        }
    }
    wire.run_for(Duration::from_secs(2));
    assert!(handed_on > 0, "the other run has answered");
    let is_end = |event: &Event| !matches!(event, Event::Heard { .. } | Event::Trouble(_));
    assert!(!wire.events.iter().flatten().any(is_end), "{:?}", wire.events);
}
