//! Packs chunks, away from the threads that move datagrams, and bounds what that takes.
//!
//! A chunk is packed by itself, so a connection holds nothing between two of them: the state of a packer belongs to a
//! thread, of which there are as many as may pack at a time, and it goes when they have nothing to do.

use std::{
    cell::RefCell,
    sync::{LazyLock, Mutex, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use zstd::bulk::Compressor;

use super::thrift::{Effort, Outcome};

/// Connections of this program that may pack at a time: each holds a block before and one after.
const MOST: usize = 32;

/// Time for which it counts how fast a sample was packed.
const SPEED_COUNTS: Duration = Duration::from_secs(1);

/// Zstandard's levels. What more effort gives on this project's sources, in chunks of 256 KiB: 3.90, and 4.32.
const QUICK: i32 = 3;
const THOROUGH: i32 = 6;

static PLACES: Semaphore = Semaphore::const_new(MOST);

/// No more than the machine has processors: they would only take the time from each other.
static THREADS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(thread::available_parallelism().map_or(1, |count| count.get().min(4))));

static SPEED: Mutex<Option<(Instant, u64)>> = Mutex::new(None);

thread_local! {
    static PACKER: RefCell<Option<Packer>> = const { RefCell::new(None) };
}

/// The right to pack for one connection.
pub(super) type Place = SemaphorePermit<'static>;

/// Returns a place, if one is free.
pub(super) fn place() -> Option<Place> {
    PLACES.try_acquire().ok()
}

/// Returns how fast a sample was packed a moment ago, bytes in a second.
pub(super) fn speed() -> Option<u64> {
    let speed = *SPEED.lock().unwrap_or_else(PoisonError::into_inner);
    speed.filter(|(at, _)| at.elapsed() < SPEED_COUNTS).map(|(_, speed)| speed)
}

/// Takes note of that.
pub(super) fn note_speed(speed: u64) {
    *SPEED.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), speed));
}

/// Packs a chunk of a block at the most. None where that cannot be done.
pub(super) async fn pack(chunk: Bytes, effort: Effort) -> Option<(Bytes, Outcome)> {
    let thread = THREADS.acquire().await.ok()?;
    // Held until it is done, even where the connection ends before.
    let work = move || {
        let packed = pack_here(&chunk, effort);
        drop(thread);
        packed
    };
    let packed = tokio::task::spawn_blocking(work).await;
    packed.ok().flatten()
}

fn pack_here(chunk: &[u8], effort: Effort) -> Option<(Bytes, Outcome)> {
    PACKER.with_borrow_mut(|packer| {
        if packer.is_none() {
            *packer = Packer::new();
        }
        packer.as_mut()?.pack(chunk, effort)
    })
}

struct Packer {
    compressor: Compressor<'static>,
    effort: Effort,
    room: Vec<u8>,
}

impl Packer {
    fn new() -> Option<Self> {
        let compressor = Compressor::new(QUICK).ok()?;
        Some(Self { compressor, effort: Effort::Quick, room: Vec::new() })
    }

    fn pack(&mut self, chunk: &[u8], effort: Effort) -> Option<(Bytes, Outcome)> {
        if effort != self.effort {
            let level = match effort {
                Effort::Quick => QUICK,
                Effort::Thorough => THOROUGH,
            };
            self.compressor.set_compression_level(level).ok()?;
            self.effort = effort;
        }
        let begun = Instant::now();
        self.room.clear();
        self.room.reserve(zstd::zstd_safe::compress_bound(chunk.len()));
        let packed = self.compressor.compress_to_buffer(chunk, &mut self.room).ok()?;
        let outcome = Outcome { bytes: chunk.len(), packed, took: begun.elapsed() };
        Some((Bytes::copy_from_slice(&self.room), outcome))
    }
}
