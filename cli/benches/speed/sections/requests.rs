//! Connections per second: each makes one request and gets a kilobyte, as HTTP does without keep-alive.

use std::time::Duration;

use super::Section;
use crate::{
    bars::Bar,
    figures::Figures,
    ground::Ground,
    measure,
    options::Options,
    peers::{Peer, Tunnel},
    plot::{Group, Plot, Unit},
    table::{Column, Table},
};

const PEERS: [Peer; 5] = [Peer::Direct, Peer::Socat, Peer::Ssh, Peer::Dumbpipe, Peer::Pinhole];

/// Time of one measurement.
const TIME: Duration = Duration::from_secs(1);

/// Connections that are under way at once.
const MANY: usize = 64;

const ALONE: &str = "alone";
const ALONE_P50: &str = "alone p50";
const CROWDED: &str = "crowded";
const CROWDED_P50: &str = "crowded p50";
const CROWDED_P99: &str = "crowded p99";

const COLUMNS: [Column; 5] = [
    Column { head: "1 at a time: per second", kind: ALONE, digits: 0 },
    Column { head: "p50, µs", kind: ALONE_P50, digits: 0 },
    Column { head: "64 at a time: per second", kind: CROWDED, digits: 0 },
    Column { head: "p50, ms", kind: CROWDED_P50, digits: 1 },
    Column { head: "p99, ms", kind: CROWDED_P99, digits: 1 },
];

/// Measures all peers.
pub(super) fn run(options: &Options) -> Result<Section, String> {
    let ground = Ground::wire()?;
    let peers = options.peers_of(&PEERS);
    let mut figures = Figures::default();
    let tunnels = Tunnel::start_all(&peers, &ground, options, &mut figures);
    for round in 0..options.runs {
        for tunnel in &tunnels {
            if let Err(why) = measure_one(&ground, tunnel, round, &mut figures) {
                figures.give_up(tunnel.peer, &why);
            }
        }
    }
    let mut section = Section::new("requests", "Connections with one request each");
    section.tables.push(Table::of(&COLUMNS, &peers, &figures));
    let ratio = |other| figures.ratio(Peer::Pinhole, other, CROWDED);
    for (name, other) in [("dumbpipe", Peer::Dumbpipe), ("ssh -L", Peer::Ssh)] {
        section.bars.push(Bar::least(format!("connections per second ÷ {name}'s"), ratio(other), 1.0));
    }
    let title = "Connections with one request each";
    let groups = [("1 at a time", ALONE), ("64 at a time", CROWDED)];
    let groups = groups.map(|(title, kind)| Group::of(title, &peers, &figures, kind));
    section.plots.push(Plot::bars("requests", title, Unit::PER_S, &groups));
    section.undone = figures.undone;
    Ok(section)
}

fn measure_one(ground: &Ground, tunnel: &Tunnel, round: usize, figures: &mut Figures) -> Result<(), String> {
    let alone = measure::requests(ground, tunnel.address, TIME, 1)?;
    let crowded = measure::requests(ground, tunnel.address, TIME, MANY)?;
    let mut record = |kind, figure| figures.record(round, tunnel.peer, kind, figure);
    record(ALONE, alone.per_s);
    record(ALONE_P50, alone.p50.as_secs_f64() * 1e6);
    record(CROWDED, crowded.per_s);
    record(CROWDED_P50, crowded.p50.as_secs_f64() * 1e3);
    record(CROWDED_P99, crowded.p99.as_secs_f64() * 1e3);
    match alone.failed + crowded.failed {
        0 => Ok(()),
        failed => Err(format!("{failed} connections got no answer")),
    }
}
