//! A tunnel in the background for pipes, where no `pinhole open` has one: started by the first pipe, ended by itself
//! when there has been none for a while.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use pinhole::{Role, endpoint::PeerAddress};
use rustix::fs::{FlockOperation, flock};

use super::super::{
    Outcome,
    args::{Common, OwnPhrase, PipeArgs},
    config,
    control::folder,
    keyring::{self, Found, Origin},
    message::{Message, OrSay},
    named_peer::NamedPeer,
    tunnel::{self, Services},
};

/// Time that the tunnel stays without a pipe unless told otherwise.
const STAY: Duration = Duration::from_secs(30);

/// What it says on stdout when it can be asked.
const READY: &str = "ready";

/// The turn of this program to look whether there is a tunnel, and start one if not. The system ends it with the
/// program at the latest.
pub(super) struct Turn(#[expect(dead_code, reason = "held")] File);

/// Waits for the turn.
pub(super) fn take_turn(peer: &PeerAddress) -> Result<Turn> {
    let path = folder::make()?.join(format!("{}.lock", folder::plain(peer)));
    let shown = || Message::CannotUse(path.clone());
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.or_say(shown)?;
    flock(&file, FlockOperation::LockExclusive).or_say(shown)?;
    Ok(Turn(file))
}

/// Starts a tunnel in the background, and returns as soon as it can be asked. What it says while this program runs
/// comes out of this program's stderr; the other streams are not its own, so nobody waits for their end.
pub(super) fn start(args: &PipeArgs) -> Result<()> {
    let found = keyring::find(&args.key, Role::Open, || Ok(()))?;
    let program = std::env::current_exe().or_say(|| Message::NoBackground)?;
    let mut child = Command::new(program)
        .args(words(args))
        .current_dir("/")
        // All that was found there is typed.
        .env(config::VARIABLE, "")
        .env_remove(keyring::VARIABLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .or_say(|| Message::NoBackground)?;
    if let Some(mut stdin) = child.stdin.take() {
        let _told_by_its_end = stdin.write_all(keyring::written(&found.phrase).as_bytes());
    }
    let relay = pass_on(&mut child)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _end = BufReader::new(stdout.take(64)).read_line(&mut line);
    }
    if line.trim_end() == READY {
        return Ok(());
    }
    let status = child.wait().or_say(|| Message::NoBackground)?;
    let _all_is_said = relay.map(JoinHandle::join);
    Err(Message::BackgroundEnded(status.to_string()).into())
}

/// What is typed for it, but for the key.
fn words(args: &PipeArgs) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["pipe".into(), "--hold".into()];
    let mut option = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("--{name}={value}").into()));
    };
    option("port", args.port.map(|port| port.to_string()));
    option("bind", args.bind.map(|ip| ip.to_string()));
    option("stay", args.stay.map(|stay| stay.as_secs_f64().to_string()));
    option("patience", args.patience.map(|patience| patience.as_secs_f64().to_string()));
    option("compress", args.compress.map(|when| when.to_string()));
    option("max-mappings", args.limits.max_mappings.map(|number| number.to_string()));
    option("max-pps", args.limits.max_pps.map(|number| number.to_string()));
    words.extend(args.limits.gentle.then(|| "--gentle".into()));
    words.extend((0..args.debug).map(|_| "-d".into()));
    words.extend(["--".into(), args.service.clone().into(), args.peer.clone().into()]);
    words
}

/// Has a thread repeat on stderr what it says.
fn pass_on(child: &mut Child) -> Result<Option<JoinHandle<()>>> {
    let Some(mut said) = child.stderr.take() else { return Ok(None) };
    let copy = move || {
        let _closed = io::copy(&mut said, &mut io::stderr());
    };
    let relay = thread::Builder::new().name("relay".into()).spawn(copy);
    relay.map(Some).or_say(|| Message::NoRuntime)
}

/// Runs the tunnel in the background.
pub(crate) fn run(args: &PipeArgs, named: &NamedPeer) -> Result<Outcome> {
    let found = Found { phrase: keyring::read_stdin(OwnPhrase::default())?, origin: Origin::Prompt };
    // The terminal's end, and ssh's, are not its own.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "it stays in the session");
    }
    let common = Common {
        bind: args.bind,
        patience: args.patience,
        limits: args.limits.clone(),
        compress: args.compress,
        debug: args.debug,
        ..Common::default()
    };
    tunnel::run(&Services::Pipes(args.stay.unwrap_or(STAY)), named, &common, found)
}

/// Tells the pipe that has started this program that it can be asked.
pub(crate) fn tell_ready() {
    let mut stdout = io::stdout();
    let _gone = writeln!(stdout, "{READY}").and_then(|()| stdout.flush());
}
