//! What the Mux does, without sockets: which there are, which pairs are open to QUIC, and by which one it sends.

use std::{collections::BTreeMap, net::SocketAddr};

use natlab::{Network, Place};
use pinhole_proto::{
    puncher::{Pair, SocketId},
    session::Routes,
};

/// UDP port of both sides.
pub(super) const PORT: u16 = 5555;

/// TTL of a packet that is to arrive.
const FULL_TTL: u8 = 64;

#[derive(Debug)]
pub(super) struct Mux {
    place: Place,
    /// All that are bound.
    ports: BTreeMap<SocketId, u16>,
    routes: Routes,
    /// Datagrams of QUIC that have left.
    pub(super) sent: u64,
}

impl Mux {
    pub(super) fn bind(place: Place, network: &mut Network) -> Self {
        network.listen(place, PORT);
        let ports = BTreeMap::from([(SocketId::MAIN, PORT)]);
        Self { place, ports, routes: Routes::default(), sent: 0 }
    }

    /// Opens a further socket; false if its port is taken.
    pub(super) fn open(&mut self, socket: SocketId, port: u16, network: &mut Network) -> bool {
        if self.ports.values().any(|taken| *taken == port) {
            return false;
        }
        if let Some(former) = self.ports.remove(&socket) {
            network.close(self.place, former);
        }
        self.routes.open(socket);
        network.listen(self.place, port);
        self.ports.insert(socket, port);
        true
    }

    /// The puncher is done with a socket. It closes unless a route uses it.
    pub(super) fn close(&mut self, socket: SocketId, network: &mut Network) {
        self.routes.close(socket);
        self.forget_unused(network);
    }

    /// Opens a proven pair to QUIC, if its socket is there; its datagrams take it from now on.
    pub(super) fn admit(&mut self, pair: Pair, network: &mut Network) {
        if self.ports.contains_key(&pair.socket) {
            self.routes.admit(pair);
            self.forget_unused(network);
        }
    }

    /// Sends a datagram, if the socket is there.
    pub(super) fn send(&self, pair: Pair, ttl: Option<u8>, payload: Vec<u8>, network: &mut Network) {
        let (Some(port), SocketAddr::V4(to)) = (self.ports.get(&pair.socket), pair.remote) else { return };
        network.send(self.place, *port, to, ttl.unwrap_or(FULL_TTL), payload);
    }

    /// Sends a datagram of QUIC's by the newest route.
    pub(super) fn send_quic(&mut self, payload: Vec<u8>, network: &mut Network) {
        if let Some(route) = self.routes.newest() {
            self.sent += 1;
            self.send(route, None, payload, network);
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
        self.routes.is_open(pair)
    }

    /// Whether errors about what leaves from there are read during a search.
    pub(super) fn wants_icmp(&self, socket: SocketId) -> bool {
        self.routes.is_held(socket)
    }

    /// Sockets and routes.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.ports.len(), self.routes.count())
    }

    fn forget_unused(&mut self, network: &mut Network) {
        let Self { place, ports, routes, .. } = self;
        ports.retain(|socket, port| {
            let is_used = routes.is_used(*socket);
            if !is_used {
                network.close(*place, *port);
            }
            is_used
        });
    }
}
