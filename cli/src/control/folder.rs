//! Where running instances can be asked: a socket each, in a folder of their user's.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, DirEntry},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::Result;
use etcetera::BaseStrategy;
use pinhole::{Role, endpoint::PeerAddress};

use super::socket::{Folder, SocketFile};
use crate::message::{Message, OrSay};

/// Where services and root have their sockets.
const SYSTEM: &str = "/run/pinhole";

/// Where the users' runtime folders are.
const USERS: &str = "/run/user";

/// Characters of the peer's name in a socket's name: a socket's path has room for 107 bytes.
const NAME: usize = 32;

/// Sockets that are looked at; beyond that somebody plays tricks.
const MAX_SOCKETS: usize = 256;

/// Makes the folder of this instance, if need be. Nobody else may write to it.
pub(crate) fn make() -> Result<PathBuf> {
    let folder = own().or_say(|| Message::NoFolder)?;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.or_say(|| Message::CannotUse(folder.clone()))?;
    let opened = Folder::open(&folder).or_say(|| Message::CannotUse(folder.clone()))?;
    if opened.is_ours() { Ok(folder) } else { Err(Message::FolderIsOpen(folder).into()) }
}

/// Names the socket of this process: process, role and peer.
pub(super) fn socket_name(role: Role, peer: &PeerAddress) -> String {
    format!("{}-{role}-{}.sock", std::process::id(), plain(peer))
}

/// Writes a peer so that it can be part of a file's name.
pub(crate) fn plain(peer: &PeerAddress) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
    peer.to_string().chars().take(NAME).map(plain).collect()
}

/// Lists the sockets of this user alone.
pub(crate) fn own_sockets() -> Vec<SocketFile> {
    sockets().into_iter().filter(|socket| socket.another_user().is_none()).collect()
}

/// Lists the sockets of all instances that this user may ask; of all users for root.
pub(crate) fn sockets() -> Vec<SocketFile> {
    let mut folders: BTreeMap<PathBuf, Folder> = BTreeMap::new();
    if is_root() {
        folders.extend(of_users(Path::new(USERS)));
    }
    let mut paths: Vec<PathBuf> = [own(), of_user(), Some(SYSTEM.into())].into_iter().flatten().collect();
    paths.extend(entries(Path::new(SYSTEM)).map(|entry| entry.path()));
    let opened = paths.into_iter().filter_map(|path| Folder::open(&path).ok().map(|folder| (path, folder)));
    folders.extend(opened);
    in_folders(folders)
}

fn in_folders(folders: BTreeMap<PathBuf, Folder>) -> Vec<SocketFile> {
    let sockets = folders.into_values().flat_map(Folder::sockets);
    let mut sockets: Vec<SocketFile> = sockets.take(MAX_SOCKETS).collect();
    sockets.sort_by(|a, b| a.path().cmp(b.path()));
    sockets
}

/// Opens the folder of each user's session.
fn of_users(users: &Path) -> BTreeMap<PathBuf, Folder> {
    let folder = |entry: DirEntry| {
        let user = entry.file_name().to_str()?.parse().ok()?;
        let path = entry.path().join("pinhole");
        Folder::of_user(&path, user).ok().map(|folder| (path, folder))
    };
    entries(users).filter_map(folder).collect()
}

/// Whether there are instances that this user may not even see.
pub(crate) fn hides_others() -> bool {
    entries(Path::new(SYSTEM)).any(|entry| {
        fs::read_dir(entry.path()).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    })
}

/// The folder for the socket of this process: the service manager's, the session's, the system's for root, or one
/// with the user's state.
fn own() -> Option<PathBuf> {
    let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
    if let Some(made) = named("RUNTIME_DIRECTORY") {
        return std::env::split_paths(&made).next();
    }
    // Not that of whoever has become root by `sudo -E`.
    if let Some(session) = named("XDG_RUNTIME_DIR").filter(|session| is_owned(Path::new(session))) {
        return Some(Path::new(&session).join("pinhole"));
    }
    if is_root() { Some(SYSTEM.into()) } else { of_user() }
}

fn of_user() -> Option<PathBuf> {
    let dirs = etcetera::choose_base_strategy().ok()?;
    Some(dirs.state_dir().unwrap_or_else(|| dirs.data_dir()).join("pinhole").join("run"))
}

/// Whether a folder, and no link to one, is of this user.
fn is_owned(folder: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_dir() && meta.uid() == own)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn no_link_to_a_folder_is_followed_nor_one_that_is_another_s() {
        let users = tempfile::tempdir().expect("a folder");
        let own = rustix::process::geteuid().as_raw();
        let folder = |user: u32| users.path().join(user.to_string()).join("pinhole");
        let elsewhere = users.path().join("elsewhere");
        for made in [&folder(own), &folder(own + 1), &elsewhere] {
            fs::create_dir_all(made).expect("ours");
            let _listens = UnixListener::bind(made.join("7-open-x.sock")).expect("a socket");
        }
        let listed = || in_folders(of_users(users.path()));
        assert_eq!(listed().len(), 1, "only one is in a folder of its user's");
        assert_eq!(listed()[0].path(), folder(own).join("7-open-x.sock"));
        fs::remove_dir_all(folder(own)).expect("ours");
        symlink(&elsewhere, folder(own)).expect("ours");
        assert!(listed().is_empty(), "{:?}", listed());
        assert!(Folder::open(&folder(own)).is_err());
    }

    #[test]
    fn a_peer_s_name_cannot_lead_out_of_the_folder_nor_make_the_path_too_long() {
        let long = "a/../b\n".repeat(40);
        let name = socket_name(Role::Open, &PeerAddress::new(long, 5555));
        assert!(name.len() < 60 && !name.contains(['/', '\n']), "{name}");
    }
}
