//! The program: what was typed becomes endpoints and forwards, what happens becomes sentences.
//!
//! stdout is the product (a key, JSON events, the demo's page); stderr is talk.

mod args;
mod demo;
mod key;
mod keyring;
mod memory;
mod report;
mod tunnel;
mod words;

use std::{fmt, io::Write, process::ExitCode};

use clap::Parser;

use self::args::{Cli, Verb};

/// There was no path to the peer, or the tunnel was lost for good.
const NO_PATH: u8 = 1;

/// Wrong use, or something that is needed cannot be had.
const WRONG_USE: u8 = 2;

/// How a command ended that did not fail to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    NoPath,
    WrongUse,
}

pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.verb {
        Some(Verb::Serve { specs, peer, common }) => tunnel::serve(specs, peer.peer, peer.port, &common),
        Some(Verb::Open { specs, peer, common }) => tunnel::open(specs, peer.peer, peer.port, &common),
        Some(Verb::Key { action }) => key::run(action).map(|()| Outcome::Done),
        Some(Verb::Demo(args)) => demo::run(&args),
        None => tunnel::short(cli.short),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NoPath) => NO_PATH.into(),
        Ok(Outcome::WrongUse) => WRONG_USE.into(),
        Err(error) => {
            say(format_args!("error: {error:#}"));
            WRONG_USE.into()
        }
    }
}

/// Says a line on stderr. A closed stderr is nobody's fault.
fn say(line: fmt::Arguments<'_>) {
    let _closed = writeln!(std::io::stderr(), "{line}");
}
