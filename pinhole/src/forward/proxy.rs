//! The proxy: single connections of any kind that somebody hands over, without a local port.

use std::time::Duration;

use pinhole_proto::{
    puncher::SearchReport,
    stream::{Reply, Request},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    answering::{Answering, Useless},
    conn::Conn,
    conn_to_stream::SendFraming,
    splice,
};
use crate::{
    Event, Peer, Tunnel,
    endpoint::{Command, Compress, Events},
};

/// A proxy: forwards single connections over a peer's tunnels. Cheap to clone. A peer that is dropped without
/// [`Peer::close`] lives until the last one of these is gone.
#[derive(Debug, Clone)]
pub struct Proxy {
    tunnel: watch::Receiver<Option<Tunnel>>,
    answering: Answering,
    commands: mpsc::WeakSender<Command>,
    events: Events,
    compress: Compress,
}

/// The reason why a connection was not forwarded to its end. Its other end was reset.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyError {
    /// There was no tunnel in time; with the report of the search, if one is under way.
    NoTunnel(Option<SearchReport>),
    /// The peer has refused it.
    Refused(Reply),
    /// It was cut or reset, by either end or with the tunnel.
    Broken,
}

impl Proxy {
    /// Makes one for a peer.
    #[must_use]
    pub fn new(peer: &Peer) -> Self {
        Self {
            tunnel: peer.tunnel(),
            answering: Answering::new(peer),
            commands: peer.commands(),
            events: peer.reporter(),
            compress: peer.compress(),
        }
    }

    /// Returns whether a tunnel stands now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.tunnel.borrow().is_some()
    }

    /// Forwards a connection to a service of the peer until both directions have ended. It waits for the tunnel if
    /// it must. `from` is what the status shows as its other end.
    ///
    /// # Errors
    ///
    /// When there is no tunnel in time, the peer refuses, or something cuts the connection.
    pub async fn forward(
        &self,
        conn: impl Conn,
        from: String,
        request: Request,
        wait: Duration,
    ) -> Result<(), ProxyError> {
        let request = Request { blocks: self.compress == Compress::Auto, ..request };
        conn.prepare();
        let mut tunnels = self.tunnel.clone();
        let in_time = tokio::select! {
            in_time = tokio::time::timeout(wait, tunnels.wait_for(Option::is_some)) => in_time,
            // Nobody waits any more.
            () = conn.broken() => return Err(ProxyError::Broken),
        };
        let tunnel = match in_time.map(|tunnel| tunnel.ok().and_then(|tunnel| tunnel.clone())) {
            Ok(Some(tunnel)) => tunnel,
            Ok(None) => return Err(ProxyError::Broken),
            Err(_) => return Err(ProxyError::NoTunnel(self.search_report().await)),
        };
        match self.answering.check(&tunnel, &request).await {
            Ok(()) => {}
            Err(Useless::Refused(reply)) => return Err(ProxyError::Refused(reply)),
            Err(Useless::Ended) => return Err(ProxyError::Broken),
        }
        let (mut send, recv) = tunnel.open_bare().await.map_err(|_| ProxyError::Broken)?;
        let shares = tunnel.shares();
        shares.send.write(&mut send, &mut [request.encode().into()]).await.map_err(|_| ProxyError::Broken)?;
        let carried = self.events.recorder().add_forward(&request.service, from).connection();
        let mut refusal = None;
        let refused = |reply| {
            refusal = Some(reply);
            self.events.tell(Event::ServiceFailed { service: request.service.clone(), reply });
        };
        let framing = SendFraming::of(&request);
        let is_clean =
            splice::splice_behind_reply(conn, send, recv, &shares, &carried, &framing, refused).await;
        match refusal {
            Some(reply) => Err(ProxyError::Refused(reply)),
            None if is_clean => Ok(()),
            None => Err(ProxyError::Broken),
        }
    }

    async fn search_report(&self) -> Option<SearchReport> {
        let (answer, found) = oneshot::channel();
        self.commands.upgrade()?.send(Command::SearchReport(answer)).await.ok()?;
        found.await.ok().flatten()
    }
}
