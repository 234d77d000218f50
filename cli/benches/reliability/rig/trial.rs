//! One trial: a connection, a fault, and how the connection went on.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use natlab::Side;

use super::{
    death::Death,
    fault::Fault,
    rows::{Bar, Load, Row, Trouble},
    stage::{Props, Stage, pass_byte},
    talk::{Pace, Talk},
};

/// Time for which a connection is used before the fault.
const BEFORE: Duration = Duration::from_secs(3);

/// Time without a pause after which bytes flow again, and what a pause is.
const SETTLED: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for bytes to flow again once the network is usable.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(60);

/// How often is looked whether they do.
const LOOK: Duration = Duration::from_millis(50);

/// One cell of the report: a row with a pair of NATs and a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) row: Row,
    /// The NATs of the serve side and of the open side.
    pub(crate) pair: [&'static str; 2],
    pub(crate) load: Load,
}

/// How a trial went.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Whether every byte came, in order, and nothing ended; else why not. Where all that is asked is that the connection is
    /// not cut, it may still wait for its bytes.
    pub(crate) continued: Result<(), String>,
    /// The longest time without an arrival from the moment on at which the network was usable.
    pub(crate) stall: Duration,
    /// The same from the fault on.
    pub(crate) from_fault: Duration,
    /// What both programs said from the fault on.
    pub(crate) said: Vec<String>,
}

impl Case {
    /// Runs one trial.
    ///
    /// # Errors
    /// When it could not be done.
    pub(crate) fn run(&self, pace: Pace) -> Result<Outcome, String> {
        match self.row.trouble {
            Trouble::Fault(fault) => self.run_fault(fault, pace),
            Trouble::Death(death) => self.run_death(death),
        }
    }

    /// Returns what must hold.
    pub(crate) fn bar(&self) -> Bar {
        self.row.bar(self.pair)
    }

    /// Whether a trial has held what must hold, on a machine that is slower by that factor, or has that long in any case.
    pub(crate) fn is_met_by(&self, outcome: &Outcome, slack: u32, least: Duration) -> bool {
        outcome.continued.is_ok() && self.bar().allows(outcome.stall, slack, least)
    }

    fn run_fault(&self, fault: Fault, pace: Pace) -> Result<Outcome, String> {
        let props = Props { named: self.row.named, clock: self.row.clock() };
        let mut stage = Stage::build(self.pair, props)?;
        connect(&mut stage)?;
        match self.load {
            Load::Busy => busy(&mut stage, fault, self, pace),
            Load::Idle => idle(&mut stage, fault, self.row.lasts),
        }
    }

    fn run_death(&self, death: Death) -> Result<Outcome, String> {
        let mut stage = Stage::build(self.pair, Props::default())?;
        connect(&mut stage)?;
        death.happen(&mut stage, self.row.lasts)
    }
}

/// Trials whose programs start at the same time. Each start stretches a key: many at once take the processors for seconds,
/// and what the programs learn of their path in that time is not what the path is like.
static STARTS: [Mutex<()>; 3] = [const { Mutex::new(()) }; 3];

fn connect(stage: &mut Stage) -> Result<(), String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let turn = &STARTS[NEXT.fetch_add(1, Ordering::Relaxed) % STARTS.len()];
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    stage.connect()
}

fn busy(stage: &mut Stage, fault: Fault, case: &Case, pace: Pace) -> Result<Outcome, String> {
    let [client, service] = stage.dial()?;
    let begun = Instant::now();
    let talk = Talk::start(&client, &service, pace).map_err(|e| format!("talking: {e}"))?;
    if !await_flow(&talk, begun, BEFORE) {
        return Err(format!("nothing flows before the fault: {:?}", talk.finish()));
    }
    let broke = Instant::now();
    let back = fault.happen(stage, case.row.lasts)?;
    let is_back = await_flow(&talk, back, SETTLED);
    let (stalls, all_stalls) = (talk.stalls_since(back), talk.stalls_since(broke));
    let only_waits = !is_back && !talk.is_broken() && case.bar() == Bar::Uncut;
    let continued = if only_waits {
        talk.abandon();
        Ok(())
    } else {
        talk.finish()
    };
    let said = stage.said_since(broke);
    Ok(Outcome { continued, stall: longest(stalls), from_fault: longest(all_stalls), said })
}

/// Waits until bytes have flowed for that long in both directions; returns whether they did.
fn await_flow(talk: &Talk, since: Instant, long: Duration) -> bool {
    while !talk.flows_since(since, long, PAUSE) {
        if talk.is_broken() || since.elapsed() > GIVE_UP {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}

/// Nothing is said during the fault; then a byte goes there and one back.
fn idle(stage: &mut Stage, fault: Fault, lasts: Duration) -> Result<Outcome, String> {
    let [client, service] = stage.dial()?;
    let there_and_back = || {
        pass_byte(&client, &service, GIVE_UP)?;
        pass_byte(&service, &client, GIVE_UP)
    };
    there_and_back()?;
    thread::sleep(BEFORE);
    let broke = Instant::now();
    let back = fault.happen(stage, lasts)?;
    let continued = there_and_back();
    let (stall, from_fault) = (back.elapsed(), broke.elapsed());
    Ok(Outcome { continued, stall, from_fault, said: stage.said_since(broke) })
}

fn longest(stalls: [Duration; 2]) -> Duration {
    stalls[Side::A.index()].max(stalls[Side::B.index()])
}
