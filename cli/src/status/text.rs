//! A snapshot for people: first the sentence that matters, then what stands behind it.

use std::{fmt::Write, time::Duration};

use indicatif::DecimalBytes;
use pinhole::status::{
    Snapshot,
    snapshot::{Chosen, Forward, Network, Path, Side, State, Timestamp, Tunnel},
};

use crate::{journal::one_line, output, texts};

/// Columns before what a row says.
const INDENT: usize = 12;

/// Turns of the history that are shown.
const TURNS: usize = 6;

/// Buffers from this size on are no trouble, bytes.
const ENOUGH_BUFFER_BYTES: usize = 4 << 20;

/// Returns all lines about an instance, which may be another user's.
pub(super) fn page(snapshot: &Snapshot, user: Option<u32>) -> String {
    let mut lines = vec![format!("{}{}", whose(user), headline(snapshot))];
    let mut row = |name: &str, text: String| lines.push(format!("  {name:<9} {text}"));
    for trouble in &snapshot.troubles {
        row("trouble", format!("{} ({})", trouble.text, ago(&trouble.since)));
    }
    if let Some(used) = &snapshot.path {
        row("path", path(used));
        row("", quality(used, snapshot.tunnel.as_ref()));
    }
    row("network", network(&snapshot.network, snapshot.path.is_some()));
    if let Some(services) = &snapshot.peer_services {
        row(
            "peer",
            format!("offers {}", if services.is_empty() { "nothing".into() } else { texts::names(services) }),
        );
    }
    for forward in &snapshot.forwards {
        row(name_of(snapshot.role), self::forward(forward, snapshot.role));
    }
    row("traffic", traffic(snapshot));
    let skipped = snapshot.history.len().saturating_sub(TURNS);
    for entry in snapshot.history.iter().skip(skipped) {
        row("history", format!("{:>16}  {}", ago(&entry.at), entry.text));
    }
    row(
        "program",
        format!("pinhole {}, process {}, started {}", snapshot.version, snapshot.pid, ago(&snapshot.started)),
    );
    // Some of it may come from another user's program.
    lines.iter().fold(String::new(), |mut page, line| {
        let _infallible = writeln!(page, "{}", output::fit_report(&one_line(line), INDENT));
        page
    })
}

/// Says whose an instance is where it is another user's.
pub(super) fn whose(user: Option<u32>) -> String {
    user.map_or_else(String::new, |user| format!("of user {user}: "))
}

/// Returns the sentence that matters.
pub(crate) fn headline(snapshot: &Snapshot) -> String {
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

/// Returns where the path in use leads, and why it is that one.
fn path(path: &Path) -> String {
    let local = path.local.map_or_else(|| "?".to_owned(), |local| local.to_string());
    let (method, why) = (texts::method(&path.method), chosen(path));
    format!("{local} to {}, found {method} ({why}), in use for {}", path.remote, span(path.since.ago_s))
}

/// Returns how the path in use is.
fn quality(path: &Path, tunnel: Option<&Tunnel>) -> String {
    let mut parts = Vec::new();
    if let (Some(rtt), Some(least)) = (path.rtt_ms, path.rtt_least_ms) {
        parts.push(format!("RTT {}, at best {}", ms(rtt), ms(least)));
    }
    if let Some(tunnel) = tunnel {
        let lost = match tunnel.loss {
            Some(loss) => format!("{} of the last packets lost", percent(loss)),
            None => format!("{} of {} packets lost so far", tunnel.lost_packets, tunnel.sent_packets),
        };
        parts.push(format!("{lost}, datagrams of {} bytes", tunnel.mtu_bytes));
    }
    if let (Some(loss), Some(keepalive)) = (path.keeper_loss, path.keepalive_s) {
        parts.push(format!(
            "{} of the tests unanswered, one each {} at rest",
            percent(loss),
            span(keepalive)
        ));
    }
    parts.join("; ")
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
    let Forward { service, target, open, total, .. } = forward;
    let what = match role {
        Side::Serve if service == target => service.clone(),
        Side::Serve => format!("{service} at {target}"),
        Side::Open => format!("{target} to the peer's {}", reached(forward)),
    };
    format!(
        "{what}: {open} open, {total} in all; {} sent{}, {} received{}",
        bytes(forward.sent_bytes),
        compressed(forward.sent_bytes, forward.sent_saved_bytes),
        bytes(forward.received_bytes),
        compressed(forward.received_bytes, forward.received_saved_bytes)
    )
}

/// Names the service that a local port reaches, or is for where the peer has not told; on the serve side the service.
pub(super) fn reached(forward: &Forward) -> &str {
    forward.reaches.as_ref().unwrap_or(&forward.service)
}

/// Says what compression has left, if there was any.
pub(super) fn compressed(bytes: u64, saved: u64) -> String {
    if saved == 0 || bytes == 0 {
        return String::new();
    }
    format!(" (compressed to {})", percent(bytes.saturating_sub(saved) as f64 / bytes as f64))
}

/// Returns the rates and sums.
fn traffic(snapshot: &Snapshot) -> String {
    let t = &snapshot.traffic;
    format!(
        "{}/s sent, {}/s received now; {}{} and {}{} since the start",
        bytes(t.sent_rate),
        bytes(t.received_rate),
        bytes(t.sent_bytes),
        compressed(t.sent_bytes, t.sent_saved_bytes),
        bytes(t.received_bytes),
        compressed(t.received_bytes, t.received_saved_bytes)
    )
}

/// Names what a side has: services, or local ports.
fn name_of(role: Side) -> &'static str {
    match role {
        Side::Serve => "service",
        Side::Open => "port",
    }
}

