//! `pinhole key`: make, keep, show or check a key.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
};

use anyhow::Result;
use pinhole::Phrase;

use super::{
    args::{ConfigArgs, KeyAction, KeyPlace, OwnPhrase, WhichKey},
    config::{Peers, Section},
    keyring::{self, Found, Origin},
    message::Message,
    qr, say,
};

pub(super) fn run(action: Option<KeyAction>, as_qr: bool) -> Result<()> {
    match action {
        None if as_qr => show(WhichKey::default(), true),
        None => print(&keyring::generate()?, false),
        Some(KeyAction::New { save: true, place, qr }) => new(&place, as_qr || qr),
        Some(KeyAction::New { save: false, place, qr }) => {
            if place.name.is_some() || place.key_file.is_some() {
                return Err(Message::KeyWouldNotBeKept.into());
            }
            print(&keyring::generate()?, as_qr || qr)
        }
        Some(KeyAction::Save { place, own }) => save(&place, own),
        Some(KeyAction::Show { which, qr }) => show(which, as_qr || qr),
        Some(KeyAction::Check { which }) => check(which),
    }
}

/// Makes a key and keeps it.
fn new(place: &KeyPlace, as_qr: bool) -> Result<()> {
    let phrase = keyring::generate()?;
    let path = find_place(place)?;
    keyring::save(&phrase, &path)?;
    say(&Message::KeyKept(path));
    print(&phrase, as_qr)
}

fn save(place: &KeyPlace, own: OwnPhrase) -> Result<()> {
    let path = find_place(place)?;
    keyring::check_free(&path)?;
    let phrase =
        if std::io::stdin().is_terminal() { keyring::prompt(own)? } else { keyring::read_stdin(own)? };
    keyring::save(&phrase, &path)?;
    say(&Message::KeyKept(path));
    Ok(())
}

fn show(which: WhichKey, as_qr: bool) -> Result<()> {
    print(&existing(which)?.phrase, as_qr)
}

fn check(which: WhichKey) -> Result<()> {
    let Found { phrase, origin } = existing(which)?;
    let origin = describe(&origin);
    say(&if phrase.is_drawn() { Message::KeyIsStrong(origin) } else { Message::KeyIsOwn(origin) });
    Ok(())
}

fn existing(which: WhichKey) -> Result<Found> {
    let WhichKey { name, mut source, config } = which;
    if let Some(name) = &name {
        section(name, &config)?.0.fill_key(&mut source);
    }
    Ok(keyring::look(&source)?.ok_or(Message::NoKeyYet)?)
}

/// Returns the file in which a key is to be kept.
fn find_place(place: &KeyPlace) -> Result<PathBuf> {
    match (&place.name, &place.key_file) {
        (Some(name), _) => {
            let (section, peers) = section(name, &place.config)?;
            match section.key_file() {
                Some(file) => Ok(file.to_owned()),
                None => {
                    Err(Message::NoKeyOfItsOwn { name: name.clone(), file: peers.file().to_owned() }.into())
                }
            }
        }
        (None, Some(file)) => Ok(file.clone()),
        (None, None) => keyring::default_file(),
    }
}

/// Returns what the file of peers says of a name, which must be there.
fn section(name: &str, config: &ConfigArgs) -> Result<(Section, Peers)> {
    let peers = Peers::read(config.config.as_deref())?;
    match peers.get(name).cloned() {
        Some(section) => Ok((section, peers)),
        None => Err(Message::NoSuchPeer { name: name.into(), names: peers.say_names(name) }.into()),
    }
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
fn print(phrase: &Phrase, as_qr: bool) -> Result<()> {
    let mut stdout = std::io::stdout();
    if !as_qr {
        writeln!(stdout, "{}", phrase.as_str())?;
    } else if stdout.is_terminal() {
        stdout.write_all(qr::draw(phrase)?.as_bytes())?;
        say(&Message::KeyIsShown);
    } else {
        say(&Message::NothingToDrawOn);
        writeln!(stdout, "{}", phrase.as_str())?;
    }
    Ok(())
}
