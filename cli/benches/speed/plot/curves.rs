//! Curves over a number that grows tenfold from point to point.

use super::{Plot, class, page, text};
use crate::peers::Peer;

/// What one peer did with each number.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    pub(crate) peer: Peer,
    /// Number and figure, both more than nothing.
    pub(crate) points: Vec<(f64, f64)>,
}

/// The drawing's edges.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 600.0;
const TOP: f64 = 80.0;
const BOTTOM: f64 = 360.0;

/// Height of the whole picture.
const HEIGHT: usize = 410;

/// Least distance of two names at the curves' ends.
const NAME_HEIGHT: f64 = 15.0;

/// Powers of ten between which everything lies.
struct Axis {
    first: i32,
    last: i32,
    from: f64,
    to: f64,
}

impl Plot {
    /// Draws a curve for each peer; both axes are logarithmic.
    pub(crate) fn curves(name: &'static str, title: &'static str, subtitle: &str, curves: &[Curve]) -> Plot {
        let points = || curves.iter().flat_map(|curve| curve.points.iter().copied());
        let x = Axis::around(points().map(|(x, _)| x), LEFT, RIGHT);
        let y = Axis::around(points().map(|(_, y)| y), BOTTOM, TOP);
        let mut parts = grid(&x, &y);
        let mut ends = Vec::new();
        for curve in curves {
            let places: Vec<[f64; 2]> =
                curve.points.iter().map(|(a, b)| [x.place(*a), y.place(*b)]).collect();
            parts.push(line(curve, &places));
            ends.extend(places.last().map(|end| (*end, curve.peer)));
        }
        parts.extend(names(ends));
        Plot { name, title, svg: page(title, subtitle, HEIGHT, &parts) }
    }
}

impl Axis {
    fn around(figures: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let logs: Vec<f64> = figures.map(f64::log10).collect();
        let first = logs.iter().copied().fold(f64::INFINITY, f64::min).floor();
        let last = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max).ceil();
        let (first, last) = if logs.is_empty() { (0, 1) } else { (first as i32, last as i32) };
        Axis { first, last: last.max(first + 1), from, to }
    }

    fn place(&self, figure: f64) -> f64 {
        let share = (figure.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        self.from + share * (self.to - self.from)
    }

    /// Returns the powers of ten, as a number and in words.
    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        (self.first..=self.last).map(|power| {
            let figure = 10_f64.powi(power);
            (figure, figure.to_string())
        })
    }
}

fn grid(x: &Axis, y: &Axis) -> Vec<String> {
    let mut parts = Vec::new();
    for (figure, words) in x.ticks() {
        let at = x.place(figure);
        parts.push(format!(r#"<path class="grid" d="M{at:.1} {TOP}V{BOTTOM}"/>"#));
        parts.push(text("soft small", at, BOTTOM + 18.0, "middle", &words));
    }
    for (figure, words) in y.ticks() {
        let at = y.place(figure);
        parts.push(format!(r#"<path class="grid" d="M{LEFT} {at:.1}H{RIGHT}"/>"#));
        parts.push(text("soft small", LEFT - 8.0, at + 4.0, "end", &words));
    }
    parts
}

fn line(curve: &Curve, places: &[[f64; 2]]) -> String {
    let class = class(curve.peer);
    let points: Vec<String> = places.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
    let dots =
        places.iter().map(|[x, y]| format!(r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="3.5"/>"#));
    format!(r#"<polyline class="{class}" points="{}"/>{}"#, points.join(" "), dots.collect::<String>())
}

/// Writes each name at its curve's end, and none over another.
fn names(mut ends: Vec<([f64; 2], Peer)>) -> Vec<String> {
    ends.sort_by(|([_, one], _), ([_, other], _)| one.total_cmp(other));
    let mut lowest = f64::NEG_INFINITY;
    let name = |([x, y], peer): ([f64; 2], Peer)| {
        lowest = y.max(lowest + NAME_HEIGHT);
        text(&format!("name small {}", class(peer)), x + 10.0, lowest + 4.0, "start", peer.name())
    };
    ends.into_iter().map(name).collect()
}
