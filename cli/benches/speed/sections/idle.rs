//! Ten thousand connections that do nothing: memory of each side, and CPU.

use std::{thread, time::Duration};

use super::Section;
use crate::{
    bars::Bar,
    figures::Figures,
    ground::Ground,
    measure::{self, Crowd},
    options::Options,
    peers::{Peer, Tunnel},
    plot::{Group, Plot, Unit},
    table::{Column, Table},
};

const PEERS: [Peer; 3] = [Peer::Ssh, Peer::Dumbpipe, Peer::Pinhole];

const COUNT: usize = 10_000;

/// Time for a tunnel to come to rest, and the time in which CPU is counted then.
const SETTLING: Duration = Duration::from_secs(2);
const COUNTED: Duration = Duration::from_secs(4);

/// Time for which the connections stand: until all was looked at.
const HOLD: Duration = Duration::from_secs(8);

/// What is promised of each side, MiB.
const MAX_RSS_MIB: f64 = 600.0;

/// Thousandths of one core that count as nothing.
const MAX_IDLE: f64 = 10.0;

const EMPTY: [&str; 2] = ["empty serve", "empty open"];
const FULL: [&str; 2] = ["full serve", "full open"];
const EACH: [&str; 2] = ["each serve", "each open"];
const CPU_EMPTY: &str = "CPU empty";
const CPU_FULL: &str = "CPU full";
const MADE: &str = "made";

const COLUMNS: [Column; 9] = [
    Column { head: "empty: serve, MiB", kind: EMPTY[0], digits: 0 },
    Column { head: "open", kind: EMPTY[1], digits: 0 },
    Column { head: "10,000: serve, MiB", kind: FULL[0], digits: 0 },
    Column { head: "open", kind: FULL[1], digits: 0 },
    Column { head: "one: serve, KiB", kind: EACH[0], digits: 1 },
    Column { head: "open", kind: EACH[1], digits: 1 },
    Column { head: "CPU empty, ‰ of a core", kind: CPU_EMPTY, digits: 1 },
    Column { head: "with 10,000", kind: CPU_FULL, digits: 1 },
    Column { head: "made in, s", kind: MADE, digits: 1 },
];

/// Measures one peer after the other, each new.
pub(super) fn run(options: &Options) -> Result<Section, String> {
    let peers = options.peers_of(&PEERS);
    let mut figures = Figures::default();
    for round in 0..options.runs {
        for peer in &peers {
            if let Err(why) = measure_one(*peer, options, round, &mut figures) {
                figures.give_up(*peer, &why);
            }
        }
    }
    let mut section = Section::new("idle", "Ten thousand idle connections");
    section.tables.push(Table::of(&COLUMNS, &peers, &figures));
    for (name, kind) in ["serve", "open"].into_iter().zip(FULL) {
        let rss = figures.median(Peer::Pinhole, kind);
        section.bars.push(Bar::most(format!("10,000 idle connections, {name} side, MiB"), rss, MAX_RSS_MIB));
    }
    let cpu = figures.median(Peer::Pinhole, CPU_FULL);
    section.bars.push(Bar::most("CPU of both with 10,000 idle connections, ‰ of a core", cpu, MAX_IDLE));
    let title = "Resident memory with 10,000 idle connections";
    let groups = [("serve side", FULL[0]), ("open side", FULL[1])];
    let groups = groups.map(|(title, kind)| Group::of(title, &peers, &figures, kind));
    section.plots.push(Plot::bars("idle", title, Unit::MIB, &groups));
    section.undone = figures.undone;
    Ok(section)
}

fn measure_one(peer: Peer, options: &Options, round: usize, figures: &mut Figures) -> Result<(), String> {
    let ground = Ground::wire()?;
    let tunnel = Tunnel::start(peer, &ground, options)?;
    let (empty, cpu_empty) = at_rest(&ground, &tunnel);
    let crowd = Crowd::gather(&ground, tunnel.address, COUNT, [HOLD, Duration::ZERO, Duration::ZERO])?;
    let made_in = crowd.made_in;
    let (full, cpu_full) = at_rest(&ground, &tunnel);
    crowd.finish(HOLD)?;
    let mut record = |kind, figure| figures.record(round, peer, kind, figure);
    for side in 0..2 {
        record(EMPTY[side], empty[side] / 1024.0);
        record(FULL[side], full[side] / 1024.0);
        record(EACH[side], (full[side] - empty[side]) / COUNT as f64);
    }
    record(CPU_EMPTY, cpu_empty);
    record(CPU_FULL, cpu_full);
    record(MADE, made_in.as_secs_f64());
    Ok(())
}

/// Returns the memory of both sides in KiB, and thousandths of a core that they use.
fn at_rest(ground: &Ground, tunnel: &Tunnel) -> ([f64; 2], f64) {
    thread::sleep(SETTLING);
    let before = measure::cpu(ground, tunnel);
    thread::sleep(COUNTED);
    let used = measure::cpu(ground, tunnel).saturating_sub(before);
    let rss = tunnel.rss_kib();
    let side = |index: usize| rss.get(index).copied().unwrap_or_default() as f64;
    ([side(0), side(1)], used.as_secs_f64() * 1e3 / COUNTED.as_secs_f64())
}
