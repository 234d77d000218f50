//! Asks running instances.

use std::{path::PathBuf, time::Duration};

use pinhole::status::Snapshot;
use tokio::{
    io::{AsyncReadExt, BufReader},
    net::UnixStream,
    task::JoinSet,
    time::timeout,
};

use super::{super::plain, desk, folder};

/// Time for an instance to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Longest answer that is read, bytes: ten times what the bounds of a snapshot make possible.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// What an instance said.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) snapshot: Snapshot,
    /// The same as it was said, in one line.
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
    let mut json = String::new();
    BufReader::new(stream.take(MAX_ANSWER_BYTES)).read_to_string(&mut json).await.ok()?;
    if json.is_empty() {
        return Some(Said::Nothing);
    }
    // It may be another user's program that speaks.
    let snapshot = serde_json::from_value(plain::value(serde_json::from_str(&json).ok()?)).ok()?;
    Some(Said::Snapshot(Box::new(Answer { snapshot, json: plain::json_line(&json) })))
}
