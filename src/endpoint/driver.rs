//! Drives the sans-IO [`Puncher`]: real clocks, real sockets, and the commands of the endpoint.

use std::{io, net::SocketAddr, sync::Arc};

use pinhole_proto::{
    Puncher,
    nat::NotPublic,
    puncher::{Event, Findings, Health, Icmp, Output, SocketId, Transmit},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use super::{network::Network, peer::source_toward, ports};
use crate::{
    bind::BindError,
    clock::{now, until},
    hub::{Arrivals, Hub},
    route,
};

/// Commands and events under way between the driver and the endpoint.
const QUEUE: usize = 64;

/// What the endpoint wants of the puncher.
#[derive(Debug)]
pub(crate) enum Command {
    SetPeer(Vec<SocketAddr>),
    /// The same of a peer that is known by a name.
    SetResolved(Vec<SocketAddr>),
    Search,
    /// Say what the search has found out.
    Findings(oneshot::Sender<Option<Findings>>),
    /// Say how the path is.
    Health(oneshot::Sender<Option<Health>>),
    /// Say goodbye; the driver ends, and says so.
    Leave(oneshot::Sender<()>),
}

/// The endpoint's ends of the driver's channels.
#[derive(Debug)]
pub(super) struct DriverHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: mpsc::Receiver<Event>,
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

/// Runs a puncher on the Hub's sockets until it is told to leave, or nobody is left who could tell it.
pub(super) fn spawn(puncher: Puncher, hub: Arc<Hub>, arrivals: Arrivals) -> (DriverHandle, JoinHandle<()>) {
    let (command_sender, commands) = mpsc::channel(QUEUE);
    let (events, event_receiver) = mpsc::channel(QUEUE);
    let network = Network::watch();
    let driver = Driver { puncher, hub, arrivals, network, commands, events, has_warned: false };
    let task = tokio::spawn(driver.run());
    (DriverHandle { commands: command_sender, events: event_receiver }, task)
}

struct Driver {
    puncher: Puncher,
    hub: Arc<Hub>,
    arrivals: Arrivals,
    network: Network,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    /// Whether the user has been told that sockets cannot be had.
    has_warned: bool,
}

impl Driver {
    async fn run(mut self) {
        loop {
            let deadline = self.drain().await;
            self.hub.heed_icmp(self.puncher.connected_pair().is_none());
            let awaits_traffic = self.puncher.awaits_traffic();
            tokio::select! {
                () = self.hub.sends(), if awaits_traffic => {
                    self.tell_traffic();
                    self.tell_local();
                }
                Some(arrival) = self.arrivals.probes.recv() => {
                    self.tell_traffic();
                    self.puncher.handle_datagram(arrival.pair, arrival.payload(), now());
                }
                Some(arrival) = self.arrivals.icmp.recv() => {
                    self.handle_icmp(&arrival.icmp());
                }
                () = self.network.changed() => {
                    self.tell_traffic();
                    self.tell_local();
                    self.puncher.handle_network_change(now());
                }
                command = self.commands.recv() => match command {
                    Some(Command::SetPeer(addresses)) => {
                        self.puncher.set_peer(&addresses, now());
                        self.tell_local();
                    }
                    Some(Command::SetResolved(addresses)) => {
                        self.puncher.set_resolved(&addresses, now());
                        self.tell_local();
                    }
                    Some(Command::Search) => {
                        self.tell_local();
                        self.puncher.search(now());
                    }
                    Some(Command::Findings(answer)) => {
                        let _nobody_waits = answer.send(self.puncher.findings(now()));
                    }
                    Some(Command::Health(answer)) => {
                        let _nobody_waits = answer.send(self.puncher.health());
                    }
                    Some(Command::Leave(done)) => return self.leave(done).await,
                    None => return,
                },
                () = until(deadline) => {
                    self.tell_traffic();
                    if self.puncher.connected_pair().is_some() {
                        self.tell_local();
                    }
                    self.puncher.handle_timeout(now());
                }
            }
        }
    }

    fn tell_traffic(&mut self) {
        self.puncher.handle_traffic(self.hub.traffic(), now());
    }

    async fn leave(mut self, done: oneshot::Sender<()>) {
        self.puncher.leave(now());
        self.drain().await;
        let _nobody_waits = done.send(());
    }

    /// Carries out what the puncher wants; returns when it wants to be asked again.
    async fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.puncher.poll_output() {
                Output::Transmit(transmit) => {
                    if let Err(error) = self.hub.send_probe(&transmit) {
                        self.handle_unsent(&transmit, &error);
                    }
                }
                Output::Open { socket, port } => {
                    if let Err(error) = self.hub.open(socket, port) {
                        self.handle_open_failed(socket, &error);
                    }
                }
                Output::Close(socket) => self.hub.close(socket),
                Output::Event(event) => self.handle_event(event).await,
                Output::Timeout(deadline) => return deadline.map(Instant::from_std),
            }
        }
    }

    async fn handle_event(&mut self, event: Event) {
        match event {
            Event::PathLost(_)
            | Event::PeerSearching
            | Event::PeerRestarted
            | Event::PeerLeft
            | Event::Displaced => self.tell_local(),
            Event::Heard { .. } | Event::Connected(_) | Event::PeerGone | Event::Trouble(_) => {}
        }
        let _endpoint_is_gone = self.events.send(event).await;
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
        self.puncher.handle_open_failed(socket);
    }

    fn handle_icmp(&mut self, icmp: &Icmp<'_>) {
        self.puncher.handle_icmp(icmp, now());
        if self.puncher.doubts_peer(icmp) {
            self.tell_local();
            if ports::is_closed(icmp.pair.remote.port(), self.hub.local_address().port()) {
                self.puncher.handle_closed(now());
            }
        }
    }

    /// Tells the puncher which own address the peer's packets would have to reach if there were no NAT, and whether the
    /// peer's is one that leads nowhere. Both change when the machine moves to another network.
    fn tell_local(&mut self) {
        let (bound, peer) = (self.hub.local_address().ip(), self.puncher.heading());
        let local = if bound.is_unspecified() { peer.and_then(source_toward) } else { Some(bound) };
        let not_public = peer.and_then(|peer| {
            let why = NotPublic::of(peer.ip())?;
            (route::leads_to(peer.ip()) == Some(false)).then_some((peer.ip(), why))
        });
        self.puncher.set_not_public(not_public);
        self.puncher.set_local(local, now());
    }

    /// A probe that the system refuses is lost, as on any network; the next one is due soon. Some refusals stay: a
    /// firewall of this machine, or no route.
    fn handle_unsent(&mut self, transmit: &Transmit, error: &io::Error) {
        tracing::debug!(%error, pair = ?transmit.pair, "probe not sent");
        // Not HostUnreachable: some router far away may say so by ICMP.
        if [io::ErrorKind::PermissionDenied, io::ErrorKind::NetworkUnreachable].contains(&error.kind()) {
            self.puncher.handle_send_refused(now());
        }
    }
}
