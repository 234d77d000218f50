//! The compression policy: whether to pack what a connection sends, decided for each direction by itself, by what is
//! measured while it runs.
//!
//! Packing helps where the path holds a connection up, and does harm where the processor does. In the order of a life:
//!
//! 1. *Watching.* The bytes go as they are. Two windows in a row in which the connection mostly waited for the tunnel
//!    show that something behind it is the limit, and at which rate.
//! 2. *Sampling.* One chunk is packed. It must become smaller by a fifth, and packing must be four times as fast as all
//!    that the tunnel carries. Where the processor is the limit it is not: sealing and sending cost it about as much.
//! 3. *Packing.* Two chunks in a row that hardly become smaller end it, and so does a path that has become fast. After a
//!    while it must have made the connection faster; it has not if it was the reader at the other end that was slow.
//! 4. *Resting.* After each failure twice as long as before. What is encrypted or packed already ends here, after one
//!    chunk.
//!
//! No I/O and no clock: `now` comes in.

use std::time::Duration;

use tokio::time::Instant;

/// Length of a window in which a connection is watched.
const WATCH: Duration = Duration::from_millis(100);

/// Length of a window while it is packed.
const REVIEW: Duration = Duration::from_millis(500);

/// Smallest chunk in bytes that is worth a sample.
pub(super) const LEAST_SAMPLE_BYTES: usize = 8 << 10;

/// Factor by which packing must be faster than the tunnel.
const FASTER: u64 = 4;

/// Factor by which it must be faster for a higher level to pay: four to five times as long for a tenth fewer bytes.
const MUCH_FASTER: u64 = 32;

/// Time from the beginning of packing until its use must show: what had filled the buffers before has left by then.
const PROOF: Duration = Duration::from_millis(1500);

/// Time after which is watched anew what the path can do, where it is not what holds the connection up any more.
const AGAIN: Duration = Duration::from_secs(10);

/// Length of the first rest; each failure doubles it.
const FIRST_REST: Duration = Duration::from_millis(250);

/// Failures after which the rest grows no more: it is 64 s then.
const MOST_FAILURES: u32 = 8;

/// Time that the bytes of one block should take on the path.
const BLOCK_TIME: Duration = Duration::from_millis(100);

/// Least and largest block, bytes before packing.
const LEAST_BLOCK_BYTES: u64 = 32 << 10;
const LARGEST_BLOCK_BYTES: u64 = pinhole_proto::block::MAX_UNPACKED_BYTES as u64;

/// The plan for the next chunk of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Send it as it is.
    Plain,
    /// Pack it, quickly, to see what that does.
    Sample,
    /// Pack it.
    Pack {
        /// The level.
        level: Level,
        /// Largest chunk in bytes that is packed at once.
        block_bytes: usize,
    },
}

/// The compression level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Fast, for most paths.
    Quick,
    /// Slower and smaller, for slow paths.
    Thorough,
}

/// A chunk that was written to the tunnel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// Its bytes before packing.
    pub(super) bytes: usize,
    /// How long the tunnel kept it waiting.
    pub(super) waited: Duration,
    /// Bytes that all connections of the tunnel have written so far.
    pub(super) by_all: u64,
}

/// A chunk that was packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// Its bytes before.
    pub(super) bytes: usize,
    /// Its bytes after.
    pub(super) packed: usize,
    /// How long it took.
    pub(super) took: Duration,
}

impl Outcome {
    /// Bytes in a second.
    pub(super) fn speed(&self) -> u64 {
        per_second(self.bytes as u64, self.took)
    }

    /// Whether at most that many of a hundred bytes are left.
    fn leaves(&self, percent: usize) -> bool {
        self.packed * 100 <= self.bytes * percent
    }
}

/// The compression policy of one direction of a connection.
#[derive(Debug)]
pub(super) struct CompressionPolicy {
    phase: Phase,
    failures: u32,
    window: Window,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Watching { was_held_up: bool },
    Sampling(Rates),
    Packing(Packing),
    Resting { until: Instant },
}

#[derive(Debug, Clone, Copy)]
struct Packing {
    level: Level,
    block_bytes: usize,
    since: Instant,
    /// Bytes in a second of this connection before.
    before: u64,
    /// Of quick packing, bytes in a second.
    speed: u64,
    has_proven: bool,
    misses: u32,
}

/// Bytes in a second.
#[derive(Debug, Clone, Copy)]
struct Rates {
    own: u64,
    of_all: u64,
}

/// A window over which a connection is measured.
#[derive(Debug, Clone, Copy)]
struct Window {
    begun: Instant,
    bytes: u64,
    waited: Duration,
    packing: Duration,
    /// Bytes of all connections when it began; `None` before the first chunk.
    by_all: Option<u64>,
}

impl Window {
    fn new(begun: Instant, by_all: Option<u64>) -> Self {
        Self { begun, bytes: 0, waited: Duration::ZERO, packing: Duration::ZERO, by_all }
    }
}

