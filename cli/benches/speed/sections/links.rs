//! One flow over links with delay, loss and a buffer, and the round trip meanwhile.
//!
//! While the flow goes on, one-byte echoes pass the same link outside the tunnel and inside it; before it they do so on
//! the idle link. The link is the laboratory's: a rate, half of the round trip as delay each way, loss of packets each
//! way, and a buffer of four bandwidth-delay products.

use std::time::Duration;

use natlab::LinkSpec;

use super::Section;
use crate::{
    bars::Bar,
    figures::{Figures, Samples},
    ground::Ground,
    measure,
    options::Options,
    peers::{Peer, Tunnel},
    plot::{Group, Plot, Unit},
    table::{Column, Table},
};

const PEERS: [Peer; 4] = [Peer::Direct, Peer::Ssh, Peer::Dumbpipe, Peer::Pinhole];

/// One transfer, and its beginning, in which a congestion control finds the rate.
const TIME: Duration = Duration::from_secs(8);
const SKIP: Duration = Duration::from_secs(2);

/// Echoes on the idle link, and those of them that do not count.
const IDLE: [Duration; 2] = [Duration::from_millis(2500), Duration::from_millis(400)];

/// What a full packet carries for a TCP with timestamps, and its size.
const PAYLOAD_BYTES: f64 = 1448.0;
const PACKET_BYTES: f64 = 1500.0;

const GOODPUT: &str = "goodput";
const OF_LINK: &str = "of the link";
const IDLE_OUTSIDE: &str = "idle outside";
const LOADED_OUTSIDE: &str = "loaded outside";
const IDLE_P50: &str = "idle p50";
const IDLE_P99: &str = "idle p99";
const LOADED_P50: &str = "loaded p50";
const LOADED_P99: &str = "loaded p99";
const CPU: &str = "CPU";

const COLUMNS: [Column; 8] = [
    Column { head: "Mbit/s", kind: GOODPUT, digits: 1 },
    Column { head: "of the link's payload", kind: OF_LINK, digits: 3 },
    Column { head: "CPU-s/GB", kind: CPU, digits: 2 },
    Column { head: "outside, idle, ms", kind: IDLE_OUTSIDE, digits: 1 },
    Column { head: "under load", kind: LOADED_OUTSIDE, digits: 1 },
    Column { head: "inside, idle p50, ms", kind: IDLE_P50, digits: 1 },
    Column { head: "under load p50", kind: LOADED_P50, digits: 1 },
    Column { head: "p99", kind: LOADED_P99, digits: 1 },
];

/// One link and what was promised on it.
#[derive(Debug, Clone, Copy)]
struct Road {
    name: &'static str,
    mbit_per_s: u32,
    round_trip_ms: u32,
    /// Percent of packets.
    loss: f64,
    promise: Promise,
}

#[derive(Debug, Clone, Copy)]
enum Promise {
    /// At least so much of what the kernel's TCP does directly.
    OfDirect(f64),
    /// At least so much of the payload that the link can carry.
    OfLink(f64),
    /// Echoes through the tunnel stay fast while it is full: p50 and p99 over those of the idle tunnel.
    Snappy(f64, f64),
}

const ROADS: [Road; 6] = [
    Road { name: "100x50", mbit_per_s: 100, round_trip_ms: 50, loss: 0.0, promise: Promise::OfDirect(0.95) },
    Road {
        name: "100x50-0.1",
        mbit_per_s: 100,
        round_trip_ms: 50,
        loss: 0.1,
        promise: Promise::OfDirect(0.93),
    },
    Road {
        name: "100x50-1",
        mbit_per_s: 100,
        round_trip_ms: 50,
        loss: 1.0,
        promise: Promise::OfDirect(0.90),
    },
    Road { name: "300x100", mbit_per_s: 300, round_trip_ms: 100, loss: 0.0, promise: Promise::OfLink(0.85) },
    Road { name: "20x200-2", mbit_per_s: 20, round_trip_ms: 200, loss: 2.0, promise: Promise::OfLink(0.80) },
    Road { name: "20x40", mbit_per_s: 20, round_trip_ms: 40, loss: 0.0, promise: Promise::Snappy(1.3, 2.0) },
];

/// What the round trip outside the tunnel may grow to under load, where nothing gets lost by chance.
const MAX_GROWTH: f64 = 1.3;

/// Bandwidth-delay products that wait in the buffer.
const BUFFER: u64 = 4;

