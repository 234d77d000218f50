//! Several peers in one endpoint, and streams without forwards.

use std::{net::Ipv4Addr, sync::Arc};

use pinhole::{
    Endpoint, Event, Peer, PeerConfig, Role,
    endpoint::{PeerAddress, StartError},
    proto::{Key, stream::Reply},
    tunnel::{AskedStream, StreamError, TunnelEnd},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    task::JoinSet,
};

use crate::rig::{OPEN_IP, SERVE_IP, event, free_port, key, told, within};

/// Where the second of the others is.
const THIRD_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const BYTES: usize = 1 << 20;

async fn endpoint(ip: Ipv4Addr, udp: u16, key: Key) -> Endpoint {
    Endpoint::builder(key).bind(udp).bind_ip(ip.into()).build().await.expect("an endpoint")
}

fn toward(role: Role, ip: Ipv4Addr, udp: u16) -> PeerConfig {
    PeerConfig::new(role, PeerAddress::new(ip.to_string(), udp))
}

/// A serve side that sends back whatever comes by any stream.
struct Echo {
    peer: Arc<Peer>,
    _task: JoinSet<()>,
}

impl Echo {
    async fn new(endpoint: &Endpoint, config: PeerConfig) -> Self {
        let peer = Arc::new(endpoint.peer(config).await.expect("a peer"));
        let mut task = JoinSet::new();
        task.spawn(echo(peer.clone()));
        Self { peer, _task: task }
    }
}

async fn echo(peer: Arc<Peer>) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            Ok(asked) = peer.accept_stream() => drop(streams.spawn(send_back(asked))),
            Some(_) = streams.join_next() => {} // the future beside it loses no stream
            else => return,
        }
    }
}

async fn send_back(asked: AskedStream) {
    let (mut to, mut from) = asked.accept().await.expect("the tunnel stands");
    if copy(&mut from, &mut to).await.is_ok() {
        to.shutdown().await.expect("the tunnel stands");
    }
}

/// Sends bytes of that kind to an echo, and gets them back.
async fn echoes(peer: &Peer, kind: u8) {
    within(async {
        let (mut to, mut from) = peer.open_stream("echo").await.expect("a stream");
        let sent = vec![kind; BYTES];
        let mut echoed = Vec::new();
        let send = async {
            to.write_all(&sent).await?;
            to.shutdown().await
        };
        let (sending, receiving) = tokio::join!(send, from.read_to_end(&mut echoed));
        sending.expect("sent");
        receiving.expect("received");
        assert!(echoed == sent);
    })
    .await;
}

