use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    task::{Context, Poll, Waker},
};

use tokio::{io::AsyncWriteExt, time::Instant};

use super::*;
use crate::{
    Endpoint, Key, Peer, PeerConfig, Phrase, Role,
    endpoint::PeerAddress,
    tunnel::{MAX_STREAMS, Tunnel},
};

/// A test that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Two ends of a tunnel on loopback: the side that takes streams, the side that opens them.
struct Ends {
    serve: Peer,
    tunnel: Tunnel,
    _open: Peer,
}

impl Ends {
    async fn new() -> Self {
        let [serve, open] = [1, 2].map(|last| Ipv4Addr::new(127, 0, 0, last));
        let key = Key::stretch(&Phrase::generate([4; 32]));
        let bind = async |ip: Ipv4Addr| {
            let builder = Endpoint::builder(key.clone()).bind(0).bind_ip(ip.into());
            builder.build().await.expect("an endpoint")
        };
        let (at_serve, at_open) = (bind(serve).await, bind(open).await);
        let to = |endpoint: &Endpoint| {
            let address: SocketAddr = endpoint.mux().local_address();
            PeerAddress::new(address.ip().to_string(), address.port())
        };
        let (to_serve, to_open) = (to(&at_serve), to(&at_open));
        let serve = at_serve.peer(PeerConfig::new(Role::Serve, to_open)).await.expect("a peer");
        let open = at_open.peer(PeerConfig::new(Role::Open, to_serve)).await.expect("a peer");
        within(serve.connected()).await.expect("a tunnel");
        let tunnel = within(open.connected()).await.expect("a tunnel");
        Self { serve, tunnel, _open: open }
    }

    /// Opens a stream with the first bytes of a head, or all of it.
    async fn open(&self, head: &[u8]) -> (SendStream, RecvStream) {
        let (mut send, recv) = within(self.tunnel.open_bare()).await.expect("the peer allows it");
        within(send.write_all(head)).await.expect("write");
        (send, recv)
    }

    /// Returns the name that the next stream asks for.
    async fn accept(&self) -> String {
        within(self.serve.accept_stream()).await.expect("a stream").service().to_owned()
    }

    /// Waits for a stream and stops at once. Returns the name that it asks for, if it was there.
    fn accept_and_drop(&self) -> Option<String> {
        match pin!(self.serve.accept_stream()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(asked) => Some(asked.expect("a stream").service().to_owned()),
            Poll::Pending => None,
        }
    }

    /// Returns how many heads are being read.
    fn being_read(&self) -> usize {
        let tunnel = self.serve.current().expect("a tunnel");
        tunnel.heads.readers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("in time")
}

fn head(service: &str) -> Vec<u8> {
    Request { service: service.to_owned(), any: false, blocks: false }.encode()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_head_is_read_when_the_future_is_dropped_comes_to_the_next_call() {
    let ends = Ends::new().await;
    let whole = head("slow");
    let (mut send, _recv) = ends.open(&whole[..3]).await;
    within(async {
        while ends.being_read() == 0 {
            assert_eq!(ends.accept_and_drop(), None, "its name is not there yet");
            tokio::task::yield_now().await;
        }
    })
    .await;
    send.write_all(&whole[3..]).await.expect("write");
    assert_eq!(ends.accept().await, "slow");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_futures_that_are_dropped_all_the_time_none_loses_a_stream() {
    let ends = Ends::new().await;
    let names: Vec<_> = (0..500).map(|number| number.to_string()).collect();
    let opening = async {
        let mut kept = Vec::new();
        for name in &names {
            let whole = head(name);
            let (mut send, recv) = ends.open(&whole[..1]).await;
            tokio::task::yield_now().await;
            send.write_all(&whole[1..]).await.expect("write");
            kept.push((send, recv));
        }
        kept
    };
    let accepting = async {
        let mut accepted = Vec::new();
        while accepted.len() < names.len() {
            accepted.extend(ends.accept_and_drop());
            tokio::task::yield_now().await;
        }
        accepted
    };
    let (_kept, mut accepted) = within(async { tokio::join!(opening, accepting) }).await;
    accepted.sort_unstable_by_key(|name| name.parse::<u32>().expect("a number"));
    assert_eq!(accepted, names);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_without_a_head_hold_up_no_other_up_to_the_bound_of_all_streams() {
    let ends = Ends::new().await;
    let mut silent = Vec::new();
    for _ in 1..MAX_STREAMS {
        silent.push(ends.open(&[0]).await);
    }
    let _last = ends.open(&head("last")).await;
    assert_eq!(ends.accept().await, "last");
    assert!(ends.being_read() <= MAX_STREAMS as usize);
    let one_more = pin!(ends.tunnel.open_bare()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(one_more.is_pending(), "the peer may open no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_wait_each_gets_a_stream() {
    let ends = Ends::new().await;
    let opening = async { [ends.open(&head("a")).await, ends.open(&head("b")).await] };
    let (first, second, _kept) = within(async { tokio::join!(ends.accept(), ends.accept(), opening) }).await;
    let mut got = [first, second];
    got.sort_unstable();
    assert_eq!(got, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_head_is_refused_and_the_next_stream_comes() {
    let ends = Ends::new().await;
    let (_send, mut recv) = ends.open(&[0, 0]).await;
    let _good = ends.open(&head("good")).await;
    assert_eq!(ends.accept().await, "good");
    let mut code = [0];
    within(recv.read_exact(&mut code)).await.expect("an answer");
    assert_eq!(Reply::from_code(code[0]), Reply::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_in_time_is_awaited_no_more() {
    let (mut peer, mut stream) = tokio::io::duplex(64);
    peer.write_all(&head("late")[..3]).await.expect("write");
    let begun = Instant::now();
    assert_eq!(read_request(&mut stream).await, None);
    assert_eq!(begun.elapsed(), REQUEST_TIMEOUT);
}
