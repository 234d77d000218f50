//! What the user sees: a line a state on stderr, a live line on a terminal, JSON lines on stdout if asked for.

use std::{
    io::IsTerminal,
    mem::{Discriminant, discriminant},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pinhole::{
    Event, Peer,
    proto::puncher::{SearchReport, Trouble},
};
use serde::Serialize;
use serde_json::Value;

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
        if let (Some(bar), Some(state)) = (&self.live, Look::of(event).live) {
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
        self.line(Look::of(event).level, line);
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

/// How an event is shown, beside the sentence that [`texts::describe`] has for it.
struct Look {
    /// Whether somebody should look at it: something does not work, or may not for long.
    level: Level,
    /// Whether it changes what the program does: a service manager is told.
    is_state: bool,
    /// What the live line says from now on.
    live: Option<&'static str>,
}

impl Look {
    #[expect(clippy::wildcard_enum_match_arm, reason = "variants of a later version of the library")]
    fn of(event: &Event) -> Self {
        let info = Self { level: Level::Info, is_state: false, live: None };
        let state = Self { is_state: true, ..info };
        let wrong = Self { level: Level::Warning, ..info };
        match event {
            Event::Searching { .. } => Self { live: Some("waiting for the peer"), ..state },
            Event::TunnelUp { .. } | Event::PathBack { .. } => Self { live: Some("tunnel up"), ..state },
            Event::PathLost { .. } => Self { live: Some("no path; connections wait"), ..state },
            Event::Displaced => {
                let live = Some("waiting: another pinhole has taken this one's place");
                Self { live, is_state: true, ..wrong }
            }
            Event::Punched(_) | Event::PathChanged(_) | Event::PeerLeft | Event::PeerRestarted => state,
            Event::HandshakeFailed { .. } | Event::TunnelLost(_) | Event::PeerGone | Event::Trouble(_) => {
                Self { is_state: true, ..wrong }
            }
            Event::ServiceMissing { .. }
            | Event::Resolved { ok: false, .. }
            | Event::ConnectionRefused { .. }
            | Event::ServiceFailed { .. }
            | Event::ConnectFailed { .. }
            | Event::AcceptFailed { .. } => wrong,
            Event::Heard { .. }
            | Event::PeerServices(_)
            | Event::PortReaches { .. }
            | Event::Resolved { ok: true, .. }
            | Event::ServiceBack { .. } => info,
            _ => info,
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
    let line = texts::describe(event).filter(|_| Look::of(event).is_state)?;
    // The advice behind it is for the log.
    let end = [". ", "? "].into_iter().filter_map(|end| line.find(end)).min();
    Some(end.map_or(line.as_str(), |at| &line[..=at]).to_owned())
}

/// Returns an event as the library writes it for programs, with the schema's version and the user's sentence.
fn to_json(event: &Event) -> Value {
    let mut object = serde_json::to_value(event).expect("an event is an object of plain values");
    object["schema"] = SCHEMA.into();
    if let Some(text) = texts::describe(event) {
        object["text"] = text.into();
    }
    object
}

/// What the program alone can tell.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
enum Own<'a> {
    /// There was no tunnel within `--wait`; the program ends with status 1.
    GaveUp {
        /// Why there is no path, as far as one side can tell; null when a pair was in use at that moment.
        #[cfg_attr(test, schemars(with = "Option<pinhole::proto::puncher::NoPathCauseKind>"))]
        cause: Option<&'static str>,
        /// What the search has seen; null when a pair was in use at that moment.
        found: Option<&'a SearchReport>,
    },
}

fn to_json_gave_up(found: Option<&SearchReport>, text: &str) -> Value {
    let gave_up = Own::GaveUp { cause: found.map(|found| found.cause().name()), found };
    let mut object = serde_json::to_value(gave_up).expect("an object of plain values");
    (object["schema"], object["text"]) = (SCHEMA.into(), text.into());
    object
}

#[cfg(test)]
mod schema;
#[cfg(all(test, feature = "classic"))]
pub(super) use self::schema::event_names;

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
