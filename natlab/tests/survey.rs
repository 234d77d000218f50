//! What a check finds out about each preset, held against what the preset is.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, SocketAddrV4},
    time::Duration,
};

use natlab::{
    Arrival, LinkSpec, NatSpec, Network, Place, Side,
    chance::Chance,
    punch::{Met, Punch},
};
use pinhole_proto::{
    nat::{Verdict, punchable},
    survey::{
        Agreement, Heard, MAX_MAPPINGS, MappingSeen, Orders, PortsSeen, Report, Round, Seen, Socket, Stand,
        Survey, of_token, token,
    },
};

/// Time between two letters, and between two repeats.
const GAP: Duration = Duration::from_millis(4);
const PASS: Duration = Duration::from_millis(40);

/// Time for the last letters of a round.
const GRACE: Duration = Duration::from_millis(500);

/// Two hosts with their sockets, between which a tunnel stands.
struct World {
    network: Network,
    nats: [NatSpec; 2],
    /// By the socket's number.
    ports: [Vec<u16>; 2],
    chance: Chance,
    flows: [std::collections::BTreeSet<(u16, SocketAddr)>; 2],
}

/// Lets two sides meet and surveys them; none where they do not meet.
fn survey(a: &NatSpec, b: &NatSpec, seed: u64) -> Option<([Seen; 2], World)> {
    let mut punch = Punch::new(a.clone(), b.clone(), seed);
    punch.link = LinkSpec { loss: 0.02, ..LinkSpec::delayed(Duration::from_millis(20)) };
    let Met { network, pairs } = punch.meet()?;
    let ip = |side| network.ip(Place::Host(side));
    let stand = |index: usize| Stand {
        inside: (ip(Side::BOTH[index]), pairs[index].0).into(),
        outside: pairs[1 - index].1,
    };
    let mut machine = Survey::new([stand(0), stand(1)], [MAX_MAPPINGS; 2]);
    let mut world = World {
        network,
        nats: [a.clone(), b.clone()],
        ports: pairs.map(|(port, _)| vec![port]),
        chance: Chance::new(seed),
        flows: Default::default(),
    };
    while let Some(round) = machine.next_round() {
        let reports = world.carry_out(&round);
        machine.handle_reports(reports);
    }
    Some((machine.seen(), world))
}

impl World {
    fn carry_out(&mut self, round: &Round) -> [Report; 2] {
        let mut reports = [0, 1]
            .map(|index| Report { ports: self.open(index, round.orders[index].open), heard: Vec::new() });
        let mut post: Vec<(Duration, usize, usize)> =
            (0..2).flat_map(|index| times(&round.orders[index]).map(move |(at, n)| (at, index, n))).collect();
        post.sort_unstable();
        let began = self.network.now();
        let mut counts: [BTreeMap<(u16, u16, SocketAddr), u16>; 2] = Default::default();
        for (at, index, letter) in post {
            self.run_until(began + at, round.number, &mut counts);
            self.send(index, round, letter);
        }
        let end = self.network.now() + GRACE;
        self.run_until(end, round.number, &mut counts);
        for (report, counts) in reports.iter_mut().zip(counts) {
            let heard = counts.into_iter();
            report.heard = heard
                .map(|((letter, at, from), count)| Heard { letter, at: Socket(at), from, count })
                .collect();
        }
        reports
    }

    fn open(&mut self, index: usize, count: u16) -> Vec<u16> {
        let opened: Vec<u16> = (0..count).map(|_| 33_000 + self.chance.below(20_000) as u16).collect();
        let place = Place::Host(Side::BOTH[index]);
        opened.iter().for_each(|port| self.network.listen(place, *port));
        self.ports[index].extend(&opened);
        opened
    }

    fn send(&mut self, index: usize, round: &Round, number: usize) {
        let letter = round.orders[index].letters[number];
        assert!(round.orders[index].are_modest(letter.to));
        let port = self.ports[index][usize::from(letter.from.0)];
        let SocketAddr::V4(to) = letter.to else { panic!("the model has IPv4") };
        let low = u8::try_from(self.nats[index].boxes().len() + 1).expect("few boxes");
        let ttl = if letter.is_low { low } else { 64 };
        self.flows[index].insert((port, letter.to));
        let payload = token(round.number, number as u16).to_be_bytes().to_vec();
        self.network.send(Place::Host(Side::BOTH[index]), port, to, ttl, payload);
    }

