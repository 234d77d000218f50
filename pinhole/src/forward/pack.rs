//! The packer: compresses chunks away from the threads that move datagrams, within bounds.
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

use super::compression::{Level, Outcome};

/// Most connections of this program that pack at a time: each holds a block before and one after.
const MOST: usize = 32;

/// Time for which a measured speed of packing counts.
const SPEED_COUNTS: Duration = Duration::from_secs(1);

/// Zstandard's levels. What the higher one gives on this project's sources, in chunks of 256 KiB: 3.90, and 4.32.
const QUICK: i32 = 3;
const THOROUGH: i32 = 6;

static PERMITS: Semaphore = Semaphore::const_new(MOST);

/// Threads that pack: no more than the machine has processors, or they would take the time from each other.
static THREADS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(thread::available_parallelism().map_or(1, |count| count.get().min(4))));

static SPEED: Mutex<Option<(Instant, u64)>> = Mutex::new(None);

thread_local! {
    static PACKER: RefCell<Option<Packer>> = const { RefCell::new(None) };
}

/// The right to pack for one connection.
pub(super) type Permit = SemaphorePermit<'static>;

/// Returns a permit, if one is free.
pub(super) fn permit() -> Option<Permit> {
    PERMITS.try_acquire().ok()
}

/// Returns how fast a sample was packed a moment ago, bytes in a second.
pub(super) fn speed() -> Option<u64> {
    let speed = *SPEED.lock().unwrap_or_else(PoisonError::into_inner);
    speed.filter(|(at, _)| at.elapsed() < SPEED_COUNTS).map(|(_, speed)| speed)
}

/// Records how fast a sample was packed now, bytes in a second.
pub(super) fn note_speed(speed: u64) {
    *SPEED.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), speed));
}

/// Packs a chunk, a block at most. `None` where that fails.
pub(super) async fn pack(chunk: Bytes, level: Level) -> Option<(Bytes, Outcome)> {
    let thread = THREADS.acquire().await.ok()?;
    // Held until it is done, even where the connection ends before.
    let work = move || {
        let packed = pack_here(&chunk, level);
        drop(thread);
        packed
    };
    let packed = tokio::task::spawn_blocking(work).await;
    packed.ok().flatten()
}

fn pack_here(chunk: &[u8], level: Level) -> Option<(Bytes, Outcome)> {
    PACKER.with_borrow_mut(|packer| {
        if packer.is_none() {
            *packer = Packer::new();
        }
        packer.as_mut()?.pack(chunk, level)
    })
}

struct Packer {
    compressor: Compressor<'static>,
    level: Level,
    room: Vec<u8>,
}

impl Packer {
    fn new() -> Option<Self> {
        let compressor = Compressor::new(QUICK).ok()?;
        Some(Self { compressor, level: Level::Quick, room: Vec::new() })
    }

    fn pack(&mut self, chunk: &[u8], level: Level) -> Option<(Bytes, Outcome)> {
        if level != self.level {
            let number = match level {
                Level::Quick => QUICK,
                Level::Thorough => THOROUGH,
            };
            self.compressor.set_compression_level(number).ok()?;
            self.level = level;
        }
        let begun = Instant::now();
        self.room.clear();
        self.room.reserve(zstd::zstd_safe::compress_bound(chunk.len()));
        let packed = self.compressor.compress_to_buffer(chunk, &mut self.room).ok()?;
        let outcome = Outcome { bytes: chunk.len(), packed, took: begun.elapsed() };
        Some((Bytes::copy_from_slice(&self.room), outcome))
    }
}
