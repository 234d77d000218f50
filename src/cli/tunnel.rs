//! `-c`, `-l`, `serve`, `open`: a tunnel that stands until the user ends it.

use std::{io::IsTerminal, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use pinhole::{
    Config, Endpoint, Event, Key, Peer, Role, clock,
    endpoint::{DEFAULT_PATIENCE, PeerError, StartError},
    forward::{self, Listening, Offering, OpenSpec, ServeSpec},
    hub::WANTED_BUFFER_BYTES,
    proto::puncher::{Connected, Memory, Trouble},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::broadcast::error::RecvError,
    time::Instant,
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    Outcome,
    args::{Common, ShortForm},
    key,
    keyring::{self, Found, Origin},
    memory,
    report::Reporter,
    say, words,
};

/// A wrong role ends a program that has run for less than this: its user is still there to mend it. One that has
/// waited for longer only says so, because the other side may be mended instead.
const JUST_STARTED: Duration = Duration::from_secs(10);

/// Time between learning of a wrong role and the end: the other side must hear of it too.
const LINGER: Duration = Duration::from_secs(1);

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
    start_logging(common.debug);
    raise_descriptor_limit();
    let found = keyring::find(&common.key, services.role())?;
    introduce(services, &peer, &found);
    let key = Key::stretch(&found.phrase);
    let config = Config {
        bind: common.bind.into(),
        limits: common.limits.limits(),
        memory: memory::recall(services.role(), &peer),
        patience: common.patience.unwrap_or(DEFAULT_PATIENCE),
        ..Config::new(services.role(), key, peer)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let outcome = runtime.block_on(tunnel(services, config, common));
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn tunnel(services: &Services, config: Config, common: &Common) -> Result<Outcome> {
    let peer = config.peer.clone();
    let endpoint = Endpoint::start(config).await.map_err(advise)?;
    let mut reporter = Reporter::new(common.json, common.debug == 0);
    warn_of_small_buffers(&endpoint, &mut reporter);
    let _forwards = start_forwards(&endpoint, services, &mut reporter)?;
    let outcome = watch(&endpoint, &peer, reporter, common.wait).await?;
    endpoint.close().await;
    Ok(outcome)
}

/// What must be held for the forwards to go on.
enum Forwards {
    Offering { _held: Offering },
    Listening { _held: Vec<Listening> },
}

fn start_forwards(endpoint: &Endpoint, services: &Services, reporter: &mut Reporter) -> Result<Forwards> {
    match services {
        Services::Serve(specs) => Ok(Forwards::Offering { _held: forward::offer(endpoint, specs)? }),
        Services::Open(specs) => {
            let mut open = Vec::new();
            for spec in specs {
                let listening =
                    forward::listen(endpoint, spec).map_err(|error| words::explain_bind(&error))?;
                reporter.line(&words::listening(listening.address(), spec));
                open.push(listening);
            }
            Ok(Forwards::Listening { _held: open })
        }
    }
}

/// Reports until the user ends it, the waiting time is over, or it turns out to be wrong use.
async fn watch(
    endpoint: &Endpoint,
    peer: &Peer,
    mut reporter: Reporter,
    wait: Option<Duration>,
) -> Result<Outcome> {
    let started = Instant::now();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    let mut events = endpoint.events();
    let mut wrong_use_at = None;
    let mut give_up = wait.map(|wait| started + wait);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => break,
            _ = tick.tick(), if reporter.is_live() => reporter.tick(endpoint),
            () = clock::until(wrong_use_at) => return Ok(Outcome::WrongUse),
            () = clock::until(give_up), if endpoint.current().is_none() => {
                let found = endpoint.findings().await;
                reporter.gave_up(wait.unwrap_or_default(), found.as_ref());
                return Ok(Outcome::NoPath);
            }
            event = events.recv() => match event {
                Ok(event) => {
                    reporter.event(&event);
                    if let Event::Punched(connected) | Event::PathBack { connected, .. } | Event::PathChanged(connected) =
                        event {
                        let Connected { method, pair, .. } = connected;
                        let memory = Memory { method, peer_port: pair.remote.port() };
                        memory::remember(endpoint.role(), peer, memory);
                    }
                    if is_wrong_use(&event) && started.elapsed() < JUST_STARTED {
                        wrong_use_at.get_or_insert(Instant::now() + LINGER);
                    }
                    if matches!(event, Event::TunnelUp { .. }) {
                        give_up = None;
                    } else if matches!(event, Event::Searching { .. }) && give_up.is_none() {
                        give_up = wait.map(|wait| Instant::now() + wait);
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "events came too fast to be reported");
                    give_up = wait.filter(|_| endpoint.current().is_none()).map(|wait| Instant::now() + wait);
                }
                Err(RecvError::Closed) => return Ok(Outcome::NoPath),
            },
        }
    }
    reporter.line("leaving");
    Ok(Outcome::Done)
}

fn is_wrong_use(event: &Event) -> bool {
    matches!(event, Event::Trouble(Trouble::SameRole { .. } | Trouble::OwnEcho { .. }))
}

/// Says which key is used; after the first start, what to do on the other side.
fn introduce(services: &Services, peer: &Peer, found: &Found) {
    if let (Services::Serve(specs), Origin::Made(path)) = (services, &found.origin) {
        say(format_args!("made a key and kept it in {} (this is shown once)", path.display()));
        say(format_args!("on the other machine run, with this machine's public IP in place of THIS_IP:\n"));
        say(format_args!(
            "  PINHOLE_KEY={} {}\n",
            found.phrase.as_str(),
            words::other_side(specs, peer.port)
        ));
    } else if std::io::stderr().is_terminal() {
        say(format_args!("using the key {}", key::describe(&found.origin)));
    }
}

/// Adds the way out to a start that failed.
fn advise(error: StartError) -> anyhow::Error {
    match &error {
        StartError::Bind(bind) => words::explain_bind(bind),
        StartError::Peer(PeerError::Unresolved(_)) => {
            anyhow!("{error}: check the spelling and the network, or use the peer's public IP")
        }
        StartError::Peer(_) | StartError::Tls(_) | StartError::Entropy | StartError::Quic(_) => error.into(),
    }
}

/// Says that the system caps the socket buffers, and the way out.
fn warn_of_small_buffers(endpoint: &Endpoint, reporter: &mut Reporter) {
    let granted = endpoint.hub().buffer_sizes();
    if granted.receive.min(granted.send) < ENOUGH_BUFFER_BYTES {
        reporter.line(&words::small_buffers(granted, WANTED_BUFFER_BYTES));
    }
}

/// From here on, bursts of a fast link fit (design: 4 to 8 MiB).
const ENOUGH_BUFFER_BYTES: usize = 4 << 20;

/// A thousand connections need a thousand descriptors; the usual soft limit is 1,024.
fn raise_descriptor_limit() {
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

fn start_logging(debug: u8) {
    let level = match debug {
        0 => return,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let ours = Targets::new().with_targets([("pinhole", level), ("pinhole_proto", level)]);
    let quic = ours.with_targets([("noq", LevelFilter::INFO), ("noq_proto", LevelFilter::INFO)]);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry().with(lines.with_filter(quic)).init();
}
