//! The instances of the peer's program that are known, and which one is believed.
//!
//! Each run has a random instance number. A run becomes the current one only by proof: it has echoed a token of
//! ours. Until then it is unproven, and gets answers, but changes nothing: otherwise a recorded probe of an
//! earlier run could end a live tunnel. A run that was followed by another is retired and not heard any more; should it
//! be alive, it is told so.
//!
//! No datagram is let in twice over one pair. Whoever sees one may copy it, and his copy may come first: so a number
//! counts over a few pairs ([`Numbers`]), and one that comes again gets one answer at most. What was heard last of a
//! run outlives its place among the unproven ones, and its retirement ([`Former`]). Words of an unknown run that are
//! not dated now may be recordings of an earlier one: they are let in from IPs that the user named alone (a wrong clock
//! must not keep two machines apart), answered out of a purse of their own, and take no place of a run that is dated
//! now.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::numbers::{Arrival, Numbers, Origin, Turn};
use crate::{Now, probe::Probe};

/// Distance of the sender's wall clock from ours beyond which a probe of an unknown run counts as a recording, unless
/// it comes from an address that the user named (a wrong clock must not keep two machines apart). From any other IP,
/// one that is dated before our own start counts as a recording too: nobody could have answered it then.
pub const FRESH: Duration = Duration::from_secs(10);

/// Age beyond the newest word of a run that another one may have, by the sender's own clock, ms. No network keeps
/// a packet for longer while a later one passes.
const LATE_MS: u64 = 2000;

/// Difference of two clocks that are read one after the other, and rounded, ms.
const ROUNDING_MS: u64 = 10;

/// Most unproven runs that are remembered at a time. One is usual; more only under an attack with recordings.
const MAX_UNPROVEN: usize = 4;

/// Runs of which the newest sequence number is remembered when they are neither current nor unproven any more.
const MAX_FORMER: usize = 64;

/// Time between two replies to a retired run that is still alive.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) id: u64,
    /// The highest epoch seen.
    pub(super) epoch: u32,
    pub(super) heard_at: Instant,
    /// Whether a word of it was dated when it came.
    is_dated: bool,
    /// The newest word: its sequence number and the sender's wall clock, ms.
    newest: (u64, u64),
    /// Whether it had a tunnel to us by its newest word.
    pub(super) has_tunnel: bool,
    numbers: Numbers,
}

/// The sender of a probe that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// The run that is believed.
    Current,
    /// A run that has proven nothing yet.
    Unproven,
    /// An unproven run whose word is not dated now: it may be a recording.
    Undated,
}

/// A run that is neither the current one nor an unproven one: up to which number its datagrams are known.
#[derive(Debug, Clone, Copy)]
struct Former {
    id: u64,
    sequence: u64,
    standing: Standing,
}

/// The standing of a former run. Where room is needed, the first kind goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// An unproven run that was never dated when it came.
    Undated,
    /// An unproven run that was; or a retired one that is forgiven.
    Dated,
    /// Another one has followed it, or it has left. With the time when it was last told.
    Retired(Option<Instant>),
}

#[derive(Debug)]
pub(super) struct Peers {
    /// Our start, on the clock that never jumps.
    started: Option<Instant>,
    current: Option<Instance>,
    unproven: VecDeque<Instance>,
    /// The oldest first.
    former: VecDeque<Former>,
}

impl Peers {
    pub(super) fn new() -> Self {
        Self { started: None, current: None, unproven: VecDeque::new(), former: VecDeque::new() }
    }

    /// Records our start; later calls change nothing.
    pub(super) fn start(&mut self, now: Now) {
        self.started.get_or_insert(now.instant);
    }

    /// Lets a probe in, or refuses it as a recording.
    pub(super) fn admit(&mut self, probe: &Probe, arrival: &Arrival, now: Now) -> Option<(Sender, Turn)> {
        let is_dated = clock_distance(probe, now) <= FRESH;
        let is_current = self.current.as_ref().is_some_and(|current| current.id == probe.instance);
        let is_credible = match arrival.origin {
            Origin::Named | Origin::NamedIp => true,
            // Not by the wall clocks alone, which may be set: the run that is believed is also known by its own.
            Origin::Elsewhere => {
                let timely = |current: &Instance| arrival.is_path || current.is_timely(probe, now);
                self.is_fresh(probe, now) || is_current && self.current.as_ref().is_some_and(timely)
            }
        };
        if !is_credible || self.is_retired(probe.instance) {
            return None;
        }
        if !is_current && !self.unproven.iter().any(|n| n.id == probe.instance) {
            self.welcome(probe, is_dated, now)?;
        }
        let instance = self.instance_mut(probe.instance)?;
        // While a path is in use, that is so for the run that uses it alone.
        let arrival = Arrival { is_settled: arrival.is_settled && is_current, ..*arrival };
        let turn = instance.admit(probe, &arrival, now)?;
        instance.is_dated |= is_dated;
        let sender = match (is_current, is_dated) {
            (true, _) => Sender::Current,
            (false, true) => Sender::Unproven,
            (false, false) => Sender::Undated,
        };
        Some((sender, turn))
    }

    /// Whether the sender is a run that another one has displaced, and speaks now: a recording of it is older, or says what
    /// is known.
    pub(super) fn is_rival(&self, probe: &Probe, now: Now) -> bool {
        let is_it = |former: &Former| former.id == probe.instance && former.sequence < probe.sequence;
        let rival = self.former.iter().find(|former| is_it(former));
        self.current.is_some()
            && self.is_fresh(probe, now)
            && rival.is_some_and(|former| matches!(former.standing, Standing::Retired(_)))
    }

