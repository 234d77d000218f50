//! Where the key comes from, and where it is kept.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Result;
use etcetera::BaseStrategy;
use pinhole::{Phrase, Role, proto::key::PhraseError};
use zeroize::Zeroizing;

use super::{
    args::{KeySource, OwnPhrase},
    config,
    message::{Message, OrSay},
    say, texts,
};

/// Environment variable with the key.
pub(crate) const VARIABLE: &str = "PINHOLE_KEY";

/// Longest key file that is read, bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// The line above a phrase of the user's own: that it is meant to be one has been said before.
const OWN_MARK: &str = "# own phrase";

/// How often a user may type a key that is none.
const TRIES: usize = 3;

/// A key, and how it was come by.
pub(crate) struct Found {
    pub(crate) phrase: Phrase,
    pub(crate) origin: Origin,
}

/// How a key was come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Argument,
    Environment,
    File(PathBuf),
    Prompt,
    /// Made just now and kept in this file.
    Made(PathBuf),
}

/// Finds the key: argument, named file, environment, default file, prompt; the serve side makes one at last, unless
/// `check` knows a reason why it would be for nothing.
pub(crate) fn find(source: &KeySource, role: Role, check: impl FnOnce() -> Result<()>) -> Result<Found> {
    if let Some(found) = look(source)? {
        return Ok(found);
    }
    match role {
        Role::Serve => {
            check()?;
            make()
        }
        Role::Open if io::stdin().is_terminal() => {
            Ok(Found { phrase: prompt(source.own)?, origin: Origin::Prompt })
        }
        Role::Open => Err(Message::NoKey.into()),
    }
}

/// Finds a key that is there already.
pub(crate) fn look(source: &KeySource) -> Result<Option<Found>> {
    if let Some(typed) = &source.key {
        return Ok(Some(Found { phrase: parse(&typed.0, source.own)?, origin: Origin::Argument }));
    }
    if let Some(path) = &source.key_file {
        return read(path, source.own).map(Some);
    }
    if let Some(text) = std::env::var_os(VARIABLE) {
        let text = Zeroizing::new(text.into_string().map_err(|_| Message::KeyVariableIsNoText)?);
        let phrase = parse(&text, source.own).or_say(|| Message::KeyVariableIsUseless)?;
        return Ok(Some(Found { phrase, origin: Origin::Environment }));
    }
    let path = default_file()?;
    if path.try_exists().or_say(|| Message::CannotLookFor(path.clone()))? {
        return read(&path, source.own).map(Some);
    }
    Ok(None)
}

/// Reads the key's file again, if it came from one. Returns the key if it is another one now.
pub(crate) fn reread(found: &Found) -> Result<Option<Found>> {
    match &found.origin {
        Origin::File(path) | Origin::Made(path) => {
            // Where a phrase of the user's own is in use, another one is welcome, too.
            let now = read(path, OwnPhrase { is_taken: !found.phrase.is_drawn() })?;
            Ok(Some(now).filter(|now| now.phrase != found.phrase))
        }
        Origin::Argument | Origin::Environment | Origin::Prompt => Ok(None),
    }
}

/// Makes a key and keeps it in the default file.
fn make() -> Result<Found> {
    let phrase = generate()?;
    let path = default_file()?;
    save(&phrase, &path)?;
    Ok(Found { phrase, origin: Origin::Made(path) })
}

/// Makes a key.
pub(crate) fn generate() -> Result<Phrase> {
    let mut entropy = Zeroizing::new([0; 32]);
    getrandom::fill(entropy.as_mut()).map_err(Message::NoRandomNumbers)?;
    Ok(Phrase::generate(*entropy))
}

/// Says at once that a file cannot take a key because it is there.
pub(crate) fn check_free(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(Message::KeyIsThere(path.to_owned()).into());
    }
    Ok(())
}

/// Keeps a key in a file, which must not exist: a key is never overwritten.
pub(crate) fn save(phrase: &Phrase, path: &Path) -> Result<()> {
    check_free(path)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).or_say(|| Message::CannotMakeFolder(folder.to_owned()))?;
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.or_say(|| Message::CannotKeepKey(path.to_owned()))?;
    let written = file.write_all(written(phrase).as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key is worse than none.
        let _best_effort = fs::remove_file(path);
        return Err(error).or_say(|| Message::CannotKeepKey(path.to_owned()));
    }
    Ok(())
}

