//! The supervisor's rules (pinhole/src/endpoint/supervisor.rs) over a Puncher and QUIC without tasks.
//!
use std::time::{Duration, Instant};

use natlab::Network;
use noq_proto::{ConnectionError, Event as QuicEvent, Incoming, PathId, VarInt};
use pinhole_proto::{
    Now, Role,
    puncher::{Connected, Event, Loss, Pair},
};

use super::{
    app::TunnelId,
    program::Program,
    tunnel::{
        congestion::PathCount,
        transport::{self, Way},
    },
};

const HANDSHAKE: Duration = Duration::from_secs(5);
const HANDSHAKE_RTTS: u32 = 16;
const DEAF: Duration = Duration::from_secs(5);
const TIMER_RTTS: u32 = 3;
const TIMER_AT_MOST: Duration = Duration::from_secs(5);
const SECOND_HANDSHAKE: Duration = Duration::from_secs(1);
const MAX_HANDSHAKES: usize = 16;

/// The codes of goodbyes (pinhole/src/tunnel/mod.rs), and what the library says when a connection is dropped.
pub(super) const LEAVING: u32 = 1;
const REPLACED: u32 = 2;
const DROPPED: u32 = 0;

/// What a supervisor keeps in mind.
#[derive(Debug)]
pub(super) struct Supervisor {
    patience: Duration,
    pub(super) punched: Option<Connected>,
    /// The oldest first.
    handshakes: Vec<usize>,
    handshake_by: Option<Instant>,
    pub(super) tunnel: Option<(usize, TunnelId)>,
    path_lost_at: Option<Instant>,
    /// The path that was lost, and how many packets the peer had acknowledged by then.
    lost: Option<(Pair, u64)>,
    waking: Option<Waking>,
    second_handshake_at: Option<Instant>,
}

const WAKE_EVERY: Duration = Duration::from_millis(500);

/// A tunnel that has not heard anything since it got its path.
#[derive(Debug)]
struct Waking {
    acknowledged: u64,
    next_at: Instant,
    every: Duration,
    until: Instant,
}

/// Says what became of a tunnel.
#[derive(Debug, Clone)]
pub(super) enum Report {
    Up(TunnelId),
    Down(TunnelId, Cause),
    PathLost(String),
    PathBack(String),
    HandshakeFailed(String),
}

/// Says why a tunnel has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    PeerRestarted,
    PeerLeft,
    PeerGone,
    NoPath,
    /// The path is back, and nothing has come by it.
    Deaf,
    /// Another handshake has succeeded.
    Displaced,
    Ended(String),
}

impl Supervisor {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            punched: None,
            handshakes: Vec::new(),
            handshake_by: None,
            tunnel: None,
            path_lost_at: None,
            lost: None,
            waking: None,
            second_handshake_at: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let waking = self.waking.as_ref().map(|waking| waking.next_at);
        [self.handshake_by, self.patience_ends_at(), waking].into_iter().flatten().min()
    }

    fn patience_ends_at(&self) -> Option<Instant> {
        self.path_lost_at.map(|at| at + self.patience)
    }
}

impl Program {
    pub(super) fn handle_punch(&mut self, event: Event, now: Now, network: &mut Network) {
        match event {
            Event::Heard { .. } | Event::Trouble(_) => {}
            Event::Connected(connected) => self.handle_connected(connected, now.instant, network),
            Event::PathLost(loss) => {
                self.handle_path_lost(format!("{loss:?}"), now.instant);
            }
            Event::PeerSearching => self.handle_path_lost("the peer searches".into(), now.instant),
            Event::PeerRestarted => self.start_over(Cause::PeerRestarted, now.instant),
            Event::Displaced => self.start_over(Cause::Displaced, now.instant),
            Event::PeerGone if self.supervisor.tunnel.is_none() => {}
            Event::PeerGone => self.start_over(Cause::PeerGone, now.instant),
            Event::PeerLeft => {
                if self.supervisor.tunnel.is_some() || self.supervisor.punched.is_some() {
                    self.start_over(Cause::PeerLeft, now.instant);
                }
            }
        }
    }

