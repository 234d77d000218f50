//! A snapshot for people: first the sentence that matters, then what stands behind it.

use std::{fmt::Write, time::Duration};

use indicatif::DecimalBytes;
use pinhole::status::{
    Snapshot,
    snapshot::{Chosen, Forward, Moment, Network, Path, Side, State, Tunnel},
};

use crate::cli::{journal::one_line, words};

/// Turns of the history that are shown.
const TURNS: usize = 6;

/// Buffers from this size on are no trouble, bytes.
const ENOUGH_BUFFER_BYTES: usize = 4 << 20;

/// Returns all lines about an instance.
pub(super) fn page(snapshot: &Snapshot) -> String {
    let mut lines = vec![headline(snapshot)];
    let mut row = |name: &str, text: String| lines.push(format!("  {name:<9} {text}"));
    for trouble in &snapshot.troubles {
        row("trouble", format!("{} ({})", trouble.text, ago(&trouble.since)));
    }
    if let Some(used) = &snapshot.path {
        row("path", path(used));
    }
    if let Some(tunnel) = &snapshot.tunnel {
        row("tunnel", self::tunnel(tunnel));
    }
    row("network", network(&snapshot.network, snapshot.path.is_some()));
    for forward in &snapshot.forwards {
        row(name_of(snapshot.role), self::forward(forward, snapshot.role));
    }
    row("traffic", traffic(snapshot));
    let skipped = snapshot.history.len().saturating_sub(TURNS);
    for turn in snapshot.history.iter().skip(skipped) {
        row("history", format!("{:>16}  {}", ago(&turn.at), turn.text));
    }
    row(
        "program",
        format!("pinhole {}, process {}, started {}", snapshot.version, snapshot.pid, ago(&snapshot.started)),
    );
    // Some of it may come from another user's program.
    lines.iter().fold(String::new(), |mut page, line| {
        let _infallible = writeln!(page, "{}", one_line(line));
        page
    })
}

/// Returns the sentence that matters.
pub(super) fn headline(snapshot: &Snapshot) -> String {
    let (peer, since) = (&snapshot.peer, span(snapshot.since.ago_s));
    let open = match snapshot.traffic.open {
        1 => "1 connection".to_owned(),
        open => format!("{open} connections"),
    };
    match snapshot.state {
        State::Connected => {
            let rtt = snapshot.path.as_ref().and_then(|path| path.rtt_ms);
            let rtt = rtt.map_or_else(String::new, |rtt| format!(", RTT {}", ms(rtt)));
            format!("connected to {peer} for {since}{rtt}; {open}")
        }
        State::PathLost => format!("no path to {peer} for {since}: punching again; {open} waiting"),
        State::Connecting => format!("the hole to {peer} is punched; the tunnel comes up"),
        State::Displaced => {
            format!(
                "another pinhole with this key has taken this one's place for {since}; waiting for {peer}"
            )
        }
        State::Searching | State::Other => format!("waiting for the peer at {peer} for {since}"),
    }
}

/// Returns the path in use, and why it is that one.
pub(super) fn path(path: &Path) -> String {
    let local = path.local.map_or_else(|| "?".to_owned(), |local| local.to_string());
    let mut text = format!(
        "{local} to {}, found by {} ({}), in use for {}",
        path.remote,
        path.method,
        chosen(path),
        span(path.since.ago_s)
    );
    if let Some(rtt) = path.rtt_ms {
        let _infallible = write!(text, "; RTT {}", ms(rtt));
    }
    if let Some(least) = path.rtt_least_ms {
        let _infallible = write!(text, ", {} at least", ms(least));
    }
    if let (Some(loss), Some(keepalive)) = (path.keeper_loss, path.keepalive_s) {
        let _infallible =
            write!(text, "; tests: {} unanswered, every {} at rest", percent(loss), span(keepalive));
    }
    text
}

/// Returns why a path is the one in use.
pub(super) fn chosen(path: &Path) -> String {
    let after = path.found_after_s.map_or_else(String::new, |s| format!(" after {s:.1} s"));
    match path.chosen {
        Chosen::First => format!("the first that was proven,{after}").trim_end_matches(',').to_owned(),
        Chosen::Again => format!("punched again{after}"),
        Chosen::Nearer => "nearer than the one before".to_owned(),
        Chosen::Other => "for a reason of a later version".to_owned(),
    }
}

fn tunnel(tunnel: &Tunnel) -> String {
    let loss = match tunnel.loss {
        Some(loss) => format!("{} of the last packets lost", percent(loss)),
        None => format!("{} of {} packets lost so far", tunnel.lost_packets, tunnel.sent_packets),
    };
    format!("up for {}; {loss}; datagrams of {} bytes", span(tunnel.since.ago_s), tunnel.mtu_bytes)
}

/// Returns what is known of the NATs.
pub(super) fn network(network: &Network, has_path: bool) -> String {
    let local = network.local.map_or_else(|| "?".to_owned(), |local| local.to_string());
    let mut text = format!("this machine is {local}, UDP port {}", network.port);
    match (network.observed, network.is_behind_nat, network.keeps_port) {
        (Some(observed), Some(true), Some(keeps)) => {
            let port = if keeps { "our NAT keeps the port" } else { "our NAT changes the port" };
            let _infallible = write!(text, "; the peer sees us at {observed}: {port}");
        }
        (Some(_), Some(false), _) => text.push_str("; no NAT on our side, as the peer sees it"),
        _ if has_path => text.push_str("; the peer has not told how it sees us"),
        _ => {}
    }
    match network.peer_keeps_port {
        Some(true) => text.push_str("; the peer's port is the one that was named"),
        Some(false) => text.push_str("; the peer's port is another than was named"),
        None => {}
    }
    let least = network.receive_buffer_bytes.min(network.send_buffer_bytes);
    if least > 0 && least < ENOUGH_BUFFER_BYTES {
        let _infallible = write!(text, "; the system's UDP buffers are small ({} KiB)", least >> 10);
    }
    text
}

fn forward(forward: &Forward, role: Side) -> String {
    let Forward { service, target, open, total, sent_bytes, received_bytes } = forward;
    let what = match role {
        Side::Serve if service == target => service.clone(),
        Side::Serve => format!("{service} at {target}"),
        Side::Open => format!("{target} to the peer's {service}"),
    };
    format!(
        "{what}: {open} open, {total} in all; {} sent, {} received",
        bytes(*sent_bytes),
        bytes(*received_bytes)
    )
}

/// Returns the rates and sums.
pub(super) fn traffic(snapshot: &Snapshot) -> String {
    let t = &snapshot.traffic;
    format!(
        "{}/s sent, {}/s received now; {} and {} since the start",
        bytes(t.sent_rate),
        bytes(t.received_rate),
        bytes(t.sent_bytes),
        bytes(t.received_bytes)
    )
}

/// Names what a side has: services, or local ports.
pub(super) fn name_of(role: Side) -> &'static str {
    match role {
        Side::Serve => "service",
        Side::Open => "port",
    }
}

/// Returns how long ago something was.
pub(super) fn ago(moment: &Moment) -> String {
    format!("{} ago", span(moment.ago_s))
}

pub(super) fn span(seconds: f64) -> String {
    // What a program says that is not ours is no reason to panic.
    words::span(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

pub(super) fn ms(ms: f64) -> String {
    words::rtt(Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default())
}

pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

pub(super) fn bytes(bytes: u64) -> String {
    DecimalBytes(bytes).to_string()
}
