//! Where the key comes from, and where it is kept.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use etcetera::BaseStrategy;
use pinhole::{Phrase, Role};
use zeroize::Zeroizing;

use super::args::KeySource;

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
        Role::Open => bail!(
            "no key: give the one that the other side shows (`pinhole key show` there) with {VARIABLE}, --key-file, or `pinhole key save`"
        ),
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
        let text = Zeroizing::new(text.into_string().map_err(|_| anyhow!("{VARIABLE} is not UTF-8 text"))?);
        let phrase = text.parse().with_context(|| format!("{VARIABLE} has no usable key"))?;
        return Ok(Some(Found { phrase, origin: Origin::Environment }));
    }
    let path = default_file()?;
    if path.try_exists().with_context(|| format!("cannot look for {}", path.display()))? {
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
    if let Err(weak) = found.phrase.check_strength() {
        bail!("{weak}. Make a good one with `pinhole key new`");
    }
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
    getrandom::fill(entropy.as_mut())
        .map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    Ok(Phrase::generate(*entropy))
}

/// Says at once that a file cannot take a key because it is there.
pub(crate) fn check_free(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        bail!("there is a key in {} already: remove that file first if you want another", path.display());
    }
    Ok(())
}

/// Keeps a key in a file, which must not exist: a key is never overwritten.
pub(crate) fn save(phrase: &Phrase, path: &Path) -> Result<()> {
    check_free(path)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.with_context(|| format!("cannot keep the key in {}", path.display()))?;
    let written = file
        .write_all(phrase.as_str().as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key is worse than none.
        let _best_effort = fs::remove_file(path);
        return Err(error).with_context(|| format!("cannot keep the key in {}", path.display()));
    }
    Ok(())
}

/// Asks for a key on the terminal, without echo.
pub(crate) fn prompt() -> Result<Phrase> {
    let typed = Zeroizing::new(
        rpassword::prompt_password("Key (the words that the other side shows): ")
            .context("cannot ask for the key")?,
    );
    Ok(typed.parse()?)
}

/// Reads a key from standard input when that is no terminal.
pub(crate) fn read_stdin() -> Result<Phrase> {
    let mut text = Zeroizing::new(String::new());
    io::stdin()
        .take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .context("cannot read the key from standard input")?;
    Ok(text.parse()?)
}

/// Returns the default key file's path.
pub(crate) fn default_file() -> Result<PathBuf> {
    let dirs = etcetera::choose_base_strategy()
        .context("there is no home directory to keep the key in: use --key-file or PINHOLE_KEY")?;
    Ok(dirs.config_dir().join("pinhole").join("key"))
}

fn read(path: &Path) -> Result<Found> {
    let shown = path.display();
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "there is no key file {shown}: `pinhole key new --save --key-file {shown}` makes one, `pinhole key save --key-file {shown}` keeps the other side's"
        ),
        opened => opened.with_context(|| format!("cannot read the key file {shown}"))?,
    };
    let metadata = file.metadata().with_context(|| format!("cannot look at the key file {shown}"))?;
    if metadata.is_file() && metadata.mode() & forbidden(path) != 0 {
        let quoted = shown.to_string().replace('\'', "'\\''");
        bail!(
            "others can read the key file {shown} (mode {:03o}): run `chmod 600 '{quoted}'`",
            metadata.mode() & 0o777
        );
    }
    if metadata.is_dir() {
        bail!("{shown} is a folder: --key-file takes a file");
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .with_context(|| format!("the key file {shown} is not text"))?;
    let phrase = text.parse().with_context(|| format!("the key file {shown} has no usable key"))?;
    Ok(Found { phrase, origin: Origin::File(path.to_owned()) })
}

/// Bits of a key file's mode that let others read it. In a service's folder of credentials the group's bits are not
/// the group's: there they show the access list by which the manager lets the service alone in (systemd.exec(5),
/// acl(5)).
fn forbidden(path: &Path) -> u32 {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
    if credentials.is_some_and(|folder| path.parent() == Some(Path::new(&folder))) { 0o037 } else { 0o077 }
}
