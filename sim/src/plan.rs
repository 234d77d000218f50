//! One session from its seed: a setting, and what happens to it, step by step.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use natlab::{LinkSpec, NatSpec, Side, chance::Chance};
use pinhole_proto::nat::{Verdict, punchable};

use super::{
    judge::Promise,
    op::{Op, Sides},
    world::{Counts, Setting, World},
};

/// Time after the last fault in which all must be well again: an answer may have to wait for room in the budget, of which
/// there is some again each 19 s, and the first one may go to a socket that is closed by then.
const WELL_SOON: Duration = Duration::from_secs(40);

/// The same where round trips had become long: a path is not given up before several of them.
const WELL_AFTER_DELAY: Duration = Duration::from_secs(60);

/// The same where a host got another address, maybe while its path was lost: the next of the rarer slots must be waited
/// for, and a NAT with few ports may have none for it at first.
const WELL_AFTER_MOVE: Duration = Duration::from_secs(240);

/// The same where the two meet by chance: a minute, and some windows.
const WELL_LATER: Duration = Duration::from_secs(1200);

/// What is said at the end, to see that it is heard.
const LAST_WORDS: u64 = 3000;

/// At the end all must stay well for this long.
const REST: Duration = Duration::from_secs(200);

/// A setting and what happens, each step after a while.
#[derive(Debug, Clone)]
pub struct Plan {
    pub setting: Setting,
    pub steps: Vec<(Duration, Op)>,
}

/// Says how a session ended well.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Time from the end of the last fault until all was well; `None` if it never was, and nothing was promised.
    pub stall: Option<Duration>,
    pub counts: Counts,
    pub promise: Promise,
    pub steps: usize,
}

impl Plan {
    /// Draws one: mostly of sides that meet directly.
    pub fn draw(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let wanted = if chance.happens(0.2) { Verdict::ByChance } else { Verdict::Direct };
        let mut nats = draw_nats(wanted, &mut chance);
        let ms = |chance: &mut Chance, below| Duration::from_millis(chance.below(below));
        let link = LinkSpec {
            loss: if chance.happens(0.5) { 0.02 * chance.fraction() } else { 0.0 },
            jitter: ms(&mut chance, 10),
            ..LinkSpec::delayed(Duration::from_millis(5) + ms(&mut chance, 95))
        };
        let late = usize::try_from(chance.below(2)).expect("one of two");
        let mut starts = [Duration::ZERO; 2];
        starts[late] = [Duration::ZERO, ms(&mut chance, 5000)][usize::from(chance.happens(0.5))];
        let ahead_ms = [(); 2].map(|()| i64::try_from(chance.below(5000)).expect("small") - 2500);
        let patience = Duration::from_secs(if chance.happens(0.1) { 30 } else { 3600 });
        let unix_ms = 1_800_000_000_000 + chance.below(600_000);
        let dead_address =
            [(); 2].map(|()| chance.happens(0.1).then_some([1, 250][usize::from(chance.happens(0.5))]));
        let setting = Setting {
            nats: nats.clone(),
            link,
            starts,
            unix_ms,
            ahead_ms,
            patience,
            dead_address,
            seed: chance.next_u64(),
        };
        let mut next = || (draw_gap(&mut chance), Op::draw(&mut chance, &mut nats));
        let mut steps = vec![next()];
        steps.extend((0..seed % 12).map(|_| next()));
        Self { setting, steps }
    }

