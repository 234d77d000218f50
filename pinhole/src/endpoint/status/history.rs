//! The history of an endpoint, kept as events are reported: the state, the path, the last [`HISTORY`] entries, what is
//! wrong.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use pinhole_proto::{
    Now, Role,
    control::Services,
    puncher::{Connected, Trouble},
};

use super::snapshot::{Chosen, State, Timestamp};
use crate::Event;

/// Most entries of the history: events in the life of the path and the tunnel.
pub const HISTORY: usize = 32;

/// Most troubles that are kept.
pub const TROUBLES: usize = 16;

/// A trouble whose end nobody tells is taken for over after this.
const STALE: Duration = Duration::from_secs(300);

/// The history of an endpoint; see the module's text.
#[derive(Debug)]
pub(super) struct History {
    role: Role,
    pub(super) started: Now,
    pub(super) state: (State, Now),
    pub(super) addresses: Vec<SocketAddr>,
    /// The last search, as it was told.
    search: Option<Event>,
    /// How the path was lost, while there is none.
    loss: Option<Event>,
    /// Where the tunnel's path leads or has led.
    remote: Option<SocketAddr>,
    pub(super) path: Option<Used>,
    pub(super) tunnel_since: Option<Now>,
    /// What the peer offers, as it has told over the tunnel that stands.
    pub(super) peer_services: Option<Arc<Services>>,
    /// The services that local ports reach, as long as that tunnel stands.
    pub(super) reached: BTreeMap<SocketAddr, String>,
    pub(super) entries: VecDeque<(Now, Event)>,
    pub(super) troubles: VecDeque<Wrong>,
    /// How often each event was told; there are as many as names.
    pub(super) counts: BTreeMap<&'static str, u64>,
}

/// The path in use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub(super) since: Now,
    pub(super) connected: Connected,
    pub(super) chosen: Chosen,
    pub(super) found_after: Option<Duration>,
    pub(super) least_rtt: Duration,
}

/// Something that is wrong.
#[derive(Debug, Clone)]
pub(super) struct Wrong {
    kind: (&'static str, String),
    pub(super) since: Now,
    told: Instant,
    pub(super) event: Event,
}

impl Wrong {
    pub(super) fn kind(&self) -> &'static str {
        self.kind.0
    }
}

