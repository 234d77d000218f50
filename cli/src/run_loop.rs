//! The run loop of a tunnel: reports events, obeys signals, and shows a service manager that the program lives.

use std::{
    future::Future,
    io::IsTerminal,
    net::SocketAddr,
    pin::{Pin, pin},
    time::Duration,
};

use anyhow::Result;
use pinhole::{
    Event, Key, Peer, clock,
    endpoint::{Missed, TaskEnd},
    forward::{Listening, Offering},
    proto::puncher::{Connected, LastSuccess},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use super::{
    Outcome,
    journal::Level,
    keyring::{self, Found},
    message::{Message, OrSay},
    peer_cache,
    pipe::PipeServer,
    report::{self, Reporter},
    service::Manager,
    texts,
};

/// Time that looking the peer up may take when everything is read again.
const LOOK_UP: Duration = Duration::from_secs(10);

/// The end of a run loop.
pub(super) enum End {
    /// The program ends with it.
    Outcome(Outcome),
    /// There is another key now.
    NewKey(Box<Keyed>),
}

/// A key, ready for use.
pub(super) struct Keyed {
    pub(super) found: Found,
    pub(super) key: Key,
}

impl Keyed {
    /// Stretches a key, which takes a while.
    pub(super) fn new(found: Found) -> Self {
        let key = Key::stretch(&found.phrase);
        Self { found, key }
    }
}

/// The forwards, which end when this is dropped.
pub(super) enum Forwards {
    Offering(Offering),
    Listening(Vec<Listening>),
}

impl Forwards {
    /// Waits for the end of one of them, which should not come.
    async fn ended(&mut self) -> TaskEnd {
        match self {
            Self::Offering(offering) => offering.ended().await,
            Self::Listening(open) => first(open.iter_mut().map(Listening::ended)).await,
        }
    }
}

/// Polls all of them, a handful, until the first is done.
async fn first<F: Future>(all: impl Iterator<Item = F>) -> F::Output {
    let mut all: Vec<Pin<Box<F>>> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        let done = all.iter_mut().find_map(|one| match one.as_mut().poll(cx) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        });
        done.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    })
    .await
}

/// The run loop: what it waits for, and to whom it reports.
pub(super) struct RunLoop<'a> {
    pub(super) peer: &'a Peer,
    pub(super) forwards: &'a mut Forwards,
    pub(super) found: &'a Found,
    pub(super) wait: Option<Duration>,
    pub(super) signals: &'a mut Signals,
    pub(super) reporter: &'a mut Reporter,
    pub(super) manager: &'a Manager,
    /// The server of pipes, on the open side.
    pub(super) pipes: Option<&'a PipeServer>,
    /// How long it goes on without a pipe, if it is there for them alone.
    pub(super) rest: Option<Duration>,
}

impl RunLoop<'_> {
    /// Reports until the user ends it, the waiting time is over, there is another key, or something fails.
    pub(super) async fn run(self) -> Result<End> {
        let Self { peer, forwards, found, wait, signals, reporter, manager, pipes, rest } = self;
        let mut unused = pin!(rests(pipes, rest));
        let mut events = peer.events();
        let mut deadline = Deadline::new(wait);
        let mut reread = None;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut watchdog = pin!(manager.feed(async || peer.answers().await));
        loop {
            let held_back = reporter.deadline().map(Instant::from_std);
            tokio::select! {
                asked = signals.recv() => match asked {
                    Asked::End => break,
                    Asked::ReRead => {
                        manager.reloading();
                        reread = Some(Box::pin(ReRead::new(peer, found)));
                    }
                },
                result = done(&mut reread) => {
                    reread = None;
                    reporter.say(Level::Info, &result.told);
                    match result.another {
                        Some(keyed) => return Ok(End::NewKey(Box::new(keyed))),
                        None => manager.ready(),
                    }
                }
                () = &mut unused => break,
                _ = tick.tick(), if reporter.is_live() => reporter.tick(peer),
                () = clock::until(held_back) => reporter.handle_timeout(),
                () = clock::until(deadline.give_up), if peer.current().is_none() => {
                    let found = peer.search_report().await;
                    reporter.gave_up(wait.unwrap_or_default(), found.as_ref());
                    return Ok(End::Outcome(Outcome::NoPath));
                }
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        reporter.event(&event);
                        if let Some(sentence) = report::status(&event) {
                            manager.status(&sentence);
                        }
                        remember(peer, &event);
                        deadline.handle_event(&event);
                    }
                    Some(Err(Missed { count: missed, .. })) => {
                        tracing::warn!(missed, "events came too fast to be reported");
                        deadline.handle_missed(peer);
                    }
                    None => return Ok(End::Outcome(Outcome::Failed)),
                },
                end = peer.ended() => return Ok(failed(&end, reporter)),
                end = forwards.ended() => return Ok(failed(&end, reporter)),
                never = &mut watchdog => match never {},
            }
        }
        manager.stopping();
        reporter.finish(&Message::Leaving);
        Ok(End::Outcome(Outcome::Done))
    }
}

