//! Tasks that must live as long as their owner.
//!
//! A task that panics takes nothing with it: the program would stay, do nothing, and look alive. So the end of each of
//! them is noticed, and told to whoever asks.

use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle, JoinSet},
};

/// Says which task ended that should not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {task} {}", if *.has_panicked { "failed" } else { "ended" })]
pub struct TaskEnd {
    /// Its name.
    pub task: &'static str,
    /// Whether it panicked. The panic itself has told where.
    pub has_panicked: bool,
}

impl TaskEnd {
    pub(crate) fn new(task: &'static str, ended: &Result<(), JoinError>) -> Self {
        Self { task, has_panicked: ended.as_ref().is_err_and(JoinError::is_panic) }
    }
}

/// The lives of some tasks. Dropping it ends none of them.
#[derive(Debug)]
pub(super) struct Life(watch::Receiver<Option<TaskEnd>>);

impl Life {
    /// Watches tasks from now on.
    pub(super) fn of<const N: usize>(tasks: [(&'static str, JoinHandle<()>); N]) -> Self {
        let (first, ended) = watch::channel(None);
        let mut all: JoinSet<TaskEnd> =
            tasks.into_iter().map(|(name, task)| async move { TaskEnd::new(name, &task.await) }).collect();
        tokio::spawn(async move {
            if let Some(Ok(end)) = all.join_next().await {
                first.send_replace(Some(end));
            }
        });
        Self(ended)
    }

    /// Waits for the first end.
    pub(super) async fn ended(&self) -> TaskEnd {
        let mut ended = self.0.clone();
        match ended.wait_for(Option::is_some).await.map(|end| end.clone()) {
            Ok(Some(end)) => end,
            Ok(None) | Err(_) => std::future::pending().await, // the runtime itself is ending
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_panic_in_one_task_is_told_by_its_name() {
        let fails = tokio::spawn(async { panic!("as the test wants it") });
        let life = Life::of([("calm", tokio::spawn(pending())), ("hasty", fails)]);
        assert_eq!(life.ended().await, TaskEnd { task: "hasty", has_panicked: true });
        assert_eq!(life.ended().await.to_string(), "the hasty failed", "whoever asks later hears it, too");
    }

    #[tokio::test]
    async fn an_end_without_a_panic_is_an_end() {
        let life = Life::of([("calm", tokio::spawn(pending())), ("short", tokio::spawn(async {}))]);
        assert_eq!(life.ended().await.to_string(), "the short ended");
    }
}
