//! The file of named peers: `pinhole open home` does what `[peer.home]` says.
//!
//! It is read when a peer is named by a word that could be a name, and not when it is an IP. A section is what would
//! be typed; what is typed comes first. It may name a file with a key and never has the key itself, so others may
//! read it; that they may not write to it is checked as ssh does, since it says where connections go.

mod document;
mod section;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{File, Metadata},
    io::{self, Read},
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap_complete::CompletionCandidate;
use etcetera::BaseStrategy;

use super::message::{Message, OrSay};

use self::document::Document;
pub(super) use self::document::{Section, similar};

/// Environment variable with the file's path.
pub(super) const VARIABLE: &str = "PINHOLE_CONFIG";

/// Longest file that is read, bytes: thousands of peers.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Names that an error lists.
const MAX_LISTED: usize = 12;

/// The named peers, and the file that names them.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Where the file is, or would be.
    file: PathBuf,
    sections: BTreeMap<String, Section>,
}

impl Peers {
    /// Reads the file: the one that is named, PINHOLE_CONFIG's, or the default one, which need not be there.
    pub(super) fn read(named: Option<&Path>) -> Result<Self> {
        let from_environment = std::env::var_os(VARIABLE).map(PathBuf::from);
        let wanted = named.map(Path::to_owned).or(from_environment);
        if wanted.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            return Ok(Self::default());
        }
        let Some(file) = wanted.clone().or_else(default_file) else { return Ok(Self::default()) };
        match File::open(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && wanted.is_none() => {
                Ok(Self { file, ..Self::default() })
            }
            opened => {
                let opened = opened.or_say(|| Message::CannotReadPeers(file.clone()))?;
                let sections = parse(&text(&opened, &file)?, &file)?;
                Ok(Self { file, sections })
            }
        }
    }

    /// Returns the section of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Section> {
        self.sections.get(name)
    }

    /// Says which names there are, for somebody who has used another one.
    pub(super) fn say_names(&self, instead_of: &str) -> String {
        let file = self.file.display();
        if self.file.as_os_str().is_empty() {
            return format!("no file of peers is read, because {VARIABLE} is empty or there is no home");
        }
        if self.sections.is_empty() {
            return format!("{file} names no peer yet; [peer.NAME] there, with peer = \"ADDRESS\", does");
        }
        let mut names: Vec<&str> = self.sections.keys().map(String::as_str).take(MAX_LISTED).collect();
        if self.sections.len() > MAX_LISTED {
            names.push("…");
        }
        let mut said = format!("{file} names {}", names.join(", "));
        if let Some(meant) = similar(instead_of, self.sections.keys().map(String::as_str)) {
            let _never_fails = write!(said, "; did you mean \"{meant}\"?");
        }
        said
    }

    /// Returns where the file is, or would be.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}

/// Whether a word could name a peer in the file. No IP does, nor a port, nor anything with a colon or an equals sign.
pub(super) fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Lists the named peers for a shell. A file that is of no use is not the shell's trouble.
pub(super) fn candidates() -> Vec<CompletionCandidate> {
    let peers = Peers::read(None).unwrap_or_default();
    let help = |section: &Section| Some(section.peer.clone()?.into());
    peers.sections.iter().map(|(name, section)| CompletionCandidate::new(name).help(help(section))).collect()
}

fn default_file() -> Option<PathBuf> {
    let dirs = etcetera::choose_base_strategy().ok()?;
    Some(dirs.config_dir().join("pinhole").join("config.toml"))
}

/// Returns whether a file belongs neither to this user nor to root: its owner could change it at any time.
pub(super) fn is_of_another_user(file: &Metadata) -> bool {
    let (own, owner) = (rustix::process::geteuid().as_raw(), file.uid());
    file.is_file() && owner != own && owner != 0
}