/// One endpoint with two peers, whose keys are these, and an endpoint for each of them.
async fn two_peers(keys: [Key; 2]) {
    let udp = free_port().await;
    let [first, second] = keys.clone();
    let own = endpoint(OPEN_IP, udp, first).await;
    let to_one = own.peer(toward(Role::Open, SERVE_IP, udp)).await.expect("a peer");
    let to_two = own.peer(toward(Role::Open, THIRD_IP, udp).key(second)).await.expect("a peer");
    let [first, second] = keys;
    let (at_first, at_second) = (endpoint(SERVE_IP, udp, first).await, endpoint(THIRD_IP, udp, second).await);
    let one = Echo::new(&at_first, toward(Role::Serve, OPEN_IP, udp)).await;
    let two = Echo::new(&at_second, toward(Role::Serve, OPEN_IP, udp)).await;
    tokio::join!(echoes(&to_one, 1), echoes(&to_two, 2));
    let mut at_two = two.peer.events();
    let mut events = one.peer.events();
    within(to_one.close()).await;
    event(&mut events, |e| *e == Event::PeerLeft).await;
    echoes(&to_two, 3).await;
    let is_end = |e: &Event| matches!(e, Event::PathLost { .. } | Event::TunnelLost(_) | Event::PeerLeft);
    assert_eq!(told(&mut at_two).into_iter().find(is_end), None, "the other tunnel has noticed nothing");
    let back = own.peer(toward(Role::Open, SERVE_IP, udp)).await.expect("a peer");
    echoes(&back, 4).await;
    within(own.close()).await;
    event(&mut at_two, |e| *e == Event::PeerLeft).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_has_two_peers_with_two_keys_and_one_goes_on_without_the_other() {
    two_peers([key(1), key(2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_one_peer_s_until_that_has_left() {
    let udp = free_port().await;
    let own = endpoint(OPEN_IP, udp, key(1)).await;
    let first = own.peer(toward(Role::Open, SERVE_IP, udp)).await.expect("a peer");
    for role in [Role::Open, Role::Serve] {
        let second = own.peer(toward(role, THIRD_IP, udp)).await;
        assert!(matches!(second, Err(StartError::KeyTaken)), "{role:?}");
    }
    within(first.close()).await;
    own.peer(toward(Role::Open, THIRD_IP, udp)).await.expect("the key is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tunnels_with_two_keys_share_one_pair_of_ports() {
    let udp = free_port().await;
    let (ours, theirs) = (endpoint(OPEN_IP, udp, key(1)).await, endpoint(SERVE_IP, udp, key(1)).await);
    let _one = Echo::new(&theirs, toward(Role::Serve, OPEN_IP, udp)).await;
    let _two = Echo::new(&theirs, toward(Role::Serve, OPEN_IP, udp).key(key(2))).await;
    let to_one = ours.peer(toward(Role::Open, SERVE_IP, udp)).await.expect("a peer");
    let to_two = ours.peer(toward(Role::Open, SERVE_IP, udp).key(key(2))).await.expect("a peer");
    for round in 0..4 {
        tokio::join!(echoes(&to_one, 2 * round), echoes(&to_two, 2 * round + 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_begins_with_what_holds() {
    let udp = free_port().await;
    let (ours, theirs) = (endpoint(OPEN_IP, udp, key(1)).await, endpoint(SERVE_IP, udp, key(1)).await);
    let _echo = Echo::new(&theirs, toward(Role::Serve, OPEN_IP, udp)).await;
    let peer = ours.peer(toward(Role::Open, SERVE_IP, udp)).await.expect("a peer");
    let mut first = peer.events();
    let is_up = |e: &Event| matches!(e, Event::TunnelUp { .. });
    let begins = within(first.next()).await.expect("an event").expect("none is missed");
    assert!(matches!(begins, Event::Searching { .. }), "the first one hears everything: {begins:?}");
    event(&mut first, is_up).await;
    for mut later in [peer.events(), peer.events()] {
        let holds = told(&mut later);
        assert!(matches!(&holds[..], [Event::Punched(_), Event::TunnelUp { .. }]), "{holds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_refused_or_cut_does_not_look_finished() {
    let udp = free_port().await;
    let (ours, theirs) = (endpoint(OPEN_IP, udp, key(1)).await, endpoint(SERVE_IP, udp, key(1)).await);
    let serve = theirs.peer(toward(Role::Serve, OPEN_IP, udp)).await.expect("a peer");
    let open = ours.peer(toward(Role::Open, SERVE_IP, udp)).await.expect("a peer");
    let next = async || within(serve.accept_stream()).await.expect("a stream");

    let refuse = async {
        let asked = next().await;
        assert_eq!(asked.service(), "secret");
        asked.refuse(Reply::NoSuchService).await;
    };
    let (refused, ()) = within(async { tokio::join!(open.open_stream("secret"), refuse) }).await;
    assert_eq!(refused.expect_err("refused"), StreamError::Refused(Reply::NoSuchService));
    let (dropped, ()) =
        within(async { tokio::join!(open.open_stream("a"), async { drop(next().await) }) }).await;
    assert_eq!(dropped.expect_err("refused"), StreamError::Broken);
    assert_eq!(open.open_stream("a b").await.expect_err("no name"), StreamError::BadName("a b".into()));

    let accept = async { next().await.accept().await.expect("accepted") };
    let (opened, (mut back, _)) = within(async { tokio::join!(open.open_stream("a"), accept) }).await;
    let (_to, mut from) = opened.expect("a stream");
    back.write_all(b"half").await.expect("write");
    within(from.read_exact(&mut [0; 4])).await.expect("read");
    drop(back);
    within(from.read_u8()).await.expect_err("cut");

    within(serve.close()).await;
    let tunnel = open.current();
    if let Some(tunnel) = tunnel {
        let end = within(tunnel.open_stream("a")).await.expect_err("no tunnel");
        assert_eq!(end, StreamError::Ended(TunnelEnd::PeerLeft));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_peer_is_refused_and_a_closed_endpoint_takes_none() {
    let udp = free_port().await;
    let own = endpoint(OPEN_IP, udp, key(1)).await;
    let itself = own.peer(toward(Role::Open, OPEN_IP, udp)).await;
    assert!(matches!(itself, Err(StartError::Peer(_))));
    let peer = own.peer(toward(Role::Open, SERVE_IP, udp)).await.expect("a peer");
    own.close().await;
    assert!(within(peer.connected()).await.is_none());
    assert_eq!(within(peer.open_stream("a")).await.expect_err("closed"), StreamError::Closed);
}