/// Asks for a key on the terminal, without echo; a few times if it is none.
pub(crate) fn prompt(own: OwnPhrase) -> Result<Phrase> {
    for left in (0..TRIES).rev() {
        let typed = Zeroizing::new(
            rpassword::prompt_password("Key (the words that the other side shows): ")
                .or_say(|| Message::CannotAskForKey)?,
        );
        match parse(&typed, own) {
            Err(wrong) if left > 0 => say(&wrong),
            last => return Ok(last?),
        }
    }
    Err(Message::CannotAskForKey.into())
}

/// Reads a key from standard input when that is no terminal.
pub(crate) fn read_stdin(own: OwnPhrase) -> Result<Phrase> {
    let mut text = Zeroizing::new(String::new());
    io::stdin().take(MAX_FILE_BYTES).read_to_string(&mut text).or_say(|| Message::CannotReadStdin)?;
    Ok(parse(&text, own)?)
}

/// Returns whether the default file has a key, so that none need be typed.
pub(crate) fn is_kept() -> bool {
    default_file().is_ok_and(|path| path.exists())
}

/// Returns the default key file's path.
pub(crate) fn default_file() -> Result<PathBuf> {
    let dirs = etcetera::choose_base_strategy().or_say(|| Message::NoHome)?;
    Ok(dirs.config_dir().join("pinhole").join("key"))
}

fn read(path: &Path, own: OwnPhrase) -> Result<Found> {
    let unreadable = || Message::CannotReadKeyFile(path.to_owned());
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Message::NoKeyFile(path.to_owned()).into());
        }
        opened => opened.or_say(unreadable)?,
    };
    let metadata = file.metadata().or_say(unreadable)?;
    if config::is_of_another_user(&metadata) {
        return Err(Message::KeyFileOfAnother(path.to_owned()).into());
    }
    if metadata.is_file() && metadata.mode() & forbidden(path) != 0 {
        let quoted = path.display().to_string().replace('\'', "'\\''");
        let mode = metadata.mode() & 0o777;
        return Err(Message::KeyFileIsOpen { path: path.to_owned(), mode, quoted }.into());
    }
    if metadata.is_dir() {
        return Err(Message::KeyFileIsFolder(path.to_owned()).into());
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .or_say(|| Message::KeyFileIsNoText(path.to_owned()))?;
    let phrase = parse(&text, own).or_say(|| Message::KeyFileIsUseless(path.to_owned()))?;
    Ok(Found { phrase, origin: Origin::File(path.to_owned()) })
}

/// Reads a key: the words, or a phrase of the user's own if that was said now, or when it was written.
fn parse(text: &str, own: OwnPhrase) -> Result<Phrase, Message> {
    let marked = text.split_once('\n').filter(|(first, _)| first.trim() == OWN_MARK);
    let phrase = match marked {
        Some((_, phrase)) => Phrase::own(phrase),
        None if own.is_taken => Phrase::own(text),
        None => text.parse(),
    };
    // A terminal is the user's own; a log is not.
    phrase.map_err(|error: PhraseError| texts::bad_key(error, io::stderr().is_terminal()))
}

/// Returns a key as it stands in a file.
pub(crate) fn written(phrase: &Phrase) -> Zeroizing<String> {
    let mark = if phrase.is_drawn() { "" } else { OWN_MARK };
    let mut text = Zeroizing::new(String::with_capacity(OWN_MARK.len() + phrase.as_str().len() + 2)); // never moved
    text.extend([mark, if mark.is_empty() { "" } else { "\n" }, phrase.as_str(), "\n"]);
    text
}

/// Bits of a key file's mode that let others read it. In a service's folder of credentials the group's bits are not
/// the group's: there they show the access list by which the manager lets the service alone in (systemd.exec(5),
/// acl(5)).
fn forbidden(path: &Path) -> u32 {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
    if credentials.is_some_and(|folder| path.parent() == Some(Path::new(&folder))) { 0o037 } else { 0o077 }
}
