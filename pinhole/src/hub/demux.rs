//! Finds out for which peer something on the main socket is, and sorts coalesced reads into probes, QUIC and noise.
//!
//! - *QUIC* is for the peer over whose proven pair it came and whose key its connection ID is marked with. Nothing else
//!   reaches the library; see the module `filter`.
//! - *A probe* is for a peer whose key opens it. Of several with one key it is for the one that is looked for at this
//!   address, or whose run of the program was met, or that has proven this pair, or has to do with this IP; then for one
//!   that has no path yet. What a peer that has left goes on to send is for nobody.
//! - *An ICMP error* is for the peers that have probed the IP that it is about; by what it quotes, if there are several.
//! - *What no key opens* may pass to all of them, a few a second.
//!
//! So a stranger's datagram costs one keyed hash for each key.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use noq::udp::{EcnCodepoint, RecvMeta};
use pinhole_proto::{
    Key,
    probe::{Class, classify},
    puncher::{Pair, SocketId},
};

use super::{
    filter::{Filter, Sender},
    intake::{HubCounters, IcmpArrival, Intake},
    peer::{PeerId, Share},
    segments::retain,
};

/// Former peers that are remembered of each key.
const MAX_FORMER: usize = 16;

/// All peers of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Demux {
    groups: RwLock<Vec<Group>>,
    pub(super) counters: Arc<HubCounters>,
}

/// Peers that have one key.
#[derive(Debug)]
struct Group {
    filter: Arc<Filter>,
    peers: Vec<Arc<Share>>,
    /// Peers that have left: what they go on to send must not be taken for a new run of another one.
    former: VecDeque<Former>,
}

/// A peer that has left.
#[derive(Debug)]
struct Former {
    met: Option<u64>,
    named: Vec<SocketAddr>,
}

/// A datagram for QUIC that came in one read with others, which are another peer's.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) peer: SocketAddr,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) datagram: Vec<u8>,
}

impl Demux {
    /// Returns the filter of a key: the one that its peers have already, if there are any.
    pub(super) fn filter(&self, key: &Key) -> Arc<Filter> {
        let known =
            self.groups().iter().find(|group| group.filter.is_of(key)).map(|group| group.filter.clone());
        known.unwrap_or_else(|| Arc::new(Filter::new(key)))
    }

    /// Adds a peer.
    pub(super) fn add(&self, peer: Arc<Share>) {
        let mut groups = self.groups_mut();
        match groups.iter_mut().find(|group| Arc::ptr_eq(&group.filter, &peer.filter)) {
            Some(group) => group.peers.push(peer),
            None => {
                groups.push(Group { filter: peer.filter.clone(), peers: vec![peer], former: VecDeque::new() })
            }
        }
    }

    /// Removes a peer.
    pub(super) fn remove(&self, peer: &Arc<Share>) {
        let mut groups = self.groups_mut();
        if let Some(group) = groups.iter_mut().find(|group| Arc::ptr_eq(&group.filter, &peer.filter)) {
            group.peers.retain(|other| !Arc::ptr_eq(other, peer));
            if group.former.len() == MAX_FORMER {
                group.former.pop_front();
            }
            group.former.push_back(Former { met: peer.met(), named: peer.named().clone() });
        }
        groups.retain(|group| !group.peers.is_empty());
    }

    /// A peer is looked for there now: former ones of these IPs are forgotten.
    pub(super) fn expect(&self, peer: &Share, addresses: &[SocketAddr]) {
        let is_there = |named: &SocketAddr| addresses.iter().any(|address| address.ip() == named.ip());
        for group in self.groups_mut().iter_mut().filter(|group| Arc::ptr_eq(&group.filter, &peer.filter)) {
            group.former.retain(|former| !former.named.iter().any(is_there));
        }
    }

    /// Returns all peers.
    pub(super) fn peers(&self) -> Vec<Arc<Share>> {
        self.groups().iter().flat_map(|group| &group.peers).cloned().collect()
    }

    /// Finds a peer by the address that QUIC knows it by.
    pub(super) fn find(&self, address: SocketAddr) -> Option<Arc<Share>> {
        let groups = self.groups();
        groups.iter().flat_map(|group| &group.peers).find(|peer| peer.id.address() == address).cloned()
    }

    /// Whether a peer has that name.
    pub(super) fn has(&self, id: PeerId) -> bool {
        self.find(id.address()).is_some()
    }

    /// Returns the number of peers.
    pub(super) fn count(&self) -> usize {
        self.groups().iter().map(|group| group.peers.len()).sum()
    }

