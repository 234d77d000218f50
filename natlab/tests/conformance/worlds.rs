//! One way to ask both realisations.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use natlab::kernel::Host;
use natlab::{Arrival, Lab, LabSpec, LinkSpec, NatSpec, Network, Place, STRANGER_IPS, Side};

use crate::errors::{self, Complaint};

/// How long the kernel may take to deliver what the model says will arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the kernel is watched for what should not arrive; a packet through eight namespaces takes 0.1 ms.
const WATCH: Duration = Duration::from_millis(40);

/// The sockets that every world has.
pub(crate) const SOCKETS: [(Place, u16); 6] = [
    (Place::Host(Side::A), 5555),
    (Place::Host(Side::A), 5556),
    (Place::Host(Side::B), 7000),
    (Place::Host(Side::B), 7001),
    (Place::Stranger, 9000),
    (Place::StrangerAgain, 9000),
];

/// The hosts at which ICMP errors are read.
const PLACES: [Place; 3] = [Place::Host(Side::A), Place::Host(Side::B), Place::Stranger];

/// Payload of every datagram; longer than what an ICMP error quotes.
const PLAIN: &[u8] = &[b'?'; 600];

/// A laboratory that sends and receives by [`SOCKETS`].
pub(crate) trait World {
    /// Sends a datagram of so many hops.
    fn send(&mut self, from: (Place, u16), to: SocketAddrV4, ttl: u8);

    /// Returns whom the next datagram there comes from, or nothing when there is none.
    fn receive(&mut self, at: (Place, u16)) -> Option<SocketAddrV4>;

    /// Returns the next ICMP error there, or nothing when there is none.
    fn complaint(&mut self, at: Place) -> Option<Complaint>;

    /// Lets time pass.
    fn wait(&mut self, time: Duration);

    /// Counts the flows in each of side A's boxes.
    fn flows(&self) -> Vec<usize>;
}

/// The model, which remembers its answers.
pub(crate) struct ModelWorld {
    network: Network,
    boxes: usize,
    inboxes: BTreeMap<(Place, u16), VecDeque<SocketAddrV4>>,
    complaints: BTreeMap<Place, VecDeque<Complaint>>,
    arrivals: VecDeque<bool>,
}

impl ModelWorld {
    pub(crate) fn new(sides: &[NatSpec; 2]) -> ModelWorld {
        let mut network = Network::new(sides, LinkSpec::default(), 1, Instant::now());
        for (place, port) in SOCKETS {
            network.listen(place, port);
        }
        ModelWorld {
            network,
            boxes: sides[0].boxes().len(),
            inboxes: BTreeMap::new(),
            complaints: BTreeMap::new(),
            arrivals: VecDeque::new(),
        }
    }

    /// Returns whether something came, for each time it was asked to receive.
    pub(crate) fn arrivals(self) -> VecDeque<bool> {
        self.arrivals
    }
}

impl World for ModelWorld {
    fn send(&mut self, (place, port): (Place, u16), to: SocketAddrV4, ttl: u8) {
        self.network.send(place, port, to, ttl, PLAIN.to_vec());
        while let Some(arrival) = self.network.poll_arrival(self.network.now()) {
            match arrival {
                Arrival::Datagram(delivery) => {
                    self.inboxes.entry((delivery.to, delivery.port)).or_default().push_back(delivery.from);
                }
                Arrival::Icmp(error) => {
                    let local = SocketAddrV4::new(self.network.ip(error.to), error.port);
                    let complaints = self.complaints.entry(error.to).or_default();
                    complaints.push_back(Complaint::of_model(error, local));
                }
            }
        }
    }

    fn receive(&mut self, at: (Place, u16)) -> Option<SocketAddrV4> {
        let received = self.inboxes.get_mut(&at).and_then(VecDeque::pop_front);
        self.arrivals.push_back(received.is_some());
        received
    }

    fn complaint(&mut self, at: Place) -> Option<Complaint> {
        let received = self.complaints.get_mut(&at).and_then(VecDeque::pop_front);
        self.arrivals.push_back(received.is_some());
        received
    }

    fn wait(&mut self, time: Duration) {
        let until = self.network.now() + time;
        assert_eq!(self.network.advance_to(until), [], "nothing is under way while time passes");
    }

