//! Where the key comes from, and where it is kept.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Result;
use etcetera::BaseStrategy;
use pinhole::{Phrase, Role};
use zeroize::Zeroizing;

use super::{
    args::KeySource,
    message::{Message, OrSay},
};

/// Environment variable with the key.
pub(crate) const VARIABLE: &str = "PINHOLE_KEY";

/// Longest key file that is read, bytes.
const MAX_FILE_BYTES: u64 = 4096;

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

/// Finds the key: argument, named file, environment, default file, prompt; the serve side makes one at last.
pub(crate) fn find(source: &KeySource, role: Role) -> Result<Found> {
    if let Some(found) = look(source)? {
        return checked(found);
    }
    match role {
        Role::Serve => make(),
        Role::Open if io::stdin().is_terminal() => {
            checked(Found { phrase: prompt()?, origin: Origin::Prompt })
        }
        Role::Open => Err(Message::NoKey.into()),
    }
}

/// Finds a key that is there already.
pub(crate) fn look(source: &KeySource) -> Result<Option<Found>> {
    if let Some(phrase) = &source.key {
        return Ok(Some(Found { phrase: phrase.clone(), origin: Origin::Argument }));
    }
    if let Some(path) = &source.key_file {
        return read(path).map(Some);
    }
    if let Some(text) = std::env::var_os(VARIABLE) {
        let text = Zeroizing::new(text.into_string().map_err(|_| Message::KeyVariableIsNoText)?);
        let phrase = text.parse().or_say(|| Message::KeyVariableIsUseless)?;
        return Ok(Some(Found { phrase, origin: Origin::Environment }));
    }
    let path = default_file()?;
    if path.try_exists().or_say(|| Message::CannotLookFor(path.clone()))? {
        return read(&path).map(Some);
    }
    Ok(None)
}

/// Reads the key's file again, if it came from one. Returns the key if it is another one now.
pub(crate) fn reread(found: &Found) -> Result<Option<Found>> {
    match &found.origin {
        Origin::File(path) | Origin::Made(path) => {
            let now = read(path)?;
            if now.phrase == found.phrase { Ok(None) } else { checked(now).map(Some) }
        }
        Origin::Argument | Origin::Environment | Origin::Prompt => Ok(None),
    }
}

/// Refuses a key that could be guessed.
pub(crate) fn checked(found: Found) -> Result<Found> {
    found.phrase.check_strength().map_err(Message::WeakKey)?;
    Ok(found)
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
    let written = file
        .write_all(phrase.as_str().as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key is worse than none.
        let _best_effort = fs::remove_file(path);
        return Err(error).or_say(|| Message::CannotKeepKey(path.to_owned()));
    }
    Ok(())
}

/// Asks for a key on the terminal, without echo.
pub(crate) fn prompt() -> Result<Phrase> {
    let typed = Zeroizing::new(
        rpassword::prompt_password("Key (the words that the other side shows): ")
            .or_say(|| Message::CannotAskForKey)?,
    );
    Ok(typed.parse()?)
}

/// Reads a key from standard input when that is no terminal.
pub(crate) fn read_stdin() -> Result<Phrase> {
    let mut text = Zeroizing::new(String::new());
    io::stdin().take(MAX_FILE_BYTES).read_to_string(&mut text).or_say(|| Message::CannotReadStdin)?;
    Ok(text.parse()?)
}

/// Returns the default key file's path.
pub(crate) fn default_file() -> Result<PathBuf> {
    let dirs = etcetera::choose_base_strategy().or_say(|| Message::NoHome)?;
    Ok(dirs.config_dir().join("pinhole").join("key"))
}

fn read(path: &Path) -> Result<Found> {
    let unreadable = || Message::CannotReadKeyFile(path.to_owned());
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Message::NoKeyFile(path.to_owned()).into());
        }
        opened => opened.or_say(unreadable)?,
    };
    let metadata = file.metadata().or_say(unreadable)?;
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
    let phrase = text.parse().or_say(|| Message::KeyFileIsUseless(path.to_owned()))?;
    Ok(Found { phrase, origin: Origin::File(path.to_owned()) })
}

/// Bits of a key file's mode that let others read it. In a service's folder of credentials the group's bits are not
/// the group's: there they show the access list by which the manager lets the service alone in (systemd.exec(5),
/// acl(5)).
fn forbidden(path: &Path) -> u32 {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
    if credentials.is_some_and(|folder| path.parent() == Some(Path::new(&folder))) { 0o037 } else { 0o077 }
}
