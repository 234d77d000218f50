//! Drives the sans-IO [`Puncher`]: real clocks, real sockets, and the commands of the endpoint.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use pinhole_proto::{
    Now, Puncher,
    puncher::{Event, Output},
};
use tokio::sync::{mpsc, oneshot};

use crate::hub::{Arrival, Hub};

/// Commands and events under way between the driver and the endpoint.
const QUEUE: usize = 64;

/// What the endpoint wants of the puncher.
#[derive(Debug)]
pub(super) enum Command {
    SetPeer(Vec<SocketAddr>),
    Search,
    /// Say goodbye; the driver ends, and says so.
    Leave(oneshot::Sender<()>),
}

/// The endpoint's ends of the driver's channels.
#[derive(Debug)]
pub(super) struct DriverHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: mpsc::Receiver<Event>,
}

/// Runs a puncher on the Hub's sockets until it is told to leave, or nobody is left who could tell it.
pub(super) fn spawn(puncher: Puncher, hub: Arc<Hub>, arrivals: mpsc::Receiver<Arrival>) -> DriverHandle {
    let (command_sender, commands) = mpsc::channel(QUEUE);
    let (events, event_receiver) = mpsc::channel(QUEUE);
    tokio::spawn(Driver { puncher, hub, arrivals, commands, events }.run());
    DriverHandle { commands: command_sender, events: event_receiver }
}

struct Driver {
    puncher: Puncher,
    hub: Arc<Hub>,
    arrivals: mpsc::Receiver<Arrival>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            let deadline = self.drain().await;
            tokio::select! {
                Some(arrival) = self.arrivals.recv() => {
                    self.puncher.handle_datagram(arrival.pair, arrival.payload(), now());
                }
                command = self.commands.recv() => match command {
                    Some(Command::SetPeer(addresses)) => self.puncher.set_peer(&addresses, now()),
                    Some(Command::Search) => self.puncher.search(now()),
                    Some(Command::Leave(done)) => return self.leave(done).await,
                    None => return,
                },
                () = sleep_until(deadline) => self.puncher.handle_timeout(now()),
            }
        }
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
                Output::Transmit(transmit) => self.hub.send_probe(&transmit),
                Output::Event(event) => {
                    let _endpoint_is_gone = self.events.send(event).await;
                }
                Output::Timeout(deadline) => return deadline,
            }
        }
    }
}

/// Reads both clocks.
fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Now { instant: Instant::now(), unix }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
