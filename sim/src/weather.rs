//! What the road does in one direction: its usual self, and what has come over it.

use std::time::{Duration, Instant};

use natlab::LinkSpec;

#[derive(Debug)]
pub(super) struct Weather {
    base: LinkSpec,
    silent_until: Option<Instant>,
    lossy: Option<(f64, Instant)>,
    slow: Option<(Duration, Instant)>,
    narrow: Option<(u16, Instant)>,
}

impl Weather {
    pub(super) fn new(base: LinkSpec) -> Self {
        Self { base, silent_until: None, lossy: None, slow: None, narrow: None }
    }

    pub(super) fn silence(&mut self, until: Instant) {
        self.silent_until = self.silent_until.max(Some(until));
    }

    pub(super) fn lose(&mut self, share: f64, until: Instant) {
        self.lossy = Some((share, until));
    }

    pub(super) fn slow(&mut self, by: Duration, until: Instant) {
        self.slow = Some((by, until));
    }

    pub(super) fn narrow(&mut self, mtu: u16, until: Instant) {
        self.narrow = Some((mtu, until));
    }

    /// Forgets what is over by then and returns what the road does now.
    pub(super) fn spec(&mut self, now: Instant) -> LinkSpec {
        self.silent_until = self.silent_until.filter(|until| now < *until);
        self.lossy = self.lossy.filter(|(_, until)| now < *until);
        self.slow = self.slow.filter(|(_, until)| now < *until);
        self.narrow = self.narrow.filter(|(_, until)| now < *until);
        let loss = self.lossy.map_or(self.base.loss, |(share, _)| share);
        LinkSpec {
            loss: if self.silent_until.is_some() { 1.0 } else { loss },
            delay: self.base.delay + self.slow.map_or(Duration::ZERO, |(by, _)| by),
            mtu: self.narrow.map_or(self.base.mtu, |(mtu, _)| mtu),
            ..self.base
        }
    }

    /// When something is over next.
    pub(super) fn changes_at(&self) -> Option<Instant> {
        let lossy = self.lossy.map(|(_, until)| until);
        let slow = self.slow.map(|(_, until)| until);
        let narrow = self.narrow.map(|(_, until)| until);
        [self.silent_until, lossy, slow, narrow].into_iter().flatten().min()
    }
}