/// Reads a file that none but this user and root can write to.
fn text(file: &File, path: &Path) -> Result<String> {
    let shown = path.display();
    let metadata = file.metadata().or_say(|| Message::CannotReadPeers(path.to_owned()))?;
    if metadata.is_dir() {
        return Err(Message::PeersAreFolder(path.to_owned()).into());
    }
    if is_of_another_user(&metadata) {
        return Err(Message::PeersOfAnother(path.to_owned()).into());
    }
    if metadata.is_file() && metadata.mode() & 0o022 != 0 {
        let (mode, quoted) = (metadata.mode() & 0o777, shown.to_string().replace('\'', "'\\''"));
        return Err(Message::PeersAreOpen { path: path.to_owned(), mode, quoted }.into());
    }
    let mut text = String::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    let read = read.or_say(|| Message::CannotReadPeers(path.to_owned()))?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_FILE_BYTES) {
        return Err(Message::PeersTooLong { path: path.to_owned(), kib: MAX_FILE_BYTES >> 10 }.into());
    }
    Ok(text)
}

fn parse(text: &str, file: &Path) -> Result<BTreeMap<String, Section>> {
    let document = Document::read(text)
        .map_err(|mistake| Message::InPeers { place: place(text, file, mistake.span), why: mistake.why })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut sections = BTreeMap::new();
    for (name, mut section) in document.peer {
        let span = name.span();
        let name = name.into_inner();
        if !is_name(&name) {
            let place = place(text, file, Some(span));
            return Err(Message::NotAPeersName { place, name }.into());
        }
        section.complete(folder);
        sections.insert(name, section);
    }
    Ok(sections)
}

/// Names the file and, as far as it is known, the line.
fn place(text: &str, file: &Path, span: Option<Range<usize>>) -> String {
    let before = span.and_then(|span| text.get(..span.start));
    let line = before.map_or_else(String::new, |before| format!("{}:", before.matches('\n').count() + 1));
    format!("{}:{line}", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        format!("{:#}", parse(text, Path::new("/c/config.toml")).expect_err(text))
    }

    #[test]
    fn each_mistake_is_told_with_its_line_and_the_way_out() {
        for (text, part) in [
            (
                "[peer.home]\npeer = \"a\"\npatiense = 30\n",
                ":3: there is no `patiense`: did you mean `patience`?",
            ),
            ("[peer.home]\nkey = \"seven words\"\n", ":2: a key does not belong into this file"),
            (
                "[peer.home]\n\nserve = [\"22\", \"ssh\"]\n",
                ":3: \"ssh\" is not a TCP port: use a number from 1",
            ),
            ("[peer.home]\npeer = 1.2.3.4\n", ":2: an address is text: write it in quotes"),
            ("[peer.home]\nopen = [\"2222:\"]\n", ":2: \"\" cannot name a service"),
            ("[peer.home]\nwait = \"long\"\n", ":2: a number of seconds is wanted"),
            ("[peer.home]\nport = 0\n", ":2: use a UDP port from 1 to 65535"),
            ("[peer.home]\nmax-pps = 5\n", ":2: use a number from 20 to 2000"),
            (
                "[peer.home]\nserve = \"22\"\n",
                ":2: invalid type: string \"22\", expected a list like [\"22\"]",
            ),
            ("[peer.home]\ngentle = \"yes\"\n", ":2: invalid type"),
            ("[peer.22]\n", ":1: \"22\" cannot name a peer: use a letter first"),
            ("[peer.\"203.0.113.9\"]\n", "cannot name a peer"),
            ("[peers.home]\n", ":1: there is no `peers`: a section is called [peer.NAME]"),
            ("wait = 30\n", ":1: there is no `wait` outside of a section"),
            ("[peer.home\n", ":1: "),
            ("[peer.home]\n[peer.home]\n", ":2: "),
        ] {
            let error = error(text);
            assert!(error.starts_with("/c/config.toml:") && error.contains(part), "{part:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_name_is_neither_an_address_nor_what_is_forwarded() {
        for name in ["home", "home.example.org", "a-b_c", "x1"] {
            assert!(is_name(name), "{name}");
        }
        for other in ["22", "2222:22", "web=8080", "203.0.113.9", "::1", "fe80::1", "", "-c", "a b"] {
            assert!(!is_name(other), "{other}");
        }
    }
}
