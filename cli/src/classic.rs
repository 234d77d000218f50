//! `pinhole classic`: a peer that still runs the old script.
//!
//! One UDP socket, one TCP connection at a time, one loop. What the protocol wants is `pinhole_classic`.

mod local;
#[cfg(test)]
pub(super) mod page;
mod texts;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::Result;
use pinhole::{
    Role,
    bind::{BindError, Protocol},
    clock,
    endpoint::PeerAddress,
    forward::{OpenSpec, ServeSpec},
};
use pinhole_classic::{Classic, Config, End, Event, Output, Summary};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use self::local::Connection;
use super::{
    Outcome,
    args::ClassicArgs,
    journal::{Level, Throttle, one_line},
    message::{Message, OrSay},
    output,
    run_loop::{Signals, done},
    say_as,
    texts::explain_bind,
    tunnel::{advise_peer, start_logging},
};

/// How long a client waits for the peer.
const HELD_FOR: Duration = Duration::from_secs(60);

/// Time between two looks for the peer's address, while it is not heard.
const LOOK_UP_EACH: Duration = Duration::from_secs(30);

/// Pause after a local connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Largest UDP datagram, bytes.
const MAX_DATAGRAM: usize = 65_535;

/// Wanted for each buffer of the UDP socket, bytes: one datagram is under way in each direction, and resends.
const BUFFER_BYTES: usize = 1 << 20;

/// The service, or the local port.
#[derive(Clone)]
enum Spec {
    Serve(ServeSpec),
    Open(OpenSpec),
}

pub(super) fn run(args: &ClassicArgs) -> Result<Outcome> {
    output::start();
    start_logging(args.debug);
    if let Some(extra) = args.extra.first() {
        let form = "pinhole classic -c|-l TCP_PORT PEER [UDP_PORT]";
        return Err(Message::OneTooMany { extra: extra.clone(), form }.into());
    }
    let spec = if args.serve { Spec::Serve(args.tcp.parse()?) } else { Spec::Open(args.tcp.parse()?) };
    say_as(Level::Warning, &texts::caveat(args.serve, &args.tcp, &args.peer));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.or_say(|| Message::NoRuntime)?.block_on(async {
        let mut signals = Signals::new()?;
        let mut proxy = tokio::select! {
            proxy = Proxy::start(args, spec) => proxy?,
            () = signals.end() => return Ok(Outcome::Done),
        };
        proxy.run(&mut signals).await
    })
}

/// A connection to the service that is under way.
type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// A look for the peer's address that is under way.
type LookUp = Pin<Box<dyn Future<Output = Option<SocketAddr>>>>;

/// A proxy between the UDP socket and one TCP connection after the other.
struct Proxy {
    machine: Classic,
    udp: UdpSocket,
    buffer: Vec<u8>,
    peer: PeerAddress,
    spec: Spec,
    listener: Option<TcpListener>,
    /// Not before: accepting has failed.
    accepts_at: Instant,
    connection: Option<Connection>,
    /// A client that has come while the former one has finished sending and may still listen.
    next: Option<Connection>,
    connecting: Option<Connecting>,
    look_up: Option<LookUp>,
    look_up_at: Option<Instant>,
    /// Whether a session has begun and not ended.
    is_active: bool,
    /// Until when the client waits.
    held_until: Option<Instant>,
    /// Whether a further client has been refused in this session.
    has_refused: bool,
    is_peer_busy: bool,
    wait: Option<Duration>,
    give_up_at: Option<Instant>,
    max_data: usize,
    throttle: Throttle<&'static str>,
}

impl Proxy {
    async fn start(args: &ClassicArgs, spec: Spec) -> Result<Self> {
        let peer = PeerAddress::new(args.peer.clone(), args.udp);
        let addresses = peer.resolve().await.map_err(advise_peer)?;
        let udp = bind(SocketAddr::new(args.bind.into(), args.udp)).map_err(|error| explain_bind(&error))?;
        let own = udp.local_addr().or_say(|| Message::NoAddress("UDP socket"))?;
        PeerAddress::check_foreign(&addresses, own).map_err(advise_peer)?;
        let address = *addresses.first().or_say(|| Message::NoAddress("peer"))?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(Message::NoRandomNumbers)?;
        let role = match spec {
            Spec::Serve(_) => Role::Serve,
            Spec::Open(_) => Role::Open,
        };
        let max_data = usize::from(args.max_data);
        let now = Instant::now();
        let machine = Classic::new(Config { role, peer: address, max_data, seed }, now);
        let mut proxy = Self {
            machine,
            udp,
            buffer: vec![0; MAX_DATAGRAM],
            look_up_at: peer.is_name().then(|| now + LOOK_UP_EACH),
            peer,
            spec,
            listener: None,
            accepts_at: now,
            connection: None,
            next: None,
            connecting: None,
            look_up: None,
            is_active: false,
            held_until: None,
            has_refused: false,
            is_peer_busy: false,
            wait: args.wait,
            give_up_at: args.wait.map(|wait| now + wait),
            max_data,
            throttle: Throttle::new(),
        };
        proxy.listen()?;
        proxy.say("peer", Level::Info, &texts::waiting(&proxy.peer.to_string(), address));
        Ok(proxy)
    }

