//! The socket of this instance: one loop takes whoever comes, and each is answered by itself.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use pinhole::{Peer, status::Status};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};

use super::{
    folder,
    wire::{Answer, MAX_LINE_BYTES, Wanted, to_line},
};
use crate::{
    message::{Message, OrSay},
    pipe::PipeServer,
    status,
};

/// Clients at a time that have not yet said what they want, or wait for their turn to be told the status. Others wait in
/// the system's queue.
const ASKING: usize = 64;

/// Clients that are told the status at a time.
const STATUS: usize = 8;

/// Time for a client to say what it wants.
const WORD: Duration = Duration::from_secs(5);

/// Time that a client may take to read the status.
const ANSWER: Duration = Duration::from_secs(5);

/// Pause after a failed accept: there are no descriptors left, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The socket of this instance; gone when dropped, and with it what pipes have handed over.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    _task: JoinSet<()>,
}

impl Control {
    /// Opens it. Those that dead instances left are removed. `pipes` are carried where they are.
    pub(crate) fn open(peer: &Peer, pipes: Option<Arc<PipeServer>>) -> Result<Self> {
        let path = folder::make()?.join(folder::socket_name(peer.role(), peer.address()));
        folder::own_sockets().iter().for_each(super::socket::SocketFile::sweep);
        let _left_by_a_process_of_this_number = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).or_say(|| Message::CannotUse(path.clone()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let status_permits = Semaphore::new(STATUS);
        let server = Arc::new(ControlServer { status: peer.status(), status_permits, pipes });
        let mut task = JoinSet::new();
        task.spawn(serve(listener, server));
        Ok(Self { path, _task: task })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _removed_by_somebody = fs::remove_file(&self.path);
    }
}

async fn serve(listener: UnixListener, server: Arc<ControlServer>) {
    let permits = Arc::new(Semaphore::new(ASKING));
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) if is_ours(&client) => {
                clients.spawn(server.clone().answer(client, permit));
            }
            Ok(_) => tracing::debug!("another user has asked"),
            Err(error) => {
                tracing::debug!(%error, "nobody can ask");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the client is of the same user, or root.
fn is_ours(client: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    client.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// Answers the clients of the socket: those of the status, and pipes.
struct ControlServer {
    status: Status,
    status_permits: Semaphore,
    pipes: Option<Arc<PipeServer>>,
}

impl ControlServer {
    async fn answer(self: Arc<Self>, mut client: UnixStream, permit: OwnedSemaphorePermit) {
        if let Err(error) = self.serve(&mut client, permit).await {
            tracing::debug!(%error, "a client has got no answer");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "told with -d alone")]
    async fn serve(&self, client: &mut UnixStream, permit: OwnedSemaphorePermit) -> Result<()> {
        let wanted = timeout(WORD, read(client)).await.context("it says nothing")??;
        match (wanted, &self.pipes) {
            (Wanted::Status, _) => self.tell_status(client).await,
            (Wanted::Carry(request), Some(pipes)) => {
                drop(permit);
                pipes.serve(client, request).await
            }
            (Wanted::Leave { port }, Some(pipes)) => say(client, &pipes.leave(port)).await,
            (Wanted::Carry(_) | Wanted::Leave { .. }, None) => say(client, &Answer::Other).await,
        }
    }

    async fn tell_status(&self, client: &mut UnixStream) -> Result<()> {
        let _permit = self.status_permits.acquire().await?;
        let json = status::to_json(&self.status).await;
        timeout(ANSWER, client.write_all(json.as_bytes())).await??;
        client.shutdown().await?;
        Ok(())
    }
}

async fn read(client: &mut UnixStream) -> Result<Wanted> {
    let mut line = String::new();
    // Nothing follows before the answer, so nothing can be read with it and lost.
    BufReader::new(client.take(MAX_LINE_BYTES)).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

/// Says something to a client.
#[expect(clippy::disallowed_methods, reason = "told with -d alone")]
pub(crate) async fn say(client: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &Answer) -> Result<()> {
    let line = to_line(answer);
    timeout(WORD, client.write_all(line.as_bytes())).await.context("it does not listen")??;
    Ok(())
}
