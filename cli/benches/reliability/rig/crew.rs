//! Work that mostly waits, done by several threads.

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

/// Does every task, at most so many at once, beginning with the first; tells of each result as it comes.
pub(crate) fn work<T: Sync, R: Send>(
    tasks: &[T],
    at_once: usize,
    job: impl Fn(&T) -> R + Sync,
    mut told: impl FnMut(usize, R),
) {
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, tasks.len().max(1)) {
            let (sender, next, job) = (sender.clone(), &next, &job);
            scope.spawn(move || {
                let mut indices = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                while let Some((index, task)) =
                    indices.next().and_then(|index| Some((index, tasks.get(index)?)))
                {
                    if sender.send((index, job(task))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        results.iter().for_each(|(index, result)| told(index, result));
    });
}
