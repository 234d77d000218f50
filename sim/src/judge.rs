//! What must always hold of two hosts, and what can be promised to them.

use std::time::Duration;

use natlab::{NatSpec, Side};
use pinhole_proto::{
    nat::{Unsolicited, Verdict, punchable},
    session::{Event, MAX_ROUTES, TunnelEnd},
};

use super::{
    app::TunnelId,
    program::{Program, Report},
    world::World,
};

/// Calls of the Puncher's timeout within a second: for each probe, and for each look.
const MAX_WAKES_A_SECOND: usize = 1100;

/// Probes within a second, mappings alive at once, sockets, connections of QUIC.
const MAX_PROBES_A_SECOND: usize = 500;
const MAX_FLOWS: usize = 1536;

/// As many more for each own address that a host had before.
const MAX_FLOWS_MORE: usize = 68;
const MAX_SOCKETS: usize = 700;
const MAX_CONNECTIONS: usize = 64;

/// Clocks further apart than this spoil slots, and windows for later.
const CLOCKS_AGREE: Duration = Duration::from_secs(5);

/// Says how soon two sides can be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// By their main pair.
    Soon,
    /// In the next window, by chance or because probes spoil ports.
    Later,
    /// Maybe never: what they need is that their clocks agree.
    None,
}

impl World {
    /// Holds what has just happened against what may happen.
    pub(super) fn judge(&mut self) {
        for side in Side::BOTH {
            let host = &mut self.hosts[side.index()];
            let Some(program) = &mut host.program else { continue };
            let reports = std::mem::take(&mut program.reports);
            let fault = program.app.fault.take().or_else(|| excess(program));
            if let Some(fault) = fault {
                self.fail(format!("{side:?}: {fault}"));
            }
            for report in reports {
                self.note(&(side, &report));
                self.judge_report(side, report);
            }
        }
    }

    fn judge_report(&mut self, side: Side, report: Report) {
        let life = self.hosts[side.index()].life;
        match report {
            Report::Up(id) => self.owners.entry(id).or_default()[side.index()] = Some(life),
            Report::Down(id, end) => self.judge_end(side, id, end),
            Report::Event(Event::PathLost { .. }) => self.counts.paths_lost += 1,
            Report::Event(Event::HandshakeFailed { .. }) => self.counts.handshakes_failed += 1,
            Report::Event(_) => {}
        }
    }

    /// A tunnel may end when a program did, when nobody wants to wait any longer, or when the other side has ended it,
    /// which was judged by itself.
    fn judge_end(&mut self, side: Side, id: TunnelId, end: Option<TunnelEnd>) {
        let peer = &self.hosts[side.other().index()];
        let had_it = self.owners.get(&id).and_then(|owners| owners[side.other().index()]);
        let has_it = peer.program.as_ref().and_then(|program| program.tunnel);
        let lives = had_it == Some(peer.life) && peer.program.is_some();
        match had_it {
            None => self.counts.stillborn += 1,
            Some(_)
                if !lives
                    || end == Some(TunnelEnd::NoPath)
                    || has_it.is_none_or(|(_, other)| other != id) =>
            {
                self.counts.tunnels_ended += 1;
            }
            Some(_) => self.fail(format!("{side:?}: a tunnel was reset: {end:?}; {}", self.describe())),
        }
    }

    /// What can be promised to two sides that are as they are now.
    pub fn promise(&self) -> Promise {
        let spoils = |spec: &NatSpec| spec.boxes().iter().any(|nat| nat.input == Unsolicited::Accept);
        let [a, b] = self.hosts.each_ref().map(|host| host.unix(self.now));
        match punchable(self.nats[0].access(), self.nats[1].access()) {
            _ if !Side::BOTH.into_iter().all(|side| self.is_named(side)) => Promise::None,
            Verdict::Direct | Verdict::ByChance if self.has_lost_ports() => Promise::None,
            // What is left then are slots.
            Verdict::Direct if self.has_moved_apart && a.abs_diff(b) >= CLOCKS_AGREE => Promise::None,
            Verdict::ByChance if self.has_moved() => Promise::None,
            // A router that has moved the main port moves it for as long as it is used.
            Verdict::ByChance if self.nats.iter().any(spoils) => Promise::None,
            Verdict::Direct if !self.nats.iter().any(spoils) => Promise::Soon,
            Verdict::Direct | Verdict::ByChance if a.abs_diff(b) < CLOCKS_AGREE => Promise::Later,
            Verdict::Direct | Verdict::ByChance | Verdict::No(_) => Promise::None,
        }
    }

    /// Whether a host has ever had another address.
    pub fn has_moved(&self) -> bool {
        self.hosts.iter().any(|host| host.moves > 0)
    }

    /// Whether a NAT may keep a main port for an address that its host had, while no tunnel is there that knows others.
    fn has_lost_ports(&self) -> bool {
        self.has_moved() && self.tunnel().is_none()
    }

    /// Holds the boxes' memory against the budget. Each run of a program has its own; and a box that takes what comes for
    /// its own remembers the peer's probes, too, whose budget they count in: once more when the peer's NAT has forgotten
    /// its flows and gives the same probes other ports, which no side can know of the other's router. Nor can it know that
    /// the peer's probes keep alive what was sent from an address that it had in this search.
    pub fn check_flows(&self) -> Result<(), String> {
        for side in Side::BOTH {
            let boxes = self.nats[side.index()].boxes();
            let lives = |side: Side| usize::try_from(self.hosts[side.index()].life.max(1)).expect("few");
            for (index, spec) in boxes.iter().enumerate() {
                let flows = self.network.nat(side, index).flow_peak();
                let peers = lives(side.other()) + usize::from(self.has_forgotten[side.other().index()]);
                let others = if spec.input == Unsolicited::Accept { peers } else { 0 };
                let more = if self.has_moved_apart { MAX_FLOWS } else { MAX_FLOWS_MORE };
                let moves = more * self.hosts[side.index()].moves;
                if flows > (MAX_FLOWS + moves) * (lives(side) + others) {
                    return Err(format!("{side:?}: {flows} flows at once in {} lives", lives(side)));
                }
            }
        }
        Ok(())
    }
}

/// Says which bound a program has exceeded.
fn excess(program: &Program) -> Option<String> {
    let (sockets, routes) = program.mux.sizes();
    let bounds = [
        ("probes a second", program.probes.peak, MAX_PROBES_A_SECOND),
        ("wakeups a second", program.wakes.peak, MAX_WAKES_A_SECOND),
        ("sockets", sockets, MAX_SOCKETS),
        ("routes", routes, MAX_ROUTES),
        ("connections", program.quic.count(), MAX_CONNECTIONS),
    ];
    let broken = bounds.into_iter().find(|(_, value, bound)| value > bound);
    broken.map(|(what, value, bound)| format!("{value} {what}, more than {bound}"))
}
