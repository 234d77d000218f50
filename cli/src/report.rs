//! What the user sees: a line a state on stderr, a live line on a terminal, JSON lines on stdout if asked for.

use std::{
    io::IsTerminal,
    mem::{Discriminant, discriminant},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pinhole::{
    Event, Peer,
    proto::puncher::{Connected, Loss, SearchReport, Trouble},
};
use serde_json::{Value, json};

use super::{
    journal::{Level, Throttle, one_line},
    message::Message,
    output, say_as, texts,
};

/// Version of the event lines, docs/reference/events.md.
const SCHEMA: u32 = 1;

/// Lines of one kind say that the same has happened again.
type Kind = (Discriminant<Event>, Option<Discriminant<Trouble>>);

/// Tells events to whoever asked.
pub(super) struct Reporter {
    json: bool,
    /// The live line, on a terminal.
    live: Option<ProgressBar>,
    /// The last line about waiting: said again only when it has changed.
    waiting: String,
    /// Keeps a log short; `None` on a terminal.
    throttle: Option<Throttle<Kind>>,
    /// Whether only troubles are said.
    is_quiet: bool,
}

impl Reporter {
    /// Makes a reporter; the live line is shown only where stderr is a terminal and `live` is wanted.
    pub(super) fn new(json: bool, live: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a template of ours"));
        let live = (live && !bar.is_hidden()).then_some(bar);
        if let Some(bar) = &live {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        let throttle = (!std::io::stderr().is_terminal()).then(Throttle::new);
        Self { json, live, waiting: String::new(), throttle, is_quiet: false }
    }

    /// Makes a reporter that says troubles alone.
    pub(super) fn of_troubles() -> Self {
        Self { is_quiet: true, ..Self::new(false, false) }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Says a message above the live line.
    pub(super) fn say(&mut self, level: Level, message: &Message) {
        self.line(level, &message.to_string());
    }

    fn line(&mut self, level: Level, line: &str) {
        if self.is_quiet && matches!(level, Level::Info | Level::Debug) {
            return;
        }
        let line = one_line(line);
        match &self.live {
            Some(bar) => bar.suspend(|| say_as(level, &line)),
            None => say_as(level, &line),
        }
    }

    /// Returns when there may be something to say of lines that were held back.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.throttle.as_ref()?.deadline()
    }

    /// Says what there is to be said of lines that were held back.
    pub(super) fn handle_timeout(&mut self) {
        let held = self.throttle.as_mut().map(|throttle| throttle.handle_timeout(Instant::now()));
        held.into_iter().flatten().for_each(|line| self.line(Level::Info, &line));
    }

    /// Says the last line, after whatever was held back.
    pub(super) fn finish(&mut self, message: &Message) {
        let held = self.throttle.as_mut().map(Throttle::finish);
        held.into_iter().flatten().for_each(|line| self.line(Level::Info, &line));
        self.say(Level::Info, message);
    }

    /// Says that it is over, and why, as far as this side can tell.
    pub(super) fn gave_up(&mut self, wait: Duration, found: Option<&SearchReport>) {
        let text = texts::gave_up(wait, found);
        self.line(Level::Error, &text);
        if self.json {
            output::out(format!("{}\n", to_json_gave_up(found, &text)).into_bytes());
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        if let Some(line) = texts::describe(event)
            && !(matches!(event, Event::Searching { .. }) && self.waiting == line)
        {
            self.event_line(event, &line);
            if matches!(event, Event::Searching { .. }) {
                self.waiting = line;
            }
        }
        if self.json {
            output::out(format!("{}\n", to_json(event)).into_bytes());
        }
        if let (Some(bar), Some(state)) = (&self.live, state(event)) {
            bar.set_message(state);
            bar.reset_elapsed();
        }
    }

    fn event_line(&mut self, event: &Event, line: &str) {
        let trouble = if let Event::Trouble(trouble) = event { Some(discriminant(trouble)) } else { None };
        self.handle_timeout();
        if let Some(throttle) = &mut self.throttle
            && !throttle.admit((discriminant(event), trouble), line, Instant::now())
        {
            return;
        }
        self.line(level(event), line);
    }

    /// Brings the live line up to date.
    pub(super) fn tick(&mut self, peer: &Peer) {
        let Some(bar) = &self.live else { return };
        let tunnel = peer.current();
        if tunnel.as_ref().is_some_and(|tunnel| !tunnel.has_path()) {
            bar.set_message(format!("no path for {}; connections wait", texts::span(bar.elapsed())));
        } else if let Some(rtt) = tunnel.and_then(|tunnel| tunnel.rtt()) {
            bar.set_message(format!("tunnel up for {}, RTT {}", texts::span(bar.elapsed()), texts::rtt(rtt)));
        } else {
            bar.set_message(format!("waiting for the peer, {}", texts::span(bar.elapsed())));
        }
    }
}

/// Returns the sentence for a service manager, if the event changes what the program does.
pub(super) fn status(event: &Event) -> Option<String> {
    if let Event::TunnelUp { remote } = event {
        return Some(format!("tunnel up, to {remote}"));
    }
    if let Event::PathBack { connected: c, .. } | Event::PathChanged(c) = event {
        return Some(format!("tunnel up, to {}", c.pair.remote));
    }
    let is_state = matches!(
        event,
        Event::Searching { .. }
            | Event::Punched(_)
            | Event::HandshakeFailed { .. }
            | Event::TunnelLost(_)
            | Event::PathLost { .. }
            | Event::PeerGone
            | Event::PeerLeft
            | Event::PeerRestarted
            | Event::Displaced
            | Event::Trouble(_)
    );
    let line = texts::describe(event).filter(|_| is_state)?;
    // The advice behind it is for the log.
    let end = [". ", "? "].into_iter().filter_map(|end| line.find(end)).min();
    Some(end.map_or(line.as_str(), |at| &line[..=at]).to_owned())
}

/// Whether somebody should look at it: something does not work, or may not for long.
fn level(event: &Event) -> Level {
    let is_wrong = matches!(
        event,
        Event::HandshakeFailed { .. }
            | Event::TunnelLost(_)
            | Event::PeerGone
            | Event::Displaced
            | Event::Trouble(_)
            | Event::ServiceMissing { .. }
            | Event::Resolved { ok: false, .. }
            | Event::ConnectionRefused { .. }
            | Event::ServiceFailed { .. }
            | Event::ConnectFailed { .. }
            | Event::AcceptFailed { .. }
    );
    if is_wrong { Level::Warning } else { Level::Info }
}

fn state(event: &Event) -> Option<String> {
    match event {
        Event::Searching { .. } => Some("waiting for the peer".into()),
        Event::TunnelUp { .. } | Event::PathBack { .. } => Some("tunnel up".into()),
        Event::Displaced => Some("waiting: another pinhole has taken this one's place".into()),
        Event::PathLost { .. } => Some("no path; connections wait".into()),
        Event::Heard { .. }
        | Event::Punched(_)
        | Event::PeerServices(_)
        | Event::PortReaches { .. }
        | Event::ServiceMissing { .. }
        | Event::HandshakeFailed { .. }
        | Event::TunnelLost(_)
        | Event::PeerGone
        | Event::PathChanged(_)
        | Event::PeerLeft
        | Event::PeerRestarted
        | Event::Trouble(_)
        | Event::Resolved { .. }
        | Event::ConnectionRefused { .. }
        | Event::ServiceFailed { .. }
        | Event::ServiceBack { .. }
        | Event::ConnectFailed { .. }
        | Event::AcceptFailed { .. } => None,
        _ => None,
    }
}

/// Returns an event as one JSON object: its name, its text, and what a program would want of it.
fn to_json(event: &Event) -> Value {
    let mut object = match event {
        Event::Searching { peer, addresses } => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            json!({"peer": peer, "addresses": addresses})
        }
        Event::Heard { from } => json!({"from": from.to_string()}),
        Event::Punched(connected) => to_json_connected(connected, Some(connected.took)),
        Event::TunnelUp { remote } => json!({"remote": remote.to_string()}),
        Event::PeerServices(services) => {
            json!({"services": services.names(), "complete": services.is_complete()})
        }
        Event::PortReaches { listener, service } => {
            json!({"listener": listener.to_string(), "service": service})
        }
        Event::ServiceMissing { listener, service, offered } => {
            json!({"listener": listener.to_string(), "service": service, "offered": offered.names()})
        }
        Event::HandshakeFailed { why } => json!({"why": why.to_string()}),
        Event::TunnelLost(end) => json!({"why": end.to_string()}),
        Event::PathLost { loss } => json!({"why": Loss::name_of(*loss)}),
        Event::PathBack { connected, after } => to_json_connected(connected, Some(*after)),
        Event::PathChanged(connected) => to_json_connected(connected, None),
        Event::Displaced => json!({}),
        Event::PeerGone => json!({}),
        Event::PeerLeft => json!({}),
        Event::PeerRestarted => json!({}),
        Event::Trouble(Trouble::NoPath(found)) => {
            json!({"kind": "no_path", "cause": found.cause().name(), "found": to_json_report(found)})
        }
        Event::Trouble(trouble) => json!({"kind": trouble.name()}),
        Event::Resolved { host, ok } => json!({"host": host, "ok": ok}),
        Event::ConnectionRefused { listener, too_many } => {
            json!({"listener": listener.to_string(), "too_many": too_many})
        }
        Event::ServiceFailed { service, reply } => {
            json!({"service": service, "why": reply.to_string()})
        }
        Event::ServiceBack { service } => json!({"service": service}),
        Event::ConnectFailed { service, why } => {
            json!({"service": service, "why": why})
        }
        Event::AcceptFailed { listener, why } => {
            json!({"listener": listener.to_string(), "why": why})
        }
        _ => json!({}),
    };
    (object["event"], object["schema"]) = (event.name().into(), SCHEMA.into());
    if let Some(text) = texts::describe(event) {
        object["text"] = text.into();
    }
    object
}

/// Returns a pair that is in use from now on, and how long it took to find it where that is told.
fn to_json_connected(connected: &Connected, took: Option<Duration>) -> Value {
    let mut object = json!({
        "remote": connected.pair.remote.to_string(),
        "method": connected.method.name(),
        "rtt_ms": connected.rtt.as_secs_f64() * 1000.0,
        "observed": connected.observed.map(|a| a.to_string()),
    });
    if let Some(took) = took {
        object["seconds"] = took.as_secs_f64().into();
    }
    object
}

fn to_json_gave_up(found: Option<&SearchReport>, text: &str) -> Value {
    let cause = found.map(|found| found.cause().name());
    let found = found.map(to_json_report);
    json!({"event": "gave_up", "schema": SCHEMA, "cause": cause, "found": found, "text": text})
}

/// Returns what the search has seen, as one JSON object.
fn to_json_report(found: &SearchReport) -> Value {
    let port = |moved: Option<(u16, u16)>| moved.map(|(expected, seen)| json!([expected, seen]));
    json!({
        "heard_from": found.heard_from.map(|a| a.to_string()),
        "peer_hears": found.peer_hears,
        "own_port_moved": port(found.own_port_moved),
        "peer_port_moved": port(found.peer_port_moved),
        "refused": found.is_refused,
        "prohibited_by": found.prohibited_by.map(|a| a.to_string()),
        "unreachable_by": found.unreachable_by.map(|a| a.to_string()),
        "send_refused": found.is_send_refused,
        "ends_at": found.ends_at.map(|a| a.to_string()),
        "swept": found.has_swept,
        "had_path": found.had_path,
        "not_public": found.not_public.map(|(ip, _)| ip.to_string()),
        "own_changed": found.own_changed,
    })
}

#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_status_is_one_sentence_and_comes_with_changes_of_state_alone() {
        let from = SocketAddr::from(([203, 0, 113, 9], 5555));
        let trouble = |trouble| status(&Event::Trouble(trouble)).expect("a state");
        assert_eq!(trouble(Trouble::NoPath(SearchReport::default())), "nothing from the peer so far.");
        let wrong_key = trouble(Trouble::WrongKey { from });
        assert!(wrong_key.contains("203.0.113.9:5555") && !wrong_key.contains("Compare"), "{wrong_key}");
        assert_eq!(
            status(&Event::TunnelUp { remote: from }).expect("a state"),
            "tunnel up, to 203.0.113.9:5555"
        );
        assert_eq!(status(&Event::ServiceBack { service: "22".into() }), None);
    }
}
