//! Keeps a tunnel up: punched pair → handshake → tunnel → path lost → punched again → the tunnel goes on.
//!
//! A tunnel ends when the peer says so or has started anew, when its QUIC connection breaks, or when it had no path
//! for as long as the user's patience lasts. Then the search goes on for a new one.

use std::{collections::VecDeque, future::IntoFuture, net::SocketAddr, sync::Arc, time::Duration};

use noq::ConnectionId;
use pinhole_proto::{
    Role,
    puncher::{Connected, Event as Punch, Loss, Pair},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use super::{
    Config, Event, Events, PeerError,
    control::Control,
    driver::{Command, DriverHandle},
};
use crate::{
    clock,
    hub::{self, Hub},
    tunnel::{
        Goodbye, HandshakeError, Tunnel, TunnelEnd,
        transport::{Shared, Way},
    },
};

/// Time for the QUIC handshake over a proven pair, plus [`HANDSHAKE_RTTS`] round trips: more than the Puncher needs to
/// find the path dead.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// See [`HANDSHAKE`].
const HANDSHAKE_RTTS: u32 = 16;

/// How often a peer's name is looked up again while it is searched for.
const RESOLVE: Duration = Duration::from_secs(30);

/// The same while a tunnel waits for its path.
const RESOLVE_KEPT: Duration = Duration::from_secs(5);

/// Handshakes that may begin while a tunnel stands: one in this time. The peer may have lost its end of the tunnel.
const SECOND_HANDSHAKE: Duration = Duration::from_secs(1);

/// Handshakes under way at a time on the serve side; the oldest makes room. One is usual: the peer begins another one
/// only after it has given the first up.
const MAX_HANDSHAKES: usize = 4;

/// First packets whose like is not answered again: copies of them open, and can never become a handshake.
const MAX_ANSWERED: usize = 256;

/// QUIC's keys are renewed this often while a tunnel is used, as WireGuard's are (its whitepaper, section 6.1).
const REKEY: Duration = Duration::from_secs(120);

/// What the endpoint's owner wants of the supervisor.
#[derive(Debug)]
pub(super) enum Request {
    /// Look the peer's name up at once, and say what is known then.
    LookUp(oneshot::Sender<Vec<SocketAddr>>),
    /// Say that you are there.
    Answer(oneshot::Sender<()>),
}

/// The supervisor's ends of what leads to its owner.
pub(super) struct Owner {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) published: watch::Sender<Option<Tunnel>>,
    pub(super) control: Control,
}

/// A tunnel that has a path again is woken this often until it hears something, or each two round trips.
const WAKE_EVERY: Duration = Duration::from_millis(500);

/// So much longer a tunnel that stands may be without an answer than a handshake: the peer's timers may be slower than
/// ours, and a tunnel that is given up costs all its connections.
const DEAF: Duration = Duration::from_secs(5);

/// QUIC believes in the round trip of the path before until an answer comes, and sends again when a timer ends: after at
/// most so many of those (RFC 9002 §6.2.1, where the round trips varied by half).
const TIMER_RTTS: u32 = 3;

/// See [`TIMER_RTTS`].
const TIMER_AT_MOST: Duration = Duration::from_secs(5);

/// A tunnel that has not heard anything since it got its path.
struct Waking {
    /// Packets that the peer had acknowledged by then.
    acknowledged: u64,
    next_at: Instant,
    every: Duration,
    /// Then it is of no use.
    until: Instant,
}

type Handshake = Result<noq::Connection, noq::ConnectionError>;

