//! Connections of other kinds than TCP.

use pinhole::{
    forward::{Conn, Io, Proxy},
    proto::stream::Request,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixStream},
};

use crate::rig::{DEADLINE, Rig, service, within};

#[tokio::test(flavor = "multi_thread")]
async fn anything_that_reads_and_writes_is_carried_with_its_half_closes() {
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    let (unix, ours) = UnixStream::pair().expect("a pair");
    forward_one(&rig, &service, unix, ours).await;
    let (memory, ours) = tokio::io::duplex(1000);
    forward_one(&rig, &service, memory, Io::new(ours)).await;
    rig.close().await;
}

/// Has a connection carried whose other end is `client`.
async fn forward_one(
    rig: &Rig,
    service: &TcpListener,
    mut client: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    conn: impl Conn,
) {
    const BYTES: usize = 1 << 20;
    let request = Request { service: "it".into(), any: true, blocks: false };
    let proxy = Proxy::new(&rig.open);
    let carried = tokio::spawn(async move { proxy.forward(conn, "test".into(), request, DEADLINE).await });
    let (mut tcp, _) = within(service.accept()).await.expect("a client");
    let sent: Vec<u8> = (0..BYTES).map(|at| (at / 251) as u8).collect();
    let copy = sent.clone();
    let client = tokio::spawn(async move {
        client.write_all(&copy).await.expect("it is taken");
        client.shutdown().await.expect("half-closed");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.expect("the other direction goes on");
        rest
    });
    let mut got = Vec::new();
    within(tcp.read_to_end(&mut got)).await.expect("an end");
    assert!(got == sent, "{} bytes", got.len());
    tcp.write_all(&sent).await.expect("it is taken");
    drop(tcp);
    assert!(within(client).await.expect("no panic") == sent);
    within(carried).await.expect("no panic").expect("both directions have ended");
}
