//! Everything of the program that differs by operating system, and what is done where a system has nothing for it.
//!
//! As in the library, the rest knows no system, and `PINHOLE_PORTABLE=1` builds the portable side on Linux as well. The
//! demo's NATs are of Linux alone, and stay with the demo.

#[cfg(not(pinhole_portable))]
#[path = "linux.rs"]
mod system;

#[cfg(pinhole_portable)]
#[path = "portable.rs"]
mod system;

use std::io;

use rustix::{
    fs::{FileType, Stat},
    process::Uid,
};

pub(crate) use self::system::{
    NOT_FOR_CHILDREN, abstract_address, connect_to_entry, hide_memory, is_other_end,
};

/// Refuses what is no socket of that user.
fn check_socket(entry: &Stat, owner: Uid) -> io::Result<()> {
    let is_socket = FileType::from_raw_mode(entry.st_mode) == FileType::Socket;
    if is_socket && entry.st_uid == owner.as_raw() {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}