pub(super) struct Supervisor {
    config: Config,
    addresses: Vec<SocketAddr>,
    hub: Arc<Hub>,
    quic: noq::Endpoint,
    driver: DriverHandle,
    requests: mpsc::Receiver<Request>,
    published: watch::Sender<Option<Tunnel>>,
    control: Control,
    events: Events,
    /// The nominated pair, none while the puncher searches.
    punched: Option<Connected>,
    handshakes: JoinSet<Handshake>,
    /// The connection IDs of the first packets that were answered, the oldest first.
    answered: VecDeque<ConnectionId>,
    lookups: JoinSet<Result<Vec<SocketAddr>, PeerError>>,
    /// Who waits for the end of the lookup under way.
    curious: Vec<oneshot::Sender<Vec<SocketAddr>>>,
    /// Those under way, the oldest first.
    under_way: VecDeque<AbortHandle>,
    /// When the tunnel must stand; otherwise the search begins again.
    handshake_by: Option<Instant>,
    /// When the pair was proven for which there is no tunnel yet, if it was.
    in_vain_since: Option<Instant>,
    tunnel: Option<Tunnel>,
    /// When the tunnel's keys are due, and how many packets had been opened when they were last renewed.
    rekey: Option<(Instant, u64)>,
    shared: Shared,
    /// Since when the tunnel has no path.
    path_lost_at: Option<Instant>,
    /// That path, and how many packets the peer had acknowledged by then.
    lost: Option<(Pair, u64)>,
    /// The tunnel got a path a moment ago, and has not heard anything by it.
    waking: Option<Waking>,
    /// When the next handshake may begin while a tunnel stands.
    second_handshake_at: Instant,
    resolve_at: Instant,
    /// Whether the name resolved at the last look.
    resolves: bool,
}

impl Supervisor {
    pub(super) fn new(
        config: Config,
        addresses: Vec<SocketAddr>,
        hub: Arc<Hub>,
        (quic, shared): (noq::Endpoint, Shared),
        driver: DriverHandle,
        owner: Owner,
        events: Events,
    ) -> Self {
        let Owner { requests, published, control } = owner;
        Self {
            config,
            addresses,
            hub,
            quic,
            driver,
            requests,
            published,
            control,
            events,
            punched: None,
            handshakes: JoinSet::new(),
            answered: VecDeque::new(),
            lookups: JoinSet::new(),
            curious: Vec::new(),
            under_way: VecDeque::new(),
            handshake_by: None,
            in_vain_since: None,
            tunnel: None,
            rekey: None,
            shared,
            path_lost_at: None,
            lost: None,
            waking: None,
            second_handshake_at: Instant::now(),
            resolve_at: Instant::now() + RESOLVE,
            resolves: true,
        }
    }

    pub(super) async fn run(mut self) {
        let set = if self.config.peer.is_name() { Command::SetResolved } else { Command::SetPeer };
        self.command(set(self.addresses.clone())).await;
        self.search().await;
        loop {
            let patience_ends_at = self.patience_ends_at();
            tokio::select! {
                event = self.driver.events.recv() => match event {
                    Some(event) => self.handle_punch(event),
                    None => return,
                },
                incoming = self.quic.accept() => match incoming {
                    Some(incoming) => self.handle_incoming(incoming),
                    None => return,
                },
                Some(joined) = self.handshakes.join_next() => match joined {
                    Ok(result) => self.handle_handshake(result).await,
                    Err(aborted) => tracing::trace!(%aborted, "a handshake made room"),
                },
                Some(Ok(found)) = self.lookups.join_next() => self.handle_resolved(found).await,
                Some(request) = self.requests.recv() => self.handle_request(request),
                () = self.published.closed() => return,
                () = clock::until(self.handshake_by) => self.handle_late_handshake().await,
                end = closed(self.tunnel.as_ref()) => self.handle_end(end).await,
                () = clock::until(patience_ends_at) => self.handle_end(TunnelEnd::NoPath).await,
                () = clock::until(self.waking.as_ref().map(|waking| waking.next_at)) => self.wake_tunnel().await,
                () = clock::until(self.rekey.map(|(at, _)| at)) => self.rekey(),
                () = clock::until(Some(self.resolve_at)),
                    if self.punched.is_none() && self.config.peer.is_name() => self.resolve(),
            }
        }
    }

    fn handle_punch(&mut self, event: Punch) {
        match event {
            Punch::Heard { from } => self.events.tell(Event::Heard { from }),
            Punch::Trouble(trouble) => self.events.tell(Event::Trouble(trouble)),
            Punch::Connected(connected) => self.handle_connected(connected),
            Punch::PeerLeft => self.handle_peer_left(),
            Punch::PathLost(loss) => self.handle_path_lost(Some(loss)),
            Punch::PeerGone if self.tunnel.is_none() => {}
            Punch::PeerGone => self.start_over(Event::PeerGone),
            Punch::Displaced => {
                self.events.tell(Event::Displaced);
                self.drop_tunnel();
                self.punched = None;
                self.forget_handshakes();
            }
            Punch::PeerRestarted => self.start_over(Event::PeerRestarted),
            Punch::PeerSearching => self.handle_path_lost(None),
        }
    }

