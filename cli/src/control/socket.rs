//! Sockets of running instances, as they are found in folders: this user's, and for root those of all users.
//!
//! A folder of another user is theirs to fill. No link in it is followed, none of its names is shown, and the number of
//! its sockets that are asked is bounded.

use std::{
    ffi::OsStr,
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::FileTypeExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{Dir, Mode, OFlags, fstat, open},
    process::{Uid, geteuid},
};
use tokio::net::UnixStream;

use crate::sys;

/// Sockets of another user that are asked: whoever has more plays tricks.
const OF_ANOTHER_USER: usize = 16;

/// Names that are looked at in a folder of another user.
const NAMES: usize = 4096;

/// A socket that nobody listens at is a dead instance's from this age on; a younger one may be about to listen.
const STALE: Duration = Duration::from_secs(10);

/// Mode bits by which others than the owner can write to a folder.
const OTHERS_WRITE: u32 = 0o022;

/// A folder that may have sockets of running instances.
#[derive(Debug)]
pub(crate) struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
    owner: Uid,
    is_ours: bool,
}

impl Folder {
    /// Opens a folder, and no link to one.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = open(path, flags, Mode::empty())?;
        let meta = fstat(&descriptor)?;
        let owner = Uid::from_raw(meta.st_uid);
        let is_ours = owner == geteuid() && meta.st_mode & OTHERS_WRITE == 0;
        Ok(Self { descriptor, path: path.to_owned(), owner, is_ours })
    }

    /// Opens the folder of a user, if it is theirs.
    pub(super) fn of_user(path: &Path, user: u32) -> io::Result<Self> {
        let folder = Self::open(path)?;
        if folder.owner.as_raw() == user { Ok(folder) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    /// Returns whether it is this user's, and nobody else's to write to.
    pub(super) fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Lists the sockets in it.
    pub(crate) fn sockets(self) -> Vec<SocketFile> {
        let (names, most) = if self.is_ours { (usize::MAX, usize::MAX) } else { (NAMES, OF_ANOTHER_USER) };
        let Ok(entries) = Dir::read_from(&self.descriptor) else { return Vec::new() };
        let folder = Arc::new(self);
        let paths = entries.take(names).filter_map(Result::ok).map(|entry| {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            folder.path.join(name)
        });
        let named = |path: &PathBuf| path.extension().is_some_and(|end| end == "sock");
        paths.filter(named).take(most).map(|path| SocketFile { folder: folder.clone(), path }).collect()
    }
}

/// A file that may be an instance's socket.
#[derive(Debug, Clone)]
pub(crate) struct SocketFile {
    folder: Arc<Folder>,
    path: PathBuf,
}

impl SocketFile {
    /// Returns where it is. The name of another user's is of their choice.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whose it is, where somebody else than this user may have made it.
    pub(crate) fn another_user(&self) -> Option<u32> {
        (!self.folder.is_ours).then(|| self.owner())
    }

    /// Returns whose folder it is in.
    pub(crate) fn owner(&self) -> u32 {
        self.folder.owner.as_raw()
    }

    /// Removes it where nobody listens at it, from a folder of this user: root must not be led to remove something else.
    pub(crate) fn sweep(&self) {
        let Ok(meta) = fs::symlink_metadata(&self.path) else { return };
        let age = meta.modified().ok().and_then(|made| SystemTime::now().duration_since(made).ok());
        let is_old = age.is_some_and(|age| age > STALE);
        if self.folder.is_ours && meta.file_type().is_socket() && is_old && is_dead(&self.path) {
            let _best_effort = fs::remove_file(&self.path);
        }
    }

    /// Connects to whoever listens there.
    pub(crate) async fn connect(&self) -> io::Result<UnixStream> {
        if self.folder.is_ours {
            return UnixStream::connect(&self.path).await;
        }
        sys::connect_to_entry(&self.folder.descriptor, &self.path, self.folder.owner).await
    }
}

/// Asks without waiting: a full queue is a sign of life.
fn is_dead(path: &Path) -> bool {
    let connected = || {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&socket2::SockAddr::unix(path)?)
    };
    connected().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