    fn run_until(
        &mut self,
        until: std::time::Instant,
        round: u32,
        counts: &mut [BTreeMap<(u16, u16, SocketAddr), u16>; 2],
    ) {
        while let Some(arrival) = self.network.poll_arrival(until) {
            let Arrival::Datagram(delivery) = arrival else { continue };
            let Place::Host(side) = delivery.to else { continue };
            let Ok(bytes) = <[u8; 8]>::try_from(delivery.payload.as_slice()) else { continue };
            let (number, letter) = of_token(u64::from_be_bytes(bytes));
            let at = self.ports[side.index()].iter().position(|port| *port == delivery.port);
            if let Some(at) = at.filter(|_| number == round) {
                let from: SocketAddrV4 = delivery.from;
                *counts[side.index()].entry((letter, at as u16, from.into())).or_default() += 1;
            }
        }
    }
}

fn times(orders: &Orders) -> impl Iterator<Item = (Duration, usize)> {
    let letters = orders.letters.len();
    let pass = (GAP * letters as u32).max(PASS);
    (0..u32::from(orders.repeats))
        .flat_map(move |repeat| (0..letters).map(move |n| (pass * repeat + GAP * n as u32, n)))
}

fn presets() -> Vec<NatSpec> {
    NatSpec::presets()
}

#[test]
fn what_is_found_out_is_never_wrong_for_any_pair_and_stays_within_its_bound() {
    let mut wrong = Vec::new();
    for (a, b) in presets().iter().flat_map(|a| presets().into_iter().map(move |b| (a.clone(), b))) {
        if matches!(punchable(a.access(), b.access()), Verdict::No(_)) {
            continue;
        }
        let Some((seen, world)) = survey(&a, &b, 7) else { continue };
        for (index, side) in [&a, &b].into_iter().enumerate() {
            assert!(world.flows[index].len() <= usize::from(MAX_MAPPINGS), "{a} × {b}");
            if seen[index].agreement(side.access()) == Agreement::None {
                wrong.push(format!("{side} in {a} × {b}: {:?}", seen[index]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_preset_is_named_in_full_against_a_peer_that_lets_everybody_in() {
    for spec in presets().into_iter().filter(|spec| spec.name() != "blocked") {
        for peer in ["open", "cone", "restricted"] {
            let peer = NatSpec::preset(peer).expect("a preset");
            let (seen, _) = survey(&spec, &peer, 3).expect("they meet");
            let agreement = seen[0].agreement(spec.access());
            assert_eq!(agreement, Agreement::Whole, "{spec} against {peer}: {:?}", seen[0]);
            assert!(seen[0].arrived.is_some_and(|arrived| arrived > 80), "{:?}", seen[0]);
        }
    }
}

#[test]
fn every_preset_is_named_in_full_against_a_home_router() {
    let home = NatSpec::preset("home").expect("a preset");
    for spec in presets().into_iter().filter(|spec| spec.name() != "blocked") {
        let met: Vec<Seen> =
            (0..8).filter_map(|seed| survey(&spec, &home, seed)).map(|(seen, _)| seen[0]).collect();
        assert!(met.len() >= 6, "{spec}: {}", met.len());
        let count = |wanted| met.iter().filter(|seen| seen.agreement(spec.access()) == wanted).count();
        assert_eq!(count(Agreement::None), 0, "{spec}: {met:?}");
        assert!(count(Agreement::Whole) + 1 >= met.len(), "{spec}: {met:?}");
    }
}

#[test]
fn what_a_peer_cannot_tell_is_not_claimed() {
    let [random, cone] = ["random", "cone-random"].map(|name| NatSpec::preset(name).expect("a preset"));
    let met = (0..9).find_map(|seed| survey(&random, &cone, seed)).expect("one of nine meets");
    let ([_, cone_seen], _) = met;
    assert_eq!(cone_seen.ports, PortsSeen::Moved, "letters of further sockets cannot reach the peer");
    assert_eq!(cone_seen.mapping, MappingSeen::NotByPort, "those that the peer has written from hear it");
}