    /// Keeps the QUIC segments of one peer's proven pairs at the front of `buffer` and shortens `meta` to them; hands probes
    /// to the drivers and forgets the rest. What is another peer's goes to `left`. `owner` is the peer whose socket it is;
    /// `None` for the main one. Returns whether anything is left for QUIC.
    pub(super) fn sort(
        &self,
        owner: Option<&Arc<Share>>,
        socket: SocketId,
        (buffer, meta): (&mut [u8], &mut RecvMeta),
        left: &mut VecDeque<Left>,
    ) -> bool {
        let remote = meta.addr;
        let is_proven = |peer: &Arc<Share>| peer.sockets().is_proven(socket, remote);
        let proven: Vec<Arc<Share>> = match owner {
            Some(owner) => Some(owner).filter(|owner| is_proven(owner)).cloned().into_iter().collect(),
            None => self
                .groups()
                .iter()
                .flat_map(|group| &group.peers)
                .filter(|p| is_proven(p))
                .cloned()
                .collect(),
        };
        let mut to = None;
        let kept = retain(buffer, meta.len, meta.stride, |datagram| {
            let admits = |peer: &&Arc<Share>| peer.filter.admits_quic(datagram);
            let is_quic = !proven.is_empty() && classify(datagram) == Class::Quic;
            match is_quic.then(|| proven.iter().find(admits)).flatten() {
                Some(peer) => {
                    let peer = peer.id.address();
                    let is_of_one = *to.get_or_insert(peer) == peer;
                    if !is_of_one {
                        left.push_back(Left { peer, ecn: meta.ecn, datagram: datagram.to_vec() });
                    }
                    is_of_one
                }
                None => {
                    match owner {
                        Some(owner) => self.divert_own(&owner.intake, Pair { socket, remote }, datagram),
                        None => self.divert(remote, datagram),
                    }
                    false
                }
            }
        });
        meta.len = kept;
        let Some(to) = to else { return false };
        // Whatever path it took, and whatever address of ours that led to: to the library they are all one.
        (meta.addr, meta.dst_ip) = (to, None);
        true
    }

    /// Takes a datagram of the main socket that QUIC must not see: hands it to a driver if it looks like a probe, else counts
    /// it.
    pub(super) fn divert(&self, remote: SocketAddr, datagram: &[u8]) {
        match classify(datagram) {
            Class::Probe => self.divert_probe(remote, datagram),
            Class::OldScript => self.divert_stray(remote, datagram),
            Class::Quic => self.counters.count_stranger(),
            Class::Other => self.counters.count_noise(),
        }
    }

    /// Takes a datagram of a further socket that QUIC must not see. It is for the peer whose socket that is, or for nobody:
    /// peers with one key know the ports of each other's slots, and what one of them sends there must not be taken for
    /// another one's.
    pub(super) fn divert_own(&self, intake: &Intake, pair: Pair, datagram: &[u8]) {
        intake.divert(pair, datagram, |sender| {
            let groups = self.groups();
            let group = groups.iter().find(|group| group.peers.iter().any(|peer| peer.id == intake.peer));
            group.is_none_or(|group| group.is_of(intake.peer, pair.remote, sender))
        });
    }

    fn divert_probe(&self, remote: SocketAddr, datagram: &[u8]) {
        let pair = Pair { socket: SocketId::MAIN, remote };
        let groups = self.groups();
        let is_letter =
            groups.iter().flat_map(|group| &group.peers).any(|p| p.intake.takes_letter(pair, datagram));
        if is_letter {
            return;
        }
        for group in groups.iter() {
            if let Some(sender) = group.filter.sealed_by(datagram) {
                if let Some(peer) = group.pick(pair, sender) {
                    peer.intake.push_probe(pair, datagram);
                }
                return;
            }
        }
        drop(groups);
        self.divert_stray(remote, datagram);
    }

    fn divert_stray(&self, remote: SocketAddr, datagram: &[u8]) {
        let pair = Pair { socket: SocketId::MAIN, remote };
        let groups = self.groups();
        let takers =
            groups.iter().flat_map(|group| &group.peers).filter(|p| p.intake.takes_stray(pair, datagram));
        if takers.count() == 0 {
            self.counters.count_noise();
        }
    }

    /// Takes an ICMP error about what left the main socket.
    pub(super) fn push_icmp(&self, icmp: &IcmpArrival) {
        let ip = icmp.pair.remote.ip();
        let groups = self.groups();
        let concerned = || {
            let peers = groups.iter().flat_map(|group| &group.peers);
            peers.filter(|peer| peer.knows(ip) && peer.sockets().heeds_icmp())
        };
        let wrote_it = |peer: &&Arc<Share>| peer.filter.has_marked(icmp.quoted());
        let is_clear = concerned().any(|peer| wrote_it(&peer));
        for peer in concerned().filter(|peer| !is_clear || wrote_it(peer)) {
            peer.intake.push_icmp(icmp.clone());
        }
    }

