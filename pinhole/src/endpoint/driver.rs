//! Drives the sans-IO [`Session`]: real clocks, real sockets, the resolver, and the commands of the endpoint's owner.

use std::{io, net::SocketAddr, sync::Arc};

use pinhole_proto::{
    Role, Session,
    nat::NotPublic,
    puncher::{Health, Icmp, SearchReport, SocketId, Transmit},
    session::{self, Output, Vitals},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    Event, Events, PeerAddress, PeerError,
    address::source_toward,
    connections::{Connections, Happened},
    control::Control,
};
use crate::{
    bind::BindError,
    clock::{now, until},
    mux::{Arrivals, PeerMux},
    sys,
    tunnel::Tunnel,
};

/// A command of the endpoint's owner to the driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// Say what the search has found out.
    SearchReport(oneshot::Sender<Option<SearchReport>>),
    /// Say how the path is.
    Health(oneshot::Sender<Option<Health>>),
    /// Look the peer's name up at once, and say what is known then.
    LookUp(oneshot::Sender<Vec<SocketAddr>>),
    /// Say goodbye; the driver ends, and says so.
    Leave(oneshot::Sender<()>),
}

/// Asks the driver how the path is, and does not keep it alive.
#[derive(Debug, Clone)]
pub(crate) struct HealthAsker(mpsc::WeakSender<Command>);

impl HealthAsker {
    pub(super) fn new(commands: &mpsc::Sender<Command>) -> Self {
        Self(commands.downgrade())
    }

    /// Waits for the answer: none without a path, or without a driver.
    pub(crate) async fn ask(&self) -> Option<Health> {
        let (answer, health) = oneshot::channel();
        self.0.upgrade()?.send(Command::Health(answer)).await.ok()?;
        health.await.ok().flatten()
    }
}

/// The driver's ends of what leads to the endpoint's owner.
pub(super) struct Owner {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) published: watch::Sender<Option<Tunnel>>,
    pub(super) control: Control,
    pub(super) events: Events,
}

pub(super) struct Driver {
    session: Session,
    role: Role,
    peer: PeerAddress,
    mux: Arc<PeerMux>,
    arrivals: Arrivals,
    connections: Connections,
    network: sys::Network,
    lookups: JoinSet<Result<Vec<SocketAddr>, PeerError>>,
    /// Who waits for the end of the lookup under way.
    curious: Vec<oneshot::Sender<Vec<SocketAddr>>>,
    owner: Owner,
    /// Whether the user has been told that sockets cannot be had.
    has_warned: bool,
}

impl Driver {
    pub(super) fn new(
        session: Session,
        (role, peer): (Role, PeerAddress),
        (mux, arrivals): (Arc<PeerMux>, Arrivals),
        connections: Connections,
        owner: Owner,
    ) -> Self {
        Self {
            session,
            role,
            peer,
            mux,
            arrivals,
            connections,
            network: sys::Network::watch(),
            lookups: JoinSet::new(),
            curious: Vec::new(),
            owner,
            has_warned: false,
        }
    }

