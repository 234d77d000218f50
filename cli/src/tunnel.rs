//! `-c`, `-l`, `serve`, `open`: a tunnel that stands until the user ends it.

use std::{
    io::{self, IsTerminal, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use pinhole::{
    Endpoint, Peer, PeerConfig, Role,
    bind::BindError,
    endpoint::{self, DEFAULT_PATIENCE, PeerAddress, PeerError, StartError},
    forward::{self, OpenSpec, ServeSpec},
    mux::WANTED_BUFFER_BYTES,
    proto::nat::is_example,
};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::MakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    Outcome,
    args::{Common, PeerArgs, ShortForm},
    control,
    journal::{Level, is_journal},
    key,
    keyring::{self, Found, Origin},
    message::{Message, OrSay},
    named_peer::{self, NamedPeer},
    output, peer_cache,
    pipe::{self, PipeServer},
    report::Reporter,
    run_loop::{End, Forwards, Keyed, RunLoop, Signals},
    say, say_as,
    service::Manager,
    status, texts,
};

/// Time that what still runs in the background may take to end.
pub(super) const SHUTDOWN: Duration = Duration::from_millis(100);

/// Time that the tunnel before this one may take to end.
const LAST_ONE: Duration = Duration::from_secs(3);

/// Descriptors that are asked for, or as many as the system allows.
const WANTED_DESCRIPTORS: u64 = 65_536;

/// What is forwarded.
pub(super) enum Services {
    Serve(Vec<ServeSpec>),
    Open(Vec<OpenSpec>),
    /// Nothing but what pipes ask for, until none has come for so long.
    Pipes(Duration),
}

impl Services {
    fn role(&self) -> Role {
        match self {
            Self::Serve(_) => Role::Serve,
            Self::Open(_) | Self::Pipes(_) => Role::Open,
        }
    }
}

pub(super) fn serve(words: &[String], peer: &PeerArgs, mut common: Common) -> Result<Outcome> {
    let (specs, named) = named_peer::sort(words, peer, &common.config, |section| &section.serve)?;
    named.section.fill(&mut common);
    find_key_and_run(&Services::Serve(specs), &named, &common)
}

pub(super) fn open(words: &[String], peer: &PeerArgs, mut common: Common) -> Result<Outcome> {
    let (specs, named) = named_peer::sort(words, peer, &common.config, |section| &section.open)?;
    check_ports(&specs)?;
    named.section.fill(&mut common);
    find_key_and_run(&Services::Open(specs), &named, &common)
}

/// Refuses two local ports that are one.
fn check_ports(specs: &[OpenSpec]) -> Result<(), Message> {
    let ip = |spec: &OpenSpec| spec.bind.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let clash = |a: &OpenSpec, b: &OpenSpec| {
        let (first, second) = (ip(a), ip(b));
        a.port == b.port && (first == second || first.is_unspecified() || second.is_unspecified())
    };
    let is_twice = |(at, spec): &(usize, &OpenSpec)| specs[..*at].iter().any(|former| clash(former, spec));
    match specs.iter().enumerate().find(is_twice) {
        Some((_, spec)) => Err(Message::SameLocalPort(spec.port)),
        None => Ok(()),
    }
}

/// The old script's grammar.
pub(super) fn short(args: ShortForm) -> Result<Outcome> {
    if let Some(extra) = args.extra.first() {
        let form = "pinhole -c|-l TCP_PORT PEER [UDP_PORT]";
        return Err(Message::OneTooMany { extra: extra.clone(), form }.into());
    }
    let (Some(tcp), Some(peer)) = (args.tcp, args.peer) else {
        return Err(Message::WhatToDo.into());
    };
    let services = match (args.serve, args.open) {
        (true, _) => Services::Serve(vec![tcp.parse()?]),
        (false, true) => Services::Open(vec![tcp.parse()?]),
        (false, false) => return Err(Message::WhichSide.into()),
    };
    let mut common = args.common;
    let named = NamedPeer::find(&peer, args.udp, &common.config)?;
    named.section.fill(&mut common);
    find_key_and_run(&services, &named, &common)
}

fn find_key_and_run(services: &Services, named: &NamedPeer, common: &Common) -> Result<Outcome> {
    check_status(common)?;
    warn_of_example(&named.peer);
    output::start();
    let found = keyring::find(&common.key, services.role(), || check_peer(named, common))?;
    introduce(services, &named.peer, &found);
    run(services, named, common, found)
}

/// Says that PEER was copied from a document.
fn warn_of_example(peer: &PeerAddress) {
    if let Ok(ip) = peer.host.parse()
        && is_example(ip)
    {
        say_as(Level::Warning, &Message::ExampleAddress(ip).to_string());
    }
}

/// Keeps a tunnel up until the user ends it.
pub(super) fn run(services: &Services, named: &NamedPeer, common: &Common, found: Found) -> Result<Outcome> {
    output::start();
    start_logging(common.debug);
    raise_descriptor_limit();
    let manager = Manager::of_environment();
    let mut keyed = Keyed::new(found);
    let mut reporter = match services {
        Services::Pipes(_) => Reporter::of_troubles(),
        Services::Serve(_) | Services::Open(_) => Reporter::new(common.json, common.debug == 0),
    };
    let mut signals = None;
    loop {
        let runtime = runtime().or_say(|| Message::NoRuntime)?;
        let run = Run { services, named, keyed: &keyed, common, manager: &manager };
        let end = runtime.block_on(run.tunnel(&mut signals, &mut reporter));
        // With it goes all that might still hold a port.
        runtime.shutdown_timeout(SHUTDOWN);
        match end? {
            End::Outcome(outcome) => return Ok(outcome),
            End::NewKey(another) => keyed = *another,
        }
    }
}

/// One thread for all that waits: a datagram and the connection that it is for are then never on two processors, which
/// costs more than both can do at a time (docs/design.md, "One thread"). What computes for long has threads of its own.
fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// From one key to the next.
struct Run<'a> {
    services: &'a Services,
    named: &'a NamedPeer,
    keyed: &'a Keyed,
    common: &'a Common,
    manager: &'a Manager,
}

