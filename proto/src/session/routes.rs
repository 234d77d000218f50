//! Which pairs are open to QUIC, and which sockets must stay.
//!
//! A socket lives as long as the puncher holds it open or a route uses it; the main one always does. What leaves takes the
//! newest route. What comes by an older one is still let in: the peer may be on its way over.

use std::collections::BTreeSet;

use crate::puncher::{Pair, SocketId};

/// Routes at a time; the newest stay.
pub const MAX_ROUTES: usize = 16;

/// The routes of one endpoint's QUIC socket, and the sockets that its puncher holds open.
#[derive(Debug, Default)]
pub struct Routes {
    open: BTreeSet<SocketId>,
    /// The oldest first.
    pairs: Vec<Pair>,
}

impl Routes {
    /// The puncher opens a socket. Routes over a former one of that number end.
    pub fn open(&mut self, socket: SocketId) {
        self.pairs.retain(|pair| pair.socket != socket);
        self.open.insert(socket);
    }

    /// The puncher closes a socket, which stays while a route uses it.
    pub fn close(&mut self, socket: SocketId) {
        self.open.remove(&socket);
    }

    /// Opens a pair whose socket is there: it is the newest route from now on. Routes over sockets that the puncher has
    /// closed end, and the oldest one beyond [`MAX_ROUTES`].
    pub fn admit(&mut self, pair: Pair) {
        let Self { open, pairs } = self;
        pairs.retain(|route| {
            let is_needed =
                route.socket == SocketId::MAIN || route.socket == pair.socket || open.contains(&route.socket);
            is_needed && *route != pair
        });
        if pairs.len() == MAX_ROUTES {
            pairs.remove(0);
        }
        pairs.push(pair);
    }

    /// Returns the newest route: what leaves takes it.
    #[must_use]
    pub fn newest(&self) -> Option<Pair> {
        self.pairs.last().copied()
    }

    /// Whether what comes by that pair may be QUIC.
    #[must_use]
    pub fn is_open(&self, pair: Pair) -> bool {
        self.pairs.contains(&pair)
    }

    /// Whether the puncher holds a socket open.
    #[must_use]
    pub fn is_held(&self, socket: SocketId) -> bool {
        socket == SocketId::MAIN || self.open.contains(&socket)
    }

    /// Whether a socket must stay.
    #[must_use]
    pub fn is_used(&self, socket: SocketId) -> bool {
        self.is_held(socket) || self.pairs.iter().any(|pair| pair.socket == socket)
    }

    /// Returns the number of routes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.pairs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(socket: u16, port: u16) -> Pair {
        Pair { socket: SocketId(socket), remote: ([203, 0, 113, 2], port).into() }
    }

    #[test]
    fn the_newest_route_is_taken_and_older_ones_are_still_heard() {
        let mut routes = Routes::default();
        routes.open(SocketId(1));
        routes.admit(pair(0, 5555));
        routes.admit(pair(1, 5555));
        assert_eq!(routes.newest(), Some(pair(1, 5555)));
        assert!(routes.is_open(pair(0, 5555)) && !routes.is_open(pair(0, 5556)));
    }

    #[test]
    fn a_socket_stays_while_a_route_uses_it_and_no_longer() {
        let mut routes = Routes::default();
        routes.open(SocketId(1));
        routes.admit(pair(1, 5555));
        routes.close(SocketId(1));
        assert!(routes.is_used(SocketId(1)) && !routes.is_held(SocketId(1)));
        routes.admit(pair(0, 5555));
        assert!(!routes.is_used(SocketId(1)) && routes.is_used(SocketId::MAIN));
    }

    #[test]
    fn a_socket_of_the_same_number_does_not_inherit_routes() {
        let mut routes = Routes::default();
        routes.open(SocketId(1));
        routes.admit(pair(1, 5555));
        routes.open(SocketId(1));
        assert_eq!(routes.newest(), None);
    }

    #[test]
    fn routes_are_bounded_and_the_oldest_makes_room() {
        let mut routes = Routes::default();
        for port in 1..=40 {
            routes.admit(pair(0, port));
        }
        assert_eq!(routes.count(), MAX_ROUTES);
        assert!(routes.is_open(pair(0, 40)) && !routes.is_open(pair(0, 24)));
    }
}
