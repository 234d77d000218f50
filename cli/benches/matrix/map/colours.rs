//! The colours of the map: the slower, the darker.

/// Colours from the quickest to the slowest. Their lightness falls evenly, so that neither a grey print nor colour
/// blindness hides the order.
pub(crate) const STOPS: [&str; 6] = ["#dcf8e3", "#aee7ce", "#78d3c6", "#55b3c6", "#4476b2", "#43337a"];

/// Figures under the scale, seconds.
pub(crate) const TICKS: [f64; 8] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];

/// From here on the lighter ink is easier to read.
const LIGHT_FROM: f64 = 0.72;

/// What is written with on a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// On light colours.
    Dark,
    /// On dark colours.
    Light,
}

impl Ink {
    /// Returns the name of its style.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Ink::Dark => "dark",
            Ink::Light => "light",
        }
    }
}

/// Returns the colour of a time, and the ink for it.
pub(crate) fn of(seconds: f64) -> (String, Ink) {
    let at = position(seconds);
    let steps = (STOPS.len() - 1) as f64;
    let lower = ((at * steps).floor() as usize).min(STOPS.len() - 2);
    let part = at * steps - lower as f64;
    let [from, to] = [STOPS[lower], STOPS[lower + 1]].map(channels);
    let mixed = [0, 1, 2].map(|i| (from[i] + (to[i] - from[i]) * part).round() as u8);
    let ink = if at < LIGHT_FROM { Ink::Dark } else { Ink::Light };
    (format!("#{:02x}{:02x}{:02x}", mixed[0], mixed[1], mixed[2]), ink)
}

/// Returns where a time is on the scale, which is logarithmic, from 0 to 1.
pub(crate) fn position(seconds: f64) -> f64 {
    let [first, last] = [TICKS[0], TICKS[TICKS.len() - 1]];
    (seconds.max(first) / first).ln().min((last / first).ln()) / (last / first).ln()
}

fn channels(colour: &str) -> [f64; 3] {
    [1, 3, 5].map(|at| {
        let hex = colour.get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        f64::from(hex.unwrap_or(0))
    })
}
