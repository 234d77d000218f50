//! Services of either side, in one tunnel.

use std::time::Duration;

use pinhole::{
    Event, Role,
    forward::{self, Proxy, ProxyError, ServeSpec},
    proto::stream::{Reply, Request},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
};

use crate::rig::{event, free_port, listen, refusal, service, start, within};

fn spec(service: &TcpListener) -> ServeSpec {
    let port = service.local_addr().expect("bound").port();
    format!("it=127.0.0.1:{port}").parse().expect("a spec")
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_offers_services_and_reaches_those_of_the_other() {
    let udp = free_port().await;
    let [(at_serve, _), (at_open, _)] = [service().await, service().await];
    let open = start(Role::Open, udp).await;
    // Before there can be a tunnel.
    let _of_open = forward::offer(&open, &[spec(&at_open)]).expect("one service");
    let serve = start(Role::Serve, udp).await;
    let _of_serve = forward::offer(&serve, &[spec(&at_serve)]).expect("one service");
    for (local, service) in [(listen(&open), &at_serve), (listen(&serve), &at_open)] {
        let mut client = TcpStream::connect(local.address()).await.expect("the local port accepts");
        client.write_all(b"there").await.expect("sent");
        client.shutdown().await.expect("half-closed");
        let (mut tcp, _) = within(service.accept()).await.expect("the service is asked");
        let mut text = String::new();
        within(tcp.read_to_string(&mut text)).await.expect("an end");
        assert_eq!(text, "there");
        tcp.write_all(b"and back").await.expect("sent");
        drop(tcp);
        text.clear();
        within(client.read_to_string(&mut text)).await.expect("an end");
        assert_eq!(text, "and back");
    }
    open.close().await;
    serve.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_side_that_offers_nothing_is_asked_for_nothing() {
    let udp = free_port().await;
    let (open, serve) = (start(Role::Open, udp).await, start(Role::Serve, udp).await);
    let mut events = serve.events();
    let local = listen(&serve);
    refusal(local.address()).await;
    let refused = |e: &Event| matches!(e, Event::ServiceFailed { reply: Reply::NoSuchService, .. });
    event(&mut events, refused).await;
    let (_client, conn) = UnixStream::pair().expect("a pair");
    let request = Request { service: "it".into(), any: true, blocks: false };
    let carried = within(Proxy::new(&serve).forward(conn, "test".into(), request, Duration::MAX)).await;
    assert!(matches!(carried, Err(ProxyError::Refused(Reply::NoSuchService))), "{carried:?}");
    open.close().await;
    serve.close().await;
}
