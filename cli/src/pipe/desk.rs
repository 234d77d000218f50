//! An instance's socket for pipes: takes connections of this user and carries them over the tunnel.

use std::{
    convert::Infallible,
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use pinhole::{
    Key, Peer,
    endpoint::PeerAddress,
    forward::{Carrier, NotCarried},
    proto::stream::{Request as StreamRequest, valid_name},
    status::Status,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Interest},
    net::{UnixListener, UnixStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    super::{
        message::{Message, OrSay},
        status::{desk, folder},
        words,
    },
    handed::{Handed, Word},
    wire::{Answer, MAX_LINE_BYTES, Request, Told, Wanted, Way, from_hex, to_line},
};

/// Pipes at a time.
const PIPES: usize = 512;

/// Time for each of a pipe's words to arrive.
const WORD: Duration = Duration::from_secs(5);

/// Time without a tunnel after which a pipe's user is told; a punch mostly takes less.
const QUIET: Duration = Duration::from_secs(5);

/// Least time for the first pipe to come.
const FIRST: Duration = Duration::from_secs(10);

/// Pause after a failed accept: there are no descriptors left, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The socket of this instance; gone when dropped, and all its pipes with it.
#[derive(Debug)]
pub(crate) struct Desk {
    path: PathBuf,
    pipes: watch::Receiver<usize>,
    leave: Arc<Notify>,
    _task: JoinSet<()>,
}

impl Desk {
    /// Opens it. An instance that is there `for_pipes` alone leaves when somebody else needs its port.
    pub(crate) fn open(peer: &Peer, key: &Key, for_pipes: bool) -> Result<Self> {
        let name = format!("{}-{}.pipe", std::process::id(), folder::plain(peer.address()));
        let path = folder::make()?.join(name);
        folder::own_sockets("pipe").iter().for_each(|other| desk::sweep(other));
        let _left_by_a_process_of_this_number = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).or_say(|| Message::CannotUse(path.clone()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let (count, pipes) = watch::channel(0);
        let leave = Arc::new(Notify::new());
        let counter = Arc::new(Counter {
            leave: for_pipes.then(|| leave.clone()),
            count,
            carrier: Carrier::new(peer),
            status: peer.status(),
            peer: peer.address().clone(),
            key: key.clone(),
        });
        let mut task = JoinSet::new();
        task.spawn(serve(listener, counter));
        Ok(Self { path, pipes, leave, _task: task })
    }

    /// Waits until there has been no pipe for this long, or there is none and somebody needs the port.
    pub(crate) async fn rests(&self, rest: Duration) {
        tokio::select! {
            () = self.is_unused(rest) => {}
            () = self.leave.notified() => {}
        }
    }

    async fn is_unused(&self, rest: Duration) {
        let mut pipes = self.pipes.clone();
        let mut patience = rest.max(FIRST);
        while timeout(patience, pipes.wait_for(|pipes| *pipes > 0)).await.is_ok_and(|came| came.is_ok()) {
            let _none_is_left = pipes.wait_for(|pipes| *pipes == 0).await;
            patience = rest;
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _removed_by_somebody = fs::remove_file(&self.path);
    }
}

async fn serve(listener: UnixListener, counter: Arc<Counter>) {
    let places = Arc::new(Semaphore::new(PIPES));
    let mut pipes = JoinSet::new();
    loop {
        while pipes.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((pipe, _)) if desk::is_ours(&pipe) => {
                let Ok(place) = places.clone().acquire_owned().await else { return };
                pipes.spawn(counter.clone().answer(pipe, place));
            }
            Ok(_) => tracing::debug!("another user has asked for a pipe"),
            Err(error) => {
                tracing::debug!(%error, "no pipe can be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A pipe that this tunnel is for. Whoever only asks does not count: pipes to other peers ask here as well.
struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|pipes| *pipes += 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|pipes| *pipes -= 1);
    }
}

/// What all pipes share.
struct Counter {
    /// Told when the port is given up.
    leave: Option<Arc<Notify>>,
    count: watch::Sender<usize>,
    carrier: Carrier,
    status: Status,
    peer: PeerAddress,
    key: Key,
}

impl Counter {
    async fn answer(self: Arc<Self>, mut pipe: UnixStream, _place: OwnedSemaphorePermit) {
        if let Err(error) = self.serve(&mut pipe).await {
            tracing::debug!(%error, "a pipe was not carried");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "told with -d alone")]
    async fn serve(&self, pipe: &mut UnixStream) -> Result<()> {
        let request = match timeout(WORD, read(pipe)).await.context("it says nothing")?? {
            Wanted::Carry(request) => request,
            Wanted::Leave { port } => return self.leave(pipe, port).await,
        };
        if !self.is_for_us(&request).await {
            return say(pipe, &Answer::Other).await;
        }
        let _counted = Counted::new(&self.count);
        say(pipe, &Answer::Yes).await?;
        let stream = timeout(WORD, take(pipe)).await.context("it hands nothing over")??;
        let process = pipe.peer_cred().ok().and_then(|peer| peer.pid());
        let from = process.map_or_else(|| "pipe".to_owned(), |process| format!("pipe of process {process}"));
        let word = Word::default();
        let conn = Handed::new(stream, word.clone());
        let (hears, mut says) = pipe.split();
        let last = tokio::select! {
            last = self.carry(conn, from, request, &mut says) => last,
            never = listen(BufReader::new(hears), &word) => match never {},
        };
        say(&mut says, &last).await
    }

    /// Carries the connection, and returns how it ended. Who waits for a tunnel is told so.
    async fn carry(
        &self,
        conn: Handed,
        from: String,
        request: Request,
        pipe: &mut (impl AsyncWrite + Unpin),
    ) -> Answer {
        let wait = Duration::from_millis(request.wait_ms);
        let request = StreamRequest { service: request.service, any: false, pieces: false };
        let service = request.service.clone();
        let mut carried = pin!(self.carrier.carry(conn, from, request, wait));
        let quiet = tokio::time::sleep_until(Instant::now() + QUIET.min(wait));
        let early = tokio::select! {
            ended = &mut carried => Some(ended),
            () = quiet => None,
        };
        if early.is_none() && !self.carrier.is_connected() {
            let peer = self.peer.host.clone();
            let text = Message::PipeWaits { peer, seconds: wait.as_secs_f64() }.to_string();
            let _gone = say(pipe, &Answer::Waiting { text }).await;
        }
        let ended = match early {
            Some(ended) => ended,
            None => carried.await,
        };
        match ended {
            Ok(()) => Answer::Done,
            Err(NotCarried::NoTunnel(found)) => Answer::Failed { why: words::gave_up(wait, found.as_ref()) },
            Err(NotCarried::Refused(reply)) => Answer::Failed { why: format!("service {service}: {reply}") },
            Err(NotCarried::Broken | _) => Answer::Failed { why: Message::Cut.to_string() },
        }
    }

    /// Gives the port up, if no pipe is there.
    async fn leave(&self, pipe: &mut UnixStream, port: u16) -> Result<()> {
        match &self.leave {
            Some(leave) if port == self.peer.port && *self.count.borrow() == 0 => {
                leave.notify_one();
                say(pipe, &Answer::Done).await
            }
            Some(_) | None => say(pipe, &Answer::Other).await,
        }
    }

    /// Whether the peer is this one, and the key too if one was named.
    async fn is_for_us(&self, request: &Request) -> bool {
        if !valid_name(&request.service) {
            return false;
        }
        let mut own = Way::new(&self.peer.host, self.peer.port);
        if !request.way.addresses.is_empty() {
            own.addresses = self.status.snapshot(&words::describe).await.addresses;
        }
        let is_key = |tag: &String| from_hex(tag).is_some_and(|tag| self.key.is_named_by(&tag));
        request.way.leads_to(&own) && request.key.as_ref().is_none_or(is_key)
    }
}

async fn read(pipe: &mut UnixStream) -> Result<Wanted> {
    let mut line = String::new();
    // Nothing follows before the answer, so nothing can be read with it and lost.
    BufReader::new(pipe.take(MAX_LINE_BYTES)).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

#[expect(clippy::disallowed_methods, reason = "told with -d alone")]
async fn say(pipe: &mut (impl AsyncWrite + Unpin), answer: &Answer) -> Result<()> {
    let line = to_line(answer);
    timeout(WORD, pipe.write_all(line.as_bytes())).await.context("it does not listen")??;
    Ok(())
}

/// Hears what a pipe says of its connection. A pipe that has nothing more to say is gone.
async fn listen(pipe: impl AsyncBufRead + Unpin, word: &Word) -> Infallible {
    let mut line = String::new();
    let mut pipe = pipe.take(MAX_LINE_BYTES);
    while pipe.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        if let Ok(Told::Ended) = serde_json::from_str(&line) {
            word.ended();
        }
        line.clear();
    }
    word.gone();
    std::future::pending().await
}

/// Takes the connection that a pipe hands over.
#[expect(clippy::disallowed_macros, reason = "told with -d alone")]
async fn take(pipe: &UnixStream) -> Result<UnixStream> {
    let descriptor = loop {
        pipe.readable().await?;
        match pipe.try_io(Interest::READABLE, || receive(pipe)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => break received?,
        }
    };
    let Some(descriptor) = descriptor else { bail!("no descriptor came") };
    let socket = socket2::Socket::from(descriptor);
    if socket.r#type()? != socket2::Type::STREAM || !socket.local_addr()?.is_unix() {
        bail!("what came is no connection");
    }
    socket.set_nonblocking(true)?;
    Ok(UnixStream::from_std(OwnedFd::from(socket).into())?)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const NOT_FOR_CHILDREN: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const NOT_FOR_CHILDREN: RecvFlags = RecvFlags::empty();

fn receive(pipe: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [io::IoSliceMut::new(&mut byte)];
    recvmsg(pipe.as_fd(), &mut bytes, &mut control, NOT_FOR_CHILDREN)?;
    let mut received = control.drain().filter_map(|message| {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message { descriptors.next() } else { None }
    });
    Ok(received.next())
}