    pub(super) fn handle_supervision(&mut self, now: Now) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now.instant);
        if is_due(self.supervisor.handshake_by) {
            self.reports.push(Report::HandshakeFailed("no answer in time".into()));
            self.search(now);
        }
        if is_due(self.supervisor.patience_ends_at()) {
            self.handle_end(Cause::NoPath, now);
        }
        if is_due(self.supervisor.waking.as_ref().map(|waking| waking.next_at)) {
            self.wake_tunnel(now);
        }
    }

    fn wake_tunnel(&mut self, now: Now) {
        let Some(waking) = &mut self.supervisor.waking else { return };
        waking.until += now.instant.saturating_duration_since(waking.next_at);
        if self.shared.paths.acknowledged() != waking.acknowledged {
            self.supervisor.waking = None;
        } else if now.instant >= waking.until && self.role == Role::Open {
            self.supervisor.waking = None;
            self.handle_end(Cause::Deaf, now);
        } else {
            waking.next_at = now.instant + waking.every;
            self.quic.handle_network_change(now.instant);
        }
    }

    pub(super) fn handle_quic(&mut self, handle: usize, event: QuicEvent, now: Now) {
        match event {
            QuicEvent::Connected if self.supervisor.handshakes.contains(&handle) => {
                self.supervisor.handshakes.retain(|other| *other != handle);
                self.forget_handshakes(now.instant);
                self.handle_up(handle, now.instant);
            }
            QuicEvent::ConnectionLost { reason } => self.handle_lost(handle, &reason, now),
            QuicEvent::Connected
            | QuicEvent::HandshakeDataReady
            | QuicEvent::HandshakeConfirmed
            | QuicEvent::Stream(_)
            | QuicEvent::DatagramReceived
            | QuicEvent::DatagramsUnblocked
            | QuicEvent::Path(_)
            | QuicEvent::NatTraversal(_) => {}
        }
    }

    pub(super) fn handle_incoming(&mut self, incoming: Incoming, now: Instant) {
        if self.supervisor.punched.is_none() || self.role == Role::Open || incoming.decrypt().is_none() {
            return self.quic.ignore(incoming);
        }
        if self.supervisor.tunnel.is_some() {
            if self.supervisor.second_handshake_at.is_some_and(|at| now < at) {
                return self.quic.ignore(incoming);
            }
            self.supervisor.second_handshake_at = Some(now + SECOND_HANDSHAKE);
        }
        if let Some(handle) = self.quic.accept(incoming, now) {
            self.begin(handle, now);
        }
    }

    fn handle_path_lost(&mut self, why: String, now: Instant) {
        if self.supervisor.tunnel.is_none() {
            return self.tell_searching(now);
        }
        if let Some(punched) = self.supervisor.punched {
            self.supervisor.lost = Some((punched.pair, self.shared.paths.acknowledged()));
        }
        (self.supervisor.punched, self.supervisor.waking) = (None, None);
        self.supervisor.path_lost_at.get_or_insert(now);
        self.reports.push(Report::PathLost(why));
    }

    fn handle_connected(&mut self, connected: Connected, now: Instant, network: &mut Network) {
        if self.role == Role::Serve {
            self.quic.answer(self.shared.server(connected.instances, way(connected.rtt)));
        }
        self.hub.admit(connected.pair, network);
        self.supervisor.punched = Some(connected);
        let answer_by = now + HANDSHAKE + connected.rtt * HANDSHAKE_RTTS;
        if let Some((handle, _)) = self.supervisor.tunnel {
            let acknowledged = self.shared.paths.acknowledged();
            let lost = self.supervisor.lost.take();
            if lost.is_none_or(|(pair, before)| pair != connected.pair || before == acknowledged) {
                let next_at = if self.role == Role::Serve { now + connected.rtt } else { now };
                let every = WAKE_EVERY.max(connected.rtt * 2);
                let rtt = self.quic.get(handle).and_then(|connection| connection.rtt(PathId::ZERO));
                let until = answer_by + DEAF + (rtt.unwrap_or_default() * TIMER_RTTS).min(TIMER_AT_MOST);
                self.supervisor.waking = Some(Waking { acknowledged, next_at, every, until });
                self.shared.paths.add();
            }
            self.supervisor.path_lost_at = None;
            return self
                .reports
                .push(Report::PathBack(format!("{:?}, {:?} rtt", connected.pair, connected.rtt)));
        }
        // The open side may have a tunnel that this one never had, and must be the first to find that out.
        let for_the_dial = match self.role {
            Role::Serve => HANDSHAKE + DEAF + TIMER_AT_MOST,
            Role::Open => Duration::ZERO,
        };
        self.supervisor.handshake_by = Some(answer_by + for_the_dial);
        if self.role == Role::Open {
            let config = self.shared.client(connected.instances, way(connected.rtt));
            let handle = self.quic.dial(config, now);
            self.begin(handle, now);
        }
    }

    fn begin(&mut self, handle: usize, now: Instant) {
        if self.supervisor.handshakes.len() == MAX_HANDSHAKES {
            let oldest = self.supervisor.handshakes.remove(0);
            self.quic.close(oldest, DROPPED, now);
        }
        self.supervisor.handshakes.push(handle);
    }

    fn handle_up(&mut self, handle: usize, now: Instant) {
        if self.supervisor.punched.is_none() {
            return self.quic.close(handle, REPLACED, now);
        }
        self.drop_tunnel(Cause::Displaced, now);
        let mut exported = [0; 8];
        let connection = self.quic.get(handle).expect("it has just told");
        let session = connection.crypto_session();
        session.export_keying_material(&mut exported, b"tunnel", b"").expect("after the handshake");
        let id = TunnelId::from_le_bytes(exported);
        self.supervisor.tunnel = Some((handle, id));
        self.app.start(id);
        self.reports.push(Report::Up(id));
    }

    fn handle_lost(&mut self, handle: usize, reason: &ConnectionError, now: Now) {
        if self.supervisor.tunnel.is_some_and(|(tunnel, _)| tunnel == handle) {
            let has_left = matches!(reason,
                ConnectionError::ApplicationClosed(close) if close.error_code == VarInt::from_u32(LEAVING));
            let cause = if has_left { Cause::PeerLeft } else { Cause::Ended(reason.to_string()) };
            return self.handle_end(cause, now);
        }
        if !self.supervisor.handshakes.contains(&handle) {
            return;
        }
        self.supervisor.handshakes.retain(|other| *other != handle);
        if self.role == Role::Open && self.supervisor.tunnel.is_none() {
            self.reports.push(Report::HandshakeFailed(reason.to_string()));
            self.search(now);
        }
    }

    fn handle_end(&mut self, cause: Cause, now: Now) {
        self.drop_tunnel(cause, now.instant);
        match self.supervisor.punched {
            Some(_) => self.search(now),
            None => self.tell_searching(now.instant),
        }
    }

    fn start_over(&mut self, cause: Cause, now: Instant) {
        self.drop_tunnel(cause, now);
        self.tell_searching(now);
    }

    fn search(&mut self, now: Now) {
        self.puncher.search(now);
        self.tell_searching(now.instant);
    }

    fn tell_searching(&mut self, now: Instant) {
        self.supervisor.punched = None;
        self.forget_handshakes(now);
    }

    fn forget_handshakes(&mut self, now: Instant) {
        for handle in std::mem::take(&mut self.supervisor.handshakes) {
            self.quic.close(handle, DROPPED, now);
        }
        self.supervisor.handshake_by = None;
    }

    fn drop_tunnel(&mut self, cause: Cause, now: Instant) {
        (self.supervisor.path_lost_at, self.supervisor.lost) = (None, None);
        self.supervisor.waking = None;
        if let Some((handle, id)) = self.supervisor.tunnel.take() {
            self.quic.close(handle, REPLACED, now);
            self.reports.push(Report::Down(id, cause));
        }
    }
}

fn way(rtt: Duration) -> Way {
    Way { rtt, largest_datagram: None }
}