    fn groups(&self) -> RwLockReadGuard<'_, Vec<Group>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups_mut(&self) -> RwLockWriteGuard<'_, Vec<Group>> {
        self.groups.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// Returns the peer that a probe is for which its key has opened; see the module's text. `sender` is its side and run.
    fn pick(&self, pair: Pair, sender: Sender) -> Option<&Arc<Share>> {
        if self.is_former(pair.remote, sender) {
            return None;
        }
        if let [only] = &self.peers[..] {
            return Some(only);
        }
        let rank = |peer: &Arc<Share>| {
            let sockets = peer.sockets();
            let is_proven = sockets.is_proven(pair.socket, pair.remote);
            let [is_side, is_there, is_run, is_near] = likeness(peer, pair.remote, sender);
            [is_side, is_there, is_run, is_proven, is_near, !sockets.has_route()]
        };
        // The first of those that rank the same.
        self.peers.iter().rev().max_by_key(|peer| rank(peer))
    }

    /// Whether a probe is a former peer's, and of none that there is now.
    fn is_former(&self, remote: SocketAddr, sender: Sender) -> bool {
        let run = sender.map(|(_, instance)| instance);
        let was = |former: &Former| former.named.contains(&remote) || run.is_some() && former.met == run;
        let is =
            |peer: &Arc<Share>| peer.is_named(remote) || run.is_some_and(|instance| peer.has_met(instance));
        self.former.iter().any(was) && !self.peers.iter().any(is)
    }

    /// Whether no peer but that one is more likely the sender of a probe.
    fn is_of(&self, id: PeerId, remote: SocketAddr, sender: Sender) -> bool {
        if self.is_former(remote, sender) {
            return false;
        }
        let likeness = |peer: &Arc<Share>| likeness(peer, remote, sender);
        let own = self.peers.iter().find(|peer| peer.id == id).map(likeness);
        self.peers.iter().map(likeness).max() <= own
    }
}

/// How likely a peer is the sender of a probe: its side, its address, its run of the program, its IP.
fn likeness(peer: &Arc<Share>, remote: SocketAddr, sender: Sender) -> [bool; 4] {
    [
        sender.is_none_or(|(role, _)| role != peer.role),
        peer.is_named(remote),
        sender.is_some_and(|(_, instance)| peer.has_met(instance)),
        peer.knows(remote.ip()),
    ]
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::atomic::Ordering};

    use pinhole_proto::probe::PROBE_BYTES;

    use super::*;
    use crate::hub::{filter::tests::marked, tests::hub};

    const REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7);

    fn meta(len: usize, stride: usize) -> RecvMeta {
        let mut meta = RecvMeta::default();
        (meta.addr, meta.len, meta.stride) = (REMOTE, len, stride);
        meta
    }

    #[tokio::test]
    async fn each_segment_of_a_coalesced_read_is_sorted_by_itself() {
        let (hub, mut arrivals) = hub();
        hub.admit(Pair { socket: SocketId::MAIN, remote: REMOTE });
        let segment = |first: u8, tag: u8, length: usize| {
            let mut s = vec![tag; length];
            s[0] = first;
            s
        };
        let wanted = [marked(0x40, 2, PROBE_BYTES), marked(0xc0, 4, PROBE_BYTES), marked(0x40, 5, 9)];
        let mut buffer = [
            segment(0x80, 1, PROBE_BYTES),
            wanted[0].clone(),
            segment(0x00, 3, PROBE_BYTES),
            segment(0x40, 6, PROBE_BYTES),
            wanted[1].clone(),
            segment(0xc0, 7, PROBE_BYTES),
            wanted[2].clone(),
        ]
        .concat();
        let mut meta = meta(buffer.len(), PROBE_BYTES);
        assert!(hub.sort(SocketId::MAIN, &mut buffer, &mut meta));
        assert_eq!(&buffer[..meta.len], &wanted.concat());
        assert_eq!(arrivals.probes.recv().await.expect("a probe").payload(), segment(0x80, 1, PROBE_BYTES));
        assert_eq!(hub.hub().counters().noise.load(Ordering::Relaxed), 1);
        assert_eq!(
            hub.hub().counters().strangers.load(Ordering::Relaxed),
            2,
            "QUIC that nobody with the key has made"
        );
    }

    #[tokio::test]
    async fn quic_from_an_unproven_address_never_reaches_the_library() {
        let (hub, _arrivals) = hub();
        let mut initial = marked(0xc3, 1, 1200);
        let mut meta = meta(1200, 1200);
        assert!(!hub.sort(SocketId::MAIN, &mut initial, &mut meta));
        assert_eq!((meta.len, hub.hub().counters().strangers.load(Ordering::Relaxed)), (0, 1));
    }
}
