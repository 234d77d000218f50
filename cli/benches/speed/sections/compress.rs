//! Compression: text over a narrow link, and what it costs where nothing can be compressed.

use std::time::Duration;

use natlab::LinkSpec;

use super::Section;
use crate::{
    bars::Bar,
    figures::Figures,
    ground::Ground,
    measure::{self, Load},
    options::Options,
    peers::{self, Peer, Tunnel},
    plot::{Group, Plot, Unit},
    table::{Column, Table},
};

const PEERS: [Peer; 3] = [Peer::Direct, Peer::Pinhole, Peer::Uncompressed];

/// The narrow link.
const BITS_PER_S: u64 = 20_000_000;
const ONE_WAY: Duration = Duration::from_millis(20);
const QUEUE_BYTES: usize = 400_000;

/// One transfer over it, and the beginning that does not count.
const TIME: [Duration; 2] = [Duration::from_secs(6), Duration::from_secs(2)];

const PROSE: &str = "prose";
const SOURCES: &str = "sources";
const NARROW: &str = "incompressible, link";
const WIDE: &str = "incompressible, veth";

const COLUMNS: [Column; 4] = [
    Column { head: "20 Mbit/s × 40 ms: prose, Mbit/s", kind: PROSE, digits: 1 },
    Column { head: "sources", kind: SOURCES, digits: 1 },
    Column { head: "incompressible", kind: NARROW, digits: 1 },
    Column { head: "incompressible, veth: Gbit/s", kind: WIDE, digits: 2 },
];

/// Measures this build with and without compression.
pub(super) fn run(options: &Options) -> Result<Section, String> {
    let mut section = Section::new("compress", "Compression");
    if !peers::can_compress() {
        section.undone.push("this build has no --compress".to_owned());
        return Ok(section);
    }
    let (peers, mut figures) = (options.peers_of(&PEERS), Figures::default());
    narrow(&peers, options, &mut figures)?;
    wide(&peers, options, &mut figures)?;
    section.tables.push(Table::of(&COLUMNS, &peers, &figures));
    for kind in [PROSE, SOURCES] {
        let text = figures.median(Peer::Pinhole, kind).map(|rate| rate * 1e6 / BITS_PER_S as f64);
        section.bars.push(Bar::least(format!("{kind} over 20 Mbit/s ÷ the link"), text, 3.0));
    }
    for (what, kind) in [("20 Mbit/s", NARROW), ("virtual Ethernet", WIDE)] {
        let ratio = figures.ratio(Peer::Pinhole, Peer::Uncompressed, kind);
        section.bars.push(Bar::least(format!("incompressible over {what} ÷ compression off"), ratio, 0.99));
    }
    let groups = [("prose", PROSE), ("sources", SOURCES), ("incompressible", NARROW)];
    let groups = groups.map(|(title, kind)| Group::of(title, &peers, &figures, kind));
    section.plots.push(Plot::bars("compress", "Compression over 20 Mbit/s", Unit::MBIT_PER_S, &groups));
    section.undone = figures.undone;
    Ok(section)
}

fn narrow(peers: &[Peer], options: &Options, figures: &mut Figures) -> Result<(), String> {
    let spec = LinkSpec {
        rate_bits_per_s: Some(BITS_PER_S),
        queue_bytes: QUEUE_BYTES,
        ..LinkSpec::delayed(ONE_WAY)
    };
    let ground = Ground::link(spec)?;
    let loads = [(Load::Prose, PROSE), (Load::Sources, SOURCES), (Load::Watched, NARROW)];
    measure_all(&ground, peers, options, loads, 1e6, TIME, figures);
    Ok(())
}

fn wide(peers: &[Peer], options: &Options, figures: &mut Figures) -> Result<(), String> {
    let ground = Ground::wire()?;
    let time = [options.seconds, options.seconds / 5];
    measure_all(&ground, peers, options, [(Load::Down, WIDE)], 1e9, time, figures);
    Ok(())
}

fn measure_all<const N: usize>(
    ground: &Ground,
    peers: &[Peer],
    options: &Options,
    loads: [(Load, &'static str); N],
    unit: f64,
    [time, skip]: [Duration; 2],
    figures: &mut Figures,
) {
    let tunnels = Tunnel::start_all(peers, ground, options, figures);
    for round in 0..options.runs {
        for tunnel in &tunnels {
            for (load, kind) in loads {
                ground.await_silence();
                match measure::flow(ground, tunnel, load, time, skip) {
                    Ok(flow) => figures.record(round, tunnel.peer, kind, flow.bits_per_s() / unit),
                    Err(why) => figures.give_up(tunnel.peer, &format!("{kind}: {why}")),
                }
            }
        }
    }
}