impl Run<'_> {
    /// The signals are the same from run to run: none gets lost between two of them.
    async fn tunnel(self, signals: &mut Option<Signals>, reporter: &mut Reporter) -> Result<End> {
        let Self { services, named, keyed, common, manager } = self;
        let address = &named.peer;
        let signals = match signals {
            Some(signals) => signals,
            None => signals.insert(Signals::new()?),
        };
        let own = own_address(named, common);
        let builder = Endpoint::builder(keyed.key.clone())
            .bind(own.port())
            .bind_ip(own.ip())
            .limits(common.tunnel.limits.limits());
        let config = PeerConfig::new(services.role(), address.clone())
            .last_success(peer_cache::recall(services.role(), address))
            .patience(common.tunnel.patience.unwrap_or(DEFAULT_PATIENCE))
            .compress(common.tunnel.compress.unwrap_or_default().into());
        let started = tokio::select! {
            started = start((builder, config), (address, own), services) => started,
            () = signals.end() => return Ok(End::Outcome(Outcome::Done)),
        };
        let (endpoint, peer) = match started {
            Ok(started) => started,
            Err(error) => return Err(advise_for(services, named, error).await),
        };
        warn_of_small_buffers(&endpoint, reporter);
        let mut forwards = start_forwards(&peer, services, reporter)?;
        let _page = status::show(&peer, common, reporter)?;
        let for_pipes = matches!(services, Services::Pipes(_));
        let pipes =
            (services.role() == Role::Open).then(|| Arc::new(PipeServer::new(&peer, &keyed.key, for_pipes)));
        let control = control::open(&peer, pipes.clone(), for_pipes, reporter)?;
        manager.ready();
        let run_loop = RunLoop {
            peer: &peer,
            forwards: &mut forwards,
            found: &keyed.found,
            wait: common.tunnel.wait,
            signals,
            reporter,
            manager,
            pipes: pipes.as_deref(),
            rest: if let Services::Pipes(rest) = services { Some(*rest) } else { None },
        };
        let end = run_loop.run().await?;
        // Whoever asks now starts another one.
        drop(control);
        endpoint.close().await;
        Ok(end)
    }
}

