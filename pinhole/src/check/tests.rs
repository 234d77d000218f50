//! A check against an open side that has the key and does not keep to the rules.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use pinhole_proto::{
    Key, Role,
    key::Phrase,
    probe::ProbeSeal,
    puncher::Connected,
    survey::{Hello, MAX_ROUNDS, Message, Orders, Outcome, Report, Stand, token},
};
use tokio::task::JoinHandle;

use super::{CheckError, Plan, both_sides, messages::MessageStream};
use crate::{
    Endpoint, Event, Peer, PeerConfig, Tunnel,
    endpoint::{PeerAddress, Purpose},
};

/// A test that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the side under test allows to be transferred, bytes.
const TRANSFER: u32 = 32 << 10;

/// The number of the hostile side's check.
const INSTANCE: u64 = 0x0123_4567_89ab_cdef;

/// The open side, which says what it likes, and the check of the serve side.
struct Hostile {
    messages: MessageStream,
    /// Where the serve side is.
    serve: SocketAddr,
    key: Key,
    open: Peer,
    check: JoinHandle<Result<Outcome, CheckError>>,
}

impl Hostile {
    async fn start() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let net = NEXT.fetch_add(1, Ordering::Relaxed);
        // Addresses of this test alone: nobody takes the port between looking for it and opening it.
        let ips = [[127, 100 + net, high, low], [127, 200 + net, high, low]].map(Ipv4Addr::from);
        let port = free_port(ips[0]);
        let key = Key::stretch(&Phrase::generate([7; 32]));
        let start = async |role: Role, own: Ipv4Addr, peer: Ipv4Addr| {
            let endpoint = Endpoint::builder(key.clone()).bind(port).bind_ip(own.into()).build().await;
            let address = PeerAddress::new(peer.to_string(), port);
            let config = PeerConfig::new(role, address).purpose(Purpose::Check);
            endpoint.expect("an endpoint").peer(config).await.expect("a peer")
        };
        let serve = start(Role::Serve, ips[0], ips[1]).await;
        let open = start(Role::Open, ips[1], ips[0]).await;
        let ((_, tunnel), (connected, served)) = within(async { tokio::join!(up(&open), up(&serve)) }).await;
        let plan = plan(key.clone());
        let check = tokio::spawn(async move {
            let outcome = both_sides(&serve, &served, connected, &plan, |_| ()).await;
            serve.close().await;
            outcome
        });
        let messages = within(MessageStream::open(&tunnel)).await.expect("a check");
        let mut hostile = Self { messages, serve: SocketAddr::new(ips[0].into(), port), key, open, check };
        let outside = hostile.serve;
        hostile.say(&Message::Hello(hello(outside))).await;
        assert!(matches!(hostile.hear().await, Message::Hello(_)));
        hostile
    }

    async fn say(&mut self, message: &Message) {
        within(self.messages.send(message)).await.expect("the check listens");
    }

    async fn hear(&mut self) -> Message {
        within(self.messages.receive()).await.expect("the check answers")
    }

    /// Has the serve side carry out orders, and returns what it heard of the probes that `write` sends meanwhile.
    async fn round(&mut self, number: u32, orders: Orders, write: impl FnOnce(&Self)) -> Report {
        self.say(&Message::Round { number, orders }).await;
        assert_eq!(self.hear().await, Message::Sent);
        write(self);
        self.say(&Message::Ask).await;
        let heard = self.hear().await;
        let Message::Report(report) = heard else { panic!("{heard:?} is no report") };
        report
    }

    /// Sends a probe of the open side from a socket of nobody's.
    fn write(&self, instance: u64, token: u64) {
        let seal = ProbeSeal::of_survey(&self.key.for_check());
        let probe = seal.seal_survey_probe(Role::Open, instance, token, [7; 24]);
        let socket = UdpSocket::bind((self.serve.ip(), 0)).expect("a socket");
        socket.send_to(&probe, self.serve).expect("sent");
    }

    /// Returns how the serve side's check ended.
    async fn end(self) -> Result<Outcome, CheckError> {
        let ended = within(self.check).await.expect("no panic");
        self.open.close().await;
        ended
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("in time")
}

