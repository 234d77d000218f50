//! Draws everything on whatever room there is.

use pinhole::status::{
    Snapshot,
    snapshot::{Side, State},
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, BorderType, Cell, Paragraph, Row, Sparkline, Table, Wrap},
};

use super::{Shown, picture};
use crate::status::{ask::Answer, text};

/// Rows of the picture with its frame.
const PICTURE: u16 = 7;

/// Rows of a graph with its frame: at least, and at most.
const GRAPH: u16 = 7;
const TALL_GRAPH: u16 = 14;

/// Rows of the history with its frame, as far as there is room.
const HISTORY: u16 = 10;

/// Columns from which on two things stand beside each other.
const WIDE: u16 = 84;

/// The colours, or none of them (NO_COLOR).
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    is_coloured: bool,
}

impl Palette {
    /// Heeds `NO_COLOR`, see no-color.org.
    pub(super) fn of_environment() -> Self {
        Self { is_coloured: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    pub(super) fn state(self, state: State) -> Style {
        let colour = match state {
            State::Connected => Color::Green,
            State::Connecting | State::Searching | State::PathLost => Color::Yellow,
            State::Displaced | State::Other => Color::Red,
        };
        self.colour(colour)
    }

    pub(super) fn dim(self) -> Style {
        if self.is_coloured { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    fn colour(self, colour: Color) -> Style {
        if self.is_coloured { Style::new().fg(colour) } else { Style::new() }
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let [head, body] = Layout::vertical([Constraint::Length(2), Constraint::Fill(1)]).areas(frame.area());
    let palette = shown.palette;
    let Some(answer) = shown.answers.all.get(shown.index()) else {
        let lines = [
            Line::from("no pinhole of this user runs here any more"),
            Line::styled("q ends this view", palette.dim()),
        ];
        frame.render_widget(Paragraph::new(lines.to_vec()), frame.area());
        return;
    };
    let snapshot = &answer.snapshot;
    draw_head(frame, head, shown, answer);
    let troubles = troubles(snapshot, body.width);
    let forwards = u16::try_from(snapshot.forwards.len()).unwrap_or(u16::MAX).saturating_add(3).min(10);
    let left = body.height.saturating_sub(troubles + PICTURE + forwards + HISTORY);
    let graphs =
        if body.width >= WIDE { left.clamp(GRAPH, TALL_GRAPH) } else { left.clamp(GRAPH, TALL_GRAPH * 2) };
    let [wrong, middle, rates, table, rest] = Layout::vertical([
        Constraint::Length(troubles),
        Constraint::Length(PICTURE),
        Constraint::Length(graphs),
        Constraint::Length(forwards),
        Constraint::Fill(1),
    ])
    .areas(body);
    draw_troubles(frame, wrong, snapshot, palette);
    picture::draw(frame, middle, snapshot, palette);
    draw_rates(frame, rates, snapshot, palette);
    draw_forwards(frame, table, snapshot, palette);
    draw_history(frame, rest, snapshot, palette);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, shown: &Shown, answer: &Answer) {
    let (palette, snapshot) = (shown.palette, &answer.snapshot);
    let headline = format!("{}{}", text::whose(answer.user), text::headline(snapshot));
    let style = palette.state(snapshot.state).add_modifier(Modifier::BOLD);
    let count = shown.answers.all.len();
    let which = match count {
        0 | 1 => String::new(),
        _ => format!(", Tab shows the next of {count} (this is {})", shown.index() + 1),
    };
    let side = match snapshot.role {
        Side::Serve => "serve side",
        Side::Open => "open side",
    };
    let lines = vec![
        Line::from(vec![Span::styled("● ", style), Span::styled(headline, style)]),
        Line::styled(
            format!(
                "  q ends this view{which}; {side}, pinhole {}, process {}",
                snapshot.version, snapshot.pid
            ),
            palette.dim(),
        ),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

/// Returns how many rows the troubles need.
fn troubles(snapshot: &Snapshot, width: u16) -> u16 {
    let width = usize::from(width.max(1));
    let rows: usize = snapshot.troubles.iter().map(|trouble| trouble.text.chars().count() / width + 1).sum();
    u16::try_from(rows).unwrap_or(u16::MAX).min(8)
}

fn draw_troubles(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, palette: Palette) {
    let style = palette.colour(Color::Red);
    let lines: Vec<Line<'_>> =
        snapshot.troubles.iter().map(|trouble| Line::styled(format!("! {}", trouble.text), style)).collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

/// Makes a frame with a name.
pub(super) fn framed(name: String, palette: Palette) -> Block<'static> {
    Block::bordered().border_type(BorderType::Rounded).border_style(palette.dim()).title(name)
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, palette: Palette) {
    let halves = [Constraint::Fill(1), Constraint::Fill(1)];
    let layout = if area.width >= WIDE { Layout::horizontal(halves) } else { Layout::vertical(halves) };
    let [left, right] = layout.areas(area);
    let t = &snapshot.traffic;
    for (area, name, rate, sum, seconds, colour) in [
        (left, "sent", t.sent_rate, t.sent_bytes, &t.seconds.sent, Color::Cyan),
        (right, "received", t.received_rate, t.received_bytes, &t.seconds.received, Color::Magenta),
    ] {
        let most = seconds.iter().copied().max().unwrap_or(0);
        let title = format!(
            " {name} {}/s, at most {}/s; {} in all ",
            text::bytes(rate),
            text::bytes(most),
            text::bytes(sum)
        );
        let block = framed(title, palette);
        let room = usize::from(block.inner(area).width);
        let bars = Sparkline::default()
            .data(last(seconds, room))
            .max(most.max(1))
            .style(palette.colour(colour))
            .block(block);
        frame.render_widget(bars, area);
    }
}

/// The newest seconds stand at the right edge.
fn last(seconds: &[u64], room: usize) -> Vec<u64> {
    let kept = &seconds[seconds.len().saturating_sub(room)..];
    let mut bars = vec![0; room - kept.len()];
    bars.extend(kept);
    bars
}

fn draw_forwards(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, palette: Palette) {
    let head = ["service", "at", "open", "in all", "sent", "received"];
    let rows = snapshot.forwards.iter().map(|forward| {
        Row::new([
            Cell::from(text::reached(forward)),
            Cell::from(forward.target.clone()),
            Cell::from(forward.open.to_string()),
            Cell::from(forward.total.to_string()),
            Cell::from(text::bytes(forward.sent_bytes)),
            Cell::from(text::bytes(forward.received_bytes)),
        ])
    });
    let widths = [
        Constraint::Fill(2),
        Constraint::Fill(3),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Length(10),
        Constraint::Length(10),
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(head).style(palette.dim()))
        .block(framed(" connections ".to_owned(), palette));
    frame.render_widget(table, area);
}

fn draw_history(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, palette: Palette) {
    let lines: Vec<Line<'_>> = snapshot
        .history
        .iter()
        .rev()
        .map(|entry| {
            let ago = Span::styled(format!("{:>16}  ", text::ago(&entry.at)), palette.dim());
            Line::from(vec![ago, Span::raw(entry.text.clone())])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).block(framed(" history ".to_owned(), palette)), area);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::status::{ask::Answers, text::tests::snapshot};

    fn drawn(width: u16, height: u16, is_coloured: bool) -> Terminal<TestBackend> {
        drawn_of(snapshot(), width, height, is_coloured)
    }

    fn drawn_of(snapshot: Snapshot, width: u16, height: u16, is_coloured: bool) -> Terminal<TestBackend> {
        let answer = Answer { snapshot, user: None, json: String::new() };
        let answers = Answers { all: vec![answer], silent: Default::default() };
        let shown = Shown { answers, pid: None, palette: Palette { is_coloured } };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("room in memory");
        terminal.draw(|frame| draw(frame, &shown)).expect("memory can be drawn on");
        terminal
    }

    #[test]
    fn it_draws_on_every_size_of_terminal() {
        for width in [0, 1, 2, 7, 20, 40, 79, 84, 100, 400] {
            for height in [0, 1, 2, 3, 5, 9, 24, 60, 200] {
                drawn(width, height, true);
            }
        }
    }

    #[test]
    fn everything_is_to_be_seen_on_a_usual_terminal_and_without_colours_nothing_has_one() {
        let terminal = drawn(100, 40, false);
        let buffer = terminal.backend().buffer();
        assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        let text: String = buffer.content().iter().map(|cell| cell.symbol().to_owned()).collect();
        for part in
            ["connected to", "203.0.113.9:5555", "198.51.100.4:5555", "20 ms", "web", "history", "tunnel up"]
        {
            assert!(text.contains(part), "{part}");
        }
    }

    #[test]
    fn what_comes_from_elsewhere_cannot_move_the_cursor() {
        let mut snapshot = snapshot();
        let evil = || "a\u{1b}[2J\u{9b}\r\nb".to_owned();
        snapshot.peer = evil();
        snapshot.forwards.iter_mut().for_each(|forward| {
            (forward.service, forward.target, forward.reaches) = (evil(), evil(), Some(evil()))
        });
        snapshot.history.iter_mut().for_each(|entry| entry.text = evil());
        for width in [50, 110] {
            let terminal = drawn_of(snapshot.clone(), width, 40, true);
            let mut cells = terminal.backend().buffer().content().iter();
            assert!(cells.all(|cell| !cell.symbol().contains(char::is_control)), "{width}");
        }
    }

    #[test]
    fn the_newest_second_stands_at_the_right_edge() {
        assert_eq!(last(&[1, 2, 3], 5), [0, 0, 1, 2, 3]);
        assert_eq!(last(&[1, 2, 3], 2), [2, 3]);
    }
}
