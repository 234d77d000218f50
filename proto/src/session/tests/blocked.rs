//! Paths that carry probes and nothing of the tunnel.

use super::*;

/// Two sides with a tunnel whose path was lost and is back, and lets probes pass alone.
fn deaf(patience: Duration) -> Pairing {
    let mut pairing = Pairing::up(patience);
    pairing.is_cut = true;
    pairing.run_for(Duration::from_secs(10));
    pairing.is_cut = false;
    pairing.run_for(Duration::from_secs(5));
    pairing.wanted = Default::default();
    pairing
}

fn is_out_of_patience(output: &Output) -> bool {
    matches!(output, Output::Event(Event::TunnelLost(TunnelEnd::NoPath)))
}

#[test]
fn whoever_lets_probes_and_handshakes_pass_ends_no_tunnel_that_both_sides_have() {
    let mut pairing = deaf(Duration::from_secs(3600));
    pairing.run_for(Duration::from_secs(600));
    assert!(pairing.count(OPEN, |output| *output == Output::Wake) > 1, "it is woken again and again");
    assert_eq!(pairing.dialled(), None);
    assert_eq!(pairing.sides[SERVE].handle_handshake(b"another id", pairing.now), None);
}

#[test]
fn whoever_lets_probes_pass_alone_ends_no_tunnel_before_patience_does() {
    for (patience, least, most) in [(3600, 3500, 3600), (60, 40, 60), (20, 5, 30)] {
        let mut pairing = deaf(Duration::from_secs(patience));
        pairing.run_for(Duration::from_secs(least));
        assert!(pairing.sides.iter().all(|side| side.tunnel().is_some()), "{patience}");
        assert!(
            pairing.wanted.iter().flatten().filter(|output| matches!(output, Output::Event(_))).count() == 0
        );
        pairing.run_for(Duration::from_secs(most - least + 20));
        assert!(pairing.sides.iter().all(|side| side.tunnel().is_none()), "{patience}");
        assert_eq!([SERVE, OPEN].map(|side| pairing.count(side, is_out_of_patience)), [1, 1]);
    }
}

/// The tunnel of each side sends once in a second and hears nothing.
fn send_in_vain(pairing: &mut Pairing, seconds: u64) {
    for _ in 0..seconds {
        for side in &mut pairing.sides {
            let before = side.vitals;
            let traffic = puncher::Traffic { sent: before.traffic.sent + 1, ..before.traffic };
            side.handle_vitals(Vitals { traffic, ..before }, pairing.now);
        }
        pairing.run_for(Duration::from_secs(1));
    }
}

fn is_blocked(output: &Output) -> bool {
    matches!(output, Output::Event(Event::PathLost { loss: Some(puncher::Loss::Blocked) }))
}

#[test]
fn a_path_that_carries_probes_and_nothing_of_the_tunnel_is_a_lost_path_and_patience_counts_from_then() {
    let mut pairing = Pairing::up(Duration::from_secs(300));
    send_in_vain(&mut pairing, 9);
    assert_eq!([SERVE, OPEN].map(|side| pairing.count(side, is_blocked)), [0, 0]);
    send_in_vain(&mut pairing, 20);
    assert!(pairing.count(SERVE, is_blocked) + pairing.count(OPEN, is_blocked) > 0);
    send_in_vain(&mut pairing, 260);
    assert!(pairing.sides.iter().all(|side| side.tunnel().is_some()));
    send_in_vain(&mut pairing, 60);
    assert!(pairing.sides.iter().all(|side| side.tunnel().is_none()));
    assert!(
        pairing.wanted.iter().flatten().any(is_out_of_patience),
        "the other side learns it by the peer's word"
    );
}

#[test]
fn what_was_sent_while_there_was_no_path_does_not_block_the_one_that_comes_back() {
    let mut pairing = Pairing::up(Duration::from_secs(300));
    pairing.is_cut = true;
    send_in_vain(&mut pairing, 60);
    pairing.is_cut = false;
    send_in_vain(&mut pairing, 5);
    assert!(pairing.sides.iter().all(|side| side.connected_pair().is_some()));
    assert!(pairing.wanted.iter().flatten().all(|output| !is_blocked(output)));
}