/// Waits for the tunnel and the path that it runs over.
async fn up(peer: &Peer) -> (Connected, Tunnel) {
    let mut events = peer.events();
    let mut connected = None;
    loop {
        let event = events.next().await.expect("an event").expect("none is missed");
        if let Event::Punched(by) = event {
            connected = Some(by);
        } else if let Event::TunnelUp { .. } = event {
            break;
        }
    }
    (connected.expect("a path before a tunnel"), peer.current().expect("a tunnel"))
}

fn free_port(ip: Ipv4Addr) -> u16 {
    let socket = UdpSocket::bind((ip, 0)).expect("a free port");
    socket.local_addr().expect("bound").port()
}

fn plan(key: Key) -> Plan {
    Plan {
        key,
        low_ttl: 1,
        mappings: 64,
        packets_per_second: 1000,
        transfer_bytes: TRANSFER,
        lifetime_mappings: 0,
        lifetime_s: 0,
    }
}

fn hello(serve: SocketAddr) -> Hello {
    let stand = Stand { inside: serve, outside: serve };
    Hello {
        version: Hello::VERSION,
        stand,
        mappings: 64,
        transfer_bytes: u32::MAX,
        lifetime_s: 0,
        instance: INSTANCE,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filling_is_sent_once_and_no_more_of_it_than_the_user_allows() {
    let mut hostile = Hostile::start().await;
    hostile.say(&Message::Fill(u32::MAX)).await;
    let mut bytes = 0;
    while let Message::Filling(chunk) = hostile.hear().await {
        bytes += chunk.len();
    }
    assert_eq!(bytes, 32 << 10);
    hostile.say(&Message::Fill(1)).await;
    assert_eq!(hostile.end().await, Err(CheckError::Nonsense));
}

#[tokio::test(flavor = "multi_thread")]
async fn filling_is_taken_no_longer_than_the_user_allows() {
    let mut hostile = Hostile::start().await;
    let chunk = Message::Filling(vec![0; 16 << 10]);
    while within(hostile.messages.send(&chunk)).await.is_ok() {}
    assert_eq!(hostile.end().await, Err(CheckError::Nonsense));
}

#[tokio::test(flavor = "multi_thread")]
async fn filling_in_crumbs_is_refused() {
    let mut hostile = Hostile::start().await;
    hostile.say(&Message::Filling(Vec::new())).await;
    assert_eq!(hostile.end().await, Err(CheckError::Nonsense));
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_come_to_an_end() {
    let mut hostile = Hostile::start().await;
    for number in 1..=u32::from(MAX_ROUNDS) {
        hostile.round(number, Orders { repeats: 1, ..Orders::default() }, |_| ()).await;
    }
    hostile.say(&Message::Round { number: 99, orders: Orders::default() }).await;
    assert_eq!(hostile.end().await, Err(CheckError::Nonsense));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_without_probes_cannot_be_repeated_for_half_an_hour() {
    let mut hostile = Hostile::start().await;
    let orders = Orders { repeats: u16::MAX, ..Orders::default() };
    hostile.say(&Message::Round { number: 1, orders }).await;
    assert_eq!(hostile.end().await, Err(CheckError::Nonsense));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_probe_of_an_earlier_check_does_not_count() {
    let mut hostile = Hostile::start().await;
    let report = hostile
        .round(5, Orders::default(), |hostile| {
            hostile.write(INSTANCE - 1, token(5, 0));
            hostile.write(0, token(5, 1));
            hostile.write(INSTANCE, token(4, 2));
            hostile.write(INSTANCE, token(5, 3));
        })
        .await;
    assert_eq!(report.heard.iter().map(|heard| heard.probe).collect::<Vec<_>>(), [3]);
}
