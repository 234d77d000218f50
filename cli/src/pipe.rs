//! `pinhole pipe`: one connection of the tunnel as stdin and stdout, for ssh's `ProxyCommand`.
//!
//! A pipe has no tunnel of its own: of two programs with one key on a side the newer one would get the tunnel, and the
//! second `ssh` would end the first. So it asks the instance of this user that has a tunnel to the peer, a
//! `pinhole open`; or, if there is none, it starts one in the background ([`background`]), which the next pipes find as
//! well and which ends by itself when nobody has needed it for a while, or at once when nobody needs it and another
//! program of this user wants its UDP port.
//!
//! 1. The sockets of running instances are asked by the peer's name, then by its addresses ([`ask`], [`server`]).
//! 2. The instance that says yes is handed one end of a pair of Unix sockets, and carries that as any other connection
//!    ([`handed`]): half-closes arrive here as they are.
//! 3. [`stdio`] copies between the other end and stdin and stdout; over the socket comes how it ended.

mod ask;
mod background;
mod handed;
mod server;
mod stdio;

use std::time::Duration;

use anyhow::Result;
use pinhole::{Key, proto::stream::valid_name};

use self::ask::{Asked, Asking};
pub(super) use self::{ask::to_leave, background::tell_ready, server::PipeServer};
use super::{
    Outcome,
    args::PipeArgs,
    control::wire::{self, PeerRef, Request},
    journal::{Level, one_line},
    keyring::{self, Origin},
    message::{Message, OrSay},
    named_peer::NamedPeer,
    say_as,
};

/// Time that a tunnel may take unless told otherwise.
const WAIT: Duration = Duration::from_secs(60);

pub(super) fn run(mut args: PipeArgs) -> Result<Outcome> {
    let named = NamedPeer::find(&args.peer, args.port, &args.config)?;
    named.section.fill_pipe(&mut args);
    (args.peer, args.port) = (named.peer.host.clone(), Some(named.peer.port));
    if args.hold {
        return background::run(&args, &named);
    }
    if !valid_name(&args.service) {
        return Err(Message::NoService(args.service.clone()).into());
    }
    let request = Request {
        peer: PeerRef::new(&named.peer.host, named.peer.port),
        key: named_key(&args)?,
        service: args.service.clone(),
        wait_ms: u64::try_from(args.tunnel.wait.unwrap_or(WAIT).as_millis()).unwrap_or(u64::MAX),
    };
    let asked = find_or_start(&args, &named, request)?;
    stdio::copy(asked).or_say(|| Message::CannotCarry)
}

/// Finds an instance that has a tunnel to the peer, or starts one.
fn find_or_start(args: &PipeArgs, named: &NamedPeer, request: Request) -> Result<Asked> {
    let mut asking = Asking::new(request);
    if let Some(asked) = ask::everybody(&mut asking, named)? {
        return Ok(asked);
    }
    // Of several pipes at once the first starts it, and the others find it.
    let _turn = background::take_turn(&named.peer)?;
    if let Some(asked) = ask::everybody(&mut asking, named)? {
        return Ok(asked);
    }
    ask::look_up(&mut asking.request, named)?.map_err(|error| named.advise(error.into()))?;
    let started = background::start(args);
    // Somebody else may have taken the port meanwhile, and have a tunnel.
    match (ask::everybody(&mut asking, named)?, started) {
        (Some(asked), _) => Ok(asked),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(Message::NewTunnelIsSilent.into()),
    }
}

/// Returns the tag of the key that was named. The default file's is for whoever has no better one, and a tunnel to the
/// peer that stands has.
fn named_key(args: &PipeArgs) -> Result<Option<String>> {
    let default = keyring::default_file().ok();
    let found = keyring::look(&args.key)?;
    let named = found.filter(|found| match &found.origin {
        Origin::File(path) => args.key.key_file.is_some() || Some(path) != default.as_ref(),
        Origin::Argument | Origin::Environment | Origin::Prompt | Origin::Made(_) => true,
    });
    Ok(named.map(|found| wire::hex(&*Key::stretch(&found.phrase).tag())))
}

/// Says why a pipe has ended that should not have.
fn complain(why: &str) {
    say_as(Level::Error, &one_line(&format!("pinhole: {why}")));
}