#[test]
fn a_tunnel_that_has_only_its_last_acknowledgement_unanswered_keeps_its_path() {
    let mut pairing = Pairing::up(Duration::from_secs(300));
    send_in_vain(&mut pairing, 1);
    pairing.run_for(Duration::from_secs(120));
    assert!(pairing.wanted.iter().flatten().all(|output| !is_blocked(output)));
}

#[test]
fn whoever_has_led_the_tunnel_through_himself_and_carries_it_no_more_is_left_for_the_peer_itself() {
    let mut pairing = Pairing::new();
    pairing.is_copied = true;
    pairing.run_for(Duration::from_secs(1));
    let dialled = pairing.dialled().expect("the open side dials");
    let answered = pairing.sides[SERVE].handle_handshake(b"first id", pairing.now).expect("it answers");
    for (side, connection) in [(SERVE, answered), (OPEN, dialled)] {
        let now = pairing.now;
        pairing.sides[side].handle_established(connection, now);
        pairing.sides[side].handle_vitals(Vitals { acknowledged: 1, ..Vitals::default() }, now);
        pairing.drain(side);
    }
    pairing.run_for(Duration::from_secs(10));
    let remote = |pairing: &Pairing| pairing.sides[SERVE].connected_pair().map(|pair| pair.remote);
    assert_eq!(remote(&pairing), Some(COPIER));
    send_in_vain(&mut pairing, 9);
    assert_eq!(remote(&pairing), Some(COPIER));
    let is_left = (0..10).any(|_| {
        send_in_vain(&mut pairing, 1);
        remote(&pairing) == Some(ADDRESSES[OPEN])
    });
    assert!(is_left);
}

#[test]
fn whoever_is_faster_with_copies_and_carries_no_tunnel_is_left_for_the_peer_itself() {
    let mut pairing = Pairing::new();
    pairing.is_copied = true;
    pairing.run_for(Duration::from_secs(1));
    assert!(pairing.dialled().is_some());
    let remote = |pairing: &Pairing| pairing.sides[SERVE].connected_pair().map(|pair| pair.remote);
    assert_eq!(remote(&pairing), Some(COPIER));
    pairing.run_for(Duration::from_secs(2));
    assert_eq!(remote(&pairing), Some(ADDRESSES[OPEN]));
    let punched = |output: &Output| matches!(output, Output::Event(Event::Punched(_)));
    assert_eq!(pairing.count(SERVE, punched), 1);
}

/// Whether both sides use the way between them, in which nobody drops anything.
fn are_on_the_direct_way(pairing: &Pairing) -> bool {
    [SERVE, OPEN].into_iter().all(|side| {
        let pair = pairing.sides[side].connected_pair();
        pair == Some(Pair { socket: SocketId::MAIN, remote: ADDRESSES[1 - side] })
    })
}

/// A path is lost for some seconds and back as it was. Somebody is 1 ms faster with copies, hands on what is sent to him, and
/// carries no tunnel; on the way between the two sides nothing is lost.
#[test]
fn whoever_is_faster_with_copies_when_a_path_comes_back_ends_no_tunnel_that_both_sides_have() {
    for cut_ms in (10_000..11_000).step_by(50) {
        let mut pairing = Pairing::up(Duration::from_secs(3600));
        pairing.run_for(Duration::from_secs(60));
        pairing.is_cut = true;
        pairing.run_for(Duration::from_millis(cut_ms));
        (pairing.is_cut, pairing.is_relayed) = (false, true);
        pairing.wanted = Default::default();
        let mut acknowledged = 0;
        for tenths in 1..=600 {
            pairing.run_for(Duration::from_millis(100));
            acknowledged += u64::from(are_on_the_direct_way(&pairing));
            // QUIC asks again and again: it is woken twice a second.
            let traffic = puncher::Traffic { sent: tenths / 5, received: acknowledged };
            for side in [SERVE, OPEN] {
                let now = pairing.now;
                pairing.sides[side].handle_vitals(Vitals { traffic, acknowledged, ..Vitals::default() }, now);
                pairing.drain(side);
            }
            if acknowledged > 0 {
                break;
            }
        }
        assert!(acknowledged > 0, "after {cut_ms} ms: not a packet carried in a minute");
    }
}
