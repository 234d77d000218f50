//! Two sessions without a NAT between them, and QUIC as the test says.

mod blocked;

use std::{net::Ipv4Addr, sync::OnceLock};

use super::*;
use crate::{key, probe::ProbeSeal, puncher::Schedule};

const ADDRESSES: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 4)), 5555),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), 5555),
];
const SERVE: usize = 0;
const OPEN: usize = 1;
const DELAY: Duration = Duration::from_millis(10);
const RELAY_DELAY: Duration = Duration::from_millis(9);
const COPIER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66)), 9999);

/// Two sessions, what is under way between them, and what they wanted of QUIC and their users.
struct Pairing {
    sides: [Session; 2],
    now: Now,
    under_way: VecDeque<(Instant, usize, SocketAddr, Vec<u8>)>,
    deadlines: [Option<Instant>; 2],
    wanted: [Vec<Output>; 2],
    is_cut: bool,
    /// Whether somebody at [`COPIER`] is faster than the open side with copies of its probes, and hands on the answers.
    is_copied: bool,
    /// Whether somebody at [`COPIER`] is a little faster than either side with copies of its probes, and hands on what is sent to
    /// him. He drops nothing on the way between the two.
    is_relayed: bool,
}

impl Pairing {
    #[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
    fn with(patience: Duration, is_named: bool) -> Self {
        let now = Now { instant: Instant::now(), unix: Duration::from_secs(1_800_000_000) };
        let sides = [Role::Serve, Role::Open].map(|role| {
            let side = if role == Role::Serve { SERVE } else { OPEN };
            let config = Config {
                puncher: puncher::Config::new(role, seal(), schedule(), [side as u8 + 1; 32], 5555),
                addresses: vec![ADDRESSES[1 - side]],
                is_named,
                patience,
            };
            Session::new(config, now)
        });
        let (under_way, wanted) = Default::default();
        let mut pairing = Self {
            sides,
            now,
            under_way,
            deadlines: [None; 2],
            wanted,
            is_cut: false,
            is_copied: false,
            is_relayed: false,
        };
        for side in [SERVE, OPEN] {
            pairing.sides[side].set_local(Some(ADDRESSES[side].ip()), None, now);
            pairing.sides[side].start(now);
            pairing.drain(side);
        }
        pairing
    }

    fn new() -> Self {
        Self::with(Duration::from_secs(3600), false)
    }

    /// Two sides that have just been punched, with the open side's handshake under way.
    fn punched() -> (Self, ConnectionHandle) {
        let mut pairing = Self::new();
        pairing.run_for(Duration::from_secs(1));
        let dialled = pairing.dialled().expect("the open side dials");
        (pairing, dialled)
    }

    /// Two sides with a tunnel.
    fn up(patience: Duration) -> Self {
        let mut pairing = Self::with(patience, true);
        pairing.run_for(Duration::from_secs(1));
        let dialled = pairing.dialled().expect("the open side dials");
        let now = pairing.now;
        let answered = pairing.sides[SERVE].handle_handshake(b"first id", now).expect("it answers");
        for (side, connection) in [(SERVE, answered), (OPEN, dialled)] {
            pairing.sides[side].handle_established(connection, now);
            pairing.drain(side);
            assert_eq!(pairing.sides[side].tunnel(), Some(connection));
        }
        pairing
    }

    fn dialled(&self) -> Option<ConnectionHandle> {
        self.wanted[OPEN].iter().rev().find_map(|output| {
            if let Output::Dial { connection, .. } = output { Some(*connection) } else { None }
        })
    }

    fn count(&self, side: usize, is_meant: impl Fn(&Output) -> bool) -> usize {
        self.wanted[side].iter().filter(|output| is_meant(output)).count()
    }