    fn listen(&mut self) -> Result<()> {
        if let Spec::Open(spec) = &self.spec {
            let listener = local::listen(spec).map_err(|error| explain_bind(&error))?;
            let address = listener.local_addr().or_say(|| Message::NoAddress("local port"))?;
            self.listener = Some(listener);
            self.say("listen", Level::Info, &Message::Listening(address).to_string());
        }
        Ok(())
    }

    async fn run(&mut self, signals: &mut Signals) -> Result<Outcome> {
        loop {
            let deadline = self.settle().await;
            let reads = self.reads();
            tokio::select! {
                biased;
                () = signals.end() => return Ok(self.leave().await),
                readable = self.udp.readable() => {
                    readable.or_say(|| Message::SocketFailed)?;
                    self.receive();
                }
                ready = local::ready(self.connection.as_ref(), reads) => if ready.is_err() { self.abort() },
                accepted = local::accept(self.listener.as_ref()), if Instant::now() >= self.accepts_at => self.admit(accepted),
                connected = done(&mut self.connecting) => self.connected(connected),
                found = done(&mut self.look_up) => self.found(found),
                () = clock::until(Some(deadline.into())) => {}
            }
            let now = Instant::now();
            self.machine.handle_timeout(now);
            if self.give_up_at.is_some_and(|at| now >= at) {
                let text = texts::gave_up(self.wait.unwrap_or_default());
                self.say("gave up", Level::Error, &text);
                return Ok(Outcome::NoPath);
            }
            self.tick(now);
        }
    }

    /// Carries out what the machine wants and moves bytes until there is only to be waited. Returns until when.
    async fn settle(&mut self) -> Instant {
        loop {
            match self.machine.poll_output() {
                Output::Transmit(transmit) => {
                    // What cannot be sent is lost, as on any network; it is sent again.
                    if let Err(error) = self.udp.send_to(&transmit.payload, transmit.to).await {
                        tracing::debug!(%error, "datagram not sent");
                    }
                }
                Output::Event(event) => self.handle_event(event),
                Output::Timeout(_) if self.move_bytes() => {}
                Output::Timeout(at) => {
                    let accepts_at = Some(self.accepts_at).filter(|at| *at > Instant::now());
                    let throttle = self.throttle.deadline();
                    let others = [self.held_until, self.give_up_at, self.look_up_at, accepts_at, throttle];
                    return others.into_iter().flatten().fold(at, Instant::min);
                }
            }
        }
    }

    /// Returns whether anything moved.
    fn move_bytes(&mut self) -> bool {
        let Some(connection) = self.connection.as_mut() else { return false };
        let moved = if self.is_active {
            connection.shuttle(&mut self.machine)
        } else {
            connection.read(self.max_data).map(|()| false)
        };
        match moved {
            Ok(moved) if self.is_active || !connection.is_finished() => moved,
            // A client that has gone before it was its turn, or a broken connection.
            Ok(_) | Err(_) => {
                self.abort();
                true
            }
        }
    }

    /// Whether bytes of the local connection are wanted.
    fn reads(&self) -> bool {
        let room = if self.is_active { self.machine.wanted() } else { Some(self.max_data) };
        let connection = self.connection.as_ref();
        connection.zip(room).is_some_and(|(connection, room)| connection.wants_more(room))
    }

