//! The two machines, the NATs, and the path between them.

use pinhole::status::{
    Snapshot,
    snapshot::{Network, Side, State},
};
use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::Line,
    widgets::{Block, BorderType, Paragraph, Wrap},
};

use super::draw::{Palette, framed};
use crate::{status::text, texts};

/// Columns within the frame that the whole picture needs; on less the machines are left out.
const WHOLE: u16 = 102;

/// Columns that the two NATs need; on less the picture becomes sentences.
const NATS: u16 = 64;

/// Columns of a machine and of a NAT: an address with its port and the frame.
const MACHINE: u16 = 19;
const NAT: u16 = 23;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, palette: Palette) {
    let block = framed(" the way between ".to_owned(), palette);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let style = palette.state(snapshot.state);
    let why = snapshot.path.as_ref().map_or_else(
        || "no path at the moment".to_owned(),
        |path| {
            format!(
                "found {} ({}); in use for {}",
                texts::method(&path.method),
                text::chosen(path),
                text::span(path.since.ago_s)
            )
        },
    );
    if inner.width < NATS {
        return draw_words(frame, inner, snapshot, why, style);
    }
    let [boxes, below] = Layout::vertical([Constraint::Length(4), Constraint::Length(1)]).areas(inner);
    let (machine_width, wire_share) = if inner.width < WHOLE { (0, 0) } else { (MACHINE, 1) };
    let [here, wire_1, nat, hole, peer, wire_2, there] = Layout::horizontal([
        Constraint::Length(machine_width),
        Constraint::Fill(wire_share),
        Constraint::Length(NAT),
        Constraint::Fill(3),
        Constraint::Length(NAT),
        Constraint::Fill(wire_share),
        Constraint::Length(machine_width),
    ])
    .areas(boxes);
    let network = &snapshot.network;
    let local = network.local.map_or_else(String::new, |local| local.to_string());
    machine(frame, here, "this machine", [local, format!("UDP port {}", port(snapshot))], palette.dim());
    let (name, port) = own_nat(network);
    machine(frame, nat, name, [network.observed.map_or_else(String::new, |a| a.to_string()), port], style);
    machine(frame, peer, "the peer", [address_of_peer(snapshot), peers_port(network)], style);
    machine(frame, there, "beyond", far(snapshot), palette.dim());
    wire(frame, wire_1, "─", "", "", palette.dim());
    wire(frame, wire_2, "─", "", "", palette.dim());
    let rtt = snapshot.path.as_ref().and_then(|path| path.rtt_ms).map_or_else(String::new, text::ms);
    let method = snapshot.path.as_ref().map_or("", |path| texts::method(&path.method));
    let dash = if snapshot.state == State::Connected { "━" } else { "╌" };
    wire(frame, hole, dash, &rtt, method, style.add_modifier(Modifier::BOLD));
    frame.render_widget(Paragraph::new(why).alignment(Alignment::Center), below);
}

fn draw_words(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, why: String, style: Style) {
    let mut lines = Vec::new();
    if let Some(path) = &snapshot.path {
        let local = path.local.map_or_else(|| "?".to_owned(), |local| local.to_string());
        lines.push(Line::styled(format!("{local} ━ {}", path.remote), style));
    }
    lines.push(Line::styled(why, style));
    lines.push(Line::from(text::network(&snapshot.network, snapshot.path.is_some())));
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), area);
}

fn machine(frame: &mut Frame<'_>, area: Rect, name: &'static str, lines: [String; 2], style: Style) {
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(style)
        .title_alignment(Alignment::Center)
        .title(name);
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).alignment(Alignment::Center).block(block), area);
}

fn wire(frame: &mut Frame<'_>, area: Rect, dash: &str, above: &str, below: &str, style: Style) {
    let lines = [above.to_owned(), dash.repeat(area.width.into()), below.to_owned()];
    let lines: Vec<Line<'_>> = lines.into_iter().map(|line| Line::styled(line, style)).collect();
    frame.render_widget(Paragraph::new(lines).alignment(Alignment::Center), area);
}

fn port(snapshot: &Snapshot) -> u16 {
    let used = snapshot.path.as_ref().and_then(|path| path.local);
    used.map_or(snapshot.network.port, |local| local.port())
}

fn own_nat(network: &Network) -> (&'static str, String) {
    let says = |keeps| if keeps { "keeps the port" } else { "changes the port" };
    match network.is_behind_nat {
        Some(true) => ("our NAT", network.keeps_port.map_or("", says).to_owned()),
        Some(false) => ("no NAT here", String::new()),
        None => ("our NAT", "not known yet".to_owned()),
    }
}

fn peers_port(network: &Network) -> String {
    let says = |keeps| if keeps { "the port as named" } else { "another port" };
    network.peer_keeps_port.map_or("", says).to_owned()
}

fn address_of_peer(snapshot: &Snapshot) -> String {
    let used = snapshot.path.as_ref().map(|path| path.remote);
    used.or_else(|| snapshot.addresses.first().copied()).map_or_else(String::new, |a| a.to_string())
}

/// What stands behind the peer's NAT.
fn far(snapshot: &Snapshot) -> [String; 2] {
    let names: Vec<&str> = snapshot.forwards.iter().map(text::reached).collect();
    match snapshot.role {
        Side::Open => [names.join(", "), "serve side".to_owned()],
        Side::Serve => ["local ports".to_owned(), "open side".to_owned()],
    }
}