/// Measures every link that is wanted.
pub(super) fn run(options: &Options) -> Result<Section, String> {
    let is_known = |name: &String| ROADS.iter().any(|road| road.name == name);
    if let Some(unknown) = options.links.iter().find(|name| !is_known(name)) {
        let names = ROADS.map(|road| road.name).join(", ");
        return Err(format!("there is no link '{unknown}'; there are {names}"));
    }
    let peers = options.peers_of(&PEERS);
    let mut section = Section::new("links", "One flow over a link");
    let (mut shares, mut growths) = (Vec::new(), Vec::new());
    for road in ROADS.iter().filter(|road| options.wants_road(road.name)) {
        let figures = road.measure(&peers, options)?;
        section.tables.push(Table::of(&COLUMNS, &peers, &figures).titled(road.title()));
        section.bars.extend(road.bars(&figures));
        shares.push(Group::of(road.title(), &peers, &figures, OF_LINK));
        if road.loss == 0.0 {
            growths
                .push(Group::new(road.title(), &peers, |peer| growth(&figures, peer, LOADED_P50, IDLE_P50)));
        }
        section.undone.extend(figures.undone);
    }
    let [share, growth] =
        ["What a flow makes of the link", "An echo through the tunnel while a flow fills it"];
    section.plots.push(Plot::bars("links", share, Unit::SHARE, &shares));
    section.plots.push(Plot::bars("snappy", growth, Unit::TIMES, &growths));
    Ok(section)
}

/// How many times as long echoes take under load.
fn growth(figures: &Figures, peer: Peer, loaded: &'static str, idle: &'static str) -> Samples {
    figures.samples(peer, loaded).over(&figures.samples(peer, idle))
}

impl Road {
    fn measure(&self, peers: &[Peer], options: &Options) -> Result<Figures, String> {
        let ground = Ground::link(self.spec())?;
        let mut figures = Figures::default();
        let tunnels = Tunnel::start_all(peers, &ground, options, &mut figures);
        for round in 0..options.runs {
            for tunnel in &tunnels {
                if let Err(why) = self.measure_one(&ground, tunnel, round, &mut figures) {
                    figures.give_up(tunnel.peer, &format!("{}: {why}", self.name));
                }
            }
        }
        Ok(figures)
    }

    fn measure_one(
        &self,
        ground: &Ground,
        tunnel: &Tunnel,
        round: usize,
        figures: &mut Figures,
    ) -> Result<(), String> {
        let mut record = |kind, figure| figures.record(round, tunnel.peer, kind, figure);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        ground.await_silence();
        let [time, skip] = IDLE;
        let idle = measure::echoes(ground, [ground.direct_address(), tunnel.address], time, skip)?;
        let loaded = measure::loaded(ground, tunnel, TIME, SKIP)?;
        record(IDLE_OUTSIDE, ms(idle[0].p50));
        record(IDLE_P50, ms(idle[1].p50));
        record(IDLE_P99, ms(idle[1].p99));
        record(GOODPUT, loaded.flow.bits_per_s() / 1e6);
        record(OF_LINK, loaded.flow.bits_per_s() / self.payload_bits_per_s());
        record(CPU, loaded.flow.cpu_s_per_gb());
        record(LOADED_OUTSIDE, ms(loaded.outside.p50));
        record(LOADED_P50, ms(loaded.inside.p50));
        record(LOADED_P99, ms(loaded.inside.p99));
        Ok(())
    }

    fn spec(&self) -> LinkSpec {
        let bits_per_s = u64::from(self.mbit_per_s) * 1_000_000;
        let queue = BUFFER * bits_per_s * u64::from(self.round_trip_ms) / 8000;
        LinkSpec {
            rate_bits_per_s: Some(bits_per_s),
            queue_bytes: usize::try_from(queue).expect("megabytes"),
            loss: self.loss / 100.0,
            ..LinkSpec::delayed(Duration::from_millis(self.round_trip_ms.into()) / 2)
        }
    }

    fn payload_bits_per_s(&self) -> f64 {
        f64::from(self.mbit_per_s) * 1e6 * PAYLOAD_BYTES / PACKET_BYTES
    }

    fn title(&self) -> String {
        let Road { mbit_per_s, round_trip_ms, loss, .. } = self;
        format!("{mbit_per_s} Mbit/s, round trip {round_trip_ms} ms, {loss} % loss")
    }

    fn bars(&self, figures: &Figures) -> Vec<Bar> {
        let title = self.title();
        let growth = |loaded, idle| growth(figures, Peer::Pinhole, loaded, idle).median();
        let mut bars = match self.promise {
            Promise::OfDirect(bound) => {
                let ratio = figures.ratio(Peer::Pinhole, Peer::Direct, GOODPUT);
                vec![Bar::least(format!("{title}: goodput ÷ kernel TCP's"), ratio, bound)]
            }
            Promise::OfLink(bound) => {
                let share = figures.median(Peer::Pinhole, OF_LINK);
                vec![Bar::least(format!("{title}: goodput ÷ the link's payload"), share, bound)]
            }
            Promise::Snappy(p50, p99) => vec![
                Bar::most(format!("{title}: echo p50 under load ÷ idle"), growth(LOADED_P50, IDLE_P50), p50),
                Bar::most(format!("{title}: echo p99 under load ÷ idle"), growth(LOADED_P99, IDLE_P99), p99),
            ],
        };
        if self.loss == 0.0 {
            let growth = growth(LOADED_OUTSIDE, IDLE_OUTSIDE);
            bars.push(Bar::most(format!("{title}: round trip under load ÷ idle"), growth, MAX_GROWTH));
        }
        bars
    }
}