impl History {
    pub(super) fn new(role: Role, addresses: Vec<SocketAddr>, now: Now) -> Self {
        Self {
            role,
            started: now,
            state: (State::Searching, now),
            addresses,
            search: None,
            loss: None,
            remote: None,
            path: None,
            tunnel_since: None,
            peer_services: None,
            reached: BTreeMap::new(),
            entries: VecDeque::new(),
            troubles: VecDeque::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Records an event.
    pub(super) fn handle_event(&mut self, event: &Event, now: Now) {
        *self.counts.entry(event.name()).or_default() += 1;
        self.note_trouble(event, now);
        match event {
            Event::Searching { addresses, .. } => {
                self.search = Some(event.clone());
                self.addresses.clone_from(addresses);
                self.leave_tunnel(State::Searching, now);
            }
            Event::Punched(connected) => {
                self.enter(State::Connecting, now);
                self.use_path(*connected, Chosen::First, Some(connected.took), now);
            }
            Event::TunnelUp { remote } => {
                self.remote = Some(*remote);
                self.enter(State::Connected, now);
                self.tunnel_since = Some(now);
            }
            Event::PeerServices(services) => self.peer_services = Some(services.clone()),
            Event::PortReaches { listener, service } => {
                self.reached.insert(*listener, service.clone());
            }
            Event::PathLost { .. } => {
                self.enter(State::PathLost, now);
                self.loss = Some(event.clone());
                self.path = None;
            }
            Event::PathBack { connected, after } => {
                self.enter(State::Connected, now);
                self.use_path(*connected, Chosen::Again, Some(*after), now);
            }
            Event::PathChanged(connected) => self.use_path(*connected, Chosen::Nearer, None, now),
            Event::Displaced => self.leave_tunnel(State::Displaced, now),
            Event::HandshakeFailed { .. }
            | Event::ServiceMissing { .. }
            | Event::TunnelLost(_)
            | Event::PeerGone
            | Event::PeerLeft
            | Event::PeerRestarted
            | Event::Heard { .. }
            | Event::Trouble(_)
            | Event::Resolved { .. }
            | Event::ConnectionRefused { .. }
            | Event::ServiceFailed { .. }
            | Event::ServiceBack { .. }
            | Event::ConnectFailed { .. }
            | Event::AcceptFailed { .. } => {}
        }
        if is_history(event) {
            if self.entries.len() == HISTORY {
                self.entries.pop_front();
            }
            self.entries.push_back((now, event.clone()));
        }
    }

    /// Returns what holds now, by the events that would tell it; nothing before the first one.
    pub(super) fn standing(&self) -> Vec<Event> {
        let path = self.path.map(|used| Event::Punched(used.connected));
        let remote = self.path.map(|used| used.connected.pair.remote).or(self.remote);
        let tunnel = remote.map(|remote| Event::TunnelUp { remote });
        let mut standing = Vec::new();
        match self.state.0 {
            State::Searching | State::Other => standing.extend(self.search.clone()),
            State::Connecting => standing.extend(self.search.clone().into_iter().chain(path)),
            State::Connected => standing.extend(path.into_iter().chain(tunnel)),
            State::PathLost => standing.extend(tunnel.into_iter().chain(self.loss.clone())),
            State::Displaced => standing.push(Event::Displaced),
        }
        standing.extend(self.peer_services.clone().map(Event::PeerServices));
        standing.extend(
            self.reached.iter().map(|(listener, service)| Event::PortReaches {
                listener: *listener,
                service: service.clone(),
            }),
        );
        standing.extend(self.troubles.iter().map(|wrong| wrong.event.clone()));
        standing
    }

    /// Records a round trip over the path in use.
    pub(super) fn handle_rtt(&mut self, rtt: Duration) {
        if let Some(path) = &mut self.path {
            path.least_rtt = path.least_rtt.min(rtt);
        }
    }

    /// Forgets troubles whose end nobody tells.
    pub(super) fn expire(&mut self, now: Instant) {
        let role = self.role;
        self.troubles.retain(|wrong| {
            !has_no_end(&wrong.event, role) || now.saturating_duration_since(wrong.told) < STALE
        });
    }

    fn enter(&mut self, state: State, now: Now) {
        if self.state.0 != state {
            self.state = (state, now);
        }
    }

    fn leave_tunnel(&mut self, state: State, now: Now) {
        self.enter(state, now);
        (self.path, self.tunnel_since, self.peer_services) = (None, None, None);
        self.reached.clear();
        self.troubles.retain(|wrong| !matches!(wrong.event, Event::ServiceMissing { .. }));
    }

    fn use_path(&mut self, connected: Connected, chosen: Chosen, found_after: Option<Duration>, now: Now) {
        self.path = Some(Used { since: now, connected, chosen, found_after, least_rtt: connected.rtt });
    }

    fn note_trouble(&mut self, event: &Event, now: Now) {
        if matches!(event, Event::TunnelUp { .. } | Event::PathBack { .. }) {
            self.troubles.retain(|wrong| !ends_with_a_path(&wrong.event));
        } else if let Event::Resolved { ok: true, .. } = event {
            self.troubles.retain(|wrong| !matches!(wrong.event, Event::Resolved { .. }));
        } else if let Event::ServiceBack { service } = event {
            self.troubles.retain(|wrong| wrong.kind.1 != *service);
        }
        let Some(kind) = trouble_kind(event) else { return };
        let former = self.troubles.iter().position(|wrong| wrong.kind == kind);
        let since = match former.and_then(|index| self.troubles.remove(index)) {
            Some(former) => former.since,
            None => now,
        };
        if self.troubles.len() == TROUBLES {
            self.troubles.pop_front();
        }
        self.troubles.push_back(Wrong { kind, since, told: now.instant, event: event.clone() });
    }
}

/// Returns the timestamp of a point in time.
pub(super) fn timestamp(then: Now, now: Now) -> Timestamp {
    let unix_ms = u64::try_from(then.unix.as_millis()).unwrap_or(u64::MAX);
    Timestamp { unix_ms, ago_s: now.instant.saturating_duration_since(then.instant).as_secs_f64() }
}

fn is_history(event: &Event) -> bool {
    matches!(
        event,
        Event::Punched(_)
            | Event::TunnelUp { .. }
            | Event::HandshakeFailed { .. }
            | Event::PathLost { .. }
            | Event::PathBack { .. }
            | Event::PathChanged(_)
            | Event::Displaced
            | Event::PeerGone
            | Event::TunnelLost(_)
            | Event::PeerLeft
            | Event::PeerRestarted
    )
}

/// Names a trouble, with what it is about; `None` if the event is no trouble.
fn trouble_kind(event: &Event) -> Option<(&'static str, String)> {
    if let Event::Trouble(trouble) = event {
        return Some((trouble.name(), String::new()));
    }
    if let Event::Resolved { host, ok: false } = event {
        return Some(("unresolved", host.clone()));
    }
    if let Event::HandshakeFailed { .. } = event {
        return Some((event.name(), String::new()));
    }
    if let Event::ServiceFailed { service, .. } | Event::ConnectFailed { service, .. } = event {
        return Some((event.name(), service.clone()));
    }
    if let Event::ConnectionRefused { listener, .. }
    | Event::AcceptFailed { listener, .. }
    | Event::ServiceMissing { listener, .. } = event
    {
        return Some((event.name(), listener.to_string()));
    }
    None
}

/// Whether a path that works takes it away.
fn ends_with_a_path(event: &Event) -> bool {
    let is_about_the_path =
        matches!(event, Event::Trouble(_) | Event::HandshakeFailed { .. } | Event::ConnectionRefused { .. });
    is_about_the_path && !matches!(event, Event::Trouble(Trouble::Clock { .. }))
}

/// Whether no event tells its end. The serve side tells of services that answer again.
fn has_no_end(event: &Event, role: Role) -> bool {
    let is_of_a_service = matches!(event, Event::ServiceFailed { .. } | Event::ConnectFailed { .. });
    matches!(event, Event::AcceptFailed { .. } | Event::ConnectionRefused { .. })
        || is_of_a_service && role == Role::Open
}

#[cfg(test)]
mod tests {
    use pinhole_proto::{
        key::Instances,
        puncher::{Method, Pair, SearchReport, SocketId},
        stream::Reply,
    };

    use super::*;
    use crate::{clock, tunnel::TunnelEnd};

    fn connected() -> Connected {
        let remote = SocketAddr::from(([203, 0, 113, 9], 5555));
        Connected {
            pair: Pair { socket: SocketId::MAIN, remote },
            method: Method::Slot,
            rtt: Duration::from_millis(20),
            took: Duration::from_secs(3),
            observed: None,
            instances: Instances::default(),
        }
    }

    fn searching() -> Event {
        Event::Searching { peer: "home:5555".into(), addresses: Vec::new() }
    }

    fn history() -> (History, Now) {
        let now = clock::now();
        (History::new(Role::Serve, Vec::new(), now), now)
    }

    #[test]
    fn the_state_follows_the_events_of_a_life() {
        let (mut history, mut now) = history();
        let connected = connected();
        let remote = connected.pair.remote;
        let life = [
            (searching(), State::Searching, false),
            (Event::Punched(connected), State::Connecting, true),
            (Event::TunnelUp { remote }, State::Connected, true),
            (Event::PathLost { loss: None }, State::PathLost, false),
            (Event::PathBack { connected, after: Duration::from_secs(2) }, State::Connected, true),
            (Event::TunnelLost(TunnelEnd::Broken), State::Connected, true),
            (searching(), State::Searching, false),
            (Event::Displaced, State::Displaced, false),
        ];
        for (event, state, has_path) in life {
            now = now.after(Duration::from_secs(1));
            history.handle_event(&event, now);
            assert_eq!((history.state.0, history.path.is_some()), (state, has_path), "{event:?}");
        }
        assert_eq!(history.entries.len(), 6, "a search is no entry");
    }

    #[test]
    fn a_state_that_is_told_again_has_begun_when_it_was_told_first() {
        let (mut history, now) = history();
        history.handle_event(&searching(), now.after(Duration::from_secs(9)));
        assert_eq!(history.state, (State::Searching, now));
    }

    #[test]
    fn what_holds_is_told_by_the_events_that_would_tell_it() {
        let (mut history, now) = history();
        assert_eq!(history.standing(), []);
        let connected = connected();
        let remote = connected.pair.remote;
        let failed = Event::HandshakeFailed { why: crate::tunnel::HandshakeError::Late };
        let (up, lost) = (Event::TunnelUp { remote }, Event::PathLost { loss: None });
        let services = Event::PeerServices(Arc::new(Services::new(["22"])));
        let back = Event::PathBack { connected, after: Duration::from_secs(2) };
        let life = [
            (searching(), vec![searching()]),
            (failed.clone(), vec![searching(), failed.clone()]),
            (Event::Punched(connected), vec![searching(), Event::Punched(connected), failed]),
            (up.clone(), vec![Event::Punched(connected), up.clone()]),
            (services.clone(), vec![Event::Punched(connected), up.clone(), services.clone()]),
            (lost.clone(), vec![up.clone(), lost, services.clone()]),
            (back, vec![Event::Punched(connected), up, services]),
            (Event::PeerLeft, Vec::new()),
            (searching(), vec![searching()]),
            (Event::Displaced, vec![Event::Displaced]),
        ];
        for (event, standing) in life {
            history.handle_event(&event, now);
            if event != Event::PeerLeft {
                assert_eq!(history.standing(), standing, "{event:?}");
            }
        }
    }

    #[test]
    fn the_history_is_bounded_and_keeps_the_newest() {
        let (mut history, now) = history();
        for n in 0..100 {
            history.handle_event(&Event::PeerLeft, now.after(Duration::from_secs(n)));
        }
        assert_eq!(history.entries.len(), HISTORY);
        assert_eq!(history.entries.back().map(|(at, _)| *at), Some(now.after(Duration::from_secs(99))));
    }

    #[test]
    fn a_trouble_stays_until_its_end_is_told() {
        let (mut history, now) = history();
        let failed = |service: &str| Event::ServiceFailed { service: service.into(), reply: Reply::Refused };
        let no_path = Event::Trouble(Trouble::NoPath(SearchReport::default()));
        for event in [failed("22"), failed("80"), no_path.clone(), no_path] {
            history.handle_event(&event, now);
        }
        let kinds = |history: &History| history.troubles.iter().map(|t| t.kind.clone()).collect::<Vec<_>>();
        let named = |kind: &'static str, of: &str| (kind, of.to_owned());
        assert_eq!(
            kinds(&history),
            [named("service_failed", "22"), named("service_failed", "80"), named("no_path", "")]
        );
        history.handle_event(&Event::ServiceBack { service: "22".into() }, now);
        history.handle_event(&Event::TunnelUp { remote: connected().pair.remote }, now);
        history.expire(now.instant + STALE * 2);
        assert_eq!(kinds(&history), [named("service_failed", "80")]);
    }

    #[test]
    fn troubles_are_bounded_and_those_without_an_end_grow_old() {
        let (mut history, now) = history();
        for port in 1..100 {
            let listener = SocketAddr::from(([127, 0, 0, 1], port));
            history.handle_event(&Event::AcceptFailed { listener, why: "none left".into() }, now);
        }
        assert_eq!(history.troubles.len(), TROUBLES);
        history.expire(now.instant + STALE);
        assert!(history.troubles.is_empty());
    }
}