    /// Whether a rival is to be told now that it was displaced. What it has said is known from now on.
    pub(super) fn tells_displaced(&mut self, probe: &Probe, now: Now) -> bool {
        let Some(former) = self.former.iter_mut().find(|former| former.id == probe.instance) else {
            return false;
        };
        let Standing::Retired(told_at) = &mut former.standing else { return false };
        former.sequence = former.sequence.max(probe.sequence);
        let is_due = told_at.is_none_or(|at| now.instant >= at + TELL_EVERY);
        if is_due {
            *told_at = Some(now.instant);
        }
        is_due
    }

    /// Believes a run that has echoed our token. Returns true when it follows another one.
    pub(super) fn believe(&mut self, id: u64) -> bool {
        let Some(index) = self.unproven.iter().position(|n| n.id == id) else { return false };
        let proven = self.unproven.remove(index);
        let former = std::mem::replace(&mut self.current, proven);
        let restarted = former.is_some();
        former.iter().for_each(|former| self.part_with(former, Standing::Retired(None)));
        restarted
    }

    /// Retires the current run: it has said that it leaves. Others that it had displaced may be alive.
    pub(super) fn retire(&mut self) {
        self.forgive();
        let left = self.current.take();
        left.iter().for_each(|left| self.part_with(left, Standing::Retired(None)));
    }

    /// Hears displaced runs again: there is no current one that they could disturb.
    pub(super) fn forgive(&mut self) {
        for former in &mut self.former {
            former.standing = former.standing.min(Standing::Dated);
        }
    }

    /// Whether a probe was sealed a moment ago, and not before our start, if both clocks are right.
    pub(super) fn is_fresh(&self, probe: &Probe, now: Now) -> bool {
        clock_distance(probe, now) <= FRESH && probe.unix_ms >= self.started_ms(now)
    }

    pub(super) fn current(&self) -> Option<&Instance> {
        self.current.as_ref()
    }

    /// Our start on the wall clock as it is now, ms: it may have been set right since.
    fn started_ms(&self, now: Now) -> u64 {
        let age =
            self.started.map_or(Duration::ZERO, |started| now.instant.saturating_duration_since(started));
        now.unix_ms()
            .saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
            .saturating_sub(ROUNDING_MS)
    }

    fn is_retired(&self, id: u64) -> bool {
        self.former.iter().any(|f| f.id == id && matches!(f.standing, Standing::Retired(_)))
    }

    /// Gives a run a place among the unproven ones, unless what it says is known, or all places are taken by better
    /// ones.
    fn welcome(&mut self, probe: &Probe, is_dated: bool, now: Now) -> Option<()> {
        let known = self.former.iter().position(|former| former.id == probe.instance);
        let heard = known.map(|index| self.former[index].sequence);
        if heard.is_some_and(|heard| probe.sequence <= heard) {
            return None;
        }
        if self.unproven.len() == MAX_UNPROVEN {
            let undated = self.unproven.iter().position(|run| !run.is_dated);
            let left = self.unproven.remove(undated.or(is_dated.then_some(0))?)?;
            self.part_with(&left, if left.is_dated { Standing::Dated } else { Standing::Undated });
        }
        self.former.retain(|former| former.id != probe.instance);
        self.unproven.push_back(Instance {
            id: probe.instance,
            epoch: probe.epoch,
            heard_at: now.instant,
            is_dated,
            newest: (heard.unwrap_or(0), 0),
            has_tunnel: false,
            numbers: heard.map_or_else(Numbers::new, Numbers::after),
        });
        Some(())
    }

    /// Remembers what was heard last of a run that is not heard any more.
    fn part_with(&mut self, instance: &Instance, standing: Standing) {
        if self.former.len() == MAX_FORMER {
            let kind = |former: &Former| former.standing.min(Standing::Retired(None));
            let first = self.former.iter().enumerate().min_by_key(|(_, former)| kind(former));
            let _least = first.map(|(index, _)| index).and_then(|index| self.former.remove(index));
        }
        self.former.push_back(Former { id: instance.id, sequence: instance.newest.0, standing });
    }

    fn instance_mut(&mut self, id: u64) -> Option<&mut Instance> {
        self.current.iter_mut().chain(&mut self.unproven).find(|i| i.id == id)
    }
}

impl Instance {
    /// Whether a probe is the run's newest and was sealed a moment ago by its own clock, as far as that goes on as it went. Others
    /// may be from before our start.
    fn is_timely(&self, probe: &Probe, now: Now) -> bool {
        let since = now.instant.saturating_duration_since(self.heard_at);
        let [since, fresh] = [since, FRESH].map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let is_newest = probe.sequence >= self.newest.0;
        is_newest && probe.unix_ms.saturating_add(fresh) >= self.newest.1.saturating_add(since)
    }

    fn admit(&mut self, probe: &Probe, arrival: &Arrival, now: Now) -> Option<Turn> {
        let newer = probe.sequence >= self.newest.0;
        if !newer && probe.unix_ms.saturating_add(LATE_MS) < self.newest.1 {
            return None;
        }
        let turn = self.numbers.accept(probe.sequence, arrival)?;
        if newer {
            self.newest = (probe.sequence, probe.unix_ms);
            self.has_tunnel = probe.tunnel;
        }
        self.epoch = self.epoch.max(probe.epoch);
        self.heard_at = now.instant;
        Some(turn)
    }
}

/// Returns how far apart the two wall clocks are, the way of the packet included.
pub(super) fn clock_distance(probe: &Probe, now: Now) -> Duration {
    Duration::from_millis(probe.unix_ms.abs_diff(now.unix_ms()))
}
