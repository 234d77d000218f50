//! The open side of a tunnel, made of the program's own machines, that does what its owner wants.

use std::{
    io::IoSliceMut,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use noq::udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use noq_proto::{Dir, Event as QuicEvent, StreamId, TransportConfig, VarInt, congestion::CubicConfig};
use pinhole::{
    Key, Role,
    proto::{
        Now, Puncher,
        probe::{Class, ProbeSeal, classify},
        puncher::{Config, Event, Output, Pair, Schedule, SocketId},
    },
};

use pinhole_quic::{Credentials, PathEstimate, Shared};
use sim::quic::Quic;

/// How long a tunnel may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// More than anything that is sent: nobody waits for acknowledgements.
const ENDLESS: u64 = 1 << 40;

pub(super) struct Hostile {
    socket: UdpSocket,
    offload: UdpSocketState,
    remote: SocketAddr,
    puncher: Puncher,
    shared: Shared,
    quic: Quic,
    connection: Option<usize>,
    is_up: bool,
    /// Whether QUIC hears what comes.
    hears: bool,
}

impl Hostile {
    /// Punches, and has a tunnel.
    pub(super) fn connect(own: SocketAddr, remote: SocketAddr, phrase: &str) -> Self {
        let key = Key::stretch(&phrase.parse().expect("a phrase"));
        let socket = UdpSocket::bind(own).expect("the port");
        let offload = UdpSocketState::new(UdpSockRef::from(&socket)).expect("offload");
        let shared = Shared::new(Credentials::new(&key, [9; 16]).expect("TLS"));
        let (seal, schedule) = (ProbeSeal::new(&key), Schedule::new(&key));
        let puncher = Puncher::new(Config::new(Role::Open, seal, schedule, [9; 32], own.port()));
        let quic = Quic::new(&shared, [8; 32]);
        let mut peer = Self {
            socket,
            offload,
            remote,
            puncher,
            shared,
            quic,
            connection: None,
            is_up: false,
            hears: true,
        };
        peer.puncher.set_peer(&[remote], now());
        peer.puncher.search(now());
        let until = Instant::now() + PATIENCE;
        while !peer.is_up {
            assert!(Instant::now() < until, "no tunnel");
            peer.step(Duration::from_millis(5));
        }
        peer
    }

    /// Opens a stream and writes on it.
    pub(super) fn open(&mut self, bytes: &[u8]) -> StreamId {
        loop {
            let connection = self.connection();
            if let Some(id) = connection.streams().open(Dir::Bi) {
                self.write(id, bytes);
                return id;
            }
            self.step(Duration::from_millis(1));
        }
    }

    /// Writes as much as may be written; returns how much that was.
    pub(super) fn write(&mut self, stream: StreamId, bytes: &[u8]) -> usize {
        self.connection().send_stream(stream).write(bytes).unwrap_or(0)
    }

    /// Sends and hears as an honest peer would.
    pub(super) fn talk(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.step(Duration::from_millis(1));
        }
    }

    /// Returns how often the other side has acknowledged something.
    pub(super) fn acknowledged(&mut self) -> u64 {
        self.connection().stats().frame_rx.acks
    }

    /// QUIC hears nothing from now on, and so believes nothing lost, and sends nothing again.
    pub(super) fn hear_nothing(&mut self) {
        self.hears = false;
    }

    /// Sends what is to be sent; or has it get lost.
    pub(super) fn send(&mut self, arrives: bool) {
        let (datagrams, _) = self.quic.drive(Instant::now());
        for datagram in datagrams.iter().filter(|_| arrives) {
            self.send_datagram(datagram, datagram.len());
        }
        self.keep_path();
    }

    /// Sends what is to be sent, each datagram so many times at once.
    pub(super) fn send_copies(&mut self, count: usize) {
        let (datagrams, _) = self.quic.drive(Instant::now());
        for datagram in &datagrams {
            let count = count.min(60_000 / datagram.len());
            self.send_datagram(&datagram.repeat(count), datagram.len());
        }
        self.keep_path();
    }

    fn connection(&mut self) -> &mut noq_proto::Connection {
        let handle = self.connection.expect("a tunnel");
        self.quic.get(handle).expect("it is kept")
    }

    fn step(&mut self, wait: Duration) {
        self.quic.handle_timeout(Instant::now());
        let (datagrams, events) = self.quic.drive(Instant::now());
        for datagram in &datagrams {
            self.send_datagram(datagram, datagram.len());
        }
        self.is_up |= events.iter().any(|(_, event)| matches!(event, QuicEvent::Connected));
        self.socket.set_read_timeout(Some(wait)).expect("a time");
        self.receive();
        self.keep_path();
    }

    /// Answers probes, also while QUIC is deaf.
    fn keep_path(&mut self) {
        self.socket.set_nonblocking(true).expect("a flag");
        while self.receive() {}
        self.socket.set_nonblocking(false).expect("a flag");
        self.puncher.handle_timeout(now());
        loop {
            match self.puncher.poll_output() {
                Output::Transmit(transmit) => {
                    let _lost = self.socket.send_to(&transmit.payload, transmit.pair.remote);
                }
                Output::Open { socket, .. } => self.puncher.handle_open_failed(socket),
                Output::Close(_) => {}
                Output::Event(Event::Connected(connected)) if self.connection.is_none() => {
                    let path = PathEstimate { rtt: connected.rtt, largest_datagram: None };
                    let mut config = self.shared.client(connected.instances, path);
                    config.transport_config(Arc::new(greedy()));
                    self.connection = Some(self.quic.dial(config, Instant::now()));
                }
                Output::Event(_) => {}
                Output::Timeout(_) => return,
            }
        }
    }

    /// Takes what has come. Returns whether that was anything.
    fn receive(&mut self) -> bool {
        let mut buffer = vec![0; 65_536];
        let mut meta = [RecvMeta::default()];
        let read =
            self.offload.recv(UdpSockRef::from(&self.socket), &mut [IoSliceMut::new(&mut buffer)], &mut meta);
        if read.is_err() {
            return false;
        }
        let pair = Pair { socket: SocketId::MAIN, remote: meta[0].addr };
        for datagram in buffer[..meta[0].len].chunks(meta[0].stride.max(1)) {
            match classify(datagram) {
                Class::Probe => self.puncher.handle_datagram(pair, datagram, now()),
                Class::Quic if self.hears => {
                    let _no_server = self.quic.handle_datagram(datagram, Instant::now());
                }
                Class::Quic | Class::OldScript | Class::Other => {}
            }
        }
        true
    }

    /// Sends datagrams of one size together.
    fn send_datagram(&self, contents: &[u8], size: usize) {
        let segment_size = (contents.len() > size).then_some(size);
        let transmit = Transmit { destination: self.remote, ecn: None, contents, segment_size, src_ip: None };
        let _full = self.offload.try_send(UdpSockRef::from(&self.socket), &transmit);
    }
}

/// Sends without regard to the network, in packets of one size.
fn greedy() -> TransportConfig {
    let mut cubic = CubicConfig::default();
    cubic.initial_window(ENDLESS);
    let mut config = TransportConfig::default();
    config
        .congestion_controller_factory(Arc::new(cubic))
        .send_window(ENDLESS)
        .pad_to_mtu(true)
        .initial_mtu(1400)
        .max_idle_timeout(None)
        .max_concurrent_uni_streams(VarInt::from_u32(16));
    config
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Now { instant: Instant::now(), unix }
}