    fn drain(&mut self, side: usize) {
        loop {
            let output = self.sides[side].poll_output(self.now);
            if let Output::Timeout(deadline) = output {
                return self.deadlines[side] = deadline;
            }
            let Output::Transmit(transmit) = output else {
                self.wanted[side].push(output);
                continue;
            };
            let main = |remote| Pair { socket: SocketId::MAIN, remote };
            let is_main =
                transmit.pair == main(ADDRESSES[1 - side]) || self.is_copied && transmit.pair == main(COPIER);
            if is_main && transmit.ttl.is_none() && !self.is_cut {
                let at = self.now.instant + DELAY;
                self.under_way.push_back((at, 1 - side, ADDRESSES[side], transmit.payload.to_vec()));
            }
            let is_relays = is_main || transmit.pair == main(COPIER);
            if self.is_relayed && is_relays && transmit.ttl.is_none() && !self.is_cut {
                let at = self.now.instant + RELAY_DELAY;
                self.under_way.push_back((at, 1 - side, COPIER, transmit.payload.to_vec()));
            }
            self.under_way.make_contiguous().sort_by_key(|(at, ..)| *at);
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now.instant + time;
        loop {
            let arrival = self.under_way.front().map(|(at, ..)| *at);
            let next = self.deadlines.into_iter().flatten().chain(arrival).min().unwrap_or(end).min(end);
            self.now = self.now.after(next.saturating_duration_since(self.now.instant));
            if arrival.is_some_and(|at| at <= next) {
                let (_, side, from, payload) = self.under_way.pop_front().expect("just seen");
                let copied = (self.is_copied && side == SERVE).then_some(COPIER);
                for remote in copied.into_iter().chain([from]) {
                    let pair = Pair { socket: SocketId::MAIN, remote };
                    self.sides[side].handle_datagram(pair, &payload, self.now);
                    self.drain(side);
                }
                continue;
            }
            if next >= end {
                return;
            }
            for side in [SERVE, OPEN] {
                if self.deadlines[side].is_some_and(|at| at <= next) {
                    self.sides[side].handle_timeout(self.now);
                    self.drain(side);
                }
            }
        }
    }
}

fn seal() -> ProbeSeal {
    static SEAL: OnceLock<ProbeSeal> = OnceLock::new();
    SEAL.get_or_init(|| ProbeSeal::new(&key::of_test("session"))).clone()
}

fn schedule() -> Schedule {
    static SCHEDULE: OnceLock<Schedule> = OnceLock::new();
    SCHEDULE.get_or_init(|| Schedule::new(&key::of_test("session"))).clone()
}

fn is_up(output: &Output) -> bool {
    matches!(output, Output::Event(Event::TunnelUp { .. }))
}

fn is_without_offload(output: &Output) -> bool {
    matches!(output, Output::SetWithoutOffload(true))
}

#[test]
fn the_open_side_dials_over_the_pair_and_the_serve_side_answers_each_first_packet_once() {
    let (mut pairing, _) = Pairing::punched();
    assert_eq!(pairing.count(SERVE, |output| matches!(output, Output::Dial { .. })), 0);
    let now = pairing.now;
    assert_eq!(pairing.sides[OPEN].handle_handshake(b"one", now), None, "the open side is nobody's server");
    assert!(pairing.sides[SERVE].handle_handshake(b"one", now).is_some());
    assert_eq!(pairing.sides[SERVE].handle_handshake(b"one", now), None, "a copy");
    assert!(pairing.sides[SERVE].handle_handshake(b"two", now).is_some());
}

#[test]
fn handshakes_are_bounded_and_the_oldest_makes_room() {
    let (mut pairing, _) = Pairing::punched();
    let now = pairing.now;
    let first = pairing.sides[SERVE].handle_handshake(&[0], now).expect("it answers");
    for id in 1..=handshakes::MAX_HANDSHAKES {
        assert!(pairing.sides[SERVE].handle_handshake(&[id as u8], now).is_some());
    }
    pairing.drain(SERVE);
    assert_eq!(pairing.count(SERVE, |output| *output == Output::Abandon(first)), 1);
    pairing.sides[SERVE].handle_established(first, now);
    assert_eq!(pairing.sides[SERVE].tunnel(), None, "what was abandoned is no tunnel");
}

#[test]
fn whoever_holds_the_key_and_finishes_no_handshake_begins_few() {
    let (mut pairing, _) = Pairing::punched();
    let mut begun = |id: u8| pairing.sides[SERVE].handle_handshake(&[id], pairing.now).is_some();
    assert_eq!((0..100).filter(|id| begun(*id)).count(), 8);
    pairing.run_for(Duration::from_secs(4));
    assert!(pairing.sides[SERVE].handle_handshake(&[200], pairing.now).is_some());
}

#[test]
fn while_a_tunnel_stands_whose_peer_has_lost_it_one_handshake_a_second_may_begin() {
    let mut pairing = Pairing::up(Duration::from_secs(3600));
    pairing.run_for(Duration::from_secs(60));
    assert_eq!(
        pairing.sides[SERVE].handle_handshake(b"second", pairing.now),
        None,
        "the peer has the tunnel"
    );
    let (tunnel, now) = (pairing.sides[OPEN].tunnel().expect("it stands"), pairing.now);
    pairing.sides[OPEN].handle_ended(tunnel, TunnelEnd::Broken, now);
    pairing.drain(OPEN);
    pairing.run_for(Duration::from_secs(1));
    let now = pairing.now;
    assert!(pairing.sides[SERVE].handle_handshake(b"second", now).is_some());
    assert_eq!(pairing.sides[SERVE].handle_handshake(b"third", now), None);
    pairing.run_for(Duration::from_secs(1));
    assert!(pairing.sides[SERVE].handle_handshake(b"third", pairing.now).is_some());
}

#[test]
fn after_a_whole_handshake_in_vain_the_next_one_leaves_without_offload() {
    let (mut pairing, _) = Pairing::punched();
    assert_eq!(pairing.count(OPEN, is_without_offload), 0);
    pairing.run_for(Duration::from_secs(20));
    let failed = |output: &Output| {
        matches!(output, Output::Event(Event::HandshakeFailed { why: HandshakeError::Late }))
    };
    assert!(pairing.count(OPEN, failed) >= 1);
    assert!(pairing.count(OPEN, is_without_offload) >= 1);
}

#[test]
fn a_path_that_is_lost_before_its_handshake_says_nothing_about_how_datagrams_leave() {
    let (mut pairing, _) = Pairing::punched();
    pairing.is_cut = true;
    pairing.run_for(Duration::from_secs(60));
    pairing.is_cut = false;
    pairing.run_for(Duration::from_secs(60));
    assert!(pairing.dialled().is_some());
    let dials = |output: &Output| matches!(output, Output::Dial { .. });
    let lost = pairing.wanted[OPEN].iter().rposition(|output| *output == Output::Locate);
    let after = &pairing.wanted[OPEN][lost.expect("the path was lost")..];
    let first = after.iter().position(dials).expect("it dials again");
    assert!(!after[..first].iter().any(is_without_offload));
}

#[test]
fn a_handshake_that_fails_begins_the_search_anew_on_the_open_side_alone() {
    let (mut pairing, dialled) = Pairing::punched();
    let now = pairing.now;
    let answered = pairing.sides[SERVE].handle_handshake(b"one", now).expect("it answers");
    for (side, connection, searches) in [(OPEN, dialled, 1), (SERVE, answered, 0)] {
        pairing.wanted[side].clear();
        pairing.sides[side].handle_handshake_failed(connection, HandshakeError::Disagreed, now);
        pairing.drain(side);
        let events = |output: &Output| matches!(output, Output::Event(Event::Searching { .. }));
        assert_eq!(pairing.count(side, events), searches);
    }
}

#[test]
fn a_tunnel_without_a_path_ends_when_patience_does_and_not_before() {
    let mut pairing = Pairing::up(Duration::from_secs(60));
    pairing.is_cut = true;
    pairing.run_for(Duration::from_secs(50));
    let lost = |output: &Output| matches!(output, Output::Event(Event::PathLost { loss: Some(_) }));
    assert_eq!(pairing.count(OPEN, lost), 1);
    assert!(pairing.sides.iter().all(|side| side.tunnel().is_some()));
    pairing.run_for(Duration::from_secs(60));
    for side in [SERVE, OPEN] {
        assert_eq!(pairing.sides[side].tunnel(), None);
        let ended = |output: &Output| matches!(output, Output::Event(Event::TunnelLost(TunnelEnd::NoPath)));
        assert_eq!(pairing.count(side, ended), 1);
    }
}

#[test]
fn without_patience_a_tunnel_ends_with_its_path() {
    let mut pairing = Pairing::up(Duration::ZERO);
    pairing.is_cut = true;
    pairing.run_for(Duration::from_secs(60));
    assert!(pairing.sides.iter().all(|side| side.tunnel().is_none()));
    let lost = |output: &Output| matches!(output, Output::Event(Event::PathLost { .. }));
    assert_eq!(pairing.count(OPEN, lost), 0);
}

#[test]
fn a_tunnel_whose_peer_has_lost_its_end_is_replaced_at_once() {
    for lost in [SERVE, OPEN] {
        let mut pairing = Pairing::up(Duration::from_secs(3600));
        pairing.run_for(Duration::from_secs(60));
        pairing.wanted = Default::default();
        let (tunnel, now) = (pairing.sides[lost].tunnel().expect("it stands"), pairing.now);
        pairing.sides[lost].handle_ended(tunnel, TunnelEnd::Broken, now);
        pairing.drain(lost);
        pairing.run_for(Duration::from_secs(3));
        let (dialled, now) = (pairing.dialled().expect("the open side dials"), pairing.now);
        let answered = pairing.sides[SERVE].handle_handshake(b"another id", now).expect("it answers");
        for (side, connection) in [(SERVE, answered), (OPEN, dialled)] {
            pairing.sides[side].handle_established(connection, now);
            pairing.drain(side);
            assert_eq!(pairing.sides[side].tunnel(), Some(connection));
        }
        pairing.run_for(Duration::from_secs(600));
        assert!(pairing.sides.iter().all(|side| side.tunnel().is_some()));
    }
}

#[test]
fn a_tunnel_that_is_heard_by_its_new_path_goes_on() {
    let mut pairing = Pairing::up(Duration::from_secs(3600));
    pairing.is_cut = true;
    pairing.run_for(Duration::from_secs(10));
    pairing.is_cut = false;
    pairing.run_for(Duration::from_secs(5));
    for side in &mut pairing.sides {
        side.handle_vitals(Vitals { acknowledged: 1, ..Vitals::default() }, pairing.now);
    }
    pairing.run_for(Duration::from_secs(60));
    assert!(pairing.sides.iter().all(|side| side.tunnel().is_some()));
    assert_eq!(pairing.count(OPEN, is_up), 1);
}

#[test]
fn keys_are_renewed_by_the_open_side_while_the_tunnel_is_used() {
    let mut pairing = Pairing::up(Duration::from_secs(3600));
    pairing.run_for(Duration::from_secs(300));
    let renewals =
        |pairing: &Pairing| [SERVE, OPEN].map(|side| pairing.count(side, |output| *output == Output::Rekey));
    assert_eq!(renewals(&pairing), [0, 0], "nothing was opened");
    let traffic = puncher::Traffic { sent: 0, received: 1 };
    for side in &mut pairing.sides {
        side.handle_vitals(Vitals { traffic, ..Vitals::default() }, pairing.now);
    }
    pairing.run_for(Duration::from_secs(300));
    assert_eq!(renewals(&pairing), [0, 1]);
}

#[test]
fn a_name_is_looked_up_while_there_is_no_path_and_once_at_a_time() {
    let mut pairing = Pairing::up(Duration::from_secs(3600));
    let lookups = |pairing: &Pairing| pairing.count(OPEN, |output| *output == Output::LookUp);
    pairing.run_for(Duration::from_secs(300));
    assert_eq!(lookups(&pairing), 0, "there is a path");
    pairing.is_cut = true;
    pairing.run_for(Duration::from_secs(60));
    assert_eq!(lookups(&pairing), 1, "one is under way");
    let now = pairing.now;
    pairing.sides[OPEN].handle_resolved(None, now);
    pairing.drain(OPEN);
    assert_eq!(pairing.count(OPEN, |o| *o == Output::Event(Event::Resolved { ok: false })), 1);
    assert_eq!(pairing.sides[OPEN].addresses(), [ADDRESSES[SERVE]], "the former ones stay");
    pairing.run_for(Duration::from_secs(6));
    assert_eq!(lookups(&pairing), 2);
}

#[test]
fn a_peer_that_leaves_ends_the_tunnel_at_once() {
    let mut pairing = Pairing::up(Duration::from_secs(3600));
    let now = pairing.now;
    pairing.sides[SERVE].leave(now);
    pairing.drain(SERVE);
    pairing.run_for(Duration::from_secs(1));
    assert_eq!(pairing.sides[OPEN].tunnel(), None);
    assert_eq!(pairing.count(OPEN, |output| *output == Output::Event(Event::PeerLeft)), 1);
}