    /// The tunnel has lost its other end, and the puncher searches already.
    fn start_over(&mut self, why: Event) {
        self.events.tell(why);
        self.in_vain_since = None;
        self.drop_tunnel();
        self.tell_searching();
    }

    /// The tunnel waits, if there is one.
    fn handle_path_lost(&mut self, loss: Option<Loss>) {
        if self.tunnel.is_some() && self.config.patience.is_zero() {
            self.events.tell(Event::TunnelLost(TunnelEnd::NoPath));
            self.drop_tunnel();
        }
        let Some(tunnel) = &self.tunnel else {
            if loss.is_some() {
                self.in_vain_since = None; // that path's fault, and not that of how datagrams leave
            }
            return self.tell_searching();
        };
        tunnel.set_path(None);
        if let Some(punched) = self.punched {
            self.lost = Some((punched.pair, self.shared.paths.acknowledged()));
        }
        (self.punched, self.waking) = (None, None);
        self.path_lost_at.get_or_insert_with(Instant::now);
        self.resolve_at = Instant::now();
        self.events.tell(Event::PathLost { loss });
    }

    /// The pair is there. A tunnel that stands goes on over it. Otherwise the open side dials, and the serve side waits
    /// for that.
    fn handle_connected(&mut self, connected: Connected) {
        if self.config.role == Role::Serve {
            let answer = self.shared.server(connected.instances, self.way(connected.rtt));
            self.quic.set_server_config(Some(answer)); // before the first packet can get in
        }
        self.hub.admit(connected.pair);
        self.punched = Some(connected);
        let Some(tunnel) = &self.tunnel else {
            self.events.tell(Event::Punched(connected));
            return self.connect(connected);
        };
        tunnel.set_path(Some(connected.pair.remote));
        let was_heard = self.lost.take().is_some_and(|(pair, before)| {
            pair == connected.pair && before != self.shared.paths.acknowledged()
        });
        // Where the path was just slow, QUIC knows it better than a fresh start would.
        if was_heard {
            return self.tell_path(connected);
        }
        self.waking = Some(Waking {
            acknowledged: self.shared.paths.acknowledged(),
            // The serve side knows of the path half a round trip before the open side lets anything in by it.
            next_at: match self.config.role {
                Role::Serve => Instant::now() + connected.rtt,
                Role::Open => Instant::now(),
            },
            every: WAKE_EVERY.max(connected.rtt * 2),
            until: answer_by(connected)
                + DEAF
                + (tunnel.rtt().unwrap_or_default() * TIMER_RTTS).min(TIMER_AT_MOST),
        });
        self.shared.paths.add();
        self.tell_path(connected);
    }

    fn tell_path(&mut self, connected: Connected) {
        self.events.tell(match self.path_lost_at.take() {
            Some(lost_at) => Event::PathBack { connected, after: lost_at.elapsed() },
            None => Event::PathChanged(connected),
        });
    }

    fn connect(&mut self, punched: Connected) {
        // The open side may have a tunnel that this one has lost, and must be the first to find that out.
        let for_the_dial = match self.config.role {
            Role::Serve => HANDSHAKE + DEAF + TIMER_AT_MOST,
            Role::Open => Duration::ZERO,
        };
        self.handshake_by = Some(answer_by(punched) + for_the_dial);
        // Probes came through, and a whole handshake did not: the next one leaves as probes do.
        let was_in_vain =
            self.in_vain_since.replace(Instant::now()).is_some_and(|at| at.elapsed() >= HANDSHAKE);
        self.hub.set_plain(was_in_vain);
        if self.config.role == Role::Open {
            self.dial(punched);
        }
    }

