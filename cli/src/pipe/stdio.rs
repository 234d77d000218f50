//! Copies between a connection and stdin and stdout, faithfully: an end of one is an end of the other, and what was cut
//! does not look finished.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, IsTerminal, Read, Write},
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use super::{
    super::{
        Outcome,
        control::wire::{Answer, Told, to_line},
        message::Message,
    },
    ask::{self, Asked},
    complain,
};

/// Size in bytes of the largest read.
const LARGEST_READ: usize = 64 << 10;

/// Time for the last bytes or the last words to come when the other has come.
const LAST: Duration = Duration::from_secs(2);

/// What happens while bytes are copied.
enum News {
    /// All that was to come has been written to stdout.
    Down,
    /// stdin is not at its end, and cannot be read.
    Unread(io::Error),
    /// The connection was reset.
    Reset,
    /// Nobody reads stdout any more.
    NoReader,
    Said(Answer),
    /// The instance is gone.
    Alone,
}

/// Copies until both directions have ended.
pub(super) fn copy(asked: Asked) -> io::Result<Outcome> {
    let Asked { connection: down, mut socket } = asked;
    let (news, heard) = channel();
    let (told, unread) = (news.clone(), news.clone());
    let (up, instance) = (down.try_clone()?, socket.get_ref().try_clone()?);
    thread::Builder::new().name("up".into()).spawn(move || {
        if let Err(error) = stdin_to_connection(&up, &instance) {
            let _nobody_asks = unread.send(News::Unread(error));
        }
    })?;
    thread::Builder::new().name("down".into()).spawn(move || {
        let _nobody_asks = news.send(connection_to_stdout(&down));
    })?;
    thread::Builder::new().name("told".into()).spawn(move || {
        while let Ok(Some(answer)) = ask::read(&mut socket) {
            let _nobody_asks = told.send(News::Said(answer));
        }
        let _nobody_asks = told.send(News::Alone);
    })?;
    Ok(conclude(&heard))
}

/// Waits for the end, and says how it was if that is worth a word.
fn conclude(heard: &Receiver<News>) -> Outcome {
    let (mut is_down, mut is_done) = (false, false);
    let (mut cut, mut patience) = (Message::Cut, Duration::MAX);
    while !(is_down && is_done) {
        match heard.recv_timeout(patience) {
            Ok(News::Down) => is_down = true,
            Ok(News::Said(Answer::Done)) => is_done = true,
            Ok(News::Said(Answer::Waiting { text })) => complain(&text),
            Ok(News::Said(Answer::Yes | Answer::Other)) => {}
            Ok(News::Said(Answer::Failed { why })) => {
                complain(&why);
                return Outcome::NoPath;
            }
            Ok(News::Unread(error)) => {
                complain(&Message::StdinIsUnreadable(error.to_string()).to_string());
                return Outcome::NoPath;
            }
            Ok(News::NoReader) => return Outcome::NoPath,
            // The reason is on its way, perhaps.
            Ok(News::Reset) => (cut, patience) = (Message::Cut, LAST),
            Ok(News::Alone) if is_done => {}
            Ok(News::Alone) => {
                (cut, patience) = (Message::TunnelsOwnerEnded, Duration::ZERO);
            }
            Err(_) => {
                complain(&cut.to_string());
                return Outcome::NoPath;
            }
        }
    }
    Outcome::Done
}

/// stdin → connection. What goes wrong there is seen by whoever reads from the connection. The instance is told of the
/// end: without that it is none.
fn stdin_to_connection(mut connection: &UnixStream, mut instance: &UnixStream) -> io::Result<()> {
    let is_terminal = io::stdin().is_terminal();
    let mut buffer = vec![0; LARGEST_READ];
    loop {
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                if connection.write_all(&buffer[..read]).is_err() {
                    return Ok(());
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => await_ready(&io::stdin(), PollFlags::IN),
            // A terminal that has gone: all has been said.
            Err(Errno::IO) if is_terminal => break,
            Err(error) => return Err(error.into()),
        }
    }
    let _closed_by_the_other_side = connection.shutdown(Shutdown::Write);
    let _gone = instance.write_all(to_line(&Told::Ended).as_bytes());
    Ok(())
}

/// Connection → stdout.
fn connection_to_stdout(mut connection: &UnixStream) -> News {
    let mut buffer = vec![0; LARGEST_READ];
    loop {
        match connection.read(&mut buffer) {
            Ok(0) => {
                close_stdout();
                return News::Down;
            }
            Ok(read) => {
                if write(&buffer[..read]).is_err() {
                    return News::NoReader;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return News::Reset,
        }
    }
}

/// Writes all of it at once: a line's end means nothing here.
fn write(mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => await_ready(&io::stdout(), PollFlags::OUT),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whoever has started us may have made our descriptors non-blocking for its own sake.
fn await_ready(descriptor: &impl AsFd, ready: PollFlags) {
    let _ready_or_gone = poll(&mut [PollFd::new(descriptor, ready)], None);
}

/// Lets whoever reads stdout see its end while stdin goes on. One socket may be both, as socat has it: closing one of
/// two descriptors ends nothing there.
fn close_stdout() {
    let _mostly_no_socket = rustix::net::shutdown(io::stdout(), rustix::net::Shutdown::Write);
    if let Ok(nowhere) = OpenOptions::new().write(true).open("/dev/null")
        && let Err(error) = rustix::stdio::dup2_stdout(nowhere)
    {
        tracing::debug!(%error, "stdout stays open");
    }
}
