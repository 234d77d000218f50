//! The machine that brings a tunnel up and keeps it: from a peer to a tunnel and back.
//!
//! It owns the [`Puncher`], which finds the path, and decides what QUIC does over it. The life of a [`Session`]:
//!
//! 1. *Search.* The puncher searches; the peer's name is looked up again and again.
//! 2. *Handshake.* A pair is proven: the open side dials, the serve side answers the one run of the peer's program that was
//!    met. A handshake that takes too long begins the search anew; after a whole one in vain the next leaves as probes
//!    do.
//! 3. *Tunnel.* It stands until the peer leaves or has started anew, until its QUIC connection breaks, or until it had no
//!    path for as long as the user's patience lasts. Its keys are renewed while it is used.
//! 4. *Path lost.* The tunnel waits, while the puncher searches. With the next path it is woken; see `waking`.
//!
//! The caller owns sockets, QUIC and the resolver; it carries out each [`Output`] and reports what happens by `handle_*`.
//! Before each of these it reports [`Session::handle_vitals`], and [`Session::set_local`] where the search may begin by
//! it.

mod handshakes;
mod interface;
mod names;
mod path;
mod routes;
mod unheard;
mod waking;

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use self::{handshakes::Handshakes, names::Name, unheard::Unheard, waking::Waking};
pub use self::{
    interface::{Config, ConnectionHandle, Event, HandshakeError, Output, TunnelEnd, Vitals},
    routes::{MAX_ROUTES, Routes},
};
use crate::{
    Now, Puncher, Role,
    nat::NotPublic,
    puncher::{self, Connected, Health, Icmp, Pair, SearchReport, SocketId},
};

/// QUIC's keys are renewed this often while a tunnel is used, as WireGuard's are (its whitepaper, section 6.1).
const REKEY: Duration = Duration::from_secs(120);

/// Least time for a tunnel to be heard by its next path, whatever the user's patience.
const LEAST_PATIENCE: Duration = Duration::from_secs(30);

/// Brings a tunnel to one peer up and keeps it; see the module's text.
#[derive(Debug)]
pub struct Session {
    role: Role,
    patience: Duration,
    puncher: Puncher,
    name: Name,
    vitals: Vitals,
    /// The nominated pair; `None` while the puncher searches.
    punched: Option<Connected>,
    handshakes: Handshakes,
    tunnel: Option<ConnectionHandle>,
    /// When the tunnel's keys are due, and how many datagrams had been opened when they were last renewed.
    rekey: Option<(Instant, u64)>,
    /// Since when the tunnel has no path.
    path_lost_at: Option<Instant>,
    /// How many packets the peer had acknowledged by then.
    lost: Option<u64>,
    waking: Option<Waking>,
    /// What the tunnel has sent since it was last heard.
    unheard: Unheard,
    /// When the path is doubted on which nothing was acknowledged, and how many packets had been before it; on the serve side.
    doubt: Option<(Instant, u64)>,
    /// Doubts in a row.
    doubts: u32,
    /// The path in use, or last in use.
    last: Option<Connected>,
    last_connection: u64,
    outputs: VecDeque<Output>,
}