    /// Whatever was under way is lost: has the tunnel ask now, and not when a timer ends that has backed off. Where the
    /// path carries probes, and yet nothing of the peer's tunnel comes, it knows of none any more. The open side finds that
    /// out, and dials anew; the serve side asks on, for its word of the path may not have come through.
    async fn wake_tunnel(&mut self) {
        let Some(waking) = &mut self.waking else { return };
        let now = Instant::now();
        // While we were stopped nobody could answer.
        waking.until += now.saturating_duration_since(waking.next_at);
        if self.shared.paths.acknowledged() != waking.acknowledged {
            self.waking = None;
        } else if now >= waking.until && self.config.role == Role::Open {
            self.waking = None;
            self.handle_end(TunnelEnd::Broken).await;
        } else {
            waking.next_at = now + waking.every;
            self.quic.handle_network_change(None);
        }
    }

    fn patience_ends_at(&self) -> Option<Instant> {
        self.path_lost_at.and_then(|at| at.checked_add(self.config.patience))
    }

    /// Begins a handshake. One that cannot begin is noticed like one that nobody answers.
    fn dial(&mut self, connected: Connected) {
        let config = self.shared.client(connected.instances, self.way(connected.rtt));
        match self.quic.connect_with(config, hub::PEER, SERVER_NAME) {
            Ok(connecting) => self.begin(connecting),
            Err(error) => tracing::warn!(%error, "cannot dial"),
        }
    }

    fn way(&self, rtt: Duration) -> Way {
        Way { rtt, largest_datagram: self.hub.largest_datagram() }
    }

    /// A handshake whose first packet a run of the peer's that has proven itself to this one has sealed, or a copy of
    /// such a packet: it changes nothing until it has succeeded, and copies are not answered. While a tunnel stands, few
    /// are: that of an open side that has lost its end.
    fn handle_incoming(&mut self, incoming: noq::Incoming) {
        let first_id = incoming.orig_dst_cid();
        let is_new = !self.answered.contains(&first_id) && incoming.decrypt().is_some();
        if !is_new || self.punched.is_none() || self.config.role == Role::Open {
            return incoming.ignore();
        }
        if self.tunnel.is_some() {
            if Instant::now() < self.second_handshake_at {
                return incoming.ignore();
            }
            self.second_handshake_at = Instant::now() + SECOND_HANDSHAKE;
        }
        if self.answered.len() == MAX_ANSWERED {
            self.answered.pop_front();
        }
        self.answered.push_back(first_id);
        match incoming.accept() {
            Ok(connecting) => self.begin(connecting),
            Err(error) => tracing::debug!(error = %HandshakeError::new(&error), "handshake refused"),
        }
    }

    fn begin(&mut self, connecting: noq::Connecting) {
        self.under_way.retain(|handshake| !handshake.is_finished());
        if self.under_way.len() == MAX_HANDSHAKES
            && let Some(oldest) = self.under_way.pop_front()
        {
            oldest.abort();
        }
        self.under_way.push_back(self.handshakes.spawn(connecting.into_future()));
    }

    async fn handle_handshake(&mut self, result: Handshake) {
        match result {
            Ok(connection) => {
                self.forget_handshakes();
                self.handle_up(connection);
            }
            Err(error) => {
                let why = HandshakeError::new(&error);
                tracing::debug!(%why, "handshake failed");
                if self.config.role == Role::Open && self.tunnel.is_none() {
                    self.events.tell(Event::HandshakeFailed { why });
                    self.search().await;
                }
            }
        }
    }

    fn handle_up(&mut self, connection: noq::Connection) {
        let Some(punched) = self.punched else {
            return connection.close(Goodbye::Replaced.code(), b""); // a handshake of a search that is over
        };
        self.drop_tunnel();
        self.in_vain_since = None;
        let remote = punched.pair.remote;
        let tunnel = Tunnel::new(connection, remote, self.shared.paths.clone());
        self.events.ledger().set_tunnel(&tunnel);
        self.tunnel = Some(tunnel.clone());
        // One side is enough: the other one follows (RFC 9001 §6).
        self.rekey =
            (self.config.role == Role::Open).then(|| (Instant::now() + REKEY, self.shared.opened.count()));
        self.published.send_replace(Some(tunnel.clone()));
        self.events.tell(Event::TunnelUp { remote });
        self.control.start(tunnel);
    }

    async fn handle_late_handshake(&mut self) {
        self.events.tell(Event::HandshakeFailed { why: HandshakeError::Late });
        self.search().await;
    }

