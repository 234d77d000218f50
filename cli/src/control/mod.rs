//! The socket by which other programs of this user ask a running instance, and root may ask for its status.
//!
//! One socket a process, in a folder of the user's ([`folder`]). Whoever connects says in one line what is wanted
//! ([`wire`]): the status, a connection carried, or the UDP port given up. Anybody else than the user and root gets no
//! answer.

pub(crate) mod folder;
mod server;
pub(crate) mod socket;
pub(crate) mod wire;

pub(crate) use self::server::{Control, say};
