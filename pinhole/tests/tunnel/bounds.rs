//! Nothing is kept without bound, and nobody is held up by somebody else.

use std::time::Duration;

use pinhole::{
    Event, Role,
    endpoint::{Compress, EventStream},
    forward::{HELD_CONNECTIONS, Listening},
    tunnel::STREAM_WINDOW_BYTES,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::rig::{Rig, event, free_port, listen, refusal, service, start, within};

/// What two TCP sockets on loopback and the tunnel between them may hold of one connection, at the very most: the
/// kernel grows each of the four socket buffers to some MiB.
const MOST_IN_FLIGHT: u64 = 4 * (8 << 20) + STREAM_WINDOW_BYTES as u64 + (16 << 20);

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_read_stops_the_client_and_nobody_else() {
    let (service, address) = service().await;
    // Packed, as on a machine that is busy, many more of the client's bytes have room.
    let rig = Rig::compressing(address, [Compress::Off; 2]).await;
    let (mut stuck, _silent_server) = rig.pair(&service).await;
    let block = vec![1; 1 << 20];
    let mut written = 0;
    while let Ok(wrote) = tokio::time::timeout(Duration::from_secs(1), stuck.write(&block)).await {
        written += wrote.expect("write") as u64;
        assert!(written < MOST_IN_FLIGHT, "the tunnel swallows without bound");
    }
    let (mut client, mut server) = rig.pair(&service).await;
    client.write_all(b"still here").await.expect("write");
    let mut got = [0; 10];
    within(server.read_exact(&mut got)).await.expect("another connection is not held up");
    rig.close().await;
}

/// A library that counts unread pieces, and not gaps, ends the connection with all that is in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_pauses_does_not_end_the_tunnel() {
    let (service, address) = service().await;
    let rig = Rig::to(address).await;
    let (mut paused, mut chatty) = rig.pair(&service).await;
    let (mut client, mut server) = rig.pair(&service).await;
    // More than TCP takes by itself; the rest, and what follows, waits in the tunnel.
    let first = vec![0; 6 << 20];
    within(chatty.write_all(&first)).await.expect("write");
    for number in 0..WORDS {
        chatty.write_all(&word(number)).await.expect("write");
        // By then that word is on its way, alone.
        server.write_all(b"x").await.expect("write");
        within(client.read_u8()).await.expect("the tunnel stands");
    }
    let mut got = vec![1; first.len()];
    within(paused.read_exact(&mut got)).await.expect("read");
    assert!(got == first);
    for number in 0..WORDS {
        let mut got = [0; WORD];
        within(paused.read_exact(&mut got)).await.expect("read");
        assert_eq!(got, word(number));
    }
    rig.close().await;
}

const WORD: usize = 200;
const WORDS: u32 = 5000;

fn word(number: u32) -> [u8; WORD] {
    let mut word = [0; WORD];
    word[..4].copy_from_slice(&number.to_le_bytes());
    word
}

#[tokio::test(flavor = "multi_thread")]
async fn early_connections_are_held_until_the_tunnel_stands() {
    let udp = free_port().await;
    let open = start(Role::Open, udp).await;
    let local = listen(&open);
    let mut early = TcpStream::connect(local.address()).await.expect("held");
    early.write_all(b"early").await.expect("write");
    let (service, address) = service().await;
    let serve = start(Role::Serve, udp).await;
    let spec = format!("it=127.0.0.1:{}", address.port()).parse().expect("a spec");
    let _offering = pinhole::forward::offer(&serve, &[spec]).expect("one service");
    let (mut server, _) = within(service.accept()).await.expect("the early connection arrives");
    let mut got = [0; 5];
    within(server.read_exact(&mut got)).await.expect("read");
    assert_eq!(&got, b"early");
    open.close().await;
    serve.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_early_connections_than_can_be_held_are_refused_in_words() {
    let open = start(Role::Open, free_port().await).await;
    let mut events = open.events();
    let local = listen(&open);
    let mut held = Vec::new();
    for _ in 0..HELD_CONNECTIONS {
        held.push(TcpStream::connect(local.address()).await.expect("held"));
    }
    refuses_one_more(&local, &mut events).await;
    open.close().await;
}

/// One more connection is refused: with RST, be it before or after it was accepted, and in words.
async fn refuses_one_more(local: &Listening, events: &mut EventStream) {
    refusal(local.address()).await;
    event(events, |e| matches!(e, Event::ConnectionRefused { too_many: true, .. })).await;
}
