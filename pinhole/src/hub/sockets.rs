//! Which sockets there are and whose they are: the puncher's, a tunnel's, or both.
//!
//! [`Routes`] has the rules. The first route makes a socket *adopted*: the QUIC library reads it from then on, and its own
//! reader is left with the ICMP errors.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, task::Waker};

use pinhole_proto::{
    puncher::{Pair, SocketId},
    session::Routes,
};

use super::{intake::Intake, reader::Reader, socket::UdpSocket};

#[derive(Debug)]
pub(super) struct Sockets {
    main: Arc<UdpSocket>,
    intake: Arc<Intake>,
    routes: Routes,
    /// All but the main one, with the readers of those that the puncher holds open: of the errors alone where they are
    /// adopted.
    further: BTreeMap<SocketId, (Arc<UdpSocket>, Option<Reader>)>,
    newest: Option<Route>,
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
        let (routes, further) = Default::default();
        Self {
            main,
            intake,
            routes,
            further,
            newest: None,
            adopted,
            version: 0,
            quic: None,
            heeds_icmp: false,
        }
    }

    /// Takes a new socket of the puncher's. A former one of that number is gone.
    pub(super) fn open(&mut self, socket: UdpSocket) {
        let id = socket.id();
        self.further.remove(&id);
        self.routes.open(id);
        self.follow();
        socket.heed_icmp(self.heeds_icmp);
        let socket = Arc::new(socket);
        let reader = Reader::of_everything(socket.clone(), self.intake.clone());
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
    pub(super) fn admit(&mut self, pair: Pair) -> Option<Arc<UdpSocket>> {
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

    /// Asks for ICMP errors about what leaves, or no more.
    pub(super) fn heed_icmp(&mut self, on: bool) {
        if on == self.heeds_icmp {
            return;
        }
        self.heeds_icmp = on;
        self.main.heed_icmp(on);
        for (socket, reader) in self.further.values() {
            socket.heed_icmp(on && reader.is_some());
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
        self.further.get(&id).map(|(socket, _)| socket)
    }

    /// Returns whether QUIC uses that socket.
    pub(super) fn is_adopted(&self, id: SocketId) -> bool {
        self.adopted.iter().any(|socket| socket.id() == id)
    }

    /// Returns whether what comes from `remote` on that socket may be QUIC.
    pub(super) fn is_proven(&self, socket: SocketId, remote: SocketAddr) -> bool {
        self.routes.is_open(Pair { socket, remote })
    }

    /// Returns the newest route.
    pub(super) fn route(&self) -> Option<&Route> {
        self.newest.as_ref()
    }

    fn adopt(&mut self, socket: Arc<UdpSocket>) {
        if let Some((_, Some(reader))) = self.further.get_mut(&socket.id()) {
            *reader = Reader::of_errors(socket.clone(), self.intake.clone());
        }
        self.adopted.push(socket);
        self.handle_change();
    }

    /// Brings what QUIC reads, and where it sends, in line with the sockets and the routes.
    fn follow(&mut self) {
        let Self { adopted, further, routes, .. } = self;
        let before = adopted.len();
        adopted.retain(|socket| socket.id() == SocketId::MAIN || further.contains_key(&socket.id()));
        let has_changed = adopted.len() != before;
        let newest = routes.newest();
        self.newest = newest.and_then(|Pair { socket, remote }| {
            let socket = self.find(socket)?.clone();
            Some(Route { remote, socket })
        });
        if has_changed {
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
