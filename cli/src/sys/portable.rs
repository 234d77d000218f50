//! The portable fallback, which every Unix can do.
//!
//! What is lost by that is said at each item.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::net::{SocketAddr, UnixStream},
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, statat},
    net::RecvFlags,
    process::Uid,
};

/// A program that is started at the moment at which a descriptor is received gets it as well.
pub(crate) const NOT_FOR_CHILDREN: RecvFlags = RecvFlags::empty();

/// Hides nothing: a core dump, and a debugger of the same user, have the key.
pub(crate) fn hide_memory() {}

/// No socket has a name without a path: a service manager that is named so is told nothing.
pub(crate) fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Believes that whoever listens at a socket file is its owner: there is no portable way to ask.
pub(crate) fn is_other_end(_socket: &UnixStream, _user: Uid) -> io::Result<bool> {
    Ok(true)
}

/// Connects to the socket at a path in a folder, if it is that user's. By its name, which may lead elsewhere a moment after
/// it was looked at: there is no portable way to connect to a file.
pub(crate) async fn connect_to_entry(
    folder: &OwnedFd,
    path: &Path,
    owner: Uid,
) -> io::Result<tokio::net::UnixStream> {
    let entry = statat(folder, path.file_name().unwrap_or_default(), AtFlags::SYMLINK_NOFOLLOW)?;
    super::check_socket(&entry, owner)?;
    tokio::net::UnixStream::connect(path).await
}
