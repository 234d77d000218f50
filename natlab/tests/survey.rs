//! What a check finds out about each preset, held against what the preset is.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, SocketAddrV4},
    time::{Duration, Instant},
};

use natlab::{
    Arrival, LinkSpec, NatSpec, Network, Place, Side, UdpTimers,
    chance::Chance,
    punch::{Met, Punch},
};
use pinhole_proto::{
    nat::{Verdict, punchable},
    survey::{
        Agreement, Allowance, Heard, LIFETIME_MAPPINGS, LifetimeSeen, MAX_MAPPINGS, MappingSeen, Orders,
        PortsSeen, Report, Round, Seen, Since, Socket, Stand, Survey, of_token, token,
    },
};

/// Time between two probes, and between two repeats.
const GAP: Duration = Duration::from_millis(4);
const PASS: Duration = Duration::from_millis(40);

/// Time between two packets of a tunnel at rest.
const KEEPALIVE: Duration = Duration::from_secs(8);

/// Time for the last probes of a round.
const GRACE: Duration = Duration::from_millis(500);

/// Two hosts with their sockets, between which a tunnel stands.
struct World {
    network: Network,
    nats: [NatSpec; 2],
    /// By the socket's number.
    ports: [Vec<u16>; 2],
    /// Where the tunnel's socket of each side is seen.
    outside: [SocketAddr; 2],
    chance: Chance,
    flows: [std::collections::BTreeSet<(u16, SocketAddr)>; 2],
    /// What each side still carries out.
    allowances: [Allowance; 2],
}

/// Lets two sides meet and surveys them; `None` where they do not meet.
fn survey(a: &NatSpec, b: &NatSpec, seed: u64) -> Option<([Seen; 2], World)> {
    let (machine, world) = surveyed(a, b, seed)?;
    Some((machine.seen(), world))
}

fn surveyed(a: &NatSpec, b: &NatSpec, seed: u64) -> Option<(Survey, World)> {
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
        outside: [pairs[1].1, pairs[0].1],
        chance: Chance::new(seed),
        flows: Default::default(),
        allowances: Default::default(),
    };
    while let Some(round) = machine.next_round() {
        let reports = world.carry_out(&round);
        machine.handle_reports(reports);
    }
    Some((machine, world))
}

/// Finds out how long both NATs keep a mapping; also, how long that took.
fn lifetimes(a: &NatSpec, b: &NatSpec, seconds: u16) -> ([Option<LifetimeSeen>; 2], Duration) {
    let (machine, mut world) = (0..9).find_map(|seed| surveyed(a, b, seed)).expect("one of nine meets");
    let begun = world.network.now();
    let flows = world.flows.clone().map(|flows| flows.len());
    let mut lifetime = machine.lifetime(seconds);
    let (mut last, mut quiet) = (begun, begun);
    while let Some(due) = lifetime.next_round() {
        let since = if due.since == Since::Quiet { quiet } else { last };
        world.rest_until(since + due.after);
        let began = world.network.now();
        lifetime.handle_reports(world.carry_out(&due.round));
        last = world.network.now();
        if due.since == Since::Last {
            quiet = began;
        }
    }
    for (after, before) in world.flows.iter().zip(flows) {
        let made = after.len() - before;
        assert!(made <= usize::from(LIFETIME_MAPPINGS), "{a} × {b}: {made} mappings");
    }
    (lifetime.seen(), world.network.now() - begun)
}

/// Returns a preset whose NATs forget an answered flow after so many seconds, and any other after ten.
fn forgetful(name: &str, seconds: u64) -> NatSpec {
    let preset = NatSpec::preset(name).expect("a preset");
    let timers = UdpTimers { unreplied: Duration::from_secs(10), stream: Duration::from_secs(seconds) };
    let boxes: Vec<_> = preset.boxes().iter().map(|spec| spec.clone().with_timers(timers)).collect();
    NatSpec::new(name, boxes)
}

impl World {
    fn carry_out(&mut self, round: &Round) -> [Report; 2] {
        for (index, allowance) in self.allowances.iter_mut().enumerate() {
            let is_taken = allowance.take_round(&round.orders[index], self.outside[1 - index]);
            assert!(is_taken, "a side refuses orders of round {}", round.number);
        }
        let mut reports = [0, 1]
            .map(|index| Report { ports: self.open(index, round.orders[index].open), heard: Vec::new() });
        let mut post: Vec<(Duration, usize, usize)> =
            (0..2).flat_map(|index| times(&round.orders[index]).map(move |(at, n)| (at, index, n))).collect();
        post.sort_unstable();
        let began = self.network.now();
        let mut counts: [BTreeMap<(u16, u16, SocketAddr), u16>; 2] = Default::default();
        for (at, index, probe) in post {
            self.run_until(began + at, round.number, &mut counts);
            self.send(index, round, probe);
        }
        let end = self.network.now() + GRACE;
        self.run_until(end, round.number, &mut counts);
        for (report, counts) in reports.iter_mut().zip(counts) {
            let heard = counts.into_iter();
            report.heard = heard
                .map(|((probe, at, from), count)| Heard { probe, at: Socket(at), from, count })
                .collect();
        }
        reports
    }

