//! The matrix as a picture: a heat map in SVG that needs nothing from elsewhere and suits light and dark pages.

mod colours;

use natlab::NatSpec;
use pinhole_proto::nat::{Access, Verdict};

use crate::{
    cell::{Cell, Half, Kind},
    table::{Figures, NONE},
    wording,
};

/// One tile with the gap after it, and that gap.
const TILE: [usize; 2] = [58, 40];
const GAP: usize = 2;

/// The further gap between two groups of sides.
const BREAK: usize = 10;

/// Where the tiles begin: room for the names and what stands above.
const LEFT: usize = 184;
const TOP: usize = 190;

/// Room to the right of the tiles, and below.
const RIGHT: usize = 60;
const BELOW: usize = 150;

const STYLE: &str = r#"
  svg { font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
  .page { fill: #fff } .ink { fill: #1c2733 } .soft { fill: #5c6b7a } .none { fill: #eceff2 } .empty { fill: #9aa7b3 }
  .failed { fill: #b42318 }
  .dark { fill: #10202e } .light { fill: #fff } .on-dark { stroke: #10202e } .on-light { stroke: #fff }
  .on-dark, .on-light { fill: none; stroke-opacity: .22; stroke-width: 1.6 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0f151b } .ink { fill: #e4eaf0 } .soft { fill: #93a2b1 } .none { fill: #1d262f } .empty { fill: #5c6b7a }
    .failed { fill: #ff9d8a }
  }
  .title { font-size: 19px; font-weight: 600 } .sub { font-size: 12.5px } .name { font-size: 13px }
  .axis { font-size: 12px; font-style: italic } .key { font-size: 11.5px }
  .tile text { text-anchor: middle } .big { font-size: 14px; font-weight: 600 } .small { font-size: 10.5px }
"#;

/// One pattern of lines for each ink.
const HATCHES: &str = r#"<defs>
<pattern id="hatch-dark" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="on-dark" d="M0 0V7"/></pattern>
<pattern id="hatch-light" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="on-light" d="M0 0V7"/></pattern>
</defs>"#;

/// Draws a half.
pub(crate) fn svg(half: &Half) -> String {
    let plan = Plan::new(&half.presets);
    let (width, height) = (plan.x(half.presets.len()) + RIGHT, plan.y(half.presets.len()) + BELOW);
    let title = escape(title(half.kind));
    let mut parts = vec![
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{title}">"#
        ),
        format!("<style>{STYLE}</style>\n{HATCHES}"),
        format!(r#"<rect class="page" width="{width}" height="{height}" rx="8"/>"#),
        format!(r#"<text class="ink title" x="24" y="34">{title}</text>"#),
        subtitles(&half.setting),
        axes(&plan, half.presets.len()),
        plan.captions(),
    ];
    parts.extend(half.presets.iter().enumerate().flat_map(|(index, spec)| plan.names(spec, index)));
    for (row, cells) in half.rows().enumerate() {
        let place = |(column, cell)| tile(cell, plan.x(column), plan.y(row));
        parts.extend(cells.iter().enumerate().map(place));
    }
    parts.push(legend(plan.y(half.presets.len()) + 62));
    parts.join("\n") + "\n</svg>\n"
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "Time to connect, NAT by NAT: the model",
        Kind::Kernel => "Time to connect, NAT by NAT: the program between the kernel's NATs",
    }
}

/// Where rows and columns are: sides of a kind stand together.
struct Plan {
    groups: Vec<&'static str>,
}

impl Plan {
    fn new(presets: &[NatSpec]) -> Plan {
        let group = |spec: &NatSpec| match spec.access() {
            Access::Blocked => "no UDP",
            access if access.is_predictable() => "port known beforehand",
            Access::Open | Access::Firewall | Access::Nat(_) => "port unpredictable",
        };
        Plan { groups: presets.iter().map(group).collect() }
    }

    fn x(&self, column: usize) -> usize {
        LEFT + column * TILE[0] + self.breaks_before(column) * BREAK
    }

    fn y(&self, row: usize) -> usize {
        TOP + row * TILE[1] + self.breaks_before(row) * BREAK
    }

    fn breaks_before(&self, index: usize) -> usize {
        let until = &self.groups[..self.groups.len().min(index + 1)];
        until.windows(2).filter(|two| two[0] != two[1]).count()
    }

    /// Names the groups below the columns and to the right of the rows.
    fn captions(&self) -> String {
        let mut lines = Vec::new();
        let mut first = 0;
        for group in self.groups.chunk_by(|one, other| one == other) {
            let last = first + group.len() - 1;
            let x = (self.x(first) + self.x(last) + TILE[0]) / 2;
            let y = (self.y(first) + self.y(last) + TILE[1]) / 2;
            let [below, right] = [self.y(self.groups.len()) + 14, self.x(self.groups.len()) + 14];
            let caption = |place| {
                format!(
                    r#"<text class="soft axis" text-anchor="middle" transform="{place}">{}</text>"#,
                    group[0]
                )
            };
            lines.push(caption(format!("translate({x} {below})")));
            if group.len() > 1 {
                lines.push(caption(format!("translate({right} {y}) rotate(90)")));
            }
            first = last + 1;
        }
        lines.join("\n")
    }

    /// Writes a side's name before its row and above its column.
    fn names(&self, spec: &NatSpec, index: usize) -> [String; 2] {
        let row = [LEFT - 12, self.y(index) + TILE[1] / 2 + 3];
        let column = [self.x(index) + TILE[0] / 2 - 2, TOP - 10];
        let words = escape(&format!("{}: {}", spec.name(), wording::side(spec)));
        let name = escape(spec.name());
        let text = |attributes: String| {
            format!(r#"<g><title>{words}</title><text class="ink name" {attributes}>{name}</text></g>"#)
        };
        [
            text(format!(r#"text-anchor="end" x="{}" y="{}""#, row[0], row[1])),
            text(format!(r#"transform="translate({} {}) rotate(-38)""#, column[0], column[1])),
        ]
    }
}

/// Writes the setting, two parts in the first line.
fn subtitles(setting: &str) -> String {
    let parts: Vec<&str> = setting.split("; ").collect();
    let (first, rest) = parts.split_at(parts.len().min(2));
    let line = |y: usize, parts: &[&str]| {
        format!(r#"<text class="soft sub" x="24" y="{y}">{}</text>"#, escape(&parts.join("; ")))
    };
    format!("{}\n{}", line(58, first), line(76, rest))
}

fn axes(plan: &Plan, count: usize) -> String {
    let middle = (TOP + plan.y(count)) / 2;
    format!(
        "<text class=\"soft axis\" x=\"{LEFT}\" y=\"{}\">open side</text>\n\
         <text class=\"soft axis\" text-anchor=\"middle\" transform=\"translate(32 {middle}) rotate(-90)\">serve side</text>",
        TOP - 78,
    )
}

fn tile(cell: &Cell, x: usize, y: usize) -> String {
    let figures = Figures::of(cell);
    let body = match (cell.seconds(0.5), cell.verdict()) {
        (Some(median), verdict) => {
            let (fill, ink) = colours::of(median);
            let hatch = match verdict {
                Verdict::ByChance => rect(&format!("fill=\"url(#hatch-{})\"", ink.class())),
                Verdict::Direct | Verdict::No(_) => String::new(),
            };
            let figures = label(&figures.median, &figures.success, ink.class());
            format!("{}{hatch}{figures}", rect(&format!("fill=\"{fill}\"")))
        }
        (None, _) if cell.connected() == 0 && is_empty(cell) => {
            format!("{}{}", rect("class=\"none\""), centred(NONE))
        }
        (None, _) => {
            format!("{}{}", rect("class=\"none\""), label(&figures.median, &figures.success, "failed"))
        }
    };
    let told = escape(&told(cell, &figures));
    format!(r#"<g class="tile" transform="translate({x} {y})"><title>{told}</title>{body}</g>"#)
}

/// Whether there is nothing to show: no run, or none that should have connected.
fn is_empty(cell: &Cell) -> bool {
    cell.runs.is_empty() || matches!(cell.verdict(), Verdict::No(_))
}

fn rect(attributes: &str) -> String {
    format!(r#"<rect {attributes} width="{}" height="{}" rx="4"/>"#, TILE[0] - GAP, TILE[1] - GAP)
}

fn centred(text: &str) -> String {
    format!(r#"<text class="empty big" x="{}" y="{}">{text}</text>"#, TILE[0] / 2 - 1, TILE[1] / 2 + 4)
}

fn label(big: &str, small: &str, class: &str) -> String {
    let x = (TILE[0] - GAP) / 2;
    format!(
        r#"<text class="{class}"><tspan class="big" x="{x}" y="17">{}</tspan><tspan class="small" x="{x}" y="31">{}</tspan></text>"#,
        escape(big),
        escape(small)
    )
}

/// Says all that is known of a cell.
fn told(cell: &Cell, figures: &Figures) -> String {
    let pair = format!("serve {} × open {}", cell.serve, cell.open);
    let promise = match cell.verdict() {
        Verdict::Direct => "direct".to_owned(),
        Verdict::ByChance => "by chance".to_owned(),
        Verdict::No(_) => "no path".to_owned(),
    };
    if cell.runs.is_empty() {
        return format!("{pair} ({promise}): no run");
    }
    format!(
        "{pair} ({promise}): {} of {} runs, median {}, p95 {}, {} packets, {} flows at once, {}",
        figures.success,
        cell.runs.len(),
        figures.median,
        figures.p95,
        figures.packets,
        figures.worst_flows,
        figures.methods
    )
}

fn legend(y: usize) -> String {
    let wide = 400;
    let stops = colours::STOPS.iter().enumerate().map(|(index, colour)| {
        let percent = index * 100 / (colours::STOPS.len() - 1);
        format!(r#"<stop offset="{percent}%" stop-color="{colour}"/>"#)
    });
    let ticks = colours::TICKS.iter().map(|seconds| {
        let x = colours::position(*seconds) * f64::from(wide);
        format!(r#"<text class="soft key" text-anchor="middle" x="{x:.0}" y="31">{seconds}</text>"#)
    });
    let (chance, _) = colours::of(2.0);
    let x = wide + 62;
    format!(
        r##"<g transform="translate({LEFT} {y})">
<defs><linearGradient id="scale">{}</linearGradient></defs>
<text class="soft key" x="0" y="-8">median seconds from the later start until both sides are connected</text>
<rect fill="url(#scale)" width="{wide}" height="16" rx="4"/>{}
<rect fill="{chance}" x="{x}" width="26" height="16" rx="3"/><rect fill="url(#hatch-dark)" x="{x}" width="26" height="16" rx="3"/>
<text class="soft key" x="{text}" y="12">hatched: found by chance</text>
<rect class="none" x="{x}" y="24" width="26" height="16" rx="3"/><text class="soft key" x="{text}" y="36">grey: no path can exist</text>
<text class="soft key" x="0" y="62">Each tile: median time, and the share of runs that connected. A failed run counts as later than every other.</text>
</g>"##,
        stops.collect::<String>(),
        ticks.collect::<String>(),
        text = x + 36,
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
