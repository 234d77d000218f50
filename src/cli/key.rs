//! `pinhole key`: make, keep, show or check a key.

use std::io::{IsTerminal, Write};

use anyhow::Result;

use super::{
    args::{KeyAction, KeySource},
    keyring::{self, Found, Origin},
    message::Message,
    say,
};

pub(super) fn run(action: Option<KeyAction>) -> Result<()> {
    match action.unwrap_or(KeyAction::New { save: false }) {
        KeyAction::New { save } => new(save),
        KeyAction::Save => save(),
        KeyAction::Show { source } => show(&source),
        KeyAction::Check { source } => check(&source),
    }
}

fn new(save: bool) -> Result<()> {
    let phrase = keyring::generate()?;
    if save {
        let path = keyring::save(&phrase)?;
        say(&Message::KeyKept(path));
    }
    print(phrase.as_str())
}

fn save() -> Result<()> {
    let phrase = if std::io::stdin().is_terminal() { keyring::prompt()? } else { keyring::read_stdin()? };
    let found = keyring::checked(Found { phrase, origin: Origin::Prompt })?;
    let path = keyring::save(&found.phrase)?;
    say(&Message::KeyKept(path));
    Ok(())
}

fn show(source: &KeySource) -> Result<()> {
    print(existing(source)?.phrase.as_str())
}

fn check(source: &KeySource) -> Result<()> {
    let found = keyring::checked(existing(source)?)?;
    say(&Message::KeyIsStrong(describe(&found.origin)));
    Ok(())
}

fn existing(source: &KeySource) -> Result<Found> {
    Ok(keyring::look(source)?.ok_or(Message::NoKeyYet)?)
}

/// Names where a key came from.
pub(super) fn describe(origin: &Origin) -> String {
    match origin {
        Origin::Argument => "from the command line".into(),
        Origin::Environment => "from PINHOLE_KEY".into(),
        Origin::File(path) | Origin::Made(path) => format!("in {}", path.display()),
        Origin::Prompt => "as typed".into(),
    }
}

/// Prints the product: the only thing that goes to stdout.
fn print(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