    /// Lets time pass in which the tunnel alone keeps its pair awake, as its keepalive does.
    fn rest_until(&mut self, until: Instant) {
        while self.network.now() < until {
            let next = (self.network.now() + KEEPALIVE).min(until);
            self.network.advance_to(next);
            for index in 0..2 {
                let SocketAddr::V4(to) = self.outside[1 - index] else { panic!("the model has IPv4") };
                self.network.send(Place::Host(Side::BOTH[index]), self.ports[index][0], to, 64, Vec::new());
            }
        }
    }

    fn open(&mut self, index: usize, count: u16) -> Vec<u16> {
        let opened: Vec<u16> = (0..count).map(|_| 33_000 + self.chance.below(20_000) as u16).collect();
        let place = Place::Host(Side::BOTH[index]);
        opened.iter().for_each(|port| self.network.listen(place, *port));
        self.ports[index].extend(&opened);
        opened
    }

    fn send(&mut self, index: usize, round: &Round, number: usize) {
        let probe = round.orders[index].probes[number];
        let port = self.ports[index][usize::from(probe.from.0)];
        let SocketAddr::V4(to) = probe.to else { panic!("the model has IPv4") };
        let low = u8::try_from(self.nats[index].boxes().len() + 1).expect("few boxes");
        let ttl = if probe.is_low { low } else { 64 };
        self.flows[index].insert((port, probe.to));
        let payload = token(round.number, number as u16).to_be_bytes().to_vec();
        self.network.send(Place::Host(Side::BOTH[index]), port, to, ttl, payload);
    }

    fn run_until(
        &mut self,
        until: Instant,
        round: u32,
        counts: &mut [BTreeMap<(u16, u16, SocketAddr), u16>; 2],
    ) {
        while let Some(arrival) = self.network.poll_arrival(until) {
            let Arrival::Datagram(delivery) = arrival else { continue };
            let Place::Host(side) = delivery.to else { continue };
            let Ok(bytes) = <[u8; 8]>::try_from(delivery.payload.as_slice()) else { continue };
            let (number, probe) = of_token(u64::from_be_bytes(bytes));
            let at = self.ports[side.index()].iter().position(|port| *port == delivery.port);
            if let Some(at) = at.filter(|_| number == round) {
                let from: SocketAddrV4 = delivery.from;
                *counts[side.index()].entry((probe, at as u16, from.into())).or_default() += 1;
            }
        }
    }
}

fn times(orders: &Orders) -> impl Iterator<Item = (Duration, usize)> {
    let probes = orders.probes.len();
    let pass = (GAP * probes as u32).max(PASS);
    (0..u32::from(orders.repeats))
        .flat_map(move |repeat| (0..probes).map(move |n| (pass * repeat + GAP * n as u32, n)))
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
    assert_eq!(cone_seen.ports, PortsSeen::Moved, "probes of further sockets cannot reach the peer");
    assert_eq!(cone_seen.mapping, MappingSeen::NotByPort, "those that the peer has written from hear it");
}

#[test]
fn how_long_each_nat_keeps_a_mapping_is_found_between_two_silences() {
    let seen = |kept_s, gone_s| Some(LifetimeSeen { kept_s, gone_s });
    for (a, b) in [("home", "home"), ("firewall", "cone"), ("carrier", "restricted"), ("reject", "home")] {
        let (found, took) = lifetimes(&forgetful(a, 35), &forgetful(b, 120), 180);
        assert_eq!(found, [seen(28, Some(43)), seen(118, Some(148))], "{a} × {b}");
        assert!(took > Duration::from_secs(178) && took < Duration::from_secs(195), "{took:?}");
    }
    let [a, b] = [forgetful("home", 12), forgetful("home", 300)];
    assert_eq!(lifetimes(&a, &b, 60).0, [seen(0, Some(14)), seen(58, None)]);
}

#[test]
fn a_side_that_forgets_nothing_is_said_to_keep_all() {
    let open = NatSpec::preset("open").expect("a preset");
    let kept = Some(LifetimeSeen { kept_s: 88, gone_s: None });
    let forgot = Some(LifetimeSeen { kept_s: 43, gone_s: Some(58) });
    assert_eq!(lifetimes(&open, &forgetful("home", 50), 90).0, [kept, forgot]);
    // Its new sockets do not get in at the exact filter of a peer whose ports move.
    assert_eq!(lifetimes(&open, &forgetful("random", 50), 90).0, [None, forgot]);
}

#[test]
fn a_lifetime_that_the_peer_cannot_see_is_not_claimed() {
    // New sockets of the unpredictable side do not get in at an exact filter.
    let (found, took) = lifetimes(&forgetful("random", 40), &forgetful("home", 20), 60);
    assert_eq!(found[0], None);
    assert!(found[1].is_none_or(|seen| seen == LifetimeSeen { kept_s: 14, gone_s: Some(28) }), "{found:?}");
    assert!(took < Duration::from_secs(75), "{took:?}");
}
