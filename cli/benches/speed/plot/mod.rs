//! Plots in SVG that need nothing from elsewhere and suit light and dark pages.

mod curves;

use crate::{
    figures::{Figures, Samples},
    peers::Peer,
    table::NONE,
};

pub(crate) use curves::Curve;

/// What a plot's figures count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    name: &'static str,
    digits: usize,
}

impl Unit {
    pub(crate) const GBIT_PER_S: Unit = Unit { name: "Gbit/s", digits: 2 };
    pub(crate) const MBIT_PER_S: Unit = Unit { name: "Mbit/s", digits: 1 };
    pub(crate) const CPU: Unit = Unit { name: "CPU-seconds for a gigabyte, both ends", digits: 2 };
    pub(crate) const MICROSECONDS: Unit = Unit { name: "µs", digits: 0 };
    pub(crate) const SHARE: Unit = Unit { name: "1 is all that the link can carry", digits: 2 };
    pub(crate) const TIMES: Unit = Unit { name: "times the idle link's", digits: 2 };
    pub(crate) const PER_S: Unit = Unit { name: "per second", digits: 0 };
    pub(crate) const MIB: Unit = Unit { name: "MiB", digits: 0 };
}

/// Bars that stand together.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    title: String,
    bars: Vec<(Peer, Samples)>,
}

impl Group {
    /// Gathers one kind of figure of all peers.
    pub(crate) fn of(
        title: impl Into<String>,
        peers: &[Peer],
        figures: &Figures,
        kind: &'static str,
    ) -> Group {
        Group::new(title, peers, |peer| figures.samples(peer, kind))
    }

    /// Gathers what is reckoned for each peer.
    pub(crate) fn new(title: impl Into<String>, peers: &[Peer], samples: impl Fn(Peer) -> Samples) -> Group {
        Group { title: title.into(), bars: peers.iter().map(|peer| (*peer, samples(*peer))).collect() }
    }
}

/// A picture for the document.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    /// Of its file, without `benchmarks-` and `.svg`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) svg: String,
}

const WIDTH: usize = 760;

/// Where bars begin and how long the longest is.
const LEFT: usize = 170;
const LONGEST: usize = 460;

/// Heights of a bar's line, of a group's heading, and of what stands above and below all.
const LINE: usize = 20;
const HEADING: usize = 26;
const TOP: usize = 66;
const BELOW: usize = 18;

const STYLE: &str = r#"
  svg { font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
  .page { fill: #fff } .ink { fill: #1c2733 } .soft { fill: #5c6b7a } .grid { stroke: #dde3e8 } .reach { stroke: #1c2733 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0f151b } .ink { fill: #e4eaf0 } .soft { fill: #93a2b1 } .grid { stroke: #26313b } .reach { stroke: #e4eaf0 }
  }
  polyline { stroke-width: 2 } .reach { stroke-width: 1.4; stroke-opacity: .7 }
  .title { font-size: 17px; font-weight: 600 } .sub, .group { font-size: 12.5px } .group { font-weight: 600 }
  .small { font-size: 12px }
"#;

impl Plot {
    /// Draws groups of bars: the medians, each with a line from the least to the most.
    pub(crate) fn bars(name: &'static str, title: &'static str, unit: Unit, groups: &[Group]) -> Plot {
        let most = |(_, samples): &(Peer, Samples)| samples.range().map(|[_, most]| most);
        let longest = groups.iter().flat_map(|group| &group.bars).filter_map(most).fold(0.0, f64::max);
        let scale = LONGEST as f64 / if longest > 0.0 { longest } else { 1.0 };
        let mut parts = Vec::new();
        let mut y = TOP;
        for group in groups {
            parts.push(text("ink group", LEFT as f64, y as f64 + 16.0, "start", &group.title));
            y += HEADING;
            for (peer, samples) in &group.bars {
                parts.push(bar(*peer, samples, unit, scale, y as f64));
                y += LINE;
            }
        }
        let subtitle = format!("{}; the line is the range of all rounds", unit.name);
        Plot { name, title, svg: page(title, &subtitle, y + BELOW, &parts) }
    }
}

fn bar(peer: Peer, samples: &Samples, unit: Unit, scale: f64, y: f64) -> String {
    let name = text("ink small", LEFT as f64 - 10.0, y + 12.0, "end", peer.name());
    let (Some(median), Some([least, most])) = (samples.median(), samples.range()) else {
        return format!("{name}{}", text("soft small", LEFT as f64 + 2.0, y + 12.0, "start", NONE));
    };
    let x = |figure: f64| LEFT as f64 + figure * scale;
    let figure = text("ink small", x(most) + 8.0, y + 12.0, "start", &format!("{median:.*}", unit.digits));
    format!(
        r#"{name}<rect class="bar {}" x="{LEFT}" y="{y}" width="{:.1}" height="14" rx="2"/><path class="reach" d="M{:.1} {middle}H{:.1}"/>{figure}"#,
        class(peer),
        (median * scale).max(1.0),
        x(least),
        x(most),
        middle = y + 7.0,
    )
}

/// Writes a whole picture.
fn page(title: &str, subtitle: &str, height: usize, parts: &[String]) -> String {
    let label = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{label}\">\n<style>{STYLE}{}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n{}\n{}\n{}\n</svg>\n",
        colours(),
        text("ink title", 24.0, 32.0, "start", title),
        text("soft sub", 24.0, 52.0, "start", subtitle),
        parts.join("\n")
    )
}

fn text(class: &str, x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escape(words))
}

/// Writes each peer's colours, on a light page and on a dark one.
fn colours() -> String {
    let rules = |dark: bool| -> String {
        let rule = |peer: &Peer| {
            let (class, [on_light, on_dark]) = look(*peer);
            let colour = if dark { on_dark } else { on_light };
            format!("  .{class} {{ fill: {colour} }} polyline.{class} {{ fill: none; stroke: {colour} }}\n")
        };
        Peer::ALL.iter().map(rule).collect()
    };
    format!("{}  @media (prefers-color-scheme: dark) {{\n{}  }}\n", rules(false), rules(true))
}

fn class(peer: Peer) -> &'static str {
    look(peer).0
}

fn look(peer: Peer) -> (&'static str, [&'static str; 2]) {
    match peer {
        Peer::Direct => ("direct", ["#9aa7b3", "#7d8a96"]),
        Peer::Ceiling => ("ceiling", ["#6f8f6f", "#86ad86"]),
        Peer::Socat => ("socat", ["#b7a06a", "#c9b27c"]),
        Peer::Ssh => ("ssh", ["#3b6ea5", "#6ea3dc"]),
        Peer::Dumbpipe => ("dumbpipe", ["#7a5195", "#b08ad0"]),
        Peer::Pinhole => ("pinhole", ["#d9480f", "#ff8a50"]),
        Peer::Uncompressed => ("uncompressed", ["#e8a584", "#b3663d"]),
        Peer::Other => ("other", ["#c2255c", "#f783ac"]),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