    /// Runs until it is told to leave, or nobody is left who could tell it.
    pub(super) async fn run(mut self) {
        self.locate();
        self.session.start(now());
        loop {
            // Before the first probe of a search leaves: a router next door answers within a millisecond.
            self.mux.subscribe_icmp(self.session.connected_pair().is_none());
            let deadline = self.drain();
            let awaits_traffic = self.session.awaits_traffic();
            tokio::select! {
                () = self.mux.sends(), if awaits_traffic => {
                    self.tell_vitals();
                    self.locate();
                }
                Some(arrival) = self.arrivals.probes.recv() => {
                    self.tell_vitals();
                    self.session.handle_datagram(arrival.pair, arrival.payload(), now());
                }
                Some(arrival) = self.arrivals.icmp.recv() => {
                    self.tell_vitals();
                    self.handle_icmp(&arrival.icmp());
                }
                () = self.network.changed() => {
                    self.tell_vitals();
                    self.locate();
                    self.session.handle_network_change(now());
                }
                happened = self.connections.next() => match happened {
                    Some(happened) => self.handle_connection(happened),
                    None => return,
                },
                Some(found) = self.lookups.join_next() => {
                    self.tell_vitals();
                    self.session.handle_resolved(found.ok().and_then(Result::ok), now());
                    self.locate();
                    self.answer_curious();
                }
                command = self.owner.commands.recv() => match command {
                    Some(Command::Leave(done)) => return self.leave(done),
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                () = until(deadline) => {
                    self.tell_vitals();
                    if self.session.connected_pair().is_some() {
                        self.locate();
                    }
                    self.session.handle_timeout(now());
                }
            }
        }
    }

    /// Carries out what the session wants; returns when it wants to be asked again.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.session.poll_output(now()) {
                Output::Transmit(transmit) => {
                    if let Err(error) = self.mux.send_probe(&transmit) {
                        self.handle_unsent(&transmit, &error);
                    }
                }
                Output::Open { socket, port } => {
                    if let Err(error) = self.mux.open(socket, port) {
                        self.handle_open_failed(socket, &error);
                    }
                }
                Output::Close(socket) => self.mux.close(socket),
                Output::Locate => self.locate(),
                Output::Admit(over) => {
                    if self.role == Role::Serve {
                        self.connections.answer(over); // before the first packet can get in
                    }
                    self.mux.admit(over.pair);
                    self.connections.set_path(Some(over.pair.remote));
                }
                Output::Dial { connection, over } => self.connections.dial(connection, over),
                Output::SetWithoutOffload(is_without_offload) => {
                    self.mux.set_without_offload(is_without_offload)
                }
                Output::Abandon(connection) => self.connections.abandon(connection),
                Output::End { connection, .. } => {
                    if self.connections.end(connection) {
                        self.owner.published.send_replace(None);
                        self.owner.control.stop();
                    }
                }
                Output::ResetController => self.connections.reset_controller(),
                Output::Wake => self.connections.wake(),
                Output::Rekey => self.connections.rekey(),
                Output::LookUp => {
                    let peer = self.peer.clone();
                    self.lookups.spawn(async move { peer.resolve().await });
                }
                Output::Event(event) => self.handle_event(event),
                Output::Timeout(deadline) => {
                    self.connections.drop_unwanted();
                    return deadline.map(Instant::from_std);
                }
            }
        }
    }

    fn handle_event(&mut self, event: session::Event) {
        if matches!(event, session::Event::PathLost { .. }) {
            self.connections.set_path(None);
        }
        let mut tunnel = None;
        if let session::Event::TunnelUp { connection, over } = &event
            && let Some(established) = self.connections.establish(*connection, over.pair.remote)
        {
            self.owner.events.recorder().set_tunnel(&established);
            self.owner.published.send_replace(Some(established.clone()));
            tunnel = Some(established);
        }
        self.owner.events.tell(Event::new(event, &self.peer));
        if let Some(tunnel) = tunnel {
            self.owner.control.start(tunnel);
        }
    }

    fn handle_connection(&mut self, happened: Happened) {
        self.tell_vitals();
        match happened {
            Happened::Incoming(incoming) => self.handle_incoming(*incoming),
            Happened::Established(connection) => {
                self.locate();
                self.session.handle_established(connection, now());
            }
            Happened::Failed(connection, why) => {
                tracing::debug!(%why, "handshake failed");
                self.locate();
                self.session.handle_handshake_failed(connection, why, now());
            }
            Happened::Ended(tunnel, end) => {
                self.locate();
                self.session.handle_ended(tunnel, end, now());
            }
        }
    }

    /// A handshake whose first packet a run of the peer's that has proven itself to this one has sealed, or a copy of
    /// such a packet: what does not open never gets here.
    fn handle_incoming(&mut self, incoming: noq::Incoming) {
        let first_id = incoming.orig_dst_cid();
        let Some(connection) = self.session.handle_handshake(&first_id, now()) else {
            return incoming.ignore();
        };
        if let Err(why) = self.connections.begin_answer(connection, incoming) {
            tracing::debug!(%why, "handshake refused");
            self.session.handle_handshake_failed(connection, why, now());
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::SearchReport(answer) => {
                let _nobody_waits = answer.send(self.session.search_report(now()));
            }
            Command::Health(answer) => {
                let _nobody_waits = answer.send(self.session.health());
            }
            Command::LookUp(answer) => {
                self.session.look_up(now());
                self.curious.retain(|waiting| !waiting.is_closed());
                self.curious.push(answer);
            }
            Command::Leave(done) => drop(done),
        }
    }

    fn answer_curious(&mut self) {
        for curious in self.curious.drain(..) {
            let _nobody_waits = curious.send(self.session.addresses().to_vec());
        }
    }

    fn leave(mut self, done: oneshot::Sender<()>) {
        self.session.leave(now());
        self.drain();
        drop(self); // whoever waits may want the key, which is free with it
        let _nobody_waits = done.send(());
    }

    fn handle_icmp(&mut self, icmp: &Icmp<'_>) {
        self.session.handle_icmp(icmp, now());
        if self.session.doubts_peer(icmp) {
            self.locate();
            if sys::is_closed(icmp.pair.remote.port(), self.mux.mux().local_address().port()) {
                self.session.handle_closed(now());
            }
        }
    }

    fn tell_vitals(&mut self) {
        let vitals = Vitals {
            traffic: self.mux.traffic(),
            acknowledged: self.connections.acknowledged(),
            rtt: self.connections.rtt(),
        };
        self.session.handle_vitals(vitals, now());
    }

    /// Tells the session which own address the peer's packets would have to reach if there were no NAT, and whether the
    /// peer's is one that leads nowhere. Both change when the machine moves to another network.
    fn locate(&mut self) {
        let (bound, peer) = (self.mux.mux().local_address().ip(), self.session.heading());
        let local = if bound.is_unspecified() { peer.and_then(source_toward) } else { Some(bound) };
        let not_public = peer.and_then(|peer| {
            let why = NotPublic::of(peer.ip())?;
            (sys::leads_to(peer.ip()) == Some(false)).then_some((peer.ip(), why))
        });
        self.session.set_local(local, not_public, now());
    }

    /// Too few descriptors make a fan smaller, and a port that is taken spoils one slot: the search goes on.
    fn handle_open_failed(&mut self, socket: SocketId, error: &BindError) {
        match error {
            BindError::Other { source, .. } if !self.has_warned => {
                self.has_warned = true;
                tracing::warn!(%error, %source, "fewer sockets than the search wants");
            }
            BindError::Other { .. }
            | BindError::InUse { .. }
            | BindError::Permission { .. }
            | BindError::NotLocal { .. } => tracing::debug!(%error, socket = socket.0, "socket not opened"),
        }
        self.session.handle_open_failed(socket);
    }

    /// A probe that the system refuses is lost, as on any network; the next one is due soon. Some refusals stay: a
    /// firewall of this machine, or no route.
    fn handle_unsent(&mut self, transmit: &Transmit, error: &io::Error) {
        tracing::debug!(%error, pair = ?transmit.pair, "probe not sent");
        // Not HostUnreachable: some router far away may say so by ICMP.
        if [io::ErrorKind::PermissionDenied, io::ErrorKind::NetworkUnreachable].contains(&error.kind()) {
            self.session.handle_send_refused(now());
        }
    }
}
