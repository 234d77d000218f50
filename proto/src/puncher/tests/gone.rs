//! Who is silent is not dead: what may end a tunnel that waits for its path, and what must not.

use std::net::IpAddr;

use super::{wire::*, *};

const ELSEWHERE: &str = "10.9.8.7";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP")
}

/// A path that is lost. Both sides have that own address: no NAT stands before the open side if it is 203.0.113.9, and
/// the two run on one machine then, as far as the serve side can tell.
fn lost(own: IpAddr, outside: Option<SocketAddr>) -> Wire {
    let mut wire = Wire::new(20 * MS);
    wire.translate = outside.map(|outside| (OPEN_ADDRESS, outside));
    wire.start_both();
    for side in [SERVE, OPEN] {
        let now = wire.now;
        wire.sides[side].set_local(Some(own), now);
    }
    wire.run_until_connected();
    wire.run_for(Duration::from_secs(3));
    wire.lose = Some((1, 100));
    while !wire.events[SERVE].iter().any(|e| matches!(e, Event::PathLost(_))) {
        let until = wire.now.instant + Duration::from_secs(30);
        assert!(wire.step(until), "the loss is noticed");
    }
    wire
}

impl Wire {
    /// Lets what the serve side sends be refused in the peer's name for that long, and its system's table say that the
    /// port is closed; returns whether it takes the peer for gone.
    fn is_gone_within(&mut self, time: Duration) -> bool {
        let until = self.now.instant + time;
        while self.now.instant < until {
            let last = self.recorded.iter().rposition(|(from, _)| *from == SERVE).expect("a probe");
            let pair = Pair { socket: SocketId::MAIN, remote: self.targets[last] };
            let quoted = self.recorded[last].1.clone();
            let kind = IcmpKind::PortUnreachable;
            let icmp = Icmp { pair, kind, offender: pair.remote.ip(), quoted: &quoted };
            let now = self.now;
            let side = &mut self.sides[SERVE];
            side.handle_icmp(&icmp, now);
            if side.doubts_peer(&icmp) {
                side.handle_closed(now);
            }
            self.run_for(100 * MS);
        }
        self.events[SERVE].contains(&Event::PeerGone)
    }
}

const LONG: Duration = Duration::from_secs(200);

#[test]
fn a_program_on_this_very_machine_whose_port_is_closed_is_gone_within_seconds() {
    assert!(lost(OPEN_ADDRESS.ip(), None).is_gone_within(Duration::from_secs(3)));
}

#[test]
fn a_peer_on_another_machine_is_never_gone_however_long_it_is_refused_in_its_name() {
    // Neither behind NATs, nor with public addresses of both: the address may be somebody else's by now.
    for own in [ip("192.168.1.2"), SERVE_ADDRESS.ip()] {
        assert!(!lost(own, None).is_gone_within(LONG), "{own}");
    }
}

#[test]
fn a_peer_behind_a_nat_of_this_machine_is_not_gone_though_nobody_has_its_port_here() {
    assert!(!lost(OPEN_ADDRESS.ip(), Some(address("203.0.113.9:61234"))).is_gone_within(LONG));
}

#[test]
fn what_is_refused_by_icmp_alone_is_not_gone() {
    let mut wire = lost(OPEN_ADDRESS.ip(), None);
    for _ in 0..1000 {
        let quoted = wire.recorded.iter().rfind(|(from, _)| *from == SERVE).expect("a probe").1.clone();
        let pair = Pair { socket: SocketId::MAIN, remote: OPEN_ADDRESS };
        let icmp =
            Icmp { pair, kind: IcmpKind::PortUnreachable, offender: OPEN_ADDRESS.ip(), quoted: &quoted };
        let now = wire.now;
        wire.sides[SERVE].handle_icmp(&icmp, now);
        wire.run_for(100 * MS);
    }
    assert!(!wire.events[SERVE].contains(&Event::PeerGone));
}

#[test]
fn whoever_moves_while_it_searches_knows_it_even_if_it_had_no_address_in_between() {
    let mut wire = lost(OPEN_ADDRESS.ip(), None);
    for local in [None, Some(ip(ELSEWHERE))] {
        let now = wire.now;
        wire.sides[SERVE].set_local(local, now);
        wire.run_for(Duration::from_secs(1));
    }
    assert!(wire.sides[SERVE].context.has_moved());
    assert!(!wire.is_gone_within(LONG));
}

#[test]
fn an_address_that_is_back_as_it_was_is_no_move() {
    let mut wire = lost(ip("192.168.1.2"), None);
    for local in [None, Some(ip("192.168.1.2"))] {
        let now = wire.now;
        wire.sides[SERVE].set_local(local, now);
    }
    assert!(!wire.sides[SERVE].context.has_moved());
}

#[test]
fn a_word_of_the_peer_takes_back_that_its_port_is_closed() {
    let mut wire = lost(OPEN_ADDRESS.ip(), None);
    assert!(!wire.is_gone_within(1900 * MS));
    let word = wire.recorded.iter().rfind(|(from, _)| *from == OPEN).expect("a word").1.clone();
    wire.inject(SERVE, OPEN_ADDRESS, &word);
    assert!(!wire.is_gone_within(LONG), "in its search the peer cannot know whether a NAT stands before it");
}

#[test]
fn a_path_to_another_of_the_peer_s_addresses_is_no_move_of_ours() {
    let mut wire = Wire::new(40 * MS);
    wire.start_both();
    let now = wire.now;
    wire.sides[OPEN].set_local(Some(ip("192.168.1.2")), now);
    wire.run_until_connected();
    wire.second = Some(4 * MS);
    let now = wire.now;
    wire.sides[OPEN].set_peer(&[SERVE_ADDRESS, SECOND_ADDRESSES[SERVE]], now);
    assert_eq!(wire.sides[OPEN].heading(), Some(SERVE_ADDRESS));
    wire.run_for(Duration::from_secs(700));
    assert_eq!(wire.sides[OPEN].heading(), Some(SECOND_ADDRESSES[SERVE]));
    let now = wire.now;
    wire.sides[OPEN].set_local(Some(SECOND_ADDRESSES[OPEN].ip()), now);
    assert!(wire.sides[OPEN].connected_pair().is_some());
    wire.sides[OPEN].set_local(Some(ip(ELSEWHERE)), now);
    assert!(wire.sides[OPEN].connected_pair().is_none(), "this one is");
}
