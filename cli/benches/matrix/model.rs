//! The half that the model fills: thousands of punches with a virtual clock, on all cores.

use std::{
    ops::Range,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use natlab::{NatSpec, punch::Outcome};

use crate::{
    cell::{Cell, Half, Kind, Run},
    machine, worlds,
};

/// Fills the half; each row is shown as soon as it is full.
pub(crate) fn run(presets: &[NatSpec], seeds: &Range<u64>, show: impl Fn(&[Cell])) -> Half {
    let tasks = pairs(presets);
    let cells = in_order(
        tasks.len(),
        machine::cores(),
        |index| fill(&tasks[index], seeds),
        |cells| {
            if cells.len().is_multiple_of(presets.len()) {
                show(&cells[cells.len() - presets.len()..]);
            }
        },
    );
    let count = seeds.end - seeds.start;
    let setting = format!("{count} seeds a pair; {}", worlds::WORDS);
    Half { kind: Kind::Model, setting, presets: presets.to_vec(), cells }
}

/// Returns every pair, the serve side first.
pub(crate) fn pairs(presets: &[NatSpec]) -> Vec<[NatSpec; 2]> {
    presets.iter().flat_map(|serve| presets.iter().map(|open| [serve.clone(), open.clone()])).collect()
}

/// Works on numbered tasks with several threads; tells of the results in the order of the numbers.
pub(crate) fn in_order<T: Send>(
    tasks: usize,
    threads: usize,
    work: impl Fn(usize) -> T + Sync,
    mut told: impl FnMut(&[T]),
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, tasks.max(1)) {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= tasks || sender.send((index, work(index))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = std::collections::BTreeMap::new();
        let mut done = Vec::with_capacity(tasks);
        for (index, result) in results {
            early.insert(index, result);
            while let Some(result) = early.remove(&done.len()) {
                done.push(result);
                told(&done);
            }
        }
        done
    })
}

fn fill([serve, open]: &[NatSpec; 2], seeds: &Range<u64>) -> Cell {
    let runs = seeds.clone().map(|seed| summarise(seed, &worlds::punch(serve, open, seed).run())).collect();
    Cell { serve: serve.clone(), open: open.clone(), runs }
}

fn summarise(seed: u64, outcome: &Outcome) -> Run {
    Run {
        seed,
        seconds: outcome.took.map(|took| took.as_secs_f64()),
        method: outcome.method,
        packets: outcome.packets.iter().sum(),
        packets_in_a_second: outcome.packets_in_a_second.iter().max().copied(),
        flow_peak: outcome.flow_peak.iter().max().copied().unwrap_or(0),
    }
}