/// Starts the endpoint and its one peer. A tunnel for pipes that nobody needs gives its port up, which takes a moment; and
/// another one for pipes may be about to end.
async fn start(
    (builder, config): (endpoint::Builder, PeerConfig),
    (address, own): (&PeerAddress, SocketAddr),
    services: &Services,
) -> Result<(Endpoint, Peer), StartError> {
    // A peer that cannot be one is told as that, also where the port is in use.
    PeerAddress::check_foreign(&address.resolve().await?, own)?;
    let until = tokio::time::Instant::now() + LAST_ONE;
    let mut is_given_up = None;
    loop {
        match builder.clone().build().await {
            Err(StartError::Bind(BindError::InUse { protocol, address }))
                if tokio::time::Instant::now() < until =>
            {
                if is_given_up.is_none() {
                    let port = address.port();
                    let asked = tokio::task::spawn_blocking(move || pipe::to_leave(port)).await;
                    is_given_up = Some(asked.unwrap_or(false));
                }
                if is_given_up == Some(false) && !matches!(services, Services::Pipes(_)) {
                    return Err(BindError::InUse { protocol, address }.into());
                }
                tokio::time::sleep(SHUTDOWN).await;
            }
            started => {
                let endpoint = started?;
                let peer = endpoint.peer(config).await?;
                return Ok((endpoint, peer));
            }
        }
    }
}

/// Adds the way out to a start that failed.
async fn advise_for(services: &Services, named: &NamedPeer, error: StartError) -> anyhow::Error {
    let is_taken = matches!(error, StartError::Bind(BindError::InUse { .. }));
    if let StartError::Bind(BindError::InUse { address, .. }) = &error
        && !matches!(services, Services::Pipes(_))
        && let Some(holder) = status::holder(*address).await
    {
        let what = status::headline(&holder);
        let told = texts::port_of_pinhole(error.to_string(), holder.pid, what, holder.role, named.peer.port);
        return told.into();
    }
    let advised = named.advise(error);
    if is_taken && matches!(services, Services::Pipes(_)) {
        return Message::PipeFindsPortTaken(advised.to_string()).into();
    }
    advised
}

fn start_forwards(peer: &Peer, services: &Services, reporter: &mut Reporter) -> Result<Forwards> {
    match services {
        Services::Serve(specs) => Ok(Forwards::Offering(forward::offer(peer, specs)?)),
        Services::Open(specs) => {
            let mut open = Vec::new();
            for spec in specs {
                let listening = forward::listen(peer, spec).map_err(|error| texts::explain_bind(&error))?;
                reporter.say(Level::Info, &texts::listening(listening.address(), spec));
                open.push(listening);
            }
            Ok(Forwards::Listening(open))
        }
        Services::Pipes(_) => Ok(Forwards::Listening(Vec::new())),
    }
}

