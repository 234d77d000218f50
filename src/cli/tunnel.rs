//! `-c`, `-l`, `serve`, `open`: a tunnel that stands until the user ends it.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use pinhole::{
    Config, Endpoint, Peer, Role,
    endpoint::{DEFAULT_PATIENCE, PeerError, StartError},
    forward::{self, OpenSpec, ServeSpec},
    hub::WANTED_BUFFER_BYTES,
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::MakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    Outcome,
    args::{Common, ShortForm},
    journal::{Level, is_journal},
    key,
    keyring::{self, Found, Origin},
    memory,
    report::Reporter,
    say,
    service::Manager,
    status, talk,
    watch::{End, Forwards, Keyed, Signals, Watch},
    words,
};

/// Time that what still runs in the background may take to end.
pub(super) const SHUTDOWN: Duration = Duration::from_millis(100);

/// Descriptors that are asked for, or as many as the system allows.
const WANTED_DESCRIPTORS: u64 = 65_536;

/// What is forwarded.
enum Services {
    Serve(Vec<ServeSpec>),
    Open(Vec<OpenSpec>),
}

impl Services {
    fn role(&self) -> Role {
        match self {
            Self::Serve(_) => Role::Serve,
            Self::Open(_) => Role::Open,
        }
    }
}

pub(super) fn serve(specs: Vec<ServeSpec>, peer: String, port: u16, common: &Common) -> Result<Outcome> {
    run(&Services::Serve(specs), Peer::new(peer, port), common)
}

pub(super) fn open(specs: Vec<OpenSpec>, peer: String, port: u16, common: &Common) -> Result<Outcome> {
    run(&Services::Open(specs), Peer::new(peer, port), common)
}

/// The old script's grammar.
pub(super) fn short(args: ShortForm) -> Result<Outcome> {
    if let Some(extra) = args.extra.first() {
        bail!("'{extra}' is one argument too many: pinhole -c|-l TCP_PORT PEER [UDP_PORT]");
    }
    let (Some(tcp), Some(peer)) = (args.tcp, args.peer) else {
        bail!(
            "say what to do: `pinhole -c TCP_PORT PEER` offers a service, `pinhole -l TCP_PORT PEER` reaches it, `pinhole --help` explains"
        );
    };
    let services = match (args.serve, args.open) {
        (true, _) => Services::Serve(vec![tcp.parse()?]),
        (false, true) => Services::Open(vec![tcp.parse()?]),
        (false, false) => bail!(
            "say which side this is: -c offers TCP_PORT to the peer, -l opens TCP_PORT for the peer's service"
        ),
    };
    run(&services, Peer::new(peer, args.udp), &args.common)
}

fn run(services: &Services, peer: Peer, common: &Common) -> Result<Outcome> {
    check_status(common)?;
    talk::start();
    start_logging(common.debug);
    raise_descriptor_limit();
    let manager = Manager::of_environment();
    let found = keyring::find(&common.key, services.role())?;
    introduce(services, &peer, &found);
    let mut keyed = Keyed::new(found);
    let mut reporter = Reporter::new(common.json, common.debug == 0);
    let mut signals = None;
    loop {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("the runtime cannot start")?;
        let run = Run { services, peer: &peer, keyed: &keyed, common, manager: &manager };
        let end = runtime.block_on(run.tunnel(&mut signals, &mut reporter));
        // With it goes all that might still hold a port.
        runtime.shutdown_timeout(SHUTDOWN);
        match end? {
            End::Outcome(outcome) => return Ok(outcome),
            End::NewKey(another) => keyed = *another,
        }
    }
}

/// From one key to the next.
struct Run<'a> {
    services: &'a Services,
    peer: &'a Peer,
    keyed: &'a Keyed,
    common: &'a Common,
    manager: &'a Manager,
}

