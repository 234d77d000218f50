//! The QUIC library without its sockets and tasks.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use noq_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint, Event, FourTuple, Incoming,
    ServerConfig, Transmit, VarInt,
};

use pinhole_proto::key::Instances;

use pinhole_quic::{PathEstimate, Shared};

/// Where the peer is, as QUIC sees it: the Mux knows better.
const PEER: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1);

/// An endpoint and its connections.
pub struct Quic {
    endpoint: Endpoint,
    connections: BTreeMap<usize, Connection>,
    leaving: Vec<Vec<u8>>,
}

impl Quic {
    pub fn new(shared: &Shared, seed: [u8; 32]) -> Self {
        let mut config = pinhole_quic::endpoint(&shared.credentials);
        config.rng_seed(Some(seed));
        let answer = shared.server(Instances::default(), PathEstimate::UNKNOWN);
        let endpoint = Endpoint::new(Arc::new(config), Some(Arc::new(answer)), true);
        Self { endpoint, connections: BTreeMap::new(), leaving: Vec::new() }
    }

    /// Sets how handshakes are answered.
    pub fn answer(&mut self, config: ServerConfig) {
        self.endpoint.set_server_config(Some(Arc::new(config)));
    }

    pub fn dial(&mut self, config: ClientConfig, now: Instant) -> usize {
        let (handle, connection) = self.endpoint.connect(now, config, PEER, "pinhole").expect("valid");
        self.connections.insert(handle.0, connection);
        handle.0
    }

    pub fn accept(&mut self, incoming: Incoming, now: Instant) -> Option<usize> {
        let mut buffer = Vec::new();
        let accepted = self.endpoint.accept(incoming, now, &mut buffer, None);
        match accepted {
            Ok((handle, connection)) => {
                self.connections.insert(handle.0, connection);
                Some(handle.0)
            }
            Err(error) => {
                self.respond(error.response.as_ref(), buffer);
                None
            }
        }
    }

    pub fn ignore(&mut self, incoming: Incoming) {
        self.endpoint.ignore(incoming);
    }

    pub fn handle_datagram(&mut self, payload: &[u8], now: Instant) -> Option<Incoming> {
        let mut buffer = Vec::new();
        let path = FourTuple::from_remote(PEER);
        match self.endpoint.handle(now, path, None, BytesMut::from(payload), &mut buffer)? {
            DatagramEvent::ConnectionEvent(ConnectionHandle(handle), event) => {
                if let Some(connection) = self.connections.get_mut(&handle) {
                    connection.handle_event(event);
                }
                None
            }
            DatagramEvent::NewConnection(incoming) => Some(incoming),
            DatagramEvent::Response(transmit) => {
                self.respond(Some(&transmit), buffer);
                None
            }
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        for connection in self.connections.values_mut() {
            if connection.poll_timeout().is_some_and(|at| at <= now) {
                connection.handle_timeout(now);
            }
        }
    }

    pub fn handle_network_change(&mut self, now: Instant) {
        self.connections.values_mut().for_each(|connection| connection.handle_network_change(None, now));
    }

    pub fn close(&mut self, handle: usize, code: VarInt, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&handle) {
            connection.close(now, code, Bytes::new());
        }
    }

    /// Lets the connections do what they want: returns what leaves, and what has happened.
    pub fn drive(&mut self, now: Instant) -> (Vec<Vec<u8>>, Vec<(usize, Event)>) {
        let (mut leaving, mut events) = (std::mem::take(&mut self.leaving), Vec::new());
        let Self { endpoint, connections, .. } = self;
        connections.retain(|handle, connection| {
            let mut buffer = Vec::new();
            while let Some(transmit) = connection.poll_transmit(now, NonZeroUsize::MIN, &mut buffer) {
                leaving.push(buffer[..transmit.size].to_vec());
                buffer.clear();
            }
            while let Some(event) = connection.poll_endpoint_events() {
                if let Some(answer) = endpoint.handle_event(ConnectionHandle(*handle), event) {
                    connection.handle_event(answer);
                }
            }
            events.extend(std::iter::from_fn(|| connection.poll()).map(|event| (*handle, event)));
            !connection.is_drained()
        });
        (leaving, events)
    }

    pub fn get(&mut self, handle: usize) -> Option<&mut Connection> {
        self.connections.get_mut(&handle)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.connections.values().filter_map(Connection::poll_timeout).min()
    }

    pub fn count(&self) -> usize {
        self.connections.len()
    }

    fn respond(&mut self, transmit: Option<&Transmit>, buffer: Vec<u8>) {
        self.leaving.extend(transmit.map(|transmit| buffer[..transmit.size].to_vec()));
    }
}
