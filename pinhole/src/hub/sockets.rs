//! Which sockets there are and whose they are: the puncher's, a tunnel's, or both.
//!
//! A socket lives as long as the puncher holds it open or a route uses it; the main one lives for ever. The first
//! route makes a socket *adopted*: the QUIC library reads it from then on, and its own reader
//! is left with the ICMP errors.
//!
//! What leaves takes the newest route. What comes by an older one is still let in: the peer may be on its way over.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, task::Waker};

use pinhole_proto::puncher::{Pair, SocketId};

use super::{intake::Intake, reader::Reader, socket::UdpSocket};

/// Proven pairs kept open to QUIC at a time; the newest stay.
const MAX_ROUTES: usize = 16;

#[derive(Debug)]
pub(super) struct Sockets {
    main: Arc<UdpSocket>,
    intake: Arc<Intake>,
    /// Those that the puncher holds open, with their readers: of the errors alone where they are adopted.
    open: BTreeMap<SocketId, (Arc<UdpSocket>, Reader)>,
    /// The oldest first.
    routes: Vec<Route>,
    /// Those that QUIC reads, the main one first.
    adopted: Vec<Arc<UdpSocket>>,
    /// Changes with `adopted`.
    version: u64,
    /// Whom to wake when `adopted` changes.
    quic: Option<Waker>,
    heeds_icmp: bool,
}

/// A proven pair.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) remote: SocketAddr,
    pub(super) socket: Arc<UdpSocket>,
}

impl Route {
    /// Whether that is the same pair.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.remote == other.remote && Arc::ptr_eq(&self.socket, &other.socket)
    }
}

/// What the QUIC library reads, as far as it has been told.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    pub(super) sockets: Vec<Arc<UdpSocket>>,
    version: Option<u64>,
}

impl Sockets {
    pub(super) fn new(main: Arc<UdpSocket>, intake: Arc<Intake>) -> Self {
        let adopted = vec![main.clone()];
        let (open, routes) = Default::default();
        Self { main, intake, open, routes, adopted, version: 0, quic: None, heeds_icmp: false }
    }

    /// Takes a new socket of the puncher's. A former one of that number is gone.
    pub(super) fn open(&mut self, socket: UdpSocket) {
        self.close(socket.id());
        self.routes.retain(|route| route.socket.id() != socket.id());
        self.forget_unused();
        socket.heed_icmp(self.heeds_icmp);
        let socket = Arc::new(socket);
        let reader = Reader::of_everything(socket.clone(), self.intake.clone());
        self.open.insert(socket.id(), (socket, reader));
    }

    /// The puncher is done with a socket. It closes unless a route uses it.
    pub(super) fn close(&mut self, id: SocketId) {
        self.open.remove(&id);
        self.forget_unused();
    }

    /// Opens a proven pair to QUIC and returns its socket. Nothing happens to a pair whose socket is gone.
    ///
    /// It is the newest route from now on. Routes over sockets that the puncher has closed end, and the oldest one
    /// beyond the bound.
    pub(super) fn admit(&mut self, pair: Pair) -> Option<Arc<UdpSocket>> {
        let socket = self.find(pair.socket)?.clone();
        let Self { routes, open, .. } = self;
        routes.retain(|Route { remote, socket: other }| {
            let is_needed =
                other.id() == SocketId::MAIN || Arc::ptr_eq(other, &socket) || open.contains_key(&other.id());
            is_needed && !(*remote == pair.remote && Arc::ptr_eq(other, &socket))
        });
        if self.routes.len() == MAX_ROUTES {
            self.routes.remove(0);
        }
        self.routes.push(Route { remote: pair.remote, socket: socket.clone() });
        if !self.adopted.iter().any(|adopted| Arc::ptr_eq(adopted, &socket)) {
            self.adopt(socket.clone());
        }
        self.forget_unused();
        Some(socket)
    }

    /// Asks for ICMP errors about what leaves, or no more.
    pub(super) fn heed_icmp(&mut self, on: bool) {
        if on == self.heeds_icmp {
            return;
        }
        self.heeds_icmp = on;
        self.main.heed_icmp(on);
        for (socket, _) in self.open.values() {
            socket.heed_icmp(on);
        }
    }

    /// Brings the QUIC library's knowledge up to date, and remembers whom to wake when it changes.
    pub(super) fn tell(&mut self, known: &mut Adopted, waker: &Waker) {
        if !self.quic.as_ref().is_some_and(|quic| quic.will_wake(waker)) {
            self.quic = Some(waker.clone());
        }
        if known.version != Some(self.version) {
            *known = Adopted { sockets: self.adopted.clone(), version: Some(self.version) };
        }
    }

    /// Returns the socket of that number, if there is one.
    pub(super) fn find(&self, id: SocketId) -> Option<&Arc<UdpSocket>> {
        if id == SocketId::MAIN {
            return Some(&self.main);
        }
        let closed = || self.adopted.iter().find(|socket| socket.id() == id);
        self.open.get(&id).map(|(socket, _)| socket).or_else(closed)
    }

    /// Returns whether QUIC uses that socket.
    pub(super) fn is_adopted(&self, id: SocketId) -> bool {
        self.adopted.iter().any(|socket| socket.id() == id)
    }

    /// Returns whether what comes from `remote` on that socket may be QUIC.
    pub(super) fn is_proven(&self, socket: SocketId, remote: SocketAddr) -> bool {
        self.routes.iter().any(|route| route.remote == remote && route.socket.id() == socket)
    }

    /// Returns the newest route.
    pub(super) fn route(&self) -> Option<&Route> {
        self.routes.last()
    }

    fn adopt(&mut self, socket: Arc<UdpSocket>) {
        if let Some((_, reader)) = self.open.get_mut(&socket.id()) {
            *reader = Reader::of_errors(socket.clone(), self.intake.clone());
        }
        self.adopted.push(socket);
        self.handle_change();
    }

    /// Forgets adopted sockets that neither the puncher nor a route holds.
    fn forget_unused(&mut self) {
        let Self { adopted, open, routes, .. } = self;
        let before = adopted.len();
        adopted.retain(|socket| {
            socket.id() == SocketId::MAIN
                || open.contains_key(&socket.id())
                || routes.iter().any(|route| Arc::ptr_eq(&route.socket, socket))
        });
        if adopted.len() != before {
            self.handle_change();
        }
    }

    fn handle_change(&mut self) {
        self.version += 1;
        if let Some(quic) = self.quic.take() {
            quic.wake();
        }
    }
}
