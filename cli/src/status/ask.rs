//! Asks running instances.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use pinhole::status::Snapshot;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    task::JoinSet,
    time::timeout,
};

use super::{super::sanitize, foreign};
use crate::control::{
    folder,
    socket::SocketFile,
    wire::{Wanted, to_line},
};

/// Time for an instance to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Longest answer that is read, bytes: ten times what the bounds of a snapshot make possible.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// The same of another user's: all of them together are 32 MiB at the most.
const MAX_FOREIGN_BYTES: u64 = 128 << 10;

/// What an instance said.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) snapshot: Snapshot,
    /// Whose it is, where it is another user's: only root asks those.
    pub(super) user: Option<u32>,
    /// The same as it was said, in one line; of another user's without words of its own.
    pub(super) json: String,
}

/// What came of asking all.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// In the order of their start.
    pub(super) all: Vec<Answer>,
    /// Those that are there and do not answer, or not so that it makes sense.
    pub(super) silent: BTreeSet<Silent>,
}

/// An instance that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Silent {
    /// One of this user, by its socket.
    Own(PathBuf),
    /// One of another user, or several. The names of their sockets are of their choice.
    OfUser(u32),
}

impl Silent {
    fn new(socket: &SocketFile) -> Self {
        socket.another_user().map_or_else(|| Self::Own(socket.path().to_owned()), Self::OfUser)
    }
}

/// Asks all instances at the same time. Sockets of dead ones are removed.
pub(super) async fn everybody() -> Answers {
    ask_all(folder::sockets()).await
}

async fn ask_all(sockets: Vec<SocketFile>) -> Answers {
    let mut asked = JoinSet::new();
    for socket in sockets {
        asked.spawn(async move {
            let said = timeout(ANSWER, ask(&socket)).await.ok().flatten();
            (socket, said)
        });
    }
    let mut answers = Answers::default();
    while let Some(joined) = asked.join_next().await {
        match joined {
            Ok((_, Some(Said::Snapshot(answer)))) => answers.all.push(*answer),
            Ok((socket, Some(Said::Nothing))) => socket.sweep(),
            Ok((socket, None)) => {
                answers.silent.insert(Silent::new(&socket));
            }
            Err(error) => tracing::debug!(%error, "an instance was not asked"),
        }
    }
    answers.all.sort_by_key(|answer| (answer.snapshot.started.unix_ms, answer.snapshot.pid));
    answers
}

enum Said {
    Snapshot(Box<Answer>),
    /// Nobody is there, or it is not for us.
    Nothing,
}

async fn ask(socket: &SocketFile) -> Option<Said> {
    let mut stream = match socket.connect().await {
        Ok(stream) => stream,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
        Err(_) => return Some(Said::Nothing),
    };
    // Files can lead anywhere and JSON can say anything: only the system knows who speaks.
    let credentials = stream.peer_cred().ok()?;
    if credentials.uid() != socket.owner() {
        return Some(Said::Nothing);
    }
    // One that has ended just now says nothing.
    let _gone = stream.write_all(to_line(&Wanted::Status).as_bytes()).await;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
    let user = socket.another_user();
    let most = if user.is_some() { MAX_FOREIGN_BYTES } else { MAX_ANSWER_BYTES };
    let mut json = String::new();
    BufReader::new(stream.take(most)).read_to_string(&mut json).await.ok()?;
    if json.is_empty() {
        return Some(Said::Nothing);
    }
    let answer = match user {
        None => of_this_user(&json, pid)?,
        Some(user) => of_another_user(&json, user, pid?)?,
    };
    Some(Said::Snapshot(Box::new(answer)))
}

fn of_this_user(json: &str, pid: Option<u32>) -> Option<Answer> {
    let value = sanitize::value(serde_json::from_str(json).ok()?);
    let snapshot: Snapshot = serde_json::from_value(value).ok()?;
    let snapshot = Snapshot { pid: pid.unwrap_or(snapshot.pid), ..snapshot };
    Some(Answer { snapshot, user: None, json: sanitize::json_line(json) })
}

