//! The messages of two checks, over a stream of the tunnel.

use std::time::Duration;

use noq::{RecvStream, SendStream};
use pinhole_proto::{
    stream::{CHECK_REQUEST, Reply},
    survey::Message,
};
use tokio::time::timeout;

use super::CheckError;
use crate::Tunnel;

/// Time for a message of the other side: longer than a whole round of probes, and than a path takes to come back
/// mostly.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A stream of messages to and from the other side.
#[derive(Debug)]
pub(super) struct MessageStream {
    send: SendStream,
    recv: RecvStream,
}

impl MessageStream {
    /// Opens the stream, as the open side does.
    pub(super) async fn open(tunnel: &Tunnel) -> Result<Self, CheckError> {
        let (mut send, mut recv) = tunnel.open_bare().await?;
        send.write_all(&CHECK_REQUEST).await.map_err(|_| CheckError::Broken)?;
        let mut reply = [0];
        read(&mut recv, &mut reply).await?;
        match Reply::from_code(reply[0]) {
            Reply::Connected => Ok(Self { send, recv }),
            Reply::ConnectedInBlocks
            | Reply::NoSuchService
            | Reply::Refused
            | Reply::Unreachable
            | Reply::Unavailable
            | Reply::Unresolved => Err(CheckError::Refused),
        }
    }

    /// Waits for the stream, as the serve side does.
    pub(super) async fn accept(tunnel: &Tunnel) -> Result<Self, CheckError> {
        let (mut send, mut recv) =
            timeout(TIMEOUT, tunnel.accept_bare()).await.map_err(|_| CheckError::Silent)??;
        let mut request = [0; CHECK_REQUEST.len()];
        read(&mut recv, &mut request).await?;
        let reply = if request == CHECK_REQUEST { Reply::Connected } else { Reply::NoSuchService };
        send.write_all(&[reply.code()]).await.map_err(|_| CheckError::Broken)?;
        if reply == Reply::Connected { Ok(Self { send, recv }) } else { Err(CheckError::Refused) }
    }

    pub(super) async fn send(&mut self, message: &Message) -> Result<(), CheckError> {
        self.send.write_all(&message.encode()).await.map_err(|_| CheckError::Broken)
    }

    pub(super) async fn receive(&mut self) -> Result<Message, CheckError> {
        let mut head = [0; 4];
        read(&mut self.recv, &mut head).await?;
        let mut body = vec![0; Message::length(head).ok_or(CheckError::Nonsense)?];
        read(&mut self.recv, &mut body).await?;
        Message::decode(&body).ok_or(CheckError::Nonsense)
    }

    /// Waits until the other side has everything and has gone.
    pub(super) async fn finish(mut self) {
        let _already_closed = self.send.finish();
        let _arrived_or_ended = timeout(Duration::from_secs(1), self.send.stopped()).await;
    }
}

async fn read(recv: &mut RecvStream, buffer: &mut [u8]) -> Result<(), CheckError> {
    match timeout(TIMEOUT, recv.read_exact(buffer)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(CheckError::Broken),
        Err(_) => Err(CheckError::Silent),
    }
}