impl CompressionPolicy {
    /// Begins to watch.
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: Phase::Watching { was_held_up: false }, failures: 0, window: Window::new(now, None) }
    }

    /// Returns what to do with the next chunk.
    pub(super) fn plan(&self) -> Plan {
        match self.phase {
            Phase::Watching { .. } | Phase::Resting { .. } => Plan::Plain,
            Phase::Sampling(_) => Plan::Sample,
            Phase::Packing(Packing { level, block_bytes, .. }) => Plan::Pack { level, block_bytes },
        }
    }

    /// Records how fast a sample of another connection was packed a moment ago: it need not be tried again to see
    /// that the tunnel is too fast.
    pub(super) fn handle_speed(&mut self, speed: u64, now: Instant) {
        if let Phase::Sampling(rates) = self.phase
            && rates.of_all.saturating_mul(FASTER) > speed
        {
            self.rest(now);
        }
    }

    /// Records what packing the last chunk did, and how long that held it up: where the processor has other work,
    /// longer than it took.
    pub(super) fn handle_packed(&mut self, outcome: Outcome, held_up: Duration, now: Instant) {
        self.window.packing += held_up;
        match self.phase {
            Phase::Sampling(rates) => self.handle_sample(rates, outcome, now),
            Phase::Packing(packing) if outcome.leaves(90) => {
                self.phase = Phase::Packing(Packing { misses: 0, ..packing });
            }
            Phase::Packing(packing) if packing.misses > 0 => self.rest(now),
            Phase::Packing(packing) => self.phase = Phase::Packing(Packing { misses: 1, ..packing }),
            Phase::Watching { .. } | Phase::Resting { .. } => {}
        }
    }

    /// Records a chunk that has left.
    pub(super) fn handle_written(&mut self, written: Written, now: Instant) {
        if let Phase::Resting { until } = self.phase {
            if now >= until {
                self.watch(now, Some(written.by_all));
            }
            return;
        }
        let Some(by_all) = self.window.by_all else {
            // The first chunk fills buffers, and waits for nobody.
            self.watch(now, Some(written.by_all));
            return;
        };
        self.window.bytes += written.bytes as u64;
        self.window.waited += written.waited;
        let passed = now.saturating_duration_since(self.window.begun);
        let long = if let Phase::Packing(_) = self.phase { REVIEW } else { WATCH };
        if passed < long {
            return;
        }
        let of_all = per_second(written.by_all.saturating_sub(by_all), passed);
        let rates = Rates { own: per_second(self.window.bytes, passed), of_all };
        let is_held_up = self.window.waited * 5 >= passed * 3;
        let packing_is_busy = self.window.packing * 3 > passed;
        self.window = Window::new(now, Some(written.by_all));
        match self.phase {
            Phase::Watching { was_held_up: true } if is_held_up => self.phase = Phase::Sampling(rates),
            Phase::Watching { .. } => self.phase = Phase::Watching { was_held_up: is_held_up },
            // Too small to be sampled, for so long.
            Phase::Sampling(_) => self.phase = Phase::Watching { was_held_up: is_held_up },
            Phase::Packing(packing) => {
                self.review(packing, rates, is_held_up, packing_is_busy, written.by_all, now);
            }
            Phase::Resting { .. } => {}
        }
    }

    /// Records that nothing has come for a while, or that packing is not possible now.
    pub(super) fn handle_pause(&mut self, now: Instant) {
        match self.phase {
            Phase::Packing(_) => self.watch(now, None),
            Phase::Sampling(_) => self.rest(now),
            Phase::Watching { .. } | Phase::Resting { .. } => {}
        }
    }

    fn handle_sample(&mut self, rates: Rates, outcome: Outcome, now: Instant) {
        let speed = outcome.speed();
        if !outcome.leaves(80) || rates.of_all.saturating_mul(FASTER) > speed {
            self.rest(now);
            return;
        }
        let is_slow = rates.of_all.saturating_mul(MUCH_FASTER) <= speed;
        self.phase = Phase::Packing(Packing {
            level: if is_slow { Level::Thorough } else { Level::Quick },
            block_bytes: block_bytes(rates.of_all),
            since: now,
            before: rates.own,
            speed,
            has_proven: false,
            misses: 0,
        });
    }

    fn review(
        &mut self,
        mut packing: Packing,
        rates: Rates,
        is_held_up: bool,
        packing_is_busy: bool,
        by_all: u64,
        now: Instant,
    ) {
        if is_held_up {
            if rates.of_all.saturating_mul(FASTER) > packing.speed {
                self.rest(now);
                return;
            }
            packing.block_bytes = block_bytes(rates.of_all);
        }
        if packing_is_busy && packing.level == Level::Thorough {
            packing.level = Level::Quick;
        } else if !is_held_up && now.saturating_duration_since(packing.since) >= AGAIN {
            self.watch(now, Some(by_all));
            return;
        }
        if !packing.has_proven && now.saturating_duration_since(packing.since) >= PROOF {
            if is_held_up && rates.own * 10 < packing.before * 11 {
                self.rest(now);
                return;
            }
            packing.has_proven = true;
            self.failures = 0;
        }
        self.phase = Phase::Packing(packing);
    }

    fn watch(&mut self, now: Instant, by_all: Option<u64>) {
        self.phase = Phase::Watching { was_held_up: false };
        self.window = Window::new(now, by_all);
    }

    fn rest(&mut self, now: Instant) {
        self.phase = Phase::Resting { until: now + FIRST_REST * (1 << self.failures) };
        self.failures = (self.failures + 1).min(MOST_FAILURES);
    }
}

/// Returns the size of a block that takes about [`BLOCK_TIME`] on a path of that rate (bytes in a second), packed or
/// not.
fn block_bytes(rate: u64) -> usize {
    let bytes = rate * BLOCK_TIME.as_millis() as u64 / 1000;
    let bytes = bytes.clamp(LEAST_BLOCK_BYTES, LARGEST_BLOCK_BYTES);
    usize::try_from(bytes).expect("a quarter of a megabyte at the most")
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
