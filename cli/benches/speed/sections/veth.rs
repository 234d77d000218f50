//! One flow in each direction and a one-byte echo, between two hosts that a pair of virtual interfaces joins.

use std::time::Duration;

use super::Section;
use crate::{
    bars::Bar,
    figures::Figures,
    ground::Ground,
    measure::{self, Load},
    options::Options,
    peers::{Peer, Tunnel},
    plot::{Group, Plot, Unit},
    table::{Column, Table},
};

const PEERS: [Peer; 6] = [Peer::Direct, Peer::Ceiling, Peer::Socat, Peer::Ssh, Peer::Dumbpipe, Peer::Pinhole];

/// The beginning of a transfer that does not count, as a share of it.
const SKIP: f64 = 0.2;

/// Time for echoes, and the part of it that does not count.
const ECHO: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(20)];

const GOODPUT: [&str; 2] = ["down", "up"];
const CPU: [&str; 2] = ["CPU down", "CPU up"];
const P50: &str = "echo p50";
const P99: &str = "echo p99";

const COLUMNS: [Column; 6] = [
    Column { head: "down, Gbit/s", kind: GOODPUT[0], digits: 2 },
    Column { head: "CPU-s/GB", kind: CPU[0], digits: 2 },
    Column { head: "up, Gbit/s", kind: GOODPUT[1], digits: 2 },
    Column { head: "CPU-s/GB", kind: CPU[1], digits: 2 },
    Column { head: "echo p50, µs", kind: P50, digits: 0 },
    Column { head: "p99, µs", kind: P99, digits: 0 },
];

/// Measures with or without offload of segmentation.
pub(super) fn run(options: &Options, with_offloads: bool) -> Result<Section, String> {
    let ground = Ground::wire()?;
    if !with_offloads {
        ground.turn_off_offloads()?;
    }
    let peers = options.peers_of(&PEERS);
    let mut figures = Figures::default();
    let tunnels = Tunnel::start_all(&peers, &ground, options, &mut figures);
    for round in 0..options.runs {
        for tunnel in &tunnels {
            if let Err(why) = measure_one(&ground, tunnel, options.seconds, round, &mut figures) {
                figures.give_up(tunnel.peer, &why);
            }
        }
    }
    let [name, title] = if with_offloads {
        ["veth", "One flow over virtual Ethernet"]
    } else {
        ["plain", "One flow over virtual Ethernet, without segmentation offload"]
    };
    let mut section = Section::new(name, title);
    section.tables.push(Table::of(&COLUMNS, &peers, &figures));
    section.bars = if with_offloads { bars(&figures) } else { plain_bars(&figures) };
    section.plots = if with_offloads { plots(&peers, &figures) } else { Vec::new() };
    section.undone = figures.undone;
    Ok(section)
}

fn measure_one(
    ground: &Ground,
    tunnel: &Tunnel,
    time: Duration,
    round: usize,
    figures: &mut Figures,
) -> Result<(), String> {
    for (index, load) in [Load::Down, Load::Up].into_iter().enumerate() {
        let flow = measure::flow(ground, tunnel, load, time, time.mul_f64(SKIP))?;
        figures.record(round, tunnel.peer, GOODPUT[index], flow.bits_per_s() / 1e9);
        figures.record(round, tunnel.peer, CPU[index], flow.cpu_s_per_gb());
    }
    let [time, skip] = ECHO;
    let echo = measure::echo(ground, tunnel.address, time, skip)?;
    figures.record(round, tunnel.peer, P50, echo.p50.as_secs_f64() * 1e6);
    figures.record(round, tunnel.peer, P99, echo.p99.as_secs_f64() * 1e6);
    Ok(())
}

fn plots(peers: &[Peer], figures: &Figures) -> Vec<Plot> {
    let group = |title, kind| Group::of(title, peers, figures, kind);
    vec![
        Plot::bars(
            "veth",
            "Goodput of one flow over virtual Ethernet",
            Unit::GBIT_PER_S,
            &[group("down: from the service", GOODPUT[0]), group("up: to the service", GOODPUT[1])],
        ),
        Plot::bars("cpu", "What a gigabyte costs", Unit::CPU, &[group("down", CPU[0]), group("up", CPU[1])]),
        Plot::bars(
            "echo",
            "One byte there and back",
            Unit::MICROSECONDS,
            &[group("median", P50), group("99th percentile", P99)],
        ),
    ]
}

fn bars(figures: &Figures) -> Vec<Bar> {
    let ratio = |other, kind| figures.ratio(Peer::Pinhole, other, kind);
    let mut bars = Vec::new();
    for (goodput, cpu) in GOODPUT.into_iter().zip(CPU) {
        bars.push(Bar::least(format!("goodput {goodput} ÷ dumbpipe's"), ratio(Peer::Dumbpipe, goodput), 2.0));
        bars.push(Bar::most(format!("CPU for a GB {goodput} ÷ dumbpipe's"), ratio(Peer::Dumbpipe, cpu), 0.6));
        bars.push(Bar::least(
            format!("goodput {goodput} ÷ the ceiling's"),
            ratio(Peer::Ceiling, goodput),
            0.45,
        ));
    }
    bars.push(Bar::most("one-byte echo, p50, µs", figures.median(Peer::Pinhole, P50), 100.0));
    bars.push(Bar::most("one-byte echo, p99, µs", figures.median(Peer::Pinhole, P99), 200.0));
    bars
}

fn plain_bars(figures: &Figures) -> Vec<Bar> {
    let bar = |kind| {
        let ratio = figures.ratio(Peer::Pinhole, Peer::Dumbpipe, kind);
        Bar::least(format!("goodput {kind} ÷ dumbpipe's, without offload"), ratio, 1.4)
    };
    GOODPUT.map(bar).into()
}
