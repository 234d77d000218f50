//! The demultiplexer: for which peer something on the main socket is, and what of a coalesced read is a probe, QUIC or
//! noise.
//!
//! Each peer has a key of its own, and that alone tells whose something is: an address may be forged, or a copy's.
//!
//! - *QUIC* is for the peer over whose proven pair it came and whose key its connection ID is marked with. Nothing else
//!   reaches the library; see the module `filter`.
//! - *A probe* is for the peer whose key opens it.
//! - *An ICMP error* is for the peer whose probe it quotes; where it quotes too little, for those that have probed the IP that it
//!   is about.
//! - *What no key opens* may pass to all of them, a few a second.
//!
//! So a stranger's datagram costs one keyed hash for each peer.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use noq::udp::{EcnCodepoint, RecvMeta};
use pinhole_proto::{
    Key,
    probe::{Class, classify},
    puncher::{Pair, SocketId},
};

use super::{
    filter::Strays,
    peer::{PeerId, Share},
    receive::{IcmpArrival, MuxCounters},
    segments::retain,
};

/// All peers of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Demux {
    peers: RwLock<Vec<Arc<Share>>>,
    strays: Mutex<Strays>,
    pub(super) counters: Arc<MuxCounters>,
}

/// A datagram for QUIC that came in one read with others, which are another peer's.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) peer: SocketAddr,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) datagram: Vec<u8>,
}

impl Demux {
    /// Adds a peer.
    pub(super) fn add(&self, peer: Arc<Share>) {
        self.all_mut().push(peer);
    }

    /// Removes a peer.
    pub(super) fn remove(&self, peer: &Arc<Share>) {
        self.all_mut().retain(|other| !Arc::ptr_eq(other, peer));
    }

    /// Returns all peers.
    pub(super) fn peers(&self) -> Vec<Arc<Share>> {
        self.all().clone()
    }

    /// Finds a peer by the address that QUIC knows it by.
    pub(super) fn find(&self, address: SocketAddr) -> Option<Arc<Share>> {
        self.all().iter().find(|peer| peer.id.address() == address).cloned()
    }

    /// Whether a peer has that name.
    pub(super) fn has(&self, id: PeerId) -> bool {
        self.find(id.address()).is_some()
    }

    /// Whether a peer has that key.
    pub(super) fn has_key(&self, key: &Key) -> bool {
        self.all().iter().any(|peer| peer.filter.is_of(key))
    }

    /// Returns the number of peers.
    pub(super) fn count(&self) -> usize {
        self.all().len()
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
            None => self.all().iter().filter(|peer| is_proven(peer)).cloned().collect(),
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
                        Some(owner) => owner.queues.pass_on(Pair { socket, remote }, datagram),
                        None => self.pass_on(remote, datagram),
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

    /// Passes on a datagram of the main socket that QUIC must not see: to a driver if it looks like a probe, else
    /// counts it.
    pub(super) fn pass_on(&self, remote: SocketAddr, datagram: &[u8]) {
        match classify(datagram) {
            Class::Probe => self.pass_on_probe(remote, datagram),
            Class::OldScript => self.pass_on_stray(remote, datagram),
            Class::Quic => self.counters.count_stranger(),
            Class::Other => self.counters.count_noise(),
        }
    }

    fn pass_on_probe(&self, remote: SocketAddr, datagram: &[u8]) {
        let pair = Pair { socket: SocketId::MAIN, remote };
        let peers = self.all();
        if peers.iter().any(|peer| peer.queues.takes_survey_probe(pair, datagram)) {
            return;
        }
        match peers.iter().find(|peer| peer.filter.has_sealed(datagram)) {
            Some(peer) => peer.queues.push_probe(pair, datagram),
            None => {
                drop(peers);
                self.pass_on_stray(remote, datagram);
            }
        }
    }

    fn pass_on_stray(&self, remote: SocketAddr, datagram: &[u8]) {
        if !self.strays.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return self.counters.count_noise();
        }
        for peer in self.all().iter() {
            peer.queues.push_probe(Pair { socket: SocketId::MAIN, remote }, datagram);
        }
    }

    /// Takes an ICMP error about what left the main socket.
    pub(super) fn push_icmp(&self, icmp: &IcmpArrival) {
        let ip = icmp.pair.remote.ip();
        let peers = self.all();
        let wrote_it = |peer: &&Arc<Share>| peer.filter.has_marked(icmp.quoted());
        let is_clear = peers.iter().any(|peer| wrote_it(&peer));
        let concerned = peers.iter().filter(|peer| peer.knows(ip) && peer.sockets().wants_icmp());
        for peer in concerned.filter(|peer| !is_clear || wrote_it(peer)) {
            peer.queues.push_icmp(icmp.clone());
        }
    }

    fn all(&self) -> RwLockReadGuard<'_, Vec<Arc<Share>>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_mut(&self) -> RwLockWriteGuard<'_, Vec<Arc<Share>>> {
        self.peers.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::atomic::Ordering};

    use pinhole_proto::probe::PROBE_BYTES;

    use super::*;
    use crate::mux::{filter::tests::marked, tests::mux};

    const REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7);

    fn meta(len: usize, stride: usize) -> RecvMeta {
        let mut meta = RecvMeta::default();
        (meta.addr, meta.len, meta.stride) = (REMOTE, len, stride);
        meta
    }

    #[tokio::test]
    async fn each_segment_of_a_coalesced_read_is_sorted_by_itself() {
        let (mux, mut arrivals) = mux();
        mux.admit(Pair { socket: SocketId::MAIN, remote: REMOTE });
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
        assert!(mux.sort(SocketId::MAIN, &mut buffer, &mut meta));
        assert_eq!(&buffer[..meta.len], &wanted.concat());
        assert_eq!(arrivals.probes.recv().await.expect("a probe").payload(), segment(0x80, 1, PROBE_BYTES));
        assert_eq!(mux.mux().counters().noise.load(Ordering::Relaxed), 1);
        assert_eq!(
            mux.mux().counters().strangers.load(Ordering::Relaxed),
            2,
            "QUIC that nobody with the key has made"
        );
    }

    #[tokio::test]
    async fn quic_from_an_unproven_address_never_reaches_the_library() {
        let (mux, _arrivals) = mux();
        let mut initial = marked(0xc3, 1, 1200);
        let mut meta = meta(1200, 1200);
        assert!(!mux.sort(SocketId::MAIN, &mut initial, &mut meta));
        assert_eq!((meta.len, mux.mux().counters().strangers.load(Ordering::Relaxed)), (0, 1));
    }
}
