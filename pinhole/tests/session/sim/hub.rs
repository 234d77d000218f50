//! What the Hub does, without sockets: which there are, which pairs are open to QUIC, and by which one it sends.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use natlab::{Network, Place};
use pinhole_proto::puncher::{Pair, SocketId};

/// UDP port of both sides.
pub(super) const PORT: u16 = 5555;

/// TTL of a packet that is to arrive.
const FULL_TTL: u8 = 64;

/// Proven pairs kept open to QUIC at a time, as in the Hub.
pub(super) const MAX_ROUTES: usize = 16;

#[derive(Debug)]
pub(super) struct Hub {
    place: Place,
    /// All that are bound.
    ports: BTreeMap<SocketId, u16>,
    /// Those that the puncher holds open.
    open: BTreeSet<SocketId>,
    /// The oldest first.
    routes: Vec<Pair>,
    /// Datagrams of QUIC that have left.
    pub(super) sent: u64,
}

impl Hub {
    pub(super) fn bind(place: Place, network: &mut Network) -> Self {
        network.listen(place, PORT);
        let ports = BTreeMap::from([(SocketId::MAIN, PORT)]);
        let (open, routes, sent) = Default::default();
        Self { place, ports, open, routes, sent }
    }

    /// Opens a further socket; false if its port is taken.
    pub(super) fn open(&mut self, socket: SocketId, port: u16, network: &mut Network) -> bool {
        if self.ports.values().any(|taken| *taken == port) {
            return false;
        }
        self.close(socket, network);
        self.routes.retain(|route| route.socket != socket);
        self.forget_unused(network);
        network.listen(self.place, port);
        self.ports.insert(socket, port);
        self.open.insert(socket)
    }

    /// The puncher is done with a socket. It closes unless a route uses it.
    pub(super) fn close(&mut self, socket: SocketId, network: &mut Network) {
        self.open.remove(&socket);
        self.forget_unused(network);
    }

    /// Opens a proven pair to QUIC, whose datagrams take it from now on.
    pub(super) fn admit(&mut self, pair: Pair, network: &mut Network) {
        if !self.ports.contains_key(&pair.socket) {
            return;
        }
        let Self { routes, open, .. } = self;
        routes.retain(|route| {
            let is_needed =
                route.socket == SocketId::MAIN || route.socket == pair.socket || open.contains(&route.socket);
            is_needed && *route != pair
        });
        if self.routes.len() == MAX_ROUTES {
            self.routes.remove(0);
        }
        self.routes.push(pair);
        self.forget_unused(network);
    }

    /// Sends a datagram, if the socket is there.
    pub(super) fn send(&self, pair: Pair, ttl: Option<u8>, payload: Vec<u8>, network: &mut Network) {
        let (Some(port), SocketAddr::V4(to)) = (self.ports.get(&pair.socket), pair.remote) else { return };
        network.send(self.place, *port, to, ttl.unwrap_or(FULL_TTL), payload);
    }

    /// Sends a datagram of QUIC's by the newest route.
    pub(super) fn send_quic(&mut self, payload: Vec<u8>, network: &mut Network) {
        if let Some(route) = self.routes.last() {
            self.sent += 1;
            self.send(*route, None, payload, network);
        }
    }

    /// Ends with the program.
    pub(super) fn close_all(&self, network: &mut Network) {
        self.ports.values().for_each(|port| network.close(self.place, *port));
    }

    pub(super) fn socket_at(&self, port: u16) -> Option<SocketId> {
        self.ports.iter().find(|(_, own)| **own == port).map(|(socket, _)| *socket)
    }

    pub(super) fn is_proven(&self, pair: Pair) -> bool {
        self.routes.contains(&pair)
    }

    /// Whether errors about what leaves from there are read during a search.
    pub(super) fn heeds_icmp(&self, socket: SocketId) -> bool {
        socket == SocketId::MAIN || self.open.contains(&socket)
    }

    /// Sockets and routes.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.ports.len(), self.routes.len())
    }

    fn forget_unused(&mut self, network: &mut Network) {
        let Self { place, ports, open, routes, .. } = self;
        ports.retain(|socket, port| {
            let is_used = *socket == SocketId::MAIN
                || open.contains(socket)
                || routes.iter().any(|route| route.socket == *socket);
            if !is_used {
                network.close(*place, *port);
            }
            is_used
        });
    }
}