    fn flows(&self) -> Vec<usize> {
        let now = self.network.now();
        (0..self.boxes).map(|index| self.network.nat(Side::A, index).flow_count(now)).collect()
    }
}

/// The kernel, which knows what the model answered.
pub(crate) struct KernelWorld {
    lab: Lab,
    sockets: BTreeMap<(Place, u16), UdpSocket>,
    errors: BTreeMap<Place, UdpSocket>,
    foreseen: VecDeque<bool>,
}

impl KernelWorld {
    pub(crate) fn new(spec: LabSpec) -> KernelWorld {
        let lab = Lab::build(spec).expect("built");
        let sockets = SOCKETS.map(|(place, port)| ((place, port), bind(&lab, place, port)));
        let errors = PLACES.map(|place| (place, errors::socket(host(&lab, place).0)));
        KernelWorld { lab, sockets: sockets.into(), errors: errors.into(), foreseen: VecDeque::new() }
    }

    /// Forgets everything that was and takes note of what will arrive.
    pub(crate) fn begin(&mut self, foreseen: VecDeque<bool>) {
        assert!(self.foreseen.is_empty(), "both worlds are asked the same");
        self.foreseen = foreseen;
        for nat in self.lab.side(Side::A).boxes() {
            nat.flush_conntrack().expect("flushed");
        }
        for socket in self.sockets.values().chain(self.errors.values()) {
            socket.set_nonblocking(true).expect("settable");
            while socket.recv_from(&mut [0; 16]).is_ok() {}
            socket.set_nonblocking(false).expect("settable");
        }
    }
}

impl KernelWorld {
    /// Returns how long to wait for what is received next.
    fn patience(&mut self) -> Duration {
        let is_foreseen = self.foreseen.pop_front().expect("both worlds are asked the same");
        if is_foreseen { PATIENCE } else { WATCH }
    }
}

impl World for KernelWorld {
    fn send(&mut self, from: (Place, u16), to: SocketAddrV4, ttl: u8) {
        let socket = &self.sockets[&from];
        socket.set_ttl(ttl.into()).expect("settable");
        socket.send_to(PLAIN, to).expect("sent");
    }

    fn receive(&mut self, at: (Place, u16)) -> Option<SocketAddrV4> {
        let patience = self.patience();
        receive_within(&self.sockets[&at], &mut [0; 16], patience).map(|(_, sender)| sender)
    }

    fn complaint(&mut self, at: Place) -> Option<Complaint> {
        let patience = self.patience();
        let mut packet = [0; 1024];
        let (bytes, _) = receive_within(&self.errors[&at], &mut packet, patience)?;
        Some(Complaint::of_packet(&packet[..bytes]))
    }

    fn wait(&mut self, time: Duration) {
        let quiet = &self.sockets[&(Place::StrangerAgain, 9000)];
        let heard = receive_within(quiet, &mut [0; 16], time);
        assert_eq!(heard, None, "nobody writes to the stranger's second address");
    }

    fn flows(&self) -> Vec<usize> {
        let boxes = self.lab.side(Side::A).boxes().iter();
        boxes.map(|nat| nat.conntrack_count().expect("countable")).collect()
    }
}

/// Waits for a datagram for at most so long, and for no less when there is none.
fn receive_within(
    socket: &UdpSocket,
    buffer: &mut [u8],
    patience: Duration,
) -> Option<(usize, SocketAddrV4)> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left)).expect("settable");
        match socket.recv_from(buffer) {
            Ok((bytes, SocketAddr::V4(sender))) => return Some((bytes, sender)),
            Ok((_, SocketAddr::V6(sender))) => panic!("IPv6 from {sender}"),
            // A read with a timeout is not resumed by the kernel when something stops the process for a while.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        if Instant::now() >= until {
            return None;
        }
    }
}

fn bind(lab: &Lab, place: Place, port: u16) -> UdpSocket {
    let (host, ip) = host(lab, place);
    let socket = host.enter(|| UdpSocket::bind(SocketAddrV4::new(ip, port))).expect("entered");
    socket.expect("the port is free")
}

fn host(lab: &Lab, place: Place) -> (&Host, std::net::Ipv4Addr) {
    match place {
        Place::Host(side) => (lab.host(side), lab.host(side).ip()),
        Place::Stranger => (lab.stranger(), STRANGER_IPS[0]),
        Place::StrangerAgain => (lab.stranger(), STRANGER_IPS[1]),
    }
}
