//! The tunnel above the path: what each side says of its end of it, and which pair is used where nothing of it arrives.

use std::time::{Duration, Instant};

use super::{Loss, Now, Pair, Puncher, State, checks::MAX_CHECKS};
use crate::{Role, key::Instances, probe::Probe};

/// Pairs over which a choice of another pair came that are remembered.
const MAX_DECLINED: usize = MAX_CHECKS;

/// A path that carries nothing of the tunnel is avoided for this long: time for a search to find another one, as it mostly
/// does within 5 s.
const AVOIDED: Duration = Duration::from_secs(5);

impl Puncher {
    /// Sets whether a tunnel to the peer stands: the peer is told.
    pub(crate) fn set_tunnel(&mut self, stands: bool) {
        self.transmits.has_tunnel = stands;
    }

    /// Whether the peer's current run had a tunnel to us by its newest word.
    pub(crate) fn peer_has_tunnel(&self) -> bool {
        self.peers.current().is_some_and(|peer| peer.has_tunnel)
    }

    /// Whether the peer has said that it has no tunnel to us, in an answer to a test that left since then.
    pub(crate) fn peer_lacks_tunnel(&self, since: Instant) -> bool {
        self.peer_lacks_tunnel.is_some_and(|asked_at| asked_at >= since)
    }

    /// Records what an answer of the current run to a test says of its end of the tunnel.
    pub(super) fn note_tunnel(&mut self, ack: &Probe, sent_at: Instant) {
        if self.peers.current().is_some_and(|peer| peer.id == ack.instance) {
            self.peer_lacks_tunnel = (!ack.tunnel).then_some(sent_at);
        }
    }

    /// Uses the next pair over which the peer's choice came, if there is one, because nothing of the tunnel arrives by this
    /// one: whoever was faster with a copy than the peer itself is no way to it.
    pub(crate) fn doubt_choice(&mut self, now: Now) {
        let State::Connected(selected) = &self.state else { return };
        let (used, peer_epoch, is_direct) = (selected.pair, selected.peer_epoch, self.peer_is_direct);
        let is_proven = |pair: Pair| pair != used && self.checks.proof(pair).is_some();
        let next = self.declined.iter().position(|pair| is_proven(*pair));
        if let Some(other) = next.and_then(|index| self.declined.remove(index)) {
            self.declined.push_back(used);
            self.connect(other, is_direct, peer_epoch, now);
        }
    }

    /// Gives the path in use up, which carries probes and nothing of the tunnel: another one is looked for. For a while this side
    /// does not answer by it, so that the open side cannot choose it again as long as there is another.
    pub(crate) fn handle_blocked(&mut self, now: Now) {
        if let State::Connected(selected) = &self.state {
            self.avoided = Some((selected.pair, now.instant + AVOIDED));
            self.lose_path(Loss::Blocked, now);
        }
    }

    /// Returns the pair whose tests are neither answered nor chosen now.
    pub(super) fn avoided(&self, now: Instant) -> Option<Pair> {
        self.avoided.filter(|(_, until)| now < *until).map(|(pair, _)| pair)
    }

    /// Whether a pair is proven by that run, and it is the current one.
    pub(super) fn is_proven_by(&self, pair: Pair, instance: u64) -> bool {
        let is_current = self.peers.current().is_some_and(|peer| peer.id == instance);
        is_current && self.checks.is_proven_by(pair, instance)
    }

    /// Remembers a pair to turn to: those first at which the user said that the peer is.
    pub(super) fn decline(&mut self, pair: Pair) {
        let Self { declined, checks, context, .. } = self;
        declined.retain(|declined| checks.proof(*declined).is_some());
        if declined.contains(&pair) || declined.len() == MAX_DECLINED {
            return;
        }
        let rank = |pair: &Pair| context.candidates.origin(pair.remote);
        let place = declined.iter().position(|other| rank(other) > rank(&pair)).unwrap_or(declined.len());
        declined.insert(place, pair);
    }

    /// Returns the runs of the program on both sides, as far as they are proven.
    pub(super) fn instances(&self) -> Instances {
        let (own, peers) = (self.transmits.instance, self.peers.current().map_or(0, |peer| peer.id));
        match self.context.role {
            Role::Serve => Instances { serve: own, open: peers },
            Role::Open => Instances { serve: peers, open: own },
        }
    }
}
