//! The local socket: whoever connects is told the snapshot, as JSON, and nothing can be said to it.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use pinhole::{Role, endpoint::PeerAddress, status::Status};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use super::{folder, to_json};
use crate::message::{Message, OrSay};

/// Clients that are answered at a time; others wait in the system's queue.
const CLIENTS: usize = 8;

/// Time that a client may take to read.
const ANSWER: Duration = Duration::from_secs(5);

/// Pause after a failed accept: there are no descriptors left, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A socket that nobody listens at is a dead instance's from this age on; a younger one may be about to listen.
const STALE: Duration = Duration::from_secs(10);

/// The socket of this instance; gone when dropped.
#[derive(Debug)]
pub(super) struct Desk {
    path: PathBuf,
    _task: JoinSet<()>,
}

impl Desk {
    /// Opens it. Those that dead instances left are removed.
    pub(super) fn open(status: Status, role: Role, peer: &PeerAddress) -> Result<Self> {
        let path = folder::make()?.join(folder::socket_name(role, peer));
        folder::own_sockets("sock").iter().for_each(|other| sweep(other));
        let _left_by_a_process_of_this_number = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).or_say(|| Message::CannotUse(path.clone()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let mut task = JoinSet::new();
        task.spawn(serve(listener, status));
        Ok(Self { path, _task: task })
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _removed_by_somebody = fs::remove_file(&self.path);
    }
}

/// Removes a socket that nobody listens at, from a folder of this user: root must not be led to remove something else.
pub(crate) fn sweep(path: &Path) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    let age = meta.modified().ok().and_then(|made| SystemTime::now().duration_since(made).ok());
    let is_old = age.is_some_and(|age| age > STALE);
    let is_ours = path.parent().is_some_and(folder::is_owned);
    if meta.file_type().is_socket() && is_ours && is_old && is_dead(path) {
        let _best_effort = fs::remove_file(path);
    }
}

/// Asks without waiting: a full queue is a sign of life.
fn is_dead(path: &Path) -> bool {
    let connected = || {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&socket2::SockAddr::unix(path)?)
    };
    connected().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

async fn serve(listener: UnixListener, status: Status) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) if is_ours(&client) => {
                let status = status.clone();
                clients.spawn(async move {
                    let _slow_or_gone = timeout(ANSWER, answer(client, &status)).await;
                    drop(place);
                });
            }
            Ok(_) => tracing::debug!("another user has asked for the status"),
            Err(error) => {
                tracing::debug!(%error, "nobody can ask for the status");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the client is of the same user, or root.
pub(crate) fn is_ours(client: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    client.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn answer(mut client: UnixStream, status: &Status) {
    let json = to_json(status).await;
    let _gone = client.write_all(json.as_bytes()).await;
    let _gone = client.shutdown().await;
}
