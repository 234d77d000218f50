//! The socket multiplexer: the one owner of an endpoint's UDP sockets.
//!
//! The QUIC library reads and writes through the [`Mux`] as if it were one socket. On the way in, the Mux tells
//! probes from QUIC by their first bits, for every segment of a coalesced read, and lets QUIC through only from
//! pairs that a proof has opened: a stranger's Initial never reaches the QUIC library and so gets no answer.
//! On the way out, it takes the pair that was proven last.
//!
//! To the QUIC library each peer has one address that never changes (`PeerId::address`): which path carries a datagram
//! is the Mux's business alone. A path that changes looks like loss and another round trip's time, and nothing else.
//!
//! The main socket lives as long as the Mux, and all peers share it (`demux`). Hundreds of others come and go with the
//! punchers' methods, each for one peer (`PeerMux`); they are cheap until a proven pair needs them for QUIC.
//!
//! Since probes and QUIC share the sockets at all times, a live tunnel can be punched again without a stop.

mod batch;
mod demux;
mod filter;
mod link;
mod peer;
mod quic;
mod reader;
mod receive;
mod segments;
mod sockets;
mod trace;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
};

use noq::udp::UdpSocketState;
use pinhole_proto::{Key, probe::ProbeSeal, puncher::SocketId};
use pinhole_quic::Opened;

pub(crate) use self::{
    batch::GatheringRuntime,
    peer::{PeerId, PeerMux},
    quic::QuicSocket,
    receive::{Arrivals, SurveyArrival},
};
use self::{
    demux::Demux,
    filter::Filter,
    link::Link,
    peer::Share,
    reader::{Reader, Sink},
    receive::ReceiveQueues,
    sockets::{Adoption, Sockets},
};
pub use self::{
    link::{BufferSizes, KEPT_DESCRIPTORS, WANTED_BUFFER_BYTES},
    receive::MuxCounters,
    trace::{HOPS, Hop, hops},
};
use crate::bind::{BindError, Protocol};

/// The IP that all peers have in the QUIC library's eyes (an address for documents, RFC 5737; nothing is ever sent there).
const PEERS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Our own address in its eyes.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 1);

/// Some address beyond the next router.
pub(crate) const ELSEWHERE: SocketAddr = SocketAddr::new(PEERS, 1);

/// Most peers of one Mux: each has a task, and a look at what arrives.
pub const MAX_PEERS: usize = 256;

/// Opens a port as a main socket has it, and closes it again. Returns the sizes of the buffers that it was granted.
pub(crate) fn try_port(address: SocketAddr) -> Result<BufferSizes, BindError> {
    let socket = Link::bind_udp(SocketId::MAIN, address)?;
    socket.prepare_for_quic().map_err(|source| BindError::new(Protocol::Udp, address, source))?;
    Ok(socket.buffer_sizes())
}

/// The socket multiplexer: owns the sockets, shared by all peers and the QUIC library.
#[derive(Debug)]
pub struct Mux {
    main: Arc<Link>,
    /// What the QUIC library knows about the kernel.
    offload: Arc<UdpSocketState>,
    demux: Arc<Demux>,
    adoption: Arc<Adoption>,
    /// The number in the last peer's name.
    last_peer: AtomicU16,
    /// Held while a peer is added.
    joining: Mutex<()>,
    /// Whether ICMP errors about the main socket's datagrams are subscribed to.
    wants_icmp: Mutex<bool>,
    _main_errors: Reader,
}

/// The reason why a peer has no place in a Mux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// There are [`MAX_PEERS`].
    TooMany,
    /// Another one has its key.
    KeyTaken,
}

impl Mux {
    /// Binds the main socket. Must be called within a tokio runtime.
    pub(crate) fn bind(address: SocketAddr) -> Result<Arc<Self>, BindError> {
        let main = Arc::new(Link::bind_udp(SocketId::MAIN, address)?);
        let offload =
            main.prepare_for_quic().map_err(|source| BindError::new(Protocol::Udp, address, source))?;
        let demux = Arc::new(Demux::default());
        let errors = Reader::of_errors(main.clone(), Sink::Any(demux.clone()));
        Ok(Arc::new(Self {
            main,
            offload: Arc::new(offload),
            demux,
            adoption: Arc::default(),
            last_peer: AtomicU16::new(0),
            joining: Mutex::new(()),
            wants_icmp: Mutex::new(false),
            _main_errors: errors,
        }))
    }

    /// Adds a peer with whom this side has a key. Returns its part of the Mux, what will arrive for it, and the seal of
    /// its probes. What QUIC opens of it is counted by `opened`.
    ///
    /// # Errors
    ///
    /// When another peer has this key, or beyond [`MAX_PEERS`].
    pub(crate) fn join(
        self: &Arc<Self>,
        key: &Key,
        opened: Opened,
    ) -> Result<(Arc<PeerMux>, Arrivals, ProbeSeal), NoPlace> {
        let _one_at_a_time = self.joining.lock().unwrap_or_else(PoisonError::into_inner);
        if self.demux.count() >= MAX_PEERS {
            return Err(NoPlace::TooMany);
        }
        if self.demux.has_key(key) {
            return Err(NoPlace::KeyTaken);
        }
        let id = loop {
            let id = PeerId(self.last_peer.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
            if id.is_valid() && !self.demux.has(id) {
                break id;
            }
        };
        let filter = Arc::new(Filter::new(key));
        let seal = filter.seal();
        let (queues, arrivals) = ReceiveQueues::new(filter.clone(), self.demux.counters.clone());
        let queues = Arc::new(queues);
        let sink = Sink::Peer(queues.clone());
        let sockets = Sockets::new(id, self.main.clone(), sink, self.adoption.clone());
        let share = Share::new(id, (filter, queues), sockets, opened, self.offload.clone());
        let share = Arc::new(share);
        self.demux.add(share.clone());
        Ok((Arc::new(PeerMux { mux: self.clone(), share }), arrivals, seal))
    }

    /// Removes a peer.
    fn leave(&self, share: &Arc<Share>) {
        self.demux.remove(share);
        self.adoption.handle_change();
        self.subscribe_icmp();
    }

    /// Subscribes to ICMP errors about what leaves the main socket as long as any peer wants them.
    fn subscribe_icmp(&self) {
        let mut wants = self.wants_icmp.lock().unwrap_or_else(PoisonError::into_inner);
        let on = self.demux.peers().iter().any(|peer| peer.sockets().wants_icmp());
        if std::mem::replace(&mut *wants, on) != on {
            self.main.subscribe_icmp(on);
        }
    }

    /// Returns the main socket's address.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.main.local_address()
    }

    /// Returns the sizes of the main socket's buffers that the system has granted.
    #[must_use]
    pub fn buffer_sizes(&self) -> BufferSizes {
        self.main.buffer_sizes()
    }

    /// Returns the counts of what was not let through.
    #[must_use]
    pub fn counters(&self) -> &MuxCounters {
        &self.demux.counters
    }
}

#[cfg(test)]
mod tests;
