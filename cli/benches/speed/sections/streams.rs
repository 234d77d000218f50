//! From one stream to ten thousand at once: what all carry together, what one more echo takes, memory and CPU.

use std::{collections::HashSet, thread, time::Duration};

use super::Section;
use crate::{
    bars::Bar,
    figures::Figures,
    ground::Ground,
    measure::{self, Crowd},
    options::Options,
    peers::{Peer, Tunnel},
    plot::{Curve, Plot},
    table::{Column, Table},
};

const PEERS: [Peer; 4] = [Peer::Direct, Peer::Ssh, Peer::Dumbpipe, Peer::Pinhole];

const COUNTS: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// The number of streams that has a bar.
const WITH_BAR: usize = 1_000;

/// Time for which all receive, and its beginning that does not count.
const TIME: Duration = Duration::from_secs(2);
const SKIP: Duration = Duration::from_millis(500);

/// When memory is looked at.
const LOOK_AFTER: Duration = Duration::from_millis(1800);

/// Time for a tunnel to clear away what was cut off.
const SETTLING: Duration = Duration::from_millis(500);

const GOODPUT: &str = "goodput";
const CPU: &str = "CPU";
const ECHO: &str = "echo";
const RSS: [&str; 2] = ["RSS serve", "RSS open"];
const MADE: &str = "made";

const COLUMNS: [Column; 6] = [
    Column { head: "Gbit/s", kind: GOODPUT, digits: 2 },
    Column { head: "CPU-s/GB", kind: CPU, digits: 2 },
    Column { head: "echo p50, ms", kind: ECHO, digits: 2 },
    Column { head: "RSS serve, MiB", kind: RSS[0], digits: 0 },
    Column { head: "RSS open, MiB", kind: RSS[1], digits: 0 },
    Column { head: "made in, s", kind: MADE, digits: 2 },
];

/// Measures all peers with each number of streams.
pub(super) fn run(options: &Options) -> Result<Section, String> {
    let peers = options.peers_of(&PEERS);
    let mut section = Section::new("streams", "One stream to ten thousand");
    let mut curves: Vec<Curve> = peers.iter().map(|peer| Curve { peer: *peer, points: Vec::new() }).collect();
    for count in COUNTS {
        let figures = measure_all(count, &peers, options)?;
        let title = if count == 1 { "1 stream".to_owned() } else { format!("{count} streams") };
        section.tables.push(Table::of(&COLUMNS, &peers, &figures).titled(title));
        if count == WITH_BAR {
            section.bars.extend(bars(&figures));
        }
        for curve in &mut curves {
            let goodput = figures.median(curve.peer, GOODPUT).filter(|goodput| *goodput > 0.0);
            curve.points.extend(goodput.map(|goodput| (count as f64, goodput)));
        }
        section.undone.extend(figures.undone);
    }
    let title = "What all streams carry together";
    section.plots.push(Plot::curves("streams", title, "Gbit/s, by the number of streams", &curves));
    Ok(section)
}

fn measure_all(count: usize, peers: &[Peer], options: &Options) -> Result<Figures, String> {
    let ground = Ground::wire()?;
    let mut figures = Figures::default();
    let tunnels = Tunnel::start_all(peers, &ground, options, &mut figures);
    let mut overtaxed = HashSet::new();
    for round in 0..options.runs {
        for tunnel in &tunnels {
            if overtaxed.contains(&tunnel.peer) {
                continue;
            }
            if let Err(why) = measure_one(&ground, tunnel, count, round, &mut figures) {
                figures.give_up(tunnel.peer, &format!("{count} streams: {why}"));
                overtaxed.insert(tunnel.peer);
            }
            thread::sleep(SETTLING);
        }
    }
    Ok(figures)
}

fn measure_one(
    ground: &Ground,
    tunnel: &Tunnel,
    count: usize,
    round: usize,
    figures: &mut Figures,
) -> Result<(), String> {
    let crowd = Crowd::gather(ground, tunnel.address, count, [Duration::ZERO, TIME, SKIP])?;
    let (made_in, before) = (crowd.made_in, measure::cpu(ground, tunnel));
    let echo = measure::start_echo(ground, tunnel.address, TIME, SKIP)?;
    thread::sleep(LOOK_AFTER);
    let rss = tunnel.rss_kib();
    let (total_bytes, bits_per_s) = crowd.finish(TIME)?;
    let cpu = measure::cpu(ground, tunnel).saturating_sub(before);
    let echo = measure::finish_echo(echo, TIME)?;
    let mut record = |kind, figure| figures.record(round, tunnel.peer, kind, figure);
    record(GOODPUT, bits_per_s / 1e9);
    if tunnel.cpu().is_some() {
        record(CPU, cpu.as_secs_f64() * 1e9 / total_bytes.max(1) as f64);
    }
    record(ECHO, echo.p50.as_secs_f64() * 1e3);
    record(MADE, made_in.as_secs_f64());
    RSS.into_iter().zip(rss).for_each(|(kind, kib)| record(kind, kib as f64 / 1024.0));
    Ok(())
}

fn bars(figures: &Figures) -> Vec<Bar> {
    let bar = |(name, other)| {
        let ratio = figures.ratio(Peer::Pinhole, other, GOODPUT);
        Bar::least(format!("{WITH_BAR} streams together ÷ {name}'s"), ratio, 1.0)
    };
    [("dumbpipe", Peer::Dumbpipe), ("ssh -L", Peer::Ssh)].map(bar).into()
}
