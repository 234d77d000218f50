//! What goes wrong is told, and mended where it can be.

use pinhole::{
    Event, Role,
    proto::{puncher::Trouble, stream::Reply},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::rig::{Rig, event, free_port, is_reset, key, refusal, service, start, start_with, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_is_told_on_both_sides_and_may_start_later() {
    let (listener, address) = service().await;
    drop(listener);
    let rig = Rig::to(address).await;
    let (mut at_serve, mut at_open) = (rig.serve.events(), rig.open.events());
    refusal(rig.local.address()).await;
    let down = |e: &Event| matches!(e, Event::ServiceFailed { reply: Reply::Refused, .. });
    event(&mut at_serve, down).await;
    event(&mut at_open, down).await;
    let listener = TcpListener::bind(address).await.expect("the service starts");
    let (mut client, mut server) = rig.pair(&listener).await;
    client.write_all(b"x").await.expect("write");
    within(server.read_u8()).await.expect("read");
    event(&mut at_serve, |e| matches!(e, Event::ServiceBack { .. })).await;
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_leaves_says_so_and_its_return_is_noticed() {
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    let mut at_open = rig.open.events();
    let Rig { serve, open, local, udp, .. } = rig;
    let mut cut = TcpStream::connect(local.address()).await.expect("connect");
    let (mut server, _) = within(service.accept()).await.expect("accept");
    cut.write_all(b"x").await.expect("write");
    within(server.read_u8()).await.expect("read");
    serve.close().await;
    event(&mut at_open, |e| *e == Event::PeerLeft).await;
    assert!(is_reset(&within(cut.read_u8()).await.expect_err("cut")), "a cut connection looks finished");

    let serve = start(Role::Serve, udp).await;
    let spec = format!("it=127.0.0.1:{}", address.port()).parse().expect("a spec");
    let _offering = pinhole::forward::offer(&serve, &[spec]).expect("one service");
    event(&mut at_open, |e| matches!(e, Event::TunnelUp { .. })).await;
    let mut client = TcpStream::connect(local.address()).await.expect("the listener stayed");
    let (mut server, _) = within(service.accept()).await.expect("accept");
    client.write_all(b"y").await.expect("write");
    assert_eq!(within(server.read_u8()).await.expect("read"), b'y');
    open.close().await;
    serve.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_named_on_both_sides() {
    let udp = free_port().await;
    let serve = start(Role::Serve, udp).await;
    let open = start_with(Role::Open, udp, key(2)).await;
    for endpoint in [&serve, &open] {
        event(&mut endpoint.events(), |e| matches!(e, Event::Trouble(Trouble::WrongKey { .. }))).await;
        assert!(endpoint.current().is_none());
    }
    open.close().await;
    serve.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_another_name_is_refused_by_its_name() {
    let (_listener, address) = service().await;
    let udp = free_port().await;
    let (serve, open) = (start(Role::Serve, udp).await, start(Role::Open, udp).await);
    let spec = format!("web=127.0.0.1:{}", address.port()).parse().expect("a spec");
    let _offering = pinhole::forward::offer(&serve, &[spec]).expect("one service");
    let spec = pinhole::forward::OpenSpec { bind: None, port: 0, service: "ssh".into(), any: false };
    let local = pinhole::forward::listen(&open, &spec).expect("a local port");
    let mut events = open.events();
    refusal(local.address()).await;
    event(&mut events, |e| matches!(e, Event::ServiceFailed { reply: Reply::NoSuchService, .. })).await;
    open.close().await;
    serve.close().await;
}