    /// The open side's router is off for that time, and has forgotten everything when it is back.
    pub fn power_cut(nats: [NatSpec; 2], lasts: Duration, seed: u64) -> Self {
        let link = LinkSpec::delayed(Duration::from_millis(20));
        let before = Duration::from_millis(30_000 + Chance::new(seed).below(30_000));
        let steps = vec![(before, Op::Silence { from: Sides::Both, lasts }), (lasts, Op::Flush(Sides::B))];
        Self { setting: Setting::usual(nats, link, seed), steps }
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// What must not happen and did.
    pub fn run(&self) -> Result<Outcome, String> {
        let ran = catch_unwind(AssertUnwindSafe(|| self.follow(&mut World::new(&self.setting))));
        ran.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(format!("a panic: {}", text.unwrap_or_else(|| "without words".into())))
        })
    }

    fn follow(&self, world: &mut World) -> Result<Outcome, String> {
        let mut over_at = world.now;
        for (gap, op) in &self.steps {
            world.run_until(world.now + *gap)?;
            world.check_flows()?;
            op.apply(world);
            over_at = over_at.max(world.now + op.lasts());
            if let Op::Idle(lasts) = op {
                world.run_until(world.now + *lasts)?;
            }
        }
        world.run_until(over_at)?;
        let promise = world.promise();
        let bound = match promise {
            Promise::Soon if world.has_moved() => WELL_AFTER_MOVE,
            Promise::Soon if world.was_slow => WELL_AFTER_DELAY,
            Promise::Soon => WELL_SOON,
            Promise::Later | Promise::None => WELL_LATER,
        };
        let stall = recover(world, bound);
        if promise != Promise::None || stall.is_ok() {
            stall.clone()?;
            world.run_until(world.now + REST)?;
            recover(world, WELL_SOON.max(bound.min(WELL_AFTER_DELAY)))?;
        }
        world.check_flows()?;
        Ok(Outcome { stall: stall.ok(), counts: world.counts, promise, steps: self.steps.len() })
    }

    /// Leaves out whatever is not needed for that failure.
    pub fn shrink(&self, failure: &str) -> Self {
        let kind =
            |failure: &str| failure.chars().filter(|c| !c.is_ascii_digit()).take(30).collect::<String>();
        let mut smallest = self.clone();
        let mut index = 0;
        while index < smallest.steps.len() {
            let mut smaller = smallest.clone();
            let (gap, op) = smaller.steps.remove(index);
            // Time goes on without it.
            if let Some((next, _)) = smaller.steps.get_mut(index) {
                *next += gap + if matches!(op, Op::Idle(_)) { op.lasts() } else { Duration::ZERO };
            }
            let fails_alike = smaller.run().is_err_and(|why| kind(&why) == kind(failure));
            if fails_alike { smallest = smaller } else { index += 1 }
        }
        smallest
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { nats: [a, b], link, starts, patience, .. } = &self.setting;
        write!(f, "{a} × {b}, {:?}, {:.3} lost, ", link.delay, link.loss)?;
        writeln!(f, "starts {starts:?}, patience {patience:?}")?;
        self.steps.iter().try_for_each(|(gap, op)| writeln!(f, "  after {gap:?}: {op:?}"))
    }
}

/// Says something on both sides, and waits until all is well; returns how long that took.
fn recover(world: &mut World, bound: Duration) -> Result<Duration, String> {
    let began = world.now;
    // Who sleeps, or does not run, says nothing.
    world.run_until_or(began + bound, World::is_awake)?;
    world.note(&"last words");
    Side::BOTH.into_iter().for_each(|side| world.say(side, LAST_WORDS));
    world.run_until_or(began + bound, World::is_well)?;
    if world.is_well() {
        Ok(world.now - began)
    } else {
        Err(format!("not well after {bound:?}; {}", world.describe()))
    }
}

fn draw_nats(wanted: Verdict, chance: &mut Chance) -> [NatSpec; 2] {
    let presets = NatSpec::presets();
    let fits = |a: &NatSpec, b: &NatSpec| punchable(a.access(), b.access()) == wanted;
    let pairs: Vec<[&NatSpec; 2]> = presets
        .iter()
        .flat_map(|a| presets.iter().map(move |b| [a, b]))
        .filter(|[a, b]| fits(a, b))
        .collect();
    pairs[usize::try_from(chance.below(pairs.len() as u64)).expect("an index")].map(Clone::clone)
}

fn draw_gap(chance: &mut Chance) -> Duration {
    let most = [100, 3000, 30_000, 90_000][usize::try_from(chance.below(4)).expect("one of four")];
    Duration::from_millis(chance.below(most))
}
