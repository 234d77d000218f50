//! The control stream of a tunnel (`pinhole_proto::control`): each side says Hello on a stream of its own.

use noq::{Connection, RecvStream};
use pinhole_proto::control::{HEAD_BYTES, Hello, Message};

use super::Tunnel;

impl Tunnel {
    /// Sends `own` as soon as that is known, and hands the peer's Hello on when it comes. Ends with the tunnel.
    pub(crate) async fn exchange_hello(self, own: impl Future<Output = Hello>, heard: impl FnOnce(Hello)) {
        tokio::join!(say(&self.connection, own), hear(&self.connection, heard));
    }
}

async fn say(connection: &Connection, own: impl Future<Output = Hello>) {
    let hello = own.await;
    let Ok(mut stream) = connection.open_uni().await else { return };
    if stream.write_all(&hello.encode()).await.is_ok() {
        // The stream lives as long as the tunnel.
        connection.closed().await;
    }
}

/// Reads the peer's messages. What breaks the format ends that, and nothing else.
async fn hear(connection: &Connection, heard: impl FnOnce(Hello)) {
    let Ok(mut stream) = connection.accept_uni().await else { return };
    let mut heard = Some(heard);
    while let Some(message) = read(&mut stream).await {
        match (message, heard.take()) {
            (Message::Hello(hello), Some(heard)) => heard(hello),
            (Message::Hello(_) | Message::Unknown(_), unheard) => heard = unheard,
        }
    }
    tracing::debug!("the peer's control stream has ended");
}

async fn read(stream: &mut RecvStream) -> Option<Message> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await.ok()?;
    let mut message = vec![0; Message::length(head)?];
    stream.read_exact(&mut message).await.ok()?;
    Message::decode(&message)
}