impl Session {
    /// Makes one that does nothing until [`Session::start`].
    #[must_use]
    pub fn new(config: Config, now: Now) -> Self {
        let role = config.puncher.role;
        let mut puncher = Puncher::new(config.puncher);
        if config.is_named {
            puncher.set_resolved(&config.addresses, now);
        } else {
            puncher.set_peer(&config.addresses, now);
        }
        Self {
            role,
            patience: config.patience,
            puncher,
            name: Name::new(config.addresses, config.is_named),
            vitals: Vitals::default(),
            punched: None,
            handshakes: Handshakes::default(),
            tunnel: None,
            rekey: None,
            path_lost_at: None,
            lost: None,
            waking: None,
            unheard: Unheard::default(),
            doubt: None,
            doubts: 0,
            last: None,
            last_connection: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Begins to search.
    pub fn start(&mut self, now: Now) {
        self.name.start(now.instant);
        self.search(now);
    }

    /// Has the peer's name looked up at once, whether or not it is one.
    pub fn look_up(&mut self, now: Now) {
        if self.name.look_up(self.tunnel.is_some(), now.instant) {
            self.outputs.push_back(Output::LookUp);
        }
    }

    /// Says goodbye to the peer and stops. The tunnel is the caller's to close.
    pub fn leave(&mut self, now: Now) {
        self.puncher.leave(now);
    }

    /// Sets the own address toward [`Self::heading`], if the system knows it, and whether the peer's is one that no machine
    /// on the internet has and that no network of this machine leads to.
    pub fn set_local(&mut self, local: Option<IpAddr>, not_public: Option<(IpAddr, NotPublic)>, now: Now) {
        self.puncher.set_not_public(not_public);
        self.puncher.set_local(local, now);
    }

    /// Takes the first packet of a handshake, which has opened. Returns the connection's name if it is answered; it changes
    /// nothing until it has succeeded.
    pub fn handle_handshake(&mut self, first_id: &[u8], now: Now) -> Option<ConnectionHandle> {
        if !self.awaits_handshake(first_id, now) {
            return None;
        }
        self.handshakes.note_answer(first_id, self.tunnel.is_some(), now.instant);
        Some(self.begin())
    }

    /// Takes what QUIC knows of the tunnel. Wanted before each other input; and at once when the tunnel sends after a rest,
    /// if [`Self::awaits_traffic`].
    pub fn handle_vitals(&mut self, vitals: Vitals, now: Now) {
        // What is sent while there is no path says nothing about the next one.
        if self.punched.is_some() {
            self.unheard.handle_traffic(self.vitals.traffic, vitals.traffic, now.instant);
        }
        self.vitals = vitals;
        self.puncher.handle_traffic(vitals.traffic, now);
    }

    /// Takes a probe-like datagram.
    pub fn handle_datagram(&mut self, pair: Pair, datagram: &[u8], now: Now) {
        self.puncher.handle_datagram(pair, datagram, now);
        self.follow(now);
    }

    /// Takes an ICMP error about a datagram of ours.
    pub fn handle_icmp(&mut self, icmp: &Icmp<'_>, now: Now) {
        self.puncher.handle_icmp(icmp, now);
        self.follow(now);
    }

    /// No socket of this machine has the peer's port; see [`Puncher::handle_closed`].
    pub fn handle_closed(&mut self, now: Now) {
        self.puncher.handle_closed(now);
        self.follow(now);
    }

    /// The system did not let a probe leave: a local firewall, or no route.
    pub fn handle_send_refused(&mut self, now: Now) {
        self.puncher.handle_send_refused(now);
    }

    /// A socket could not be opened.
    pub fn handle_open_failed(&mut self, socket: SocketId) {
        self.puncher.handle_open_failed(socket);
    }

    /// Something has changed in this machine's network: an interface, an address, a route.
    pub fn handle_network_change(&mut self, now: Now) {
        self.puncher.handle_network_change(now);
        self.follow(now);
    }

    /// Takes the answer to [`Output::LookUp`]; `None` where the name does not resolve, and the former addresses stay.
    pub fn handle_resolved(&mut self, found: Option<Vec<SocketAddr>>, now: Now) {
        let ok = found.is_some();
        let (is_news, has_changed) = self.name.handle_resolved(found);
        if is_news {
            self.tell(Event::Resolved { ok });
        }
        if has_changed {
            self.puncher.set_resolved(&self.name.addresses, now); // an IP stays what it is
            if self.punched.is_none() && self.tunnel.is_none() {
                self.tell_searching();
            }
            self.follow(now);
        }
    }

    /// A handshake has succeeded.
    pub fn handle_established(&mut self, connection: ConnectionHandle, now: Now) {
        // It counts without a path as well: the peer has this one by now, and the one before is of no use.
        if !self.handshakes.end(connection) {
            return;
        }
        let Some(over) = self.punched.or(self.last) else { return };
        self.forget_handshakes();
        self.drop_tunnel(Some(TunnelEnd::Replaced));
        self.handshakes.forgive();
        self.tunnel = Some(connection);
        self.puncher.set_tunnel(true);
        // One side is enough: the other one follows (RFC 9001 §6).
        self.rekey = (self.role == Role::Open).then(|| (now.instant + REKEY, self.vitals.traffic.received));
        self.tell(Event::TunnelUp { connection, over });
        if self.punched.is_none() {
            self.path_lost_at = Some(now.instant);
            self.tell(Event::PathLost { loss: None });
        }
    }

    /// A handshake has failed.
    pub fn handle_handshake_failed(&mut self, connection: ConnectionHandle, why: HandshakeError, now: Now) {
        let was_under_way = self.handshakes.end(connection);
        if was_under_way && self.role == Role::Open && self.tunnel.is_none() {
            self.tell(Event::HandshakeFailed { why });
            self.search(now);
        }
    }

    /// The tunnel has ended.
    pub fn handle_ended(&mut self, connection: ConnectionHandle, end: TunnelEnd, now: Now) {
        if self.tunnel == Some(connection) {
            self.end_tunnel(end, now);
        }
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.puncher.handle_timeout(now);
        self.follow(now);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now.instant);
        if is_due(self.handshakes.due) {
            self.tell(Event::HandshakeFailed { why: HandshakeError::Late });
            self.search(now);
        }
        if self.tunnel.is_some() && self.punched.is_some_and(|over| self.unheard.is_blocked(over.rtt)) {
            self.puncher.handle_blocked(now);
            self.follow(now);
        }
        if is_due(self.patience_ends_at()) {
            self.end_tunnel(TunnelEnd::NoPath, now);
        }
        if is_due(self.waking.as_ref().map(|waking| waking.next_at)) {
            self.wake_tunnel(now);
        }
        if is_due(self.doubt.map(|(at, _)| at)) {
            self.doubt_path(now);
        }
        if is_due(self.rekey.map(|(at, _)| at)) {
            self.renew_keys(now.instant);
        }
        if is_due(self.look_up_at()) {
            self.look_up(now);
        }
    }

    /// Returns what to do next; call until it answers [`Output::Timeout`].
    pub fn poll_output(&mut self, now: Now) -> Output {
        if self.outputs.is_empty() {
            self.follow(now);
        }
        self.outputs.pop_front().unwrap_or_else(|| Output::Timeout(self.deadline()))
    }

    /// Returns the pair in use.
    #[must_use]
    pub fn connected_pair(&self) -> Option<Pair> {
        self.puncher.connected_pair()
    }

    /// Returns the tunnel that stands.
    #[must_use]
    pub fn tunnel(&self) -> Option<ConnectionHandle> {
        self.tunnel
    }

    /// Returns the addresses of the peer that are known now.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.name.addresses
    }