/// Waits until no pipe has needed it for so long; for ever if it is there for more than pipes.
async fn rests(pipes: Option<&PipeServer>, rest: Option<Duration>) {
    match (pipes, rest) {
        (Some(pipes), Some(rest)) => pipes.rests(rest).await,
        _ => std::future::pending().await,
    }
}

/// A part is gone without which the program only looks alive: it ends, and may be started again.
fn failed(end: &TaskEnd, reporter: &mut Reporter) -> End {
    reporter.say(Level::Error, &Message::PartEnded(end.clone()));
    End::Outcome(Outcome::Failed)
}

/// Puts what worked into the peer cache.
fn remember(peer: &Peer, event: &Event) {
    if let Some(Connected { method, pair, .. }) = event.connected() {
        let last_success = LastSuccess { method: *method, peer_port: pair.remote.port() };
        peer_cache::remember(peer.role(), peer.address(), last_success);
    }
}

/// The deadline at which it gives up: when the waiting time is over, and never because of a datagram. That both sides
/// have one role, or that our own packets come back, is said and may be mended on the other side; and somebody on the
/// way can send back what we have sent.
struct Deadline {
    wait: Option<Duration>,
    give_up: Option<Instant>,
}

impl Deadline {
    fn new(wait: Option<Duration>) -> Self {
        Self { wait, give_up: wait.map(|wait| Instant::now() + wait) }
    }

    fn handle_event(&mut self, event: &Event) {
        if matches!(event, Event::TunnelUp { .. }) {
            self.give_up = None;
        } else if matches!(event, Event::Searching { .. }) && self.give_up.is_none() {
            self.give_up = self.wait.map(|wait| Instant::now() + wait);
        }
    }

    fn handle_missed(&mut self, peer: &Peer) {
        let wait = self.wait.filter(|_| peer.current().is_none());
        self.give_up = wait.map(|wait| Instant::now() + wait);
    }
}

/// A signal's meaning.
enum Asked {
    End,
    ReRead,
}

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Without a terminal nobody can hang up: then the signal asks a service to read its configuration again.
    is_on_terminal: bool,
}

impl Signals {
    /// Listens from now on. What it hears while nobody asks is kept.
    pub(super) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).or_say(|| Message::NoSignals);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            is_on_terminal: std::io::stderr().is_terminal() || std::io::stdin().is_terminal(),
        })
    }

    /// Waits until the program is to end. There is nothing to be read again yet.
    pub(super) async fn end(&mut self) {
        while let Asked::ReRead = self.recv().await {}
    }

    async fn recv(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::End,
            _ = self.terminate.recv() => Asked::End,
            _ = self.hangup.recv() => if self.is_on_terminal { Asked::End } else { Asked::ReRead },
        }
    }
}

/// Waits for what is under way, for ever if nothing is.
pub(super) async fn done<F: Future + Unpin>(under_way: &mut Option<F>) -> F::Output {
    match under_way {
        Some(under_way) => under_way.await,
        None => std::future::pending().await,
    }
}

/// The result of reading everything again.
struct ReRead {
    told: Message,
    another: Option<Keyed>,
}

impl ReRead {
    /// Reads the key's file again and looks the peer up. What cannot be had stays as it is.
    async fn new(peer: &Peer, found: &Found) -> Self {
        match keyring::reread(found) {
            Ok(Some(another)) => match tokio::task::spawn_blocking(|| Keyed::new(another)).await {
                Ok(keyed) => Self { told: Message::KeyChanged, another: Some(keyed) },
                Err(error) => Self { told: texts::reread(Some(&error.to_string()), &[]), another: None },
            },
            Ok(None) => Self { told: texts::reread(None, &look_up(peer).await), another: None },
            Err(error) => {
                let why = format!("{error:#}");
                Self { told: texts::reread(Some(&why), &look_up(peer).await), another: None }
            }
        }
    }
}

/// Returns where the peer is, as far as is known now.
async fn look_up(peer: &Peer) -> Vec<SocketAddr> {
    tokio::time::timeout(LOOK_UP, peer.look_up()).await.ok().flatten().unwrap_or_default()
}
