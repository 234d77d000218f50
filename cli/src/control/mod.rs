//! The socket by which other programs of this user ask a running instance, and root may ask for its status.
//!
//! One socket a process, in a folder of the user's ([`folder`]). Whoever connects says in one line what is wanted
//! ([`wire`]): the status, a connection carried, or the UDP port given up. Anybody else than the user and root gets no
//! answer.

pub(crate) mod folder;
mod server;
pub(crate) mod socket;
pub(crate) mod wire;

use std::sync::Arc;

use anyhow::Result;
use pinhole::{Peer, Role};

use self::server::Control;
pub(crate) use self::server::say;
use crate::{
    journal::Level,
    message::Message,
    pipe::{self, PipeServer},
    report::Reporter,
};

/// Lets other programs ask this instance. One that is there `for_pipes` alone is of no use without that; of others it is
/// told.
pub(crate) fn open(
    peer: &Peer,
    pipes: Option<Arc<PipeServer>>,
    for_pipes: bool,
    reporter: &mut Reporter,
) -> Result<Option<Control>> {
    let control = Control::open(peer, pipes);
    if for_pipes {
        let control = control?;
        pipe::tell_ready();
        return Ok(Some(control));
    }
    let told = control.inspect_err(|error| {
        reporter.say(Level::Warning, &Message::Unseen(format!("{error:#}")));
        if peer.role() == Role::Open {
            reporter.say(Level::Warning, &Message::UnfoundByPipes(format!("{error:#}")));
        }
    });
    Ok(told.ok())
}
