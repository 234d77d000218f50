//! The program: what was typed becomes endpoints and forwards, what happens becomes sentences.
//!
//! stdout is the product (a key, JSON events, the demo's page); stderr is talk.

mod args;
mod check;
mod classic;
mod config;
mod demo;
mod journal;
mod key;
mod keyring;
mod manual;
mod memory;
mod pipe;
mod qr;
mod report;
mod service;
mod status;
mod talk;
mod tunnel;
mod watch;
mod whom;
mod words;

use std::{fmt, panic, process::ExitCode};

use clap::Parser;

use self::{
    args::{Cli, Verb},
    journal::{Level, one_line},
};

/// There was no path to the peer, a part of the program has failed, or there is nobody to ask.
const NO_PATH: u8 = 1;

/// Wrong use, or something that is needed cannot be had.
const WRONG_USE: u8 = 2;

/// How a command ended that did not fail to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    NoPath,
    /// A part without which the program is of no use.
    Failed,
    WrongUse,
    /// `status` has found nobody to ask.
    NoneRuns,
}

pub(crate) fn run() -> ExitCode {
    manual::complete();
    let cli = Cli::parse();
    tell_panics();
    let _last_lines = talk::LastLines;
    let result = match cli.verb {
        Some(Verb::Serve { words, peer, common }) => tunnel::serve(&words, &peer, common),
        Some(Verb::Open { words, peer, common }) => tunnel::open(&words, &peer, common),
        Some(Verb::Pipe(args)) => pipe::run(args),
        Some(Verb::Key { qr, action }) => key::run(action, qr).map(|()| Outcome::Done),
        Some(Verb::Check(args)) => check::run(args),
        Some(Verb::Status(args)) => status::run(&args),
        Some(Verb::Demo(args)) => demo::run(&args),
        Some(Verb::Classic(args)) => classic::run(&args),
        Some(Verb::Completions { shell }) => manual::completions(shell).map(|()| Outcome::Done),
        Some(Verb::Man { folder }) => manual::pages(&folder).map(|()| Outcome::Done),
        None => tunnel::short(cli.short),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NoPath | Outcome::Failed | Outcome::NoneRuns) => NO_PATH.into(),
        Ok(Outcome::WrongUse) => WRONG_USE.into(),
        Err(error) => {
            say_as(Level::Error, &one_line(&format!("error: {error:#}")));
            WRONG_USE.into()
        }
    }
}

/// Says a line on stderr.
fn say(line: fmt::Arguments<'_>) {
    say_as(Level::Info, &line.to_string());
}

/// Says a line on stderr, in one piece.
fn say_as(level: Level, line: &str) {
    talk::err(format!("{}{line}\n", level.prefix()).into_bytes());
}

/// Makes a sentence of a panic. It ends one connection, or a part that the program cannot do without; that is told as
/// well.
fn tell_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |at| format!(" at {at}"));
        let why = panic.payload_as_str().unwrap_or("no reason given");
        let line = one_line(&format!("a fault of pinhole itself{place}: {why}. Please report it"));
        say_as(Level::Error, &line);
    }));
}
