//! The place of this machine: its own address, whether a NAT stands before it, and whether the peer is on this very
//! machine.

use std::net::{IpAddr, SocketAddr};

use super::{Icmp, IcmpKind, Loss, Now, Pair, Puncher, State};
use crate::nat::NotPublic;

impl Puncher {
    /// Returns the address of the peer toward which [`Self::set_local`] wants the own one: that of the path in use, or
    /// last in use.
    #[must_use]
    pub fn heading(&self) -> Option<SocketAddr> {
        self.used.map(|pair| pair.remote).or(self.context.candidates.first())
    }

    /// Records the own address toward [`Self::heading`], if the system knows it. Where it is another one than was
    /// last known, the path in use begins elsewhere now, and its mappings are not ours any more.
    pub fn set_local(&mut self, ip: Option<IpAddr>, now: Now) {
        if ip.is_none() && self.connected_pair().is_some() {
            return; // no network at the moment; it may come back as it was
        }
        ip.into_iter().for_each(|ip| self.transmits.set_own(ip));
        let toward = self.heading().map(|heading| heading.ip());
        if !self.context.set_local(toward, ip) {
            return;
        }
        (self.keepalive, self.lifetime) = Default::default();
        match &mut self.state {
            State::Idle => {}
            State::Searching(search) => {
                search.observations.forget_closed();
                self.context.note_loss(true, now.instant);
            }
            State::Connected(_) => self.lose_path(Loss::Rerouted, now),
        }
    }

    /// Records an address of the peer that no machine on the internet has, and to which no network of this machine
    /// leads. A search says so at once.
    pub fn set_not_public(&mut self, address: Option<(IpAddr, NotPublic)>) {
        self.context.not_public = address;
    }

    /// Whether an ICMP error makes it worth a look whether the peer's program still has its port. ICMP itself is no
    /// proof of its end: a router, a firewall, or another machine that has the peer's address by now says the same. But
    /// where the peer runs on this very machine, with no NAT before it, this system's own table of sockets can be asked;
    /// see [`Self::handle_closed`].
    #[must_use]
    pub fn doubts_peer(&self, icmp: &Icmp<'_>) -> bool {
        icmp.kind == IcmpKind::PortUnreachable
            && icmp.offender == icmp.pair.remote.ip()
            && self.used == Some(icmp.pair)
            && self.is_neighbour()
            && self.transmits.is_ours(icmp.quoted)
    }

    /// Records that no socket of this machine has the peer's port. Where that lasts and nothing is heard, the peer's
    /// program has ended.
    pub fn handle_closed(&mut self, now: Now) {
        if self.is_neighbour()
            && let State::Searching(search) = &mut self.state
        {
            search.observations.handle_closed(now.instant);
        }
    }

    /// Whether the peer sees us on that pair at the address of our own interface.
    pub(super) fn is_direct(&self, pair: Pair) -> bool {
        let observed = match &self.state {
            State::Connected(selected) if selected.pair == pair => selected.observed,
            State::Idle | State::Searching(_) | State::Connected(_) => {
                self.checks.proof(pair).and_then(|proof| proof.observed)
            }
        };
        let own = self.context.local.zip(self.transmits.port(pair.socket));
        observed.is_some() && observed == own.map(|(ip, port)| SocketAddr::new(ip, port))
    }

    /// Whether a tunnel waits for a path to a peer that runs on this very machine, as far as that is certain: the address
    /// is our own, no NAT leads it elsewhere, and we have not moved.
    fn is_neighbour(&self) -> bool {
        let keeps_tunnel = matches!(&self.state, State::Searching(search) if search.mode().keeps_tunnel());
        let ip = self.used.map(|pair| pair.remote.ip());
        let is_here = ip.is_some_and(|ip| ip.is_loopback() || self.context.local == Some(ip));
        keeps_tunnel && self.peer_is_direct && is_here && !self.context.has_moved()
    }
}
