//! The program: what was typed becomes endpoints and forwards, what happens becomes sentences.
//!
//! stdout is the product (a key, JSON events, the demo's page); stderr is talk.

#![deny(clippy::disallowed_macros, clippy::disallowed_methods)] // see clippy.toml

mod args;
mod check;
#[cfg(feature = "classic")]
mod classic;
mod config;
mod control;
mod demo;
mod journal;
mod key;
mod keyring;
mod manual;
mod message;
mod named_peer;
mod output;
mod peer_cache;
mod pipe;
mod qr;
#[cfg(test)]
mod reference;
mod report;
mod run_loop;
mod sanitize;
mod service;
mod status;
mod sys;
mod texts;
mod tunnel;
mod usage;

use std::{panic, process::ExitCode};

use clap::{CommandFactory, Parser};

use self::{
    args::{Cli, Verb},
    journal::{Level, one_line},
    message::Message,
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
    /// `status` has found nobody to ask.
    NoneRuns,
}

fn main() -> ExitCode {
    manual::complete();
    if std::env::args_os().len() == 1 {
        return say_usage();
    }
    sys::hide_memory();
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    tell_panics();
    let _last_lines = output::LastLines;
    let result = match cli.verb {
        Some(Verb::Serve { words, peer, common }) => tunnel::serve(&words, &peer, common),
        Some(Verb::Open { words, peer, common }) => tunnel::open(&words, &peer, common),
        Some(Verb::Pipe(args)) => pipe::run(args),
        Some(Verb::Key { qr, action }) => key::run(action, qr).map(|()| Outcome::Done),
        Some(Verb::Check(args)) => check::run(args),
        Some(Verb::Status(args)) => status::run(&args),
        Some(Verb::Demo(args)) => demo::run(&args),
        #[cfg(feature = "classic")]
        Some(Verb::Classic(args)) => classic::run(&args),
        Some(Verb::Completions { shell }) => manual::completions(shell).map(|()| Outcome::Done),
        Some(Verb::Man { folder }) => manual::pages(&folder).map(|()| Outcome::Done),
        None => tunnel::short(cli.short),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NoPath | Outcome::Failed | Outcome::NoneRuns) => NO_PATH.into(),
        Err(error) => {
            say_as(Level::Error, &one_line(&format!("error: {error:#}")));
            WRONG_USE.into()
        }
    }
}

/// Says what can be typed.
fn say_usage() -> ExitCode {
    say_error(&Message::WhatToDo);
    say_as(Level::Error, &format!("\n{}", Cli::command().render_usage()));
    WRONG_USE.into()
}

/// Ends the program with what is wrong with the command line, or with the help that was asked for.
fn refuse(error: &clap::Error) -> ! {
    let typed: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match usage::explain(error, &typed) {
        Some(told) => {
            say_error(&told);
            std::process::exit(WRONG_USE.into())
        }
        None => error.exit(),
    }
}

fn say_error(message: &Message) {
    say_as(Level::Error, &one_line(&format!("error: {message}")));
}

/// Says a message on stderr.
fn say(message: &Message) {
    say_as(Level::Info, &one_line(&message.to_string()));
}

/// Says a line on stderr, in one piece. For what is not a message: events, results, commands to copy.
fn say_as(level: Level, line: &str) {
    let line = output::fit(line);
    output::err(format!("{}{line}\n", level.prefix()).into_bytes());
}

/// Makes a sentence of a panic. It ends one connection, or a part that the program cannot do without; that is told as
/// well.
fn tell_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |at| format!(" at {at}"));
        let why = panic.payload_as_str().unwrap_or("no reason given");
        let fault = Message::OwnFault { place, why: why.to_owned() };
        say_as(Level::Error, &one_line(&fault.to_string()));
    }));
}