/// Returns how long ago something was.
pub(super) fn ago(at: &Timestamp) -> String {
    format!("{} ago", span(at.ago_s))
}

pub(super) fn span(seconds: f64) -> String {
    // What a program says that is not ours is no reason to panic.
    texts::span(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

pub(super) fn ms(ms: f64) -> String {
    texts::rtt(Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default())
}

pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

pub(super) fn bytes(bytes: u64) -> String {
    DecimalBytes(bytes).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use pinhole::status::snapshot::{HistoryEntry, Seconds, Traffic, TroubleEntry};

    use super::*;

    fn timestamp(ago_s: f64) -> Timestamp {
        Timestamp { unix_ms: 1_700_000_000_000, ago_s }
    }

    /// An open side at work.
    pub(in crate::status) fn snapshot() -> Snapshot {
        let address = |text: &str| text.parse().expect("an address");
        let entry = |event: &str, text: &str| HistoryEntry {
            at: timestamp(60.0),
            event: event.into(),
            method: None,
            remote: None,
            seconds: None,
            why: None,
            text: text.into(),
        };
        Snapshot {
            schema: 1,
            version: "0.1.0".into(),
            pid: 7,
            role: Side::Open,
            peer: "home.example:5555".into(),
            addresses: vec![address("198.51.100.4:5555")],
            taken_unix_ms: 1_700_000_000_000,
            started: timestamp(3700.0),
            state: State::Connected,
            since: timestamp(65.0),
            path: Some(Path {
                since: timestamp(65.0),
                local: Some(address("192.168.1.7:5555")),
                from_main_port: true,
                remote: address("198.51.100.4:5555"),
                method: "slot".into(),
                chosen: Chosen::Again,
                found_after_s: Some(2.5),
                rtt_ms: Some(20.2),
                rtt_least_ms: Some(18.0),
                quic_rtt_ms: Some(20.2),
                keeper_rtt_ms: Some(19.0),
                keeper_loss: Some(0.0),
                keepalive_s: Some(30.0),
            }),
            tunnel: Some(Tunnel {
                since: timestamp(3600.0),
                mtu_bytes: 1452,
                sent_packets: 1000,
                lost_packets: 3,
                loss: Some(0.003),
                sent_wire_bytes: 1,
                received_wire_bytes: 2,
                window_bytes: 3,
            }),
            peer_services: Some(vec!["22".into(), "web".into()]),
            network: Network {
                local: Some([192, 168, 1, 7].into()),
                port: 5555,
                observed: Some(address("203.0.113.9:5555")),
                is_behind_nat: Some(true),
                keeps_port: Some(true),
                peer_keeps_port: Some(true),
                receive_buffer_bytes: 212_992,
                send_buffer_bytes: 212_992,
            },
            forwards: vec![Forward {
                service: "web".into(),
                target: "127.0.0.1:8080".into(),
                reaches: Some("web".into()),
                open: 1,
                total: 12,
                sent_bytes: 1_500,
                received_bytes: 2_500_000,
                sent_saved_bytes: 0,
                received_saved_bytes: 1_600_000,
            }],
            traffic: Traffic {
                open: 1,
                total: 12,
                sent_bytes: 1_500,
                received_bytes: 2_500_000,
                sent_saved_bytes: 0,
                received_saved_bytes: 1_600_000,
                sent_rate: 10,
                received_rate: 1_000_000,
                seconds: Seconds { sent: vec![1, 2], received: vec![3, 4], rtt_us: vec![0, 20_000] },
            },
            events: [("tunnel_up".to_owned(), 1)].into(),
            history: vec![entry("punched", "hole punched"), entry("tunnel_up", "tunnel up")],
            troubles: Vec::new(),
        }
    }

    #[test]
    fn the_first_line_says_what_matters() {
        let mut snapshot = snapshot();
        let first =
            |snapshot: &Snapshot| page(snapshot, None).lines().next().map(str::to_owned).expect("a line");
        assert_eq!(first(&snapshot), "connected to home.example:5555 for 1 min 5 s, RTT 20 ms; 1 connection");
        snapshot.state = State::PathLost;
        let lost = "no path to home.example:5555 for 1 min 5 s: punching again; 1 connection waiting";
        assert_eq!(first(&snapshot), lost);
        snapshot.state = State::Searching;
        assert_eq!(first(&snapshot), "waiting for the peer at home.example:5555 for 1 min 5 s");
    }

    #[test]
    fn what_compression_has_left_is_said_where_there_was_any() {
        let page = page(&snapshot(), None);
        let forward = "12 in all; 1.50 kB sent, 2.50 MB received (compressed to 36 %)";
        assert!(page.contains(forward), "{page}");
    }

    #[test]
    fn what_comes_from_elsewhere_cannot_move_the_cursor() {
        let mut snapshot = snapshot();
        snapshot.peer = "\u{1b}[2Jhome".into();
        let text = "two\nlines".into();
        snapshot.troubles.push(TroubleEntry {
            kind: "no_path".into(),
            cause: None,
            since: timestamp(1.0),
            text,
        });
        snapshot.since.ago_s = f64::NAN;
        let page = page(&snapshot, None);
        assert!(!page.contains('\u{1b}') && page.contains("two\\nlines"), "{page}");
    }

    #[test]
    fn a_snapshot_survives_its_journey_as_json_and_what_a_later_version_adds_is_ignored() {
        let mut json = serde_json::to_value(snapshot()).expect("plain data");
        let same: Snapshot = serde_json::from_value(json.clone()).expect("as it was");
        assert_eq!(same, snapshot());
        json["state"] = "dreaming".into();
        json["dreams"] = 7.into();
        let later: Snapshot = serde_json::from_value(json).expect("what is known is read");
        assert_eq!(later.state, State::Other);
    }
}
