//! Which sockets one peer has and what for: the puncher's, a tunnel's, or both. The main one is everybody's.
//!
//! [`Routes`] has the rules. The first route makes a socket *adopted*: the QUIC library reads it from then on, and its own
//! reader is left with the ICMP errors.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use pinhole_proto::{
    puncher::{Pair, SocketId},
    session::Routes,
};

use super::{
    link::Link,
    peer::PeerId,
    reader::{Reader, Sink},
};

#[derive(Debug)]
pub(super) struct Sockets {
    peer: PeerId,
    main: Arc<Link>,
    /// Where what arrives at the further sockets goes.
    sink: Sink,
    routes: Routes,
    /// All but the main one, with the readers of those that the puncher holds open: of the errors alone where they are
    /// adopted.
    further: BTreeMap<SocketId, (Arc<Link>, Option<Reader>)>,
    newest: Option<Route>,
    /// Those that QUIC reads, beside the main one.
    adopted: Vec<Arc<Link>>,
    /// Hears when `adopted` changes.
    quic: Arc<Adoption>,
    wants_icmp: bool,
}

/// Tells the QUIC library that it has other sockets to read.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    version: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Adoption {
    /// The sockets are others now.
    pub(super) fn handle_change(&self) {
        self.version.fetch_add(1, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Remembers whom to wake at the next change, and returns the number of changes so far.
    pub(super) fn listen(&self, waker: &Waker) -> u64 {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        drop(known);
        self.version.load(Ordering::Acquire)
    }
}

/// A proven pair.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) peer: PeerId,
    pub(super) remote: SocketAddr,
    pub(super) socket: Arc<Link>,
}

impl Route {
    /// Whether that is the same pair, to the same peer.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.peer == other.peer && self.remote == other.remote && Arc::ptr_eq(&self.socket, &other.socket)
    }
}

impl Sockets {
    pub(super) fn new(peer: PeerId, main: Arc<Link>, sink: Sink, quic: Arc<Adoption>) -> Self {
        let (routes, further, adopted) = Default::default();
        Self { peer, main, sink, routes, further, newest: None, adopted, quic, wants_icmp: false }
    }

    /// Takes a new socket of the puncher's. A former one of that number is gone.
    pub(super) fn open(&mut self, socket: Link) {
        let id = socket.id();
        self.further.remove(&id);
        self.routes.open(id);
        self.follow();
        socket.subscribe_icmp(self.wants_icmp);
        let socket = Arc::new(socket);
        let reader = Reader::of_everything(socket.clone(), self.sink.clone());
        self.further.insert(id, (socket, Some(reader)));
    }

    /// The puncher is done with a socket. It closes unless a route uses it.
    pub(super) fn close(&mut self, id: SocketId) {
        self.routes.close(id);
        if self.routes.is_used(id) {
            self.further.entry(id).and_modify(|(_, reader)| *reader = None);
        } else {
            self.further.remove(&id);
            self.follow();
        }
    }

    /// Opens a proven pair to QUIC and returns its socket. Nothing happens to a pair whose socket is gone.
    pub(super) fn admit(&mut self, pair: Pair) -> Option<Arc<Link>> {
        let socket = self.find(pair.socket)?.clone();
        self.routes.admit(pair);
        if !self.is_adopted(pair.socket) {
            self.adopt(socket.clone());
        }
        let Self { further, routes, .. } = self;
        further.retain(|id, _| routes.is_used(*id));
        self.follow();
        Some(socket)
    }

    /// Asks for ICMP errors about what leaves the further sockets, or no more. Returns whether that is news.
    pub(super) fn subscribe_icmp(&mut self, on: bool) -> bool {
        if on == self.wants_icmp {
            return false;
        }
        self.wants_icmp = on;
        for (socket, reader) in self.further.values() {
            socket.subscribe_icmp(on && reader.is_some());
        }
        true
    }

    /// Whether ICMP errors are of interest.
    pub(super) fn wants_icmp(&self) -> bool {
        self.wants_icmp
    }

    /// Returns the sockets that QUIC reads, beside the main one.
    pub(super) fn adopted(&self) -> &[Arc<Link>] {
        &self.adopted
    }

    /// Returns the socket of that number, if there is one.
    pub(super) fn find(&self, id: SocketId) -> Option<&Arc<Link>> {
        if id == SocketId::MAIN {
            return Some(&self.main);
        }
        self.further.get(&id).map(|(socket, _)| socket)
    }

    /// Returns whether QUIC uses that socket.
    pub(super) fn is_adopted(&self, id: SocketId) -> bool {
        id == SocketId::MAIN || self.adopted.iter().any(|socket| socket.id() == id)
    }

    /// Returns whether what comes from `remote` on that socket may be QUIC.
    pub(super) fn is_proven(&self, socket: SocketId, remote: SocketAddr) -> bool {
        self.routes.is_open(Pair { socket, remote })
    }

    /// Returns the newest route.
    pub(super) fn route(&self) -> Option<&Route> {
        self.newest.as_ref()
    }

    fn adopt(&mut self, socket: Arc<Link>) {
        if let Some((_, Some(reader))) = self.further.get_mut(&socket.id()) {
            *reader = Reader::of_errors(socket.clone(), self.sink.clone());
        }
        self.adopted.push(socket);
        self.quic.handle_change();
    }

    /// Brings what QUIC reads, and where it sends, in line with the sockets and the routes.
    fn follow(&mut self) {
        let Self { adopted, further, routes, .. } = self;
        let before = adopted.len();
        adopted.retain(|socket| further.contains_key(&socket.id()));
        let has_changed = adopted.len() != before;
        let newest = routes.newest();
        self.newest = newest.and_then(|Pair { socket, remote }| {
            let socket = self.find(socket)?.clone();
            Some(Route { peer: self.peer, remote, socket })
        });
        if has_changed {
            self.quic.handle_change();
        }
    }
}
