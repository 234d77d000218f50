//! What a TCP connection means must survive the tunnel.

use std::time::Duration;

use pinhole::{
    Role,
    endpoint::Compress,
    forward::{Proxy, ProxyError},
    proto::stream::Request,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::rig::{Rig, free_port, is_reset, service, start, within};

#[tokio::test(flavor = "multi_thread")]
async fn bytes_arrive_in_both_directions() {
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    let (mut client, mut server) = rig.pair(&service).await;
    client.write_all(b"ping").await.expect("write");
    let mut four = [0; 4];
    within(server.read_exact(&mut four)).await.expect("read");
    server.write_all(b"pong").await.expect("write");
    within(client.read_exact(&mut four)).await.expect("read");
    assert_eq!(&four, b"pong");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_ends_arrive_whatever_either_side_thinks_of_compression() {
    use Compress::{Auto, Off};
    for both in [[Auto, Auto], [Auto, Off], [Off, Auto], [Off, Off]] {
        let (service, address) = service().await;
        let rig = Rig::compressing(address, both).await;
        let (client, mut server) = rig.pair(&service).await;
        let exchanged = tokio::spawn(exchange(client, 3, 1 << 20));
        let (mut read, mut write) = server.split();
        within(tokio::io::copy(&mut read, &mut write)).await.expect("echo");
        write.shutdown().await.expect("close");
        within(exchanged).await.expect("right bytes");
        rig.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_connection_still_carries_the_other_direction() {
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    for client_first in [true, false] {
        let (mut client, mut server) = rig.pair(&service).await;
        let (first, second) =
            if client_first { (&mut client, &mut server) } else { (&mut server, &mut client) };
        first.write_all(b"question").await.expect("write");
        first.shutdown().await.expect("half-close");
        let mut got = Vec::new();
        within(second.read_to_end(&mut got)).await.expect("the question and its end");
        assert_eq!(got, b"question");
        second.write_all(b"a late answer").await.expect("write");
        second.shutdown().await.expect("close");
        let mut got = Vec::new();
        within(first.read_to_end(&mut got)).await.expect("the answer and its end");
        assert_eq!(got, b"a late answer");
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_on_one_side_is_a_reset_on_the_other() {
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    for client_resets in [true, false] {
        let (mut client, mut server) = rig.pair(&service).await;
        client.write_all(b"x").await.expect("write");
        within(server.read_u8()).await.expect("read");
        let (gone, mut left) = if client_resets { (client, server) } else { (server, client) };
        gone.set_zero_linger().expect("linger");
        drop(gone);
        let error = within(left.read_u8()).await.expect_err("no more bytes");
        assert!(is_reset(&error), "{error:?} looks like a clean end");
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_for_good_ends_a_service_that_only_writes() {
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    let (client, mut server) = rig.pair(&service).await;
    drop(client);
    let block = [7; 4096];
    let error = within(async {
        loop {
            if let Err(error) = server.write_all(&block).await {
                return error;
            }
        }
    })
    .await;
    assert!(is_reset(&error), "{error:?}");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_after_the_own_half_close_reaches_the_service() {
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    let (mut client, mut server) = rig.pair(&service).await;
    client.shutdown().await.expect("half-close");
    assert_eq!(within(server.read(&mut [0])).await.expect("the end"), 0);
    client.set_zero_linger().expect("linger");
    drop(client);
    let error = within(server.ready(tokio::io::Interest::ERROR)).await.map(|_| server.take_error());
    assert!(error.expect("ready").expect("an error state").is_some_and(|e| is_reset(&e)));
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_one_after_another() {
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    let echo = tokio::spawn(async move {
        loop {
            let (mut tcp, _) = service.accept().await.expect("accept");
            let (mut read, mut write) = tcp.split();
            tokio::io::copy(&mut read, &mut write).await.expect("echo");
        }
    });
    for n in 0..1000u32 {
        let mut client = rig.client().await;
        client.write_all(&n.to_be_bytes()).await.expect("write");
        client.shutdown().await.expect("close");
        let mut back = Vec::new();
        within(client.read_to_end(&mut back)).await.expect("read");
        assert_eq!(back, n.to_be_bytes());
    }
    echo.abort();
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_connections_at_the_same_time_keep_their_bytes_apart() {
    const CONNECTIONS: u32 = 400;
    const BYTES: usize = 200_000;
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    let echo = tokio::spawn(async move {
        let mut all = JoinSet::new();
        loop {
            let (mut tcp, _) = service.accept().await.expect("accept");
            all.spawn(async move {
                let (mut read, mut write) = tcp.split();
                tokio::io::copy(&mut read, &mut write).await.expect("echo");
                write.shutdown().await.expect("close");
            });
        }
    });
    let mut clients = JoinSet::new();
    for n in 0..CONNECTIONS {
        clients.spawn(exchange(rig.client().await, n, BYTES));
    }
    within(async {
        while let Some(done) = clients.join_next().await {
            done.expect("right bytes")
        }
    })
    .await;
    echo.abort();
    rig.close().await;
}

/// Sends a pattern of its own and expects it back.
async fn exchange(mut tcp: TcpStream, n: u32, bytes: usize) {
    let pattern: Vec<u8> = (0..bytes).map(|i| (i as u32).wrapping_mul(n + 1).to_be_bytes()[2]).collect();
    let (mut read, mut write) = tcp.split();
    let sent = async {
        write.write_all(&pattern).await.expect("write");
        write.shutdown().await.expect("close");
    };
    let mut back = Vec::new();
    let (_, got) = tokio::join!(sent, read.read_to_end(&mut back));
    got.expect("read");
    assert!(back == pattern, "connection {n} got other bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_tunnel_on_behalf_of_a_connection_that_is_gone() {
    let open = start(Role::Open, free_port().await).await;
    let (listener, address) = service().await;
    let client = TcpStream::connect(address).await.expect("it accepts");
    let (tcp, _) = listener.accept().await.expect("a client");
    client.set_zero_linger().expect("a TCP socket");
    drop(client);
    let request = Request { service: "it".into(), any: true, blocks: false };
    let carried = within(Proxy::new(&open).forward(tcp, "test".into(), request, Duration::MAX)).await;
    assert!(matches!(carried, Err(ProxyError::Broken)), "{carried:?}");
    open.close().await;
}