    /// Returns the address of the peer toward which [`Self::set_local`] wants the own one.
    #[must_use]
    pub fn heading(&self) -> Option<SocketAddr> {
        self.puncher.heading()
    }

    /// Whether the tunnel's next datagram is worth a call of [`Self::handle_vitals`].
    #[must_use]
    pub fn awaits_traffic(&self) -> bool {
        self.puncher.awaits_traffic()
    }

    /// Whether an ICMP error makes it worth a look whether the peer's program still has its port; see
    /// [`Puncher::doubts_peer`].
    #[must_use]
    pub fn doubts_peer(&self, icmp: &Icmp<'_>) -> bool {
        self.puncher.doubts_peer(icmp)
    }

    /// Returns what the search has found out about the way to the peer; `None` when there is no search.
    #[must_use]
    pub fn search_report(&self, now: Now) -> Option<SearchReport> {
        self.puncher.search_report(now)
    }

    /// Returns how the path in use is.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        self.puncher.health()
    }

    /// Returns the silence after which a path at rest is tested.
    #[must_use]
    pub fn keepalive(&self) -> Duration {
        self.puncher.keepalive()
    }

    /// Returns the counts of datagrams that arrived and were not used.
    #[must_use]
    pub fn dropped(&self) -> puncher::Dropped {
        self.puncher.dropped()
    }

    /// Whether a handshake is answered whose first packet leads to that connection ID.
    fn awaits_handshake(&self, first_id: &[u8], now: Now) -> bool {
        // Whoever lets handshakes pass and not the tunnel's own packets must not end it: the peer says that it has lost its end.
        let is_lost = self.tunnel.is_none() || !self.puncher.peer_has_tunnel();
        let is_due = self.role == Role::Serve && self.punched.is_some() && is_lost;
        is_due && self.handshakes.may_answer(first_id, self.tunnel.is_some(), now.instant)
    }

    /// Renews the tunnel's keys if it has been used: what is sealed with the next ones, and with those before, cannot be
    /// opened with these.
    fn renew_keys(&mut self, now: Instant) {
        let Some((_, before)) = self.rekey else { return };
        let opened = self.vitals.traffic.received;
        if opened != before {
            self.outputs.push_back(Output::Rekey);
        }
        self.rekey = Some((now + REKEY, opened));
    }

    fn end_tunnel(&mut self, end: TunnelEnd, now: Now) {
        self.drop_tunnel(Some(end));
        match end {
            TunnelEnd::Closed => return, // the endpoint is being closed
            TunnelEnd::PeerLeft => self.tell(Event::PeerLeft),
            TunnelEnd::Replaced | TunnelEnd::NoPath | TunnelEnd::Broken => self.tell(Event::TunnelLost(end)),
        }
        match self.punched {
            Some(_) => self.search(now),
            None => self.tell_searching(),
        }
    }

    /// The tunnel has lost its other end, and the puncher searches already.
    fn start_over(&mut self, event: Event) {
        self.tell(event);
        self.handshakes.forgive();
        self.drop_tunnel(None);
        self.tell_searching();
    }

    fn search(&mut self, now: Now) {
        self.puncher.search(now);
        self.tell_searching();
        self.follow(now);
    }

    fn tell_searching(&mut self) {
        self.punched = None;
        self.forget_handshakes();
        self.tell(Event::Searching { addresses: self.name.addresses.clone() });
    }

    fn forget_handshakes(&mut self) {
        let forgotten = self.handshakes.forget();
        self.outputs.extend(forgotten.into_iter().map(Output::Abandon));
    }

    fn drop_tunnel(&mut self, end: Option<TunnelEnd>) {
        (self.path_lost_at, self.lost, self.waking, self.rekey) = (None, None, None, None);
        self.unheard = Unheard::default();
        self.puncher.set_tunnel(false);
        if let Some(connection) = self.tunnel.take() {
            self.outputs.push_back(Output::End { connection, end });
        }
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// When a tunnel that hears nothing is given up: one without a path, or with a path that carries probes alone.
    fn patience_ends_at(&self) -> Option<Instant> {
        let has_path = self.waking.is_some();
        let patience = if has_path { self.patience.max(LEAST_PATIENCE) } else { self.patience };
        self.silent_since().and_then(|at| at.checked_add(patience))
    }

    /// Since when the tunnel hears nothing: it has no path, or has not been heard by the one that it has.
    fn silent_since(&self) -> Option<Instant> {
        self.path_lost_at.or(self.waking.as_ref().map(|waking| waking.silent_since))
    }

    fn look_up_at(&self) -> Option<Instant> {
        self.name.next_at().filter(|_| self.punched.is_none())
    }

    fn deadline(&self) -> Option<Instant> {
        let puncher = self.puncher.deadline();
        let waking = self.waking.as_ref().map(|waking| waking.next_at);
        let rekey = self.rekey.map(|(at, _)| at);
        let doubt = self.doubt.map(|(at, _)| at);
        [puncher, self.handshakes.due, self.patience_ends_at(), waking, doubt, rekey, self.look_up_at()]
            .into_iter()
            .flatten()
            .min()
    }
}

#[cfg(test)]
mod tests;
