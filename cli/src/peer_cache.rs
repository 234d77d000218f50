//! The peer cache: what worked last with each peer, in a small file (`peers.json`) that makes the next start faster,
//! and may be deleted at any time.
//!
//! Nothing of it is secret but the peers' addresses; it is written for its owner alone. Whatever is wrong with it is
//! no reason not to start.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use etcetera::BaseStrategy;
use pinhole::{Role, endpoint::PeerAddress, proto::puncher::LastSuccess};

mod content;

use self::content::Known;

/// Longest file that is read, bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Returns what worked last with this peer.
pub(super) fn recall(role: Role, peer: &PeerAddress) -> Option<LastSuccess> {
    read(&file()?)?.get(&name(role, peer))
}

/// Keeps what worked with this peer. A disk that is full costs the cache and nothing else.
pub(super) fn remember(role: Role, peer: &PeerAddress, last: LastSuccess) {
    let Some(path) = file() else { return };
    if let Err(error) = write(&path, &name(role, peer), last) {
        tracing::debug!(error = format!("{error:#}"), "nothing remembered");
    }
}

fn name(role: Role, peer: &PeerAddress) -> String {
    format!("{role} {peer}")
}

fn file() -> Option<PathBuf> {
    let dirs = etcetera::choose_base_strategy().ok()?;
    Some(dirs.state_dir().unwrap_or_else(|| dirs.data_dir()).join("pinhole").join("peers.json"))
}

fn read(path: &Path) -> Option<Known> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    File::open(path).ok()?.take(MAX_FILE_BYTES).read_to_end(&mut text).ok()?;
    Known::read(&text)
}

#[expect(clippy::disallowed_methods, reason = "told with -d alone")]
/// Writes a new file beside the old one and then takes its place: nobody ever sees half of it.
fn write(path: &Path, name: &str, last: LastSuccess) -> Result<()> {
    let mut known = read(path).unwrap_or_default();
    if !known.insert(name, last) {
        return Ok(());
    }
    let folder = path.parent().context("a file without a folder")?;
    fs::create_dir_all(folder)?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let _left_by_a_crash = fs::remove_file(&new);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(known.to_string().as_bytes()))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _best_effort = fs::remove_file(&new);
    }
    written.context("cannot write")
}
