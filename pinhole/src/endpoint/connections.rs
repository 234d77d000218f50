//! The QUIC connections of a session: handshakes under way, and the tunnel.

use std::{collections::HashMap, future::IntoFuture, net::SocketAddr, sync::Arc, time::Duration};

use pinhole_proto::{
    key::Instances,
    puncher::Connected,
    session::{ConnectionHandle, HandshakeError},
};
use pinhole_quic::{CloseReason, PathEstimate, Shared, handshake_error};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use crate::{
    mux::PeerMux,
    tunnel::{Tunnel, TunnelEnd},
};

/// QUIC wants a name; nobody sees it (SNI is off) and nobody checks it (keys are pinned).
const SERVER_NAME: &str = "pinhole";

type Handshake = Result<noq::Connection, noq::ConnectionError>;

/// Something that has happened to a connection.
pub(super) enum Happened {
    /// The peer begins a handshake.
    Incoming(Box<noq::Incoming>),
    /// A handshake has succeeded.
    Established(ConnectionHandle),
    /// A handshake has failed.
    Failed(ConnectionHandle, HandshakeError),
    /// The tunnel has ended.
    Ended(ConnectionHandle, TunnelEnd),
}

pub(super) struct Connections {
    quic: noq::Endpoint,
    shared: Shared,
    mux: Arc<PeerMux>,
    /// First packets of handshakes that the peer begins.
    incoming: mpsc::Receiver<noq::Incoming>,
    handshakes: JoinSet<(ConnectionHandle, Handshake)>,
    under_way: HashMap<ConnectionHandle, AbortHandle>,
    /// Whose handshake has succeeded, until the session has said whether it is the tunnel.
    established: Option<(ConnectionHandle, noq::Connection)>,
    tunnel: Option<(ConnectionHandle, Tunnel)>,
}

impl Connections {
    /// Nobody is answered before [`Self::answer`]: on the open side nobody ever is.
    pub(super) fn new(
        quic: noq::Endpoint,
        shared: Shared,
        mux: Arc<PeerMux>,
        incoming: mpsc::Receiver<noq::Incoming>,
    ) -> Self {
        let (handshakes, under_way) = Default::default();
        let address = mux.id().address();
        quic.set_remote(address, Some(shared.remote(Instances::default(), PathEstimate::UNKNOWN)));
        Self { quic, shared, mux, incoming, handshakes, under_way, established: None, tunnel: None }
    }

    /// Waits until something happens. Returns none once the endpoint is closed. Whoever was established is held until
    /// [`Self::establish`] or [`Self::drop_unwanted`].
    pub(super) async fn next(&mut self) -> Option<Happened> {
        loop {
            tokio::select! {
                incoming = self.incoming.recv() => return incoming.map(Box::new).map(Happened::Incoming),
                Some(joined) = self.handshakes.join_next() => match joined {
                    Ok((connection, Ok(established))) => {
                        self.under_way.remove(&connection);
                        self.established = Some((connection, established));
                        return Some(Happened::Established(connection));
                    }
                    Ok((connection, Err(error))) => {
                        self.under_way.remove(&connection);
                        return Some(Happened::Failed(connection, handshake_error(&error)));
                    }
                    Err(aborted) => tracing::trace!(%aborted, "a handshake was abandoned"),
                },
                (tunnel, end) = ended(self.tunnel.as_ref()) => return Some(Happened::Ended(tunnel, end)),
            }
        }
    }

    /// Sets whose first packets are answered from now on.
    pub(super) fn answer(&self, over: Connected) {
        self.quic
            .set_remote(self.address(), Some(self.shared.remote(over.instances, self.path_estimate(over))));
    }

    /// Begins a handshake. One that cannot begin is noticed like one that nobody answers.
    pub(super) fn dial(&mut self, connection: ConnectionHandle, over: Connected) {
        let config = self.shared.client(over.instances, self.path_estimate(over));
        match self.quic.connect_with(config, self.address(), SERVER_NAME) {
            Ok(connecting) => self.begin(connection, connecting),
            Err(error) => tracing::warn!(%error, "cannot dial"),
        }
    }

    /// Begins to answer a handshake.
    ///
    /// # Errors
    ///
    /// When QUIC does not take it.
    pub(super) fn begin_answer(
        &mut self,
        connection: ConnectionHandle,
        incoming: noq::Incoming,
    ) -> Result<(), HandshakeError> {
        let connecting = incoming.accept().map_err(|error| handshake_error(&error))?;
        self.begin(connection, connecting);
        Ok(())
    }

    fn begin(&mut self, connection: ConnectionHandle, connecting: noq::Connecting) {
        let connecting = connecting.into_future();
        let task = self.handshakes.spawn(async move { (connection, connecting.await) });
        self.under_way.insert(connection, task);
    }

    pub(super) fn abandon(&mut self, connection: ConnectionHandle) {
        if let Some(task) = self.under_way.remove(&connection) {
            task.abort();
        }
    }

    /// Drops what was held, and ends it so.
    pub(super) fn drop_unwanted(&mut self) {
        self.established = None;
    }

    /// Makes the connection that is held the tunnel.
    pub(super) fn establish(&mut self, connection: ConnectionHandle, remote: SocketAddr) -> Option<Tunnel> {
        let (_, established) = self.established.take().filter(|(held, _)| *held == connection)?;
        let tunnel = Tunnel::new(established, remote, self.shared.feedback.clone());
        self.tunnel = Some((connection, tunnel.clone()));
        Some(tunnel)
    }

    /// Closes the tunnel if it is that one, and returns whether it was.
    pub(super) fn end(&mut self, connection: ConnectionHandle) -> bool {
        let Some((_, tunnel)) = self.tunnel.take_if(|(handle, _)| *handle == connection) else {
            return false;
        };
        tunnel.close(CloseReason::Replaced);
        true
    }

    /// Tells the tunnel of its path.
    pub(super) fn set_path(&self, remote: Option<SocketAddr>) {
        if let Some((_, tunnel)) = &self.tunnel {
            tunnel.set_path(remote);
        }
    }

    pub(super) fn reset_controller(&self) {
        self.shared.feedback.count_path();
    }

    /// Has QUIC send again at once what is unanswered.
    pub(super) fn wake(&self) {
        self.quic.handle_network_change_to(self.address());
    }

    pub(super) fn rekey(&self) {
        if let Some((_, tunnel)) = &self.tunnel {
            tunnel.rekey();
        }
    }

    /// Returns how many packets the peer has acknowledged since the start.
    pub(super) fn acknowledged(&self) -> u64 {
        self.shared.feedback.acknowledged()
    }

    /// Returns the tunnel's round trip, as QUIC estimates it.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.tunnel.as_ref().and_then(|(_, tunnel)| tunnel.rtt())
    }

    /// Returns where the peer is, as QUIC sees it.
    fn address(&self) -> SocketAddr {
        self.mux.id().address()
    }

    fn path_estimate(&self, over: Connected) -> PathEstimate {
        PathEstimate { rtt: over.rtt, largest_datagram: self.mux.largest_datagram(over.pair) }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.quic.set_remote(self.address(), None);
    }
}

/// Waits for the end of the tunnel; for ever without one.
async fn ended(tunnel: Option<&(ConnectionHandle, Tunnel)>) -> (ConnectionHandle, TunnelEnd) {
    match tunnel {
        Some((connection, tunnel)) => (*connection, tunnel.closed().await),
        None => std::future::pending().await,
    }
}
