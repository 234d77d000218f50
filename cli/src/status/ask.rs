//! Asks running instances.

use std::{path::PathBuf, time::Duration};

use pinhole::status::Snapshot;
use tokio::{
    io::{AsyncReadExt, BufReader},
    net::UnixStream,
    task::JoinSet,
    time::timeout,
};

use super::{super::plain, desk, folder, foreign};

/// Time for an instance to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Longest answer that is read, bytes: ten times what the bounds of a snapshot make possible.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

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
    pub(super) silent: Vec<PathBuf>,
}

/// Asks all instances at the same time. Sockets of dead ones are removed.
pub(super) async fn everybody() -> Answers {
    let mut asked = JoinSet::new();
    for path in folder::sockets() {
        asked.spawn(async move {
            let said = timeout(ANSWER, ask(&path)).await.ok().flatten();
            (path, said)
        });
    }
    let mut answers = Answers::default();
    while let Some(joined) = asked.join_next().await {
        match joined {
            Ok((_, Some(Said::Snapshot(answer)))) => answers.all.push(*answer),
            Ok((path, Some(Said::Nothing))) => desk::sweep(&path),
            Ok((path, None)) => answers.silent.push(path),
            Err(error) => tracing::debug!(%error, "an instance was not asked"),
        }
    }
    answers.all.sort_by_key(|answer| (answer.snapshot.started.unix_ms, answer.snapshot.pid));
    answers.silent.sort();
    answers
}

enum Said {
    Snapshot(Box<Answer>),
    /// Nobody is there, or it is not for us.
    Nothing,
}

async fn ask(path: &PathBuf) -> Option<Said> {
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
        Err(_) => return Some(Said::Nothing),
    };
    // Files can lead anywhere and JSON can say anything: only the system knows who speaks.
    let credentials = stream.peer_cred().ok()?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
    let user = Some(credentials.uid()).filter(|user| *user != rustix::process::geteuid().as_raw());
    let mut json = String::new();
    BufReader::new(stream.take(MAX_ANSWER_BYTES)).read_to_string(&mut json).await.ok()?;
    if json.is_empty() {
        return Some(Said::Nothing);
    }
    let snapshot: Snapshot = serde_json::from_value(plain::value(serde_json::from_str(&json).ok()?)).ok()?;
    let answer = match user {
        None => Answer {
            snapshot: Snapshot { pid: pid.unwrap_or(snapshot.pid), ..snapshot },
            user,
            json: plain::json_line(&json),
        },
        Some(user) => of_another_user(snapshot, user, pid?)?,
    };
    Some(Said::Snapshot(Box::new(answer)))
}

fn of_another_user(snapshot: Snapshot, user: u32, pid: u32) -> Option<Answer> {
    let snapshot = foreign::without_words(snapshot, pid);
    let mut value = serde_json::to_value(&snapshot).ok()?;
    value.as_object_mut()?.insert("user".to_owned(), user.into());
    Some(Answer { snapshot, user: Some(user), json: value.to_string() })
}
