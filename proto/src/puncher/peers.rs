//! Which runs of the peer's program are known, and which one is believed.
//!
//! Each run has a random instance number. A run becomes the current one only by proof: it has echoed a token of
//! ours. Until then it is a newcomer, and gets answers, but changes nothing: otherwise a recorded probe of an
//! earlier run could end a live tunnel. A run that was followed by another is retired and not heard any more; should it
//! be alive, it is told so.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::replay::ReplayWindow;
use crate::{Now, probe::Probe};

/// How far the sender's wall clock may be from ours before a probe of an unknown run counts as a recording, unless
/// it comes from the peer's own IP (a wrong clock must not keep two machines apart). One that is dated before our own
/// start counts as a recording too: nobody could have answered it then.
pub const FRESH: Duration = Duration::from_secs(10);

/// How much older than the newest word of a run another one may be, by the sender's own clock, ms. No network keeps
/// a packet for longer while a later one passes.
const LATE_MS: u64 = 2000;

/// What two clocks that are read one after the other, and rounded, may disagree by, ms.
const ROUNDING_MS: u64 = 10;

/// Unproven runs kept in mind at a time. One is usual; more only under an attack with recordings.
const MAX_NEWCOMERS: usize = 4;

/// Runs that ended and whose late or recorded probes are ignored.
const MAX_RETIRED: usize = 32;

/// A retired run that still talks is told so once in this time.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) id: u64,
    /// The highest epoch seen.
    pub(super) epoch: u32,
    pub(super) heard_at: Instant,
    /// The newest word: its sequence number and the sender's wall clock, ms.
    newest: (u64, u64),
    window: ReplayWindow,
}

/// What is known of the sender of a probe that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Current,
    Newcomer,
}

#[derive(Debug)]
pub(super) struct Peers {
    /// Our start, on the clock that never jumps.
    started: Option<Instant>,
    current: Option<Instance>,
    newcomers: VecDeque<Instance>,
    /// With the time when each was last told.
    retired: VecDeque<(u64, Option<Instant>)>,
}

impl Peers {
    pub(super) fn new() -> Self {
        Self { started: None, current: None, newcomers: VecDeque::new(), retired: VecDeque::new() }
    }

    /// Takes note of our start; later ones change nothing.
    pub(super) fn start(&mut self, now: Now) {
        self.started.get_or_insert(now.instant);
    }

    /// Lets a probe in, or refuses it as a recording.
    pub(super) fn admit(&mut self, probe: &Probe, from_peer_ip: bool, now: Now) -> Option<Sender> {
        if self.retired.iter().any(|(id, _)| *id == probe.instance) {
            return None;
        }
        if !from_peer_ip && !self.is_fresh(probe, now) {
            return None;
        }
        let sender = match &self.current {
            Some(current) if current.id == probe.instance => Sender::Current,
            Some(_) | None => Sender::Newcomer,
        };
        if sender == Sender::Newcomer && !self.newcomers.iter().any(|n| n.id == probe.instance) {
            self.remember(probe, now);
        }
        self.instance_mut(probe.instance)?.admit(probe, now).then_some(sender)
    }

    /// Whether the sender is a run that another one has displaced, and is to be told so now. A recording of it is older.
    pub(super) fn tells_displaced(&mut self, probe: &Probe, now: Now) -> bool {
        if self.current.is_none() || !self.is_fresh(probe, now) {
            return false;
        }
        let Some((_, told_at)) = self.retired.iter_mut().find(|(id, _)| *id == probe.instance) else {
            return false;
        };
        let is_due = told_at.is_none_or(|at| now.instant >= at + TELL_EVERY);
        if is_due {
            *told_at = Some(now.instant);
        }
        is_due
    }

    /// Believes a run that has echoed our token. Returns true when it follows another one.
    pub(super) fn believe(&mut self, id: u64) -> bool {
        let Some(index) = self.newcomers.iter().position(|n| n.id == id) else { return false };
        let newcomer = self.newcomers.remove(index);
        let former = std::mem::replace(&mut self.current, newcomer);
        let restarted = former.is_some();
        self.bury(former);
        restarted
    }

    /// Retires the current run: it has said that it leaves. Others that it had displaced may be alive.
    pub(super) fn retire(&mut self) {
        self.forgive();
        let left = self.current.take();
        self.bury(left);
    }

    /// Hears displaced runs again: there is no current one that they could disturb.
    pub(super) fn forgive(&mut self) {
        self.retired.clear();
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

    fn bury(&mut self, instance: Option<Instance>) {
        self.retired.extend(instance.map(|i| (i.id, None)));
        while self.retired.len() > MAX_RETIRED {
            self.retired.pop_front();
        }
    }

    fn remember(&mut self, probe: &Probe, now: Now) {
        if self.newcomers.len() == MAX_NEWCOMERS {
            self.newcomers.pop_front();
        }
        self.newcomers.push_back(Instance {
            id: probe.instance,
            epoch: probe.epoch,
            heard_at: now.instant,
            newest: (0, 0),
            window: ReplayWindow::new(),
        });
    }

    fn instance_mut(&mut self, id: u64) -> Option<&mut Instance> {
        self.current.iter_mut().chain(&mut self.newcomers).find(|i| i.id == id)
    }
}

impl Instance {
    fn admit(&mut self, probe: &Probe, now: Now) -> bool {
        let newer = probe.sequence >= self.newest.0;
        let fresh = (newer || probe.unix_ms.saturating_add(LATE_MS) >= self.newest.1)
            && self.window.accept(probe.sequence);
        if fresh {
            if newer {
                self.newest = (probe.sequence, probe.unix_ms);
            }
            self.epoch = self.epoch.max(probe.epoch);
            self.heard_at = now.instant;
        }
        fresh
    }
}

/// How far apart the two wall clocks are, the way of the packet included.
pub(super) fn clock_distance(probe: &Probe, now: Now) -> Duration {
    Duration::from_millis(probe.unix_ms.abs_diff(now.unix_ms()))
}
