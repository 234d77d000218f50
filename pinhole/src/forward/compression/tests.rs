use super::*;

const MS: Duration = Duration::from_millis(1);
const CHUNK: usize = 128 << 10;

/// A path and what is sent over it, in virtual time.
struct World {
    now: Instant,
    policy: CompressionPolicy,
    by_all: u64,
    /// Bytes in a second that the tunnel takes.
    path: u64,
    /// Bytes in a second that packing takes.
    speed: u64,
    /// Percent that packing leaves.
    leaves: usize,
    /// Bytes in a second that the reader at the other end takes.
    reader: u64,
    samples: usize,
    packed: usize,
    chunks: usize,
}

impl World {
    fn new(path: u64, leaves: usize) -> Self {
        let now = Instant::now();
        let policy = CompressionPolicy::new(now);
        let (by_all, samples, packed, chunks) = Default::default();
        World {
            now,
            policy,
            by_all,
            path,
            speed: 200_000_000,
            leaves,
            reader: u64::MAX,
            samples,
            packed,
            chunks,
        }
    }

    fn pack(&mut self, percent: usize, slower: u32) -> usize {
        let took = Duration::from_micros(CHUNK as u64 * 1_000_000 / self.speed) * slower;
        self.now += took;
        let packed = CHUNK * percent / 100;
        self.policy.handle_packed(Outcome { bytes: CHUNK, packed, took }, took, self.now);
        packed.min(CHUNK)
    }

    /// A source that is never the limit.
    fn send(&mut self) {
        let wire = match self.policy.plan() {
            Plan::Plain => CHUNK,
            Plan::Sample => {
                self.samples += 1;
                self.pack(self.leaves, 1)
            }
            Plan::Pack { level: Level::Quick, .. } => {
                self.packed += 1;
                self.pack(self.leaves, 1)
            }
            Plan::Pack { level: Level::Thorough, .. } => {
                self.packed += 1;
                self.pack(self.leaves, 5)
            }
        };
        self.chunks += 1;
        let on_path = Duration::from_micros(wire as u64 * 1_000_000 / self.path);
        let waited = on_path.max(Duration::from_micros(CHUNK as u64 * 1_000_000 / self.reader));
        self.now += waited;
        self.by_all += wire as u64;
        self.policy.handle_written(Written { bytes: CHUNK, waited, by_all: self.by_all }, self.now);
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.send();
        }
    }

    fn is_packing(&self) -> bool {
        matches!(self.policy.plan(), Plan::Pack { .. })
    }
}

#[test]
fn text_over_a_slow_path_is_packed_within_half_a_second_and_from_then_on() {
    let mut world = World::new(2_500_000, 35);
    world.run(500 * MS);
    assert!(world.is_packing());
    world.run(Duration::from_secs(3600));
    assert!(world.is_packing());
    assert_eq!(world.samples, 1);
}

#[test]
fn a_slow_path_gets_a_higher_level_and_small_blocks() {
    let plan = |path| {
        let mut world = World::new(path, 35);
        while !world.is_packing() && world.chunks < 100 {
            world.send();
        }
        world.policy.plan()
    };
    let block_bytes = 32 << 10;
    assert_eq!(plan(200_000), Plan::Pack { level: Level::Thorough, block_bytes });
    let block_bytes = 256 << 10;
    assert_eq!(plan(12_000_000), Plan::Pack { level: Level::Quick, block_bytes });
}

#[test]
fn what_is_encrypted_or_packed_costs_one_chunk_now_and_then() {
    let mut world = World::new(2_500_000, 100);
    world.run(500 * MS);
    assert_eq!((world.samples, world.packed), (1, 0));
    world.run(Duration::from_secs(3600));
    assert_eq!(world.packed, 0);
    assert!((50..75).contains(&world.samples), "{} samples in an hour", world.samples);
}

#[test]
fn nothing_is_packed_where_the_processor_is_the_limit() {
    let mut world = World::new(500_000_000, 35);
    world.run(Duration::from_secs(60));
    assert_eq!(world.packed, 0);
    assert!(world.samples < 12, "{} samples", world.samples);
}

#[test]
fn a_sample_of_another_connection_tells_as_well() {
    let mut world = World::new(500_000_000, 35);
    while world.policy.plan() != Plan::Sample {
        world.send();
    }
    world.policy.handle_speed(3_000_000_000, world.now);
    assert_eq!(world.policy.plan(), Plan::Sample, "fast enough");
    world.policy.handle_speed(200_000_000, world.now);
    assert_eq!(world.policy.plan(), Plan::Plain);
}

#[test]
fn a_slow_source_is_left_alone() {
    let mut world = World::new(2_500_000, 35);
    let until = world.now + Duration::from_secs(60);
    while world.now < until {
        world.send();
        world.now += 100 * MS;
    }
    assert_eq!((world.samples, world.packed), (0, 0));
}

#[test]
fn a_slow_reader_is_found_out() {
    let mut world = World::new(100_000_000, 35);
    world.reader = 2_500_000;
    world.run(Duration::from_secs(10));
    assert!(!world.is_packing());
    world.run(Duration::from_secs(3600));
    let share = world.packed * 100 / world.chunks;
    assert!(share < 5, "{share} % of the chunks were packed in vain");
}

#[test]
fn it_ends_when_the_data_change_and_begins_again_when_they_change_back() {
    let mut world = World::new(2_500_000, 35);
    world.run(Duration::from_secs(5));
    assert!(world.is_packing());
    world.leaves = 100;
    let before = world.packed;
    world.run(500 * MS);
    assert!(!world.is_packing());
    assert_eq!(world.packed - before, 2, "two chunks in vain");
    world.leaves = 35;
    world.run(Duration::from_secs(2));
    assert!(world.is_packing());
}

#[test]
fn it_ends_when_the_path_becomes_fast() {
    for (path, leaves) in [(500_000_000, 35), (100_000_000, 70)] {
        let mut world = World::new(2_500_000, leaves);
        world.run(Duration::from_secs(5));
        assert!(world.is_packing());
        world.path = path;
        world.run(Duration::from_secs(12));
        assert!(!world.is_packing(), "{path}");
    }
}

#[test]
fn a_pause_ends_it_and_the_next_bytes_are_watched_anew() {
    let mut world = World::new(2_500_000, 35);
    world.run(Duration::from_secs(1));
    assert!(world.is_packing());
    world.policy.handle_pause(world.now);
    assert!(!world.is_packing());
    world.now += Duration::from_secs(100);
    world.send();
    assert!(!world.is_packing());
    world.run(500 * MS);
    assert!(world.is_packing());
}

#[test]
fn without_a_processor_to_spare_the_level_is_lower() {
    let mut world = World::new(2_500_000, 35);
    world.run(500 * MS);
    assert!(matches!(world.policy.plan(), Plan::Pack { level: Level::Thorough, .. }));
    world.speed = 20_000_000;
    world.run(2 * REVIEW);
    assert!(matches!(world.policy.plan(), Plan::Pack { level: Level::Quick, .. }));
}