fn of_another_user(json: &str, user: u32, pid: u32) -> Option<Answer> {
    let snapshot = foreign::without_words(serde_json::from_str(json).ok()?, pid);
    let mut value = serde_json::to_value(&snapshot).ok()?;
    value.as_object_mut()?.insert("user".to_owned(), user.into());
    Some(Answer { snapshot, user: Some(user), json: value.to_string() })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        fs,
        io::{BufRead, BufReader, Write},
        os::unix::{
            fs::{PermissionsExt, chown, symlink},
            net::UnixListener,
        },
        path::Path,
        thread,
    };

    use rustix::{process::Uid, thread::set_thread_res_uid};

    use super::*;
    use crate::{control::socket::Folder, status::text};

    /// A user that nobody is.
    const STRANGER: u32 = 54_321;

    const NAME: &str = "1-run \u{1b}[2J curl example.org.sock";

    /// A folder of another user's, which root alone can make.
    fn folder_of_a_stranger(test: &str) -> Option<tempfile::TempDir> {
        if !rustix::process::geteuid().is_root() {
            natlab::skip(test, "it takes root to have files of another user");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        chown(folder.path(), Some(STRANGER), None).expect("root");
        Some(folder)
    }

    /// Has a program of the stranger's listen, and answer `count` times.
    fn listen(path: &Path, answer: &'static [u8], count: usize) -> thread::JoinHandle<()> {
        let (listens, begun) = std::sync::mpsc::channel();
        let path = path.to_owned();
        let program = thread::spawn(move || {
            // Of this thread alone.
            set_thread_res_uid(None, Uid::from_raw(STRANGER), None).expect("root");
            let listener = UnixListener::bind(path).expect("a socket");
            listens.send(()).expect("the test waits");
            for _ in 0..count {
                let (mut client, _) = listener.accept().expect("a client");
                let mut wanted = String::new();
                BufReader::new(&client).read_line(&mut wanted).expect("a line");
                assert_eq!(wanted, "\"status\"\n", "nothing else is said to another user");
                client.write_all(answer).expect("it listens");
            }
        });
        begun.recv().expect("it listens");
        program
    }

    fn sockets(folder: &Path) -> Vec<SocketFile> {
        Folder::open(folder).expect("there").sockets()
    }

    #[tokio::test]
    async fn what_another_user_calls_a_socket_is_not_said() {
        let Some(folder) = folder_of_a_stranger("what_another_user_calls_a_socket_is_not_said") else {
            return;
        };
        let program = listen(&folder.path().join(NAME), b"{\"schema\":", 1);
        let answers = ask_all(sockets(folder.path())).await;
        program.join().expect("no panic");
        assert!(answers.all.is_empty());
        assert_eq!(answers.silent, [Silent::OfUser(STRANGER)].into());
    }

    #[tokio::test]
    async fn what_another_user_shows_is_bounded() {
        let Some(folder) = folder_of_a_stranger("what_another_user_shows_is_bounded") else { return };
        let mut snapshot = text::tests::snapshot();
        let forward = snapshot.forwards[0].clone();
        snapshot.forwards = vec![forward; 300];
        snapshot.peer_services = Some(vec!["22".into(); 300]);
        snapshot.addresses = vec![snapshot.addresses[0]; 300];
        snapshot.traffic.seconds.sent = vec![7; 3000];
        let said: &[u8] = serde_json::to_vec(&snapshot).expect("plain data").leak();
        let program = listen(&folder.path().join("1.sock"), said, 1);
        let answers = ask_all(sockets(folder.path())).await;
        program.join().expect("no panic");
        let shown = &answers.all.first().expect("an answer").snapshot;
        assert_eq!((answers.all[0].user, shown.state), (Some(STRANGER), snapshot.state));
        let services = shown.peer_services.as_ref().map_or(0, Vec::len);
        let counts = [shown.forwards.len(), services, shown.addresses.len()];
        assert!(counts.iter().all(|count| *count == foreign::MOST_ENTRIES), "{counts:?}");
        assert_eq!(shown.traffic.seconds.sent.len(), foreign::MOST_SECONDS);

        // More than is read at all.
        let long: &[u8] = vec![b' '; usize::try_from(MAX_FOREIGN_BYTES).expect("small")].leak();
        let program = listen(&folder.path().join("2.sock"), long, 1);
        let second: Vec<SocketFile> =
            sockets(folder.path()).into_iter().filter(|socket| socket.path().ends_with("2.sock")).collect();
        let answers = ask_all(second).await;
        program.join().expect("no panic");
        assert_eq!((answers.all.len(), answers.silent), (0, [Silent::OfUser(STRANGER)].into()));
    }

    #[tokio::test]
    async fn a_link_of_another_user_is_not_followed_and_only_some_of_their_sockets_are_asked() {
        let test = "a_link_of_another_user_is_not_followed_and_only_some_of_their_sockets_are_asked";
        let Some(folder) = folder_of_a_stranger(test) else { return };
        let own = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(own.path().join("1.sock")).expect("a socket");
        listener.set_nonblocking(true).expect("a socket");
        symlink(own.path().join("1.sock"), folder.path().join("1.sock")).expect("root");
        let answers = ask_all(sockets(folder.path())).await;
        assert!(answers.all.is_empty() && answers.silent.is_empty(), "{answers:?}");
        assert!(listener.accept().is_err(), "it was connected to");
        for number in 100..200 {
            fs::write(folder.path().join(format!("{number}.sock")), "").expect("root");
        }
        assert_eq!(sockets(folder.path()).len(), 16);
    }
}
