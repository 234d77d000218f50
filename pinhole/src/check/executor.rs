//! The executor of one side's orders in a survey: opens sockets, sends probes, notes what arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use pinhole_proto::{
    Role,
    probe::ProbeSeal,
    puncher::{Pair, SocketId, Transmit},
    survey::{Allowance, Heard, MAX_SOCKETS, Orders, Report, Socket, SurveyProbe, of_token, token},
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{CheckError, Plan};
use crate::mux::{PeerMux, SurveyArrival};

/// Numbers of the sockets of a survey: far from those that the puncher gives.
const FIRST_SOCKET: u16 = 60_000;

/// Least time between two probes: 200 in a second, beside the few of a path in use.
const GAP: Duration = Duration::from_millis(5);

/// Packets in a second that are left to the path in use, where the user allows few.
const FOR_PATH: u16 = 10;

/// Time between two copies of one probe.
const PASS: Duration = Duration::from_millis(25);

/// Kinds of arrivals that are remembered of one round.
const MAX_HEARD: usize = 1024;

/// The same of one probe: it comes to one socket, and from one address, unless somebody copies it.
const MAX_HEARD_OF_ONE: usize = 4;

/// Executes one side's orders: its sockets, and what arrived at them.
pub(super) struct Executor {
    mux: Arc<PeerMux>,
    role: Role,
    seal: ProbeSeal,
    arrivals: mpsc::Receiver<SurveyArrival>,
    peer: SocketAddr,
    pair: Pair,
    low_ttl: u8,
    gap: Duration,
    opened: u16,
    allowance: Allowance,
    /// The number drawn for this check: probes with another one do not count.
    instance: u64,
    round: u32,
    counts: BTreeMap<(u16, Socket, SocketAddr), u16>,
    /// The mappings that probes have made.
    flows: BTreeSet<(Socket, SocketAddr)>,
    max_flows: usize,
}

impl Executor {
    pub(super) fn new(mux: Arc<PeerMux>, seal: ProbeSeal, role: Role, pair: Pair, plan: &Plan) -> Self {
        let arrivals = mux.survey_probes(seal.clone(), role.other());
        Self {
            mux,
            role,
            seal,
            arrivals,
            peer: pair.remote,
            pair,
            low_ttl: plan.low_ttl,
            gap: GAP.max(
                Duration::from_secs(1) / u32::from(plan.packets_per_second.saturating_sub(FOR_PATH).max(1)),
            ),
            opened: 0,
            allowance: Allowance::default(),
            instance: 0,
            round: 0,
            counts: BTreeMap::new(),
            flows: BTreeSet::new(),
            max_flows: usize::from(plan.mappings) + usize::from(plan.lifetime_mappings),
        }
    }

    /// Sets the number drawn for this check. To be called before the first round.
    pub(super) fn set_instance(&mut self, instance: u64) {
        self.instance = instance;
    }

    /// Returns the address of the tunnel's socket, as this side knows it.
    pub(super) fn inside(&self, ip: IpAddr) -> SocketAddr {
        SocketAddr::new(ip, self.mux.port(self.pair.socket).unwrap_or(0))
    }

    /// Opens sockets and sends probes, within the totals of a check. What arrives of the peer's probes of that round
    /// counts from now on.
    pub(super) async fn carry_out(&mut self, number: u32, orders: &Orders) -> Result<Vec<u16>, CheckError> {
        if !self.allowance.take_round(orders, self.peer) {
            return Err(CheckError::Nonsense);
        }
        self.round = number;
        self.counts.clear();
        let ports = self.open(orders.open)?;
        let mut ticks = interval(self.gap);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..orders.repeats {
            let next_pass = Instant::now() + PASS;
            for (index, probe) in (0..).zip(&orders.probes) {
                ticks.tick().await;
                self.send(number, index, probe);
                self.take_in();
            }
            sleep_until(next_pass).await;
            self.take_in();
        }
        Ok(ports)
    }

    /// Reports what has arrived since the round began.
    pub(super) fn report(&mut self, ports: Vec<u16>) -> Report {
        self.take_in();
        let heard = self.counts.iter().map(|((probe, at, from), count)| Heard {
            probe: *probe,
            at: *at,
            from: *from,
            count: *count,
        });
        Report { ports, heard: heard.collect() }
    }

    fn open(&mut self, count: u16) -> Result<Vec<u16>, CheckError> {
        if self.opened.saturating_add(count) > MAX_SOCKETS {
            return Err(CheckError::Nonsense);
        }
        let mut ports = Vec::new();
        for _ in 0..count {
            self.opened += 1;
            let id = SocketId(FIRST_SOCKET + self.opened);
            self.mux.open(id, 0).map_err(|error| CheckError::Socket(error.to_string()))?;
            ports.push(self.mux.port(id).unwrap_or(0));
        }
        Ok(ports)
    }

    /// A probe that the system refuses is lost, as on any network.
    fn send(&mut self, round: u32, index: u16, probe: &SurveyProbe) {
        let flow = (probe.from, probe.to);
        let is_known = self.flows.contains(&flow) || probe.from == Socket::PAIR && probe.to == self.peer;
        let has_room = is_known || self.flows.len() < self.max_flows;
        let mut nonce = [0; 24];
        if !has_room || getrandom::fill(&mut nonce).is_err() {
            return;
        }
        self.flows.insert(flow);
        let socket = match probe.from {
            Socket::PAIR => self.pair.socket,
            Socket(number) => SocketId(FIRST_SOCKET.saturating_add(number)),
        };
        let transmit = Transmit {
            pair: Pair { socket, remote: probe.to },
            ttl: probe.is_low.then_some(self.low_ttl),
            payload: self.seal.seal_survey_probe(self.role, self.instance, token(round, index), nonce),
        };
        if let Err(error) = self.mux.send_probe(&transmit) {
            tracing::debug!(%error, pair = ?transmit.pair, "survey probe not sent");
        }
    }

    fn take_in(&mut self) {
        while let Ok(arrival) = self.arrivals.try_recv() {
            let (round, probe) = of_token(arrival.token);
            let at = match arrival.pair.socket {
                id if id == self.pair.socket => Socket::PAIR,
                SocketId(number) => Socket(number.saturating_sub(FIRST_SOCKET)),
            };
            tracing::trace!(round, probe, ?at, from = %arrival.pair.remote, "survey probe");
            let is_of_now = arrival.instance == self.instance && round == self.round;
            let kind = (probe, at, arrival.pair.remote);
            let of_this = || self.counts.keys().filter(|(other, ..)| *other == probe).count();
            let has_room = || self.counts.len() < MAX_HEARD && of_this() < MAX_HEARD_OF_ONE;
            if is_of_now && (self.counts.contains_key(&kind) || has_room()) {
                let count = self.counts.entry(kind).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
}