/// Whoever reaches the page sees it.
fn check_status(common: &Common) -> Result<()> {
    match common.status {
        Some(address) if !address.ip().is_loopback() && !common.status_public => {
            Err(Message::PublicPage(address).into())
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses a peer that cannot be one, before a key is made and shown for nothing.
fn check_peer(named: &NamedPeer, common: &Common) -> Result<()> {
    let own = own_address(named, common);
    let found = runtime().or_say(|| Message::NoRuntime)?.block_on(named.peer.resolve());
    let checked = found.and_then(|found| PeerAddress::check_foreign(&found, own));
    checked.map_err(|error| named.advise(error.into()))
}

/// Returns the UDP address that this side has.
fn own_address(named: &NamedPeer, common: &Common) -> SocketAddr {
    SocketAddr::new(common.tunnel.bind.unwrap_or(Ipv4Addr::UNSPECIFIED).into(), named.peer.port)
}

/// Says which key is used; after the first start, what to do on the other side.
fn introduce(services: &Services, peer: &PeerAddress, found: &Found) {
    if let (Services::Serve(specs), Origin::Made(path)) = (services, &found.origin) {
        say(&Message::KeyMade(path.clone()));
        say(&Message::OnTheOtherMachine);
        let command = texts::other_side(specs, peer.port);
        say_as(Level::Info, &format!("\n  PINHOLE_KEY={} {command}\n", found.phrase.as_str()));
    } else if std::io::stderr().is_terminal() {
        say(&match &found.origin {
            Origin::File(path) => Message::UsingKeyFile(path.clone()),
            origin @ (Origin::Argument | Origin::Environment | Origin::Prompt) if !keyring::is_kept() => {
                Message::UsingTypedKey(key::describe(origin))
            }
            origin @ (Origin::Argument | Origin::Environment | Origin::Prompt | Origin::Made(_)) => {
                Message::UsingKey(key::describe(origin))
            }
        });
    }
}

/// Adds the way out to a start that failed.
pub(super) fn advise(error: StartError) -> anyhow::Error {
    match &error {
        StartError::Bind(bind) => texts::explain_bind(bind).into(),
        StartError::Peer(peer) => advise_peer(peer.clone()),
        StartError::Tls(_)
        | StartError::Entropy
        | StartError::Quic(_)
        | StartError::TooManyPeers
        | StartError::KeyTaken
        | StartError::Closed => error.into(),
        _ => error.into(),
    }
}

/// The same for a peer that cannot be used as named.
pub(super) fn advise_peer(error: PeerError) -> anyhow::Error {
    match error {
        PeerError::Unresolved(_) => Message::NameDoesNotResolve(error.to_string()).into(),
        PeerError::PortInName(_) | PeerError::OnlyIpv6(_) | PeerError::NoMachine(_) => error.into(),
        PeerError::OwnAddress(_) => Message::PeerIsOwn(error.to_string()).into(),
        _ => error.into(),
    }
}

/// Says that the system caps the socket buffers, and the way out.
fn warn_of_small_buffers(endpoint: &Endpoint, reporter: &mut Reporter) {
    let granted = endpoint.mux().buffer_sizes();
    if granted.receive.min(granted.send) < ENOUGH_BUFFER_BYTES {
        reporter.say(Level::Warning, &texts::small_buffers(granted, WANTED_BUFFER_BYTES));
    }
}

/// From here on, bursts of a fast link fit (design: 4 to 8 MiB).
pub(super) const ENOUGH_BUFFER_BYTES: usize = 4 << 20;

/// A thousand connections need a thousand descriptors; the usual soft limit is 1,024.
pub(super) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(WANTED_DESCRIPTORS).min(WANTED_DESCRIPTORS);
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
    {
        tracing::debug!(%error, "descriptor limit not raised");
    }
}

/// Shows what happens inside, if that is wanted.
pub(super) fn start_logging(debug: u8) {
    let level = match debug {
        0 => return,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let ours = Targets::new().with_targets([
        ("pinhole", level),
        ("pinhole_proto", level),
        ("pinhole_classic", level),
    ]);
    let quic = ours.with_targets([("noq", LevelFilter::INFO), ("noq_proto", LevelFilter::INFO)]);
    // A log that cannot be written is no reason to fail, or to write about that.
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Talk)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .log_internal_errors(false);
    let lines = if is_journal() { lines.without_time().boxed() } else { lines.boxed() };
    tracing_subscriber::registry().with(lines.with_filter(quic)).init();
}

/// Writes what happens inside to stderr, each event in one piece with its priority.
struct Talk;

impl<'a> MakeWriter<'a> for Talk {
    type Writer = Piece;

    fn make_writer(&'a self) -> Piece {
        Piece(Level::Debug)
    }

    fn make_writer_for(&'a self, inside: &tracing::Metadata<'_>) -> Piece {
        Piece(match *inside.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        })
    }
}

struct Piece(Level);

impl Write for Piece {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        output::err([self.0.prefix().as_bytes(), event].concat());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
