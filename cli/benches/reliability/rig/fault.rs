//! What goes wrong, and how it is put right.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use natlab::{
    LinkSpec, NatSpec, Side,
    kernel::{Flood, NatBox},
};
use rustix::process::Signal;

use super::stage::{Stage, usual_link};

/// Time from one forged error to the next.
const FORGED_EVERY: Duration = Duration::from_millis(5);

/// Time from one loss of all flows to the next.
const FORGETS_EVERY: Duration = Duration::from_secs(10);

/// What happens to the network, a clock or a process while a connection is in use.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The boxes of these sides forget every flow.
    Reboots(&'static [Side]),
    /// The boxes of a side have no power for a while.
    PowerCut(Side),
    /// The boxes of these sides forget every flow again and again, for a while.
    Forgets(&'static [Side]),
    /// A side's innermost box becomes another NAT.
    Becomes(Side, &'static str),
    /// The innermost boxes of both sides become other NATs.
    BothBecome([&'static str; 2]),
    /// A side gets another public address; who names it by a name is told.
    NewPublicIp(Side),
    /// A side gets another public address; who names it by a name is told a while later.
    NewPublicIpUntold(Side),
    /// A side's host gets another address.
    NewLease(Side),
    /// A side's host moves to another interface, with another address.
    NewInterface(Side),
    /// A side's host has no network for a while, and then another interface with another address.
    Roams(Side),
    /// A side's host has no default route for a while.
    NoRoute(Side),
    /// The interface of a side's host is down for a while.
    Unplugged(Side),
    /// The link behaves otherwise for a while.
    Link(LinkSpec),
    /// A side's program does not run for a while.
    Stopped(Side),
    /// A side's wall clock jumps by so much.
    ClockJumps(Side, &'static str),
    /// Somebody forges ICMP errors about the tunnel's packets, toward both sides.
    Forgery,
}

impl Fault {
    /// Tells whether the network is usable as soon as the fault has happened: there is nothing to wait for.
    pub(crate) fn is_momentary(self) -> bool {
        match self {
            Fault::Reboots(_)
            | Fault::Forgets(_)
            | Fault::Becomes(..)
            | Fault::BothBecome(_)
            | Fault::NewPublicIp(_)
            | Fault::NewLease(_)
            | Fault::NewInterface(_)
            | Fault::ClockJumps(..)
            | Fault::Forgery => true,
            Fault::PowerCut(_)
            | Fault::NewPublicIpUntold(_)
            | Fault::Roams(_)
            | Fault::NoRoute(_)
            | Fault::Unplugged(_)
            | Fault::Link(_)
            | Fault::Stopped(_) => false,
        }
    }

    /// Lets it happen, lasts as long as it does, and puts right what is to be put right; returns the moment from which
    /// on the network is usable.
    pub(crate) fn happen(self, stage: &mut Stage, lasts: Duration) -> Result<Instant, String> {
        let begun = Instant::now();
        if let Fault::Forgery = self {
            forge(stage, lasts)?;
            return Ok(begun);
        }
        if let Fault::Forgets(sides) = self {
            while begun.elapsed() < lasts {
                forget(stage, sides)?;
                thread::sleep(FORGETS_EVERY);
            }
            return Ok(begun);
        }
        self.begin(stage)?;
        if self.is_momentary() {
            return Ok(Instant::now());
        }
        thread::sleep((begun + lasts).saturating_duration_since(Instant::now()));
        self.end(stage)?;
        Ok(Instant::now())
    }

    fn begin(self, stage: &mut Stage) -> Result<(), String> {
        let lab = &mut stage.lab;
        let done = match self {
            Fault::Reboots(sides) => return forget(stage, sides),
            Fault::PowerCut(side) => lab.side(side).boxes().iter().try_for_each(NatBox::power_off),
            Fault::Becomes(side, name) => return become_another(stage, side, name),
            Fault::BothBecome(names) => {
                return Side::BOTH
                    .into_iter()
                    .try_for_each(|side| become_another(stage, side, names[side.index()]));
            }
            Fault::NewPublicIp(side) => {
                let ip = another(lab.side(side).public_ip());
                lab.set_public_ip(side, ip).map_err(|e| e.to_string())?;
                return stage.tell_names();
            }
            Fault::NewPublicIpUntold(side) => lab.set_public_ip(side, another(lab.side(side).public_ip())),
            Fault::NewLease(side) => lab.set_host_ip(side, another(lab.host(side).ip())),
            Fault::NewInterface(side) => lab.move_host(side, another(lab.host(side).ip())),
            Fault::NoRoute(side) => lab.take_route(side),
            Fault::Unplugged(side) | Fault::Roams(side) => lab.unplug(side),
            Fault::Link(spec) => lab.link().set(spec),
            Fault::Stopped(side) => return stage.program(side).signal(Signal::STOP),
            Fault::ClockJumps(_, by) => return stage.clock()?.jump(by),
            Fault::Forgets(_) | Fault::Forgery => Ok(()),
        };
        done.map_err(|e| e.to_string())
    }

    fn end(self, stage: &mut Stage) -> Result<(), String> {
        let lab = &mut stage.lab;
        let done = match self {
            Fault::PowerCut(side) => lab.side(side).boxes().iter().try_for_each(NatBox::power_on),
            Fault::NoRoute(side) => lab.give_route(side),
            Fault::Unplugged(side) => lab.plug(side),
            Fault::Roams(side) => lab.move_host(side, another(lab.host(side).ip())),
            Fault::NewPublicIpUntold(_) => return stage.tell_names(),
            Fault::Link(_) => lab.link().set(usual_link()),
            Fault::Stopped(side) => return stage.program(side).signal(Signal::CONT),
            Fault::Reboots(_)
            | Fault::Forgets(_)
            | Fault::Becomes(..)
            | Fault::BothBecome(_)
            | Fault::NewPublicIp(_)
            | Fault::NewLease(_)
            | Fault::NewInterface(_)
            | Fault::ClockJumps(..)
            | Fault::Forgery => Ok(()),
        };
        done.map_err(|e| e.to_string())
    }
}

/// Has the boxes of these sides forget every flow.
fn forget(stage: &Stage, sides: &[Side]) -> Result<(), String> {
    let mut boxes = sides.iter().flat_map(|side| stage.lab.side(*side).boxes());
    boxes.try_for_each(NatBox::flush_conntrack).map_err(|e| e.to_string())
}

fn become_another(stage: &mut Stage, side: Side, name: &str) -> Result<(), String> {
    let spec = NatSpec::preset(name).map_err(|e| e.to_string())?;
    stage.lab.nat(side, 0).change(&spec.boxes()[0]).map_err(|e| e.to_string())
}

/// Returns another address of the same network.
fn another(ip: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = ip.octets();
    Ipv4Addr::new(a, b, c, 77)
}

/// Floods both sides with forged errors about every answered flow of their outermost boxes: once by the peer's own
/// address, and once by somebody in between.
fn forge(stage: &Stage, lasts: Duration) -> Result<(), String> {
    let lab = &stage.lab;
    let count = u32::try_from(lasts.as_millis() / FORGED_EVERY.as_millis()).unwrap_or(u32::MAX);
    let mut floods = Vec::new();
    for side in Side::BOTH {
        let Some(outermost) = lab.side(side).boxes().last() else { continue };
        let flows = outermost.udp_flows().map_err(|e| e.to_string())?;
        for flow in flows.iter().filter(|flow| flow.is_replied) {
            let from_peer = Flood {
                offender: *flow.remote.ip(),
                src: flow.outside,
                dst: flow.remote,
                count,
                every: FORGED_EVERY,
            };
            floods.push((from_peer, lab.side(side).internet()));
            let offender = lab.stranger_ips()[0];
            floods.push((Flood { offender, ..from_peer }, &**lab.stranger()));
        }
    }
    if floods.is_empty() {
        return Err("no box remembers the tunnel's flow".to_owned());
    }
    thread::scope(|scope| {
        let runs: Vec<_> = floods.iter().map(|(flood, from)| scope.spawn(|| flood.run(from))).collect();
        let all = runs.into_iter().map(|run| run.join().expect("a flood does not panic"));
        all.collect::<Result<Vec<()>, _>>().map(drop).map_err(|e| e.to_string())
    })
}
