//! Asks running instances whether they have a tunnel to the peer, and hands one of them a connection.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, IoSlice, Read, Write},
    mem::MaybeUninit,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use pinhole::endpoint::PeerError;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt::socket_peercred};

use super::{
    super::{
        message::{Message, OrSay},
        status::{desk, folder},
        whom::Whom,
    },
    wire::{Answer, MAX_LINE_BYTES, Request, Wanted, to_line},
};

/// Time for an instance to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Strangers that may come first at a port that is open for a moment.
const STRANGERS: usize = 16;

/// A connection that an instance carries.
pub(super) struct Asked {
    pub(super) tcp: TcpStream,
    pub(super) socket: BufReader<UnixStream>,
}

/// Asks all instances of this user, by the peer's name and then by its addresses.
pub(super) fn everybody(request: &mut Request, whom: &Whom) -> Result<Option<Asked>> {
    let sockets = folder::sockets_with("pipe");
    let ask_all =
        |request: &Request| sockets.iter().find_map(|socket| ask(socket, request).transpose()).transpose();
    if sockets.is_empty() {
        return Ok(None);
    }
    if let Some(asked) = ask_all(request)? {
        return Ok(Some(asked));
    }
    // A name that does not resolve is told by whoever needs it.
    let _needed_later = look_up(request, whom)?;
    ask_all(request)
}

/// Looks the peer up, once.
pub(super) fn look_up(request: &mut Request, whom: &Whom) -> Result<Result<(), PeerError>> {
    if request.way.addresses.is_empty() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.or_say(|| Message::NoRuntime)?;
        let found = runtime.block_on(whom.peer.resolve());
        runtime.shutdown_background();
        match found {
            Ok(addresses) => request.way.addresses = addresses,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

/// Asks tunnels that were started for pipes, and have none, to give a UDP port up. Returns whether one does.
pub(in crate::cli) fn to_leave(port: u16) -> bool {
    let leaves = |path: &PathBuf| {
        let said = connect(path).and_then(|socket| exchange(socket, &Wanted::Leave { port }));
        matches!(said, Ok((_, Some(Answer::Done))))
    };
    folder::sockets_with("pipe").iter().filter(|path| leaves(path)).count() > 0
}

/// Asks one. None if it has another tunnel, or is not there any more.
fn ask(path: &Path, request: &Request) -> Result<Option<Asked>> {
    let socket = match connect(path) {
        Ok(socket) => socket,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            desk::sweep(path);
            return Ok(None);
        }
        Err(_) => return Ok(None),
    };
    let said = exchange(socket, &Wanted::Carry(request.clone()));
    let Ok((socket, Some(Answer::Yes))) = said else { return Ok(None) };
    let (tcp, theirs) = pair().or_say(|| Message::CannotCarry)?;
    match hand_over(socket.get_ref(), &theirs) {
        Ok(()) => {
            socket.get_ref().set_read_timeout(None)?;
            Ok(Some(Asked { tcp, socket }))
        }
        // It has ended just now.
        Err(_) => Ok(None),
    }
}

/// Connects to an instance of this very user: nobody else is told anything.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(ANSWER))?;
    socket.set_write_timeout(Some(ANSWER))?;
    match socket_peercred(&socket)?.uid == rustix::process::geteuid() {
        true => Ok(socket),
        false => Err(ErrorKind::PermissionDenied.into()),
    }
}

/// Says what is wanted, and hears the answer.
fn exchange(mut socket: UnixStream, wanted: &Wanted) -> io::Result<(BufReader<UnixStream>, Option<Answer>)> {
    socket.write_all(to_line(wanted).as_bytes())?;
    let mut socket = BufReader::new(socket);
    let answer = read(&mut socket)?;
    Ok((socket, answer))
}

/// Reads an answer; none at the end.
pub(super) fn read(socket: &mut BufReader<UnixStream>) -> io::Result<Option<Answer>> {
    let mut line = String::new();
    if socket.by_ref().take(MAX_LINE_BYTES).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

/// Makes a TCP connection of two ends within this machine.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let own = ours.local_addr()?;
    for _ in 0..STRANGERS {
        let (theirs, from) = listener.accept()?;
        if from == own {
            ours.set_nodelay(true)?;
            // Whatever ends this program, a connection that was cut is reset.
            socket2::SockRef::from(&ours).set_linger(Some(Duration::ZERO))?;
            return Ok((ours, theirs));
        }
    }
    Err(io::Error::other("others were faster, again and again"))
}

/// Sends the descriptor of a connection.
fn hand_over(socket: &UnixStream, tcp: &TcpStream) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [tcp.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(socket, &[IoSlice::new(b"+")], &mut control, SendFlags::empty())?;
    Ok(())
}
