//! The pipe server of an instance: it forwards the connections of pipes over its tunnel.

use std::{
    convert::Infallible,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    pin::pin,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use pinhole::{
    Key, Peer,
    endpoint::PeerAddress,
    forward::{Proxy, ProxyError},
    proto::stream::{Request as StreamRequest, valid_name},
    status::Status,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, recvmsg};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, BufReader, Interest},
    net::UnixStream,
    sync::{Notify, Semaphore, watch},
    time::{Instant, timeout},
};

use super::handed::{Handed, Word};
use crate::{
    control::{
        say,
        wire::{Answer, MAX_LINE_BYTES, PeerRef, Request, Told, from_hex},
    },
    message::Message,
    sys, texts,
};

/// Most pipes at a time.
const PIPES: usize = 512;

/// Time for the connection to be handed over.
const WORD: Duration = Duration::from_secs(5);

/// Time without a tunnel after which a pipe's user is told; a punch mostly takes less.
const QUIET: Duration = Duration::from_secs(5);

/// Least time for the first pipe to come.
const FIRST: Duration = Duration::from_secs(10);

/// Forwards the connections of pipes.
#[derive(Debug)]
pub(crate) struct PipeServer {
    /// Whether the instance leaves when somebody else needs its port.
    is_for_pipes: bool,
    leave: Notify,
    count: watch::Sender<usize>,
    permits: Semaphore,
    proxy: Proxy,
    status: Status,
    peer: PeerAddress,
    key: Key,
}

impl PipeServer {
    /// Makes one for the tunnels to a peer. An instance that is there `for_pipes` alone leaves when somebody else needs
    /// its port.
    pub(crate) fn new(peer: &Peer, key: &Key, for_pipes: bool) -> Self {
        Self {
            is_for_pipes: for_pipes,
            leave: Notify::new(),
            count: watch::Sender::new(0),
            permits: Semaphore::new(PIPES),
            proxy: Proxy::new(peer),
            status: peer.status(),
            peer: peer.address().clone(),
            key: key.clone(),
        }
    }

    /// Waits until there has been no pipe for this long, or there is none and somebody needs the port.
    pub(crate) async fn rests(&self, rest: Duration) {
        tokio::select! {
            () = self.is_unused(rest) => {}
            () = self.leave.notified() => {}
        }
    }

    async fn is_unused(&self, rest: Duration) {
        let mut pipes = self.count.subscribe();
        let mut patience = rest.max(FIRST);
        while timeout(patience, pipes.wait_for(|pipes| *pipes > 0)).await.is_ok_and(|came| came.is_ok()) {
            let _none_is_left = pipes.wait_for(|pipes| *pipes == 0).await;
            patience = rest;
        }
    }

    /// Forwards what a pipe hands over, if it is for this tunnel, and tells it how that ended.
    #[expect(clippy::disallowed_methods, reason = "told with -d alone")]
    pub(crate) async fn serve(&self, pipe: &mut UnixStream, request: Request) -> Result<()> {
        let Ok(_permit) = self.permits.try_acquire() else { return say(pipe, &Answer::Other).await };
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
            last = self.conclude(conn, from, request, &mut says) => last,
            never = listen(BufReader::new(hears), &word) => match never {},
        };
        say(&mut says, &last).await
    }

    /// Forwards the connection to its end, and returns how that was. A pipe that waits for a tunnel is told so.
    async fn conclude(
        &self,
        conn: Handed,
        from: String,
        request: Request,
        pipe: &mut (impl AsyncWrite + Unpin),
    ) -> Answer {
        let wait = Duration::from_millis(request.wait_ms);
        let request = StreamRequest { service: request.service, any: false, blocks: false };
        let service = request.service.clone();
        let mut carried = pin!(self.proxy.forward(conn, from, request, wait));
        let quiet = tokio::time::sleep_until(Instant::now() + QUIET.min(wait));
        let early = tokio::select! {
            ended = &mut carried => Some(ended),
            () = quiet => None,
        };
        if early.is_none() && !self.proxy.is_connected() {
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
            Err(ProxyError::NoTunnel(found)) => Answer::Failed { why: texts::gave_up(wait, found.as_ref()) },
            Err(ProxyError::Refused(reply)) => Answer::Failed { why: format!("service {service}: {reply}") },
            Err(ProxyError::Broken | _) => Answer::Failed { why: Message::Cut.to_string() },
        }
    }

    /// Gives the port up, if no pipe is there and the instance is for nothing else.
    pub(crate) fn leave(&self, port: u16) -> Answer {
        if self.is_for_pipes && port == self.peer.port && *self.count.borrow() == 0 {
            self.leave.notify_one();
            Answer::Done
        } else {
            Answer::Other
        }
    }

    /// Whether the peer is this one, and the key too if one was named.
    async fn is_for_us(&self, request: &Request) -> bool {
        if !valid_name(&request.service) {
            return false;
        }
        let mut own = PeerRef::new(&self.peer.host, self.peer.port);
        if !request.peer.addresses.is_empty() {
            own.addresses = self.status.snapshot(&texts::describe).await.addresses;
        }
        let is_key = |tag: &String| from_hex(tag).is_some_and(|tag| self.key.is_named_by(&tag));
        request.peer.leads_to(&own) && request.key.as_ref().is_none_or(is_key)
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

fn receive(pipe: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [io::IoSliceMut::new(&mut byte)];
    recvmsg(pipe.as_fd(), &mut bytes, &mut control, sys::NOT_FOR_CHILDREN)?;
    let mut received = control.drain().filter_map(|message| {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message { descriptors.next() } else { None }
    });
    Ok(received.next())
}