impl Run<'_> {
    /// The signals are the same from run to run: none gets lost between two of them.
    async fn tunnel(self, signals: &mut Option<Signals>, reporter: &mut Reporter) -> Result<End> {
        let Self { services, peer, keyed, common, manager } = self;
        let signals = match signals {
            Some(signals) => signals,
            None => signals.insert(Signals::new()?),
        };
        let config = Config {
            bind: common.bind.into(),
            limits: common.limits.limits(),
            memory: memory::recall(services.role(), peer),
            patience: common.patience.unwrap_or(DEFAULT_PATIENCE),
            compress: common.compress.into(),
            ..Config::new(services.role(), keyed.key.clone(), peer.clone())
        };
        let endpoint = tokio::select! {
            started = Endpoint::start(config) => started.map_err(advise)?,
            () = signals.end() => return Ok(End::Outcome(Outcome::Done)),
        };
        warn_of_small_buffers(&endpoint, reporter);
        let mut forwards = start_forwards(&endpoint, services, reporter)?;
        let _shown = status::show(&endpoint, peer, common, reporter)?;
        manager.ready();
        let watch = Watch {
            endpoint: &endpoint,
            forwards: &mut forwards,
            peer,
            found: &keyed.found,
            wait: common.wait,
            signals,
            reporter,
            manager,
        };
        let end = watch.run().await?;
        endpoint.close().await;
        Ok(end)
    }
}

fn start_forwards(endpoint: &Endpoint, services: &Services, reporter: &mut Reporter) -> Result<Forwards> {
    match services {
        Services::Serve(specs) => Ok(Forwards::Offering(forward::offer(endpoint, specs)?)),
        Services::Open(specs) => {
            let mut open = Vec::new();
            for spec in specs {
                let listening =
                    forward::listen(endpoint, spec).map_err(|error| words::explain_bind(&error))?;
                reporter.line(Level::Info, &words::listening(listening.address(), spec));
                open.push(listening);
            }
            Ok(Forwards::Listening(open))
        }
    }
}

/// Whoever reaches the page sees it.
fn check_status(common: &Common) -> Result<()> {
    match common.status {
        Some(address) if !address.ip().is_loopback() && !common.status_public => bail!(
            "--status {address} is an address that other machines may reach, and the page asks nobody for a password: use 127.0.0.1:{}, or add --status-public",
            address.port()
        ),
        Some(_) | None => Ok(()),
    }
}

/// Says which key is used; after the first start, what to do on the other side.
fn introduce(services: &Services, peer: &Peer, found: &Found) {
    if let (Services::Serve(specs), Origin::Made(path)) = (services, &found.origin) {
        say(format_args!("made a key and kept it in {} (this is shown once)", path.display()));
        say(format_args!("on the other machine run, with this machine's public IP in place of THIS_IP:"));
        say(format_args!(""));
        say(format_args!("  PINHOLE_KEY={} {}", found.phrase.as_str(), words::other_side(specs, peer.port)));
        say(format_args!(""));
    } else if std::io::stderr().is_terminal() {
        say(format_args!("using the key {}", key::describe(&found.origin)));
    }
}

/// Adds the way out to a start that failed.
pub(super) fn advise(error: StartError) -> anyhow::Error {
    match &error {
        StartError::Bind(bind) => words::explain_bind(bind),
        StartError::Peer(peer) => advise_peer(peer.clone()),
        StartError::Tls(_) | StartError::Entropy | StartError::Quic(_) => error.into(),
    }
}

/// The same for a peer that cannot be used as named.
pub(super) fn advise_peer(error: PeerError) -> anyhow::Error {
    match error {
        PeerError::Unresolved(_) => {
            anyhow!("{error}: check the spelling and the network, or use the peer's public IP")
        }
        PeerError::PortInName(_)
        | PeerError::OnlyIpv6(_)
        | PeerError::NoMachine(_)
        | PeerError::OwnAddress(_) => error.into(),
    }
}

/// Says that the system caps the socket buffers, and the way out.
fn warn_of_small_buffers(endpoint: &Endpoint, reporter: &mut Reporter) {
    let granted = endpoint.hub().buffer_sizes();
    if granted.receive.min(granted.send) < ENOUGH_BUFFER_BYTES {
        reporter.line(Level::Warning, &words::small_buffers(granted, WANTED_BUFFER_BYTES));
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
    let ours = Targets::new().with_targets([("pinhole", level), ("pinhole_proto", level)]);
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
        talk::err([self.0.prefix().as_bytes(), event].concat());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