    async fn handle_end(&mut self, end: TunnelEnd) {
        self.drop_tunnel();
        match end {
            TunnelEnd::Closed => return, // the endpoint is being closed
            TunnelEnd::PeerLeft => self.events.tell(Event::PeerLeft),
            TunnelEnd::Replaced | TunnelEnd::NoPath | TunnelEnd::Broken => {
                self.events.tell(Event::TunnelLost(end))
            }
        }
        match self.punched {
            Some(_) => self.search().await,
            None => self.tell_searching(),
        }
    }

    /// The sealed goodbye; the tunnel's own one may have come before it.
    fn handle_peer_left(&mut self) {
        if self.tunnel.is_some() || self.punched.is_some() {
            self.start_over(Event::PeerLeft);
        }
    }

    fn handle_request(&mut self, request: Request) {
        match request {
            Request::LookUp(answer) => {
                self.resolve();
                self.curious.retain(|waiting| !waiting.is_closed());
                self.curious.push(answer);
            }
            Request::Answer(answer) => {
                let _nobody_waits = answer.send(());
            }
        }
    }

    /// Looks the name up in the background, once at a time: a name server that is down must not hold anything up.
    fn resolve(&mut self) {
        let every = if self.tunnel.is_some() { RESOLVE_KEPT } else { RESOLVE };
        self.resolve_at = Instant::now() + every;
        if self.lookups.is_empty() {
            let peer = self.config.peer.clone();
            self.lookups.spawn(async move { peer.resolve().await });
        }
    }

    async fn handle_resolved(&mut self, found: Result<Vec<SocketAddr>, PeerError>) {
        if found.is_ok() != self.resolves {
            self.resolves = found.is_ok();
            self.events.tell(Event::Resolved { host: self.config.peer.host.clone(), ok: self.resolves });
        }
        if let Ok(addresses) = found
            && addresses != self.addresses
        {
            self.addresses.clone_from(&addresses);
            self.command(Command::SetResolved(addresses)).await; // an IP stays what it is
            if self.punched.is_none() && self.tunnel.is_none() {
                self.tell_searching();
            }
        }
        for curious in self.curious.drain(..) {
            let _nobody_waits = curious.send(self.addresses.clone());
        }
    }

    async fn search(&mut self) {
        self.command(Command::Search).await;
        self.tell_searching();
    }

    fn tell_searching(&mut self) {
        self.punched = None;
        self.forget_handshakes();
        self.events
            .tell(Event::Searching { peer: self.config.peer.to_string(), addresses: self.addresses.clone() });
    }

    /// Forgets all handshakes, those that have finished and were not yet seen included.
    fn forget_handshakes(&mut self) {
        self.handshakes = JoinSet::new();
        self.under_way.clear();
        self.handshake_by = None;
    }

    fn drop_tunnel(&mut self) {
        (self.path_lost_at, self.lost, self.waking, self.rekey) = (None, None, None, None);
        if let Some(tunnel) = self.tunnel.take() {
            tunnel.close(Goodbye::Replaced);
            self.published.send_replace(None);
            self.control.stop();
        }
    }

    /// Renews the tunnel's keys if it has been used: what is sealed with the next ones, and with those before, cannot be
    /// opened with these.
    fn rekey(&mut self) {
        let (Some((_, before)), Some(tunnel)) = (self.rekey, &self.tunnel) else { return };
        let opened = self.shared.opened.count();
        if opened != before {
            tunnel.rekey();
        }
        self.rekey = Some((Instant::now() + REKEY, opened));
    }

    async fn command(&mut self, command: Command) {
        let _driver_is_gone = self.driver.commands.send(command).await;
    }
}

/// When an answer over QUIC must have come, where the peer is there to give it.
fn answer_by(connected: Connected) -> Instant {
    Instant::now() + HANDSHAKE + connected.rtt * HANDSHAKE_RTTS
}

/// QUIC wants a name; nobody sees it (SNI is off) and nobody checks it (keys are pinned).
const SERVER_NAME: &str = "pinhole";

async fn closed(tunnel: Option<&Tunnel>) -> TunnelEnd {
    match tunnel {
        Some(tunnel) => tunnel.closed().await,
        None => std::future::pending().await,
    }
}