    fn receive(&mut self) {
        match self.udp.try_recv_from(&mut self.buffer) {
            Ok((length, from)) => {
                self.machine.handle_datagram(from, &self.buffer[..length], Instant::now());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => tracing::debug!(%error, "nothing received"),
        }
    }

    /// The local connection is gone.
    fn abort(&mut self) {
        self.connection = None;
        self.held_until = None;
        self.machine.close(Instant::now());
    }

    /// A client has come. One is carried or held; the format has no room for a second one.
    fn admit(&mut self, accepted: io::Result<TcpStream>) {
        let tcp = match accepted {
            Ok(tcp) => tcp,
            Err(error) => {
                self.say("accept", Level::Warning, &texts::cannot_accept(&error));
                self.accepts_at = Instant::now() + ACCEPT_PAUSE;
                return;
            }
        };
        let connection = Connection::new(tcp);
        if self.connection.as_ref().is_some_and(|former| self.is_active && former.is_finished())
            && self.next.is_none()
        {
            self.next = Some(connection);
            self.machine.hurry(Instant::now());
            return;
        }
        if self.connection.is_some() {
            if !std::mem::replace(&mut self.has_refused, true) {
                self.say("second", Level::Warning, texts::SECOND_CLIENT);
            }
            return;
        }
        self.hold(connection);
    }

    /// Keeps a client until the peer is ready.
    fn hold(&mut self, client: Connection) {
        let now = Instant::now();
        self.connection = Some(client);
        self.held_until = Some(now + HELD_FOR);
        self.machine.open(now);
    }

    fn connected(&mut self, connected: io::Result<TcpStream>) {
        self.connecting = None;
        let now = Instant::now();
        match connected {
            Ok(tcp) => {
                self.connection = Some(Connection::new(tcp));
                self.machine.open(now);
            }
            Err(error) => {
                self.say("service", Level::Warning, &texts::no_service(&self.spec_name(), &error));
                self.machine.refuse(now);
            }
        }
    }

    fn found(&mut self, found: Option<SocketAddr>) {
        self.look_up = None;
        if let Some(address) = found {
            self.machine.set_peer(address);
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Heard { from } => {
                self.give_up_at = None;
                self.say("heard", Level::Info, &texts::heard(from));
            }
            Event::Pinhole { from } => {
                let serves = matches!(self.spec, Spec::Serve(_));
                self.say("pinhole", Level::Warning, &texts::pinhole(from, serves));
            }
            Event::Lost => {
                self.give_up_at = self.wait.map(|wait| Instant::now() + wait);
                self.say("lost", Level::Warning, texts::LOST);
            }
            Event::Wanted => {
                if let Spec::Serve(spec) = &self.spec {
                    self.connecting = Some(Box::pin(local::connect(spec.clone())));
                }
            }
            Event::Began => {
                (self.is_active, self.has_refused, self.is_peer_busy) = (true, false, false);
                self.held_until = None;
                self.say("began", Level::Info, texts::BEGAN);
            }
            Event::Busy => {
                self.is_peer_busy = true;
                self.say("busy", Level::Warning, texts::BUSY);
            }
            Event::Ended(summary) => self.ended(summary),
            Event::Cut { size } => self.say("cut", Level::Warning, &texts::cut(size)),
            Event::Ratio(ratio) => self.say("ratio", Level::Info, &texts::ratio(ratio)),
        }
    }

    fn ended(&mut self, summary: Summary) {
        self.is_active = false;
        self.held_until = None;
        self.say("ended", Level::Info, &texts::ended(&summary));
        let connection = self.connection.take();
        match summary.end {
            End::Local | End::Peer => {
                if let Some(connection) = connection {
                    connection.finish(summary.rest);
                }
            }
            End::PeerBroken | End::Restarted | End::Unacked | End::Silent => drop(connection), // resets it
        }
        if let Some(next) = self.next.take() {
            self.hold(next);
        }
    }

    /// Does what is due besides the protocol.
    fn tick(&mut self, now: Instant) {
        if self.held_until.is_some_and(|at| now >= at) {
            self.say("held", Level::Warning, &texts::held(self.machine.is_heard(), self.is_peer_busy));
            self.abort();
        }
        if self.look_up_at.is_some_and(|at| now >= at) {
            self.look_up_at = Some(now + LOOK_UP_EACH);
            if !self.machine.is_heard() && self.look_up.is_none() {
                let peer = self.peer.clone();
                self.look_up = Some(Box::pin(async move { peer.resolve().await.ok()?.first().copied() }));
            }
        }
        for line in self.throttle.handle_timeout(now) {
            say_as(Level::Info, &line);
        }
    }

    /// Says goodbye if there is somebody to say it to.
    async fn leave(&mut self) -> Outcome {
        tracing::debug!(dropped = ?self.machine.dropped(), "leaving");
        self.machine.leave(Instant::now());
        self.settle().await;
        for line in self.throttle.finish() {
            say_as(Level::Info, &line);
        }
        Outcome::Done
    }

    fn say(&mut self, kind: &'static str, level: Level, line: &str) {
        let line = one_line(line);
        if self.throttle.admit(kind, &line, Instant::now()) {
            say_as(level, &line);
        }
    }

    fn spec_name(&self) -> String {
        match &self.spec {
            Spec::Serve(spec) => spec.target.describe(),
            Spec::Open(spec) => spec.port.to_string(),
        }
    }
}

fn bind(address: SocketAddr) -> Result<UdpSocket, BindError> {
    let other = |source| BindError::new(Protocol::Udp, address, source);
    let socket = std::net::UdpSocket::bind(address).map_err(other)?;
    socket.set_nonblocking(true).map_err(other)?;
    let options = SockRef::from(&socket);
    for set in [options.set_recv_buffer_size(BUFFER_BYTES), options.set_send_buffer_size(BUFFER_BYTES)] {
        if let Err(error) = set {
            tracing::debug!(%error, "socket buffer size refused");
        }
    }
    UdpSocket::from_std(socket).map_err(other)
}
