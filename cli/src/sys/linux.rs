//! Linux and Android.

#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::{SocketAddr, UnixStream},
    },
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, fstat, openat},
    net::{RecvFlags, sockopt::socket_peercred},
    process::{DumpableBehavior, Uid, set_dumpable_behavior},
};

/// Keeps a descriptor that is received from programs that are started meanwhile.
pub(crate) const NOT_FOR_CHILDREN: RecvFlags = RecvFlags::CMSG_CLOEXEC;

/// Keeps the key where it is: neither a core dump nor another program of the same user gets to see this one's memory.
pub(crate) fn hide_memory() {
    let _never_refused = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Returns the address of a socket that has a name and no path.
pub(crate) fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

/// Returns whether the program at the other end is that user's.
pub(crate) fn is_other_end(socket: &UnixStream, user: Uid) -> io::Result<bool> {
    Ok(socket_peercred(socket)?.uid == user)
}

/// Connects to the socket at a path in a folder, if it is that user's: to the very file that was looked at, since its name
/// may lead elsewhere a moment later.
pub(crate) async fn connect_to_entry(
    folder: &OwnedFd,
    path: &Path,
    owner: Uid,
) -> io::Result<tokio::net::UnixStream> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, path.file_name().unwrap_or_default(), flags, Mode::empty())?;
    super::check_socket(&fstat(&file)?, owner)?;
    tokio::net::UnixStream::connect(format!("/proc/self/fd/{}", file.as_raw_fd())).await
}
