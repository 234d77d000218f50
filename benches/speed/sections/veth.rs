//! One flow in each direction and a one-byte echo, between two hosts that a pair of virtual interfaces joins.

use std::time::Duration;

use crate::{
    figures::Samples,
    ground::Ground,
    measure::{self, Direction},
    options::Options,
    peers::{Peer, Tunnel},
    sections::Section,
    table::{Table, figure},
};

const PEERS: [Peer; 6] = [Peer::Direct, Peer::Ceiling, Peer::Socat, Peer::Ssh, Peer::Dumbpipe, Peer::Pinhole];

/// The beginning of a transfer that does not count, as a share of it.
const SKIP: f64 = 0.2;

/// Time for echoes.
const ECHO: Duration = Duration::from_millis(300);

/// What was measured of one peer.
#[derive(Default)]
struct Row {
    goodput: [Samples; 2],
    cpu: [Samples; 2],
    echo: [Samples; 2],
}

pub(super) fn run(options: &Options, with_offloads: bool) -> Result<Section, String> {
    let ground = Ground::wire("cubic")?;
    ground.set_offloads(with_offloads)?;
    let tunnels = Tunnel::start_all(&options.peers_of(&PEERS), &ground, options)?;
    let mut rows: Vec<Row> = tunnels.iter().map(|_| Row::default()).collect();
    let mut undone = Vec::new();
    for _ in 0..options.runs {
        for (tunnel, row) in tunnels.iter().zip(&mut rows) {
            if let Err(why) = round(&ground, tunnel, options.seconds, row) {
                undone.push(format!("{}: {why}", tunnel.peer.name()));
            }
        }
    }
    let title = if with_offloads { "veth, offloads on" } else { "veth, offloads off" };
    Ok(Section { title, tables: vec![table(&tunnels, &rows)], undone })
}

fn round(ground: &Ground, tunnel: &Tunnel, time: Duration, row: &mut Row) -> Result<(), String> {
    for direction in Direction::BOTH {
        let flow = measure::flow(ground, tunnel, direction, time, time.mul_f64(SKIP))?;
        row.goodput[direction as usize].push(flow.gbit_per_s());
        row.cpu[direction as usize].push(flow.cpu_s_per_gb());
    }
    let echo = measure::echo(ground, tunnel, ECHO)?;
    row.echo[0].push(echo.p50_us);
    row.echo[1].push(echo.p99_us);
    Ok(())
}

fn table(tunnels: &[Tunnel], rows: &[Row]) -> Table {
    let mut table =
        Table::new(["", "down, Gbit/s", "CPU-s/GB", "up, Gbit/s", "CPU-s/GB", "echo p50, µs", "p99, µs"]);
    for (tunnel, row) in tunnels.iter().zip(rows) {
        let [down, up] = &row.goodput;
        let [down_cpu, up_cpu] = &row.cpu;
        let mut line = vec![tunnel.peer.name().to_owned()];
        line.extend([down, down_cpu, up, up_cpu].map(|samples| figure(samples.median(), 2)));
        line.extend(row.echo.each_ref().map(|samples| figure(samples.median(), 0)));
        table.lines.push(line);
    }
    table
}
