//! Asks running instances whether they have a tunnel to the peer, and hands one of them a connection.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead, BufReader, ErrorKind, IoSlice, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use pinhole::endpoint::PeerError;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{
    control::{
        folder,
        socket::SocketFile,
        wire::{Answer, MAX_LINE_BYTES, Request, Wanted, to_line},
    },
    message::{Message, OrSay},
    named_peer::NamedPeer,
    sys,
};

/// Time for an instance to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// A connection that an instance carries.
pub(super) struct Asked {
    pub(super) connection: UnixStream,
    pub(super) socket: BufReader<UnixStream>,
}

/// What is asked for, and who does not answer.
pub(super) struct Asking {
    pub(super) request: Request,
    /// Time for an answer.
    patience: Duration,
    /// Instances that were stopped, most likely: nobody waits for one twice.
    silent: BTreeSet<PathBuf>,
}

impl Asking {
    pub(super) fn new(request: Request) -> Self {
        Self { request, patience: ANSWER, silent: BTreeSet::new() }
    }

    /// Asks one after another until one says yes.
    fn ask_all(&mut self, sockets: &[SocketFile]) -> Result<Option<Asked>> {
        for socket in sockets {
            if !self.silent.contains(socket.path())
                && let Some(asked) = self.ask(socket)?
            {
                return Ok(Some(asked));
            }
        }
        Ok(None)
    }

    /// Asks one. None if it has another tunnel, or is not there any more.
    fn ask(&mut self, file: &SocketFile) -> Result<Option<Asked>> {
        let path = file.path();
        let wanted = Wanted::Carry(self.request.clone());
        let said = connect(path, self.patience).and_then(|socket| exchange(socket, &wanted));
        let socket = match said {
            Ok((socket, Some(Answer::Yes))) => socket,
            Ok(_) => return Ok(None),
            Err(error) => {
                if error.kind() == ErrorKind::ConnectionRefused {
                    file.sweep();
                } else if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
                    self.silent.insert(path.to_owned());
                }
                return Ok(None);
            }
        };
        let (connection, theirs) = UnixStream::pair().or_say(|| Message::CannotCarry)?;
        match hand_over(socket.get_ref(), &theirs) {
            Ok(()) => {
                socket.get_ref().set_read_timeout(None)?;
                Ok(Some(Asked { connection, socket }))
            }
            // It has ended just now.
            Err(_) => Ok(None),
        }
    }
}

/// Asks all instances of this user, by the peer's name and then by its addresses.
pub(super) fn everybody(asking: &mut Asking, named: &NamedPeer) -> Result<Option<Asked>> {
    let sockets = folder::own_sockets();
    if sockets.is_empty() {
        return Ok(None);
    }
    if let Some(asked) = asking.ask_all(&sockets)? {
        return Ok(Some(asked));
    }
    let known = asking.request.peer.addresses.len();
    // A name that does not resolve is told by whoever needs it.
    let _needed_later = look_up(&mut asking.request, named)?;
    if asking.request.peer.addresses.len() == known {
        return Ok(None);
    }
    asking.ask_all(&sockets)
}

/// Looks the peer up, once.
pub(super) fn look_up(request: &mut Request, named: &NamedPeer) -> Result<Result<(), PeerError>> {
    if request.peer.addresses.is_empty() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.or_say(|| Message::NoRuntime)?;
        let found = runtime.block_on(named.peer.resolve());
        runtime.shutdown_background();
        match found {
            Ok(addresses) => request.peer.addresses = addresses,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

/// Asks tunnels that were started for pipes, and have none, to give a UDP port up. Returns whether one does.
pub(crate) fn to_leave(port: u16) -> bool {
    let leaves = |socket: &&SocketFile| {
        let said =
            connect(socket.path(), ANSWER).and_then(|socket| exchange(socket, &Wanted::Leave { port }));
        matches!(said, Ok((_, Some(Answer::Done))))
    };
    folder::own_sockets().iter().filter(leaves).count() > 0
}

/// Connects to an instance of this very user: nobody else is told anything, or can make root wait.
fn connect(path: &Path, time: Duration) -> io::Result<UnixStream> {
    let own = rustix::process::geteuid();
    if fs::symlink_metadata(path)?.uid() != own.as_raw() {
        return Err(ErrorKind::PermissionDenied.into());
    }
    let socket = connect_within(path, time)?;
    match sys::is_other_end(&socket, own)? {
        true => Ok(socket),
        false => Err(ErrorKind::PermissionDenied.into()),
    }
}

/// Connects, reads and writes, each within so long: one that was stopped takes nobody from its queue.
fn connect_within(path: &Path, time: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_read_timeout(Some(time))?;
    // On Linux for connecting, too.
    socket.set_write_timeout(Some(time))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(OwnedFd::from(socket).into())
}

/// Says what is wanted, and hears the answer.
fn exchange(mut socket: UnixStream, wanted: &Wanted) -> io::Result<(BufReader<UnixStream>, Option<Answer>)> {
    socket.write_all(to_line(wanted).as_bytes())?;
    let mut socket = BufReader::new(socket);
    let answer = read(&mut socket)?;
    Ok((socket, answer))
}

/// Reads an answer; `None` at the end.
pub(super) fn read(socket: &mut BufReader<UnixStream>) -> io::Result<Option<Answer>> {
    let mut line = String::new();
    if socket.by_ref().take(MAX_LINE_BYTES).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

/// Sends the descriptor of a connection.
fn hand_over(socket: &UnixStream, connection: &UnixStream) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [connection.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(socket, &[IoSlice::new(b"+")], &mut control, SendFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::control::{socket::Folder, wire::PeerRef};

    #[test]
    fn an_instance_that_takes_nobody_holds_nobody_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.sock");
        let address = SockAddr::unix(&path).expect("short enough");
        let stopped = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        stopped.bind(&address).expect("it is new");
        stopped.listen(0).expect("it is bound");
        let queue: Vec<UnixStream> =
            (0..).map_while(|_| connect_within(&path, Duration::from_millis(1)).ok()).collect();
        assert!(!queue.is_empty());
        let error = connect_within(&path, Duration::from_millis(1)).expect_err("its queue is full");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn an_instance_that_does_not_answer_is_waited_for_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.sock");
        let stopped = UnixListener::bind(&path).expect("it is new");
        stopped.set_nonblocking(true).expect("a socket");
        let peer = PeerRef::new("home.example", 5555);
        let request = Request { peer, key: None, service: "22".into(), wait_ms: 0 };
        let sockets = Folder::open(folder.path()).expect("ours").sockets();
        assert_eq!(sockets.len(), 1);
        let mut asking = Asking { patience: Duration::from_millis(1), ..Asking::new(request) };
        for _ in 0..3 {
            let asked = asking.ask_all(&sockets).expect("nothing is wrong here");
            assert!(asked.is_none());
        }
        assert!(stopped.accept().is_ok() && stopped.accept().is_err(), "asked more than once");
    }
}
