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
    let PipeArgs { service, peer, port, key: _, config: _, tunnel, stay, hold: _, debug } = args;
    let mut words: Vec<OsString> = vec!["pipe".into(), "--hold".into()];
    words.extend(port.map(|port| format!("--port={port}").into()));
    words.extend(stay.map(|stay| format!("--stay={}", stay.as_secs_f64()).into()));
    words.extend(tunnel.words());
    words.extend((0..*debug).map(|_| "-d".into()));
    words.extend(["--".into(), service.into(), peer.into()]);
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
    let common = Common { tunnel: args.tunnel.clone(), debug: args.debug, ..Common::default() };
    tunnel::run(&Services::Pipes(args.stay.unwrap_or(STAY)), named, &common, found)
}

/// Tells the pipe that has started this program that it can be asked.
pub(crate) fn tell_ready() {
    let mut stdout = io::stdout();
    let _gone = writeln!(stdout, "{READY}").and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::{Cli, Verb};

    fn typed(words: impl IntoIterator<Item = OsString>) -> PipeArgs {
        match Cli::parse_from(["pinhole".into()].into_iter().chain(words)).verb {
            Some(Verb::Pipe(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_tunnel_in_the_background_is_told_every_option_of_its_pipe() {
        let own = ["config", "help", "hold", "key", "key-file", "own-phrase", "wait"];
        let given = "pipe --port=5556 --bind=127.0.0.2 --stay=0.5 --patience=7 --compress=off --max-mappings=200 \
             --max-pps=300 --gentle -dd -- 22 home.example";
        let command = Cli::command();
        let pipe = command.find_subcommand("pipe").expect("there");
        for long in pipe.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(given.contains(&format!("--{long}")) != own.contains(&long), "--{long}");
        }
        let args = typed(given.split_whitespace().map(OsString::from));
        let told = PipeArgs { hold: false, ..typed(words(&args)) };
        assert_eq!(format!("{told:?}"), format!("{args:?}"));
    }
}
