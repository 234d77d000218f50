//! Paths of a living tunnel: opened by the open side, given up as soon as they are dead.
//!
//! Two traps of noq 1.4 are dealt with here. A path cannot be opened while the peer has handed out too few
//! connection IDs, which heals within a round trip: the opening is tried again. And a dead path stalls its data
//! until the idle timeout: it is closed by our own monitor, which compares what was sent with what came back.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use noq::{PathId, PathStats, PathStatus};

use super::Tunnel;

/// Attempts to open a path before it is given up, [`OPEN_RETRY`] apart.
const OPEN_ATTEMPTS: u32 = 20;

/// Time between two attempts; about a round trip.
const OPEN_RETRY: Duration = Duration::from_millis(100);

/// How often the monitor looks.
const LOOK: Duration = Duration::from_millis(100);

/// A path that has sent but not heard for this long, or for [`DEAD_AFTER_RTTS`] if that is longer, is dead, provided
/// that another one is there.
const DEAD_AFTER: Duration = Duration::from_millis(500);

/// See [`DEAD_AFTER`].
const DEAD_AFTER_RTTS: u32 = 4;

/// Says why a path could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path to {remote} cannot be opened: {why}")]
pub struct PathError {
    remote: SocketAddr,
    why: String,
}

impl Tunnel {
    /// Opens another path of this tunnel, and closes whichever path dies from then on while another one lives.
    /// Only the open side can, and only to a proven address.
    ///
    /// # Errors
    ///
    /// When the path cannot be validated, or the peer allows no further one.
    pub async fn open_path(&self, remote: SocketAddr) -> Result<(), PathError> {
        let path = self.open_path_patiently(remote).await?;
        let watch = [PathId::ZERO, path.id()];
        tokio::spawn(self.clone().close_dead_paths(watch.to_vec()));
        Ok(())
    }

    async fn open_path_patiently(&self, remote: SocketAddr) -> Result<noq::Path, PathError> {
        for _ in 0..OPEN_ATTEMPTS {
            match self.connection.open_path_ensure(remote, PathStatus::Available).await {
                Ok(path) => return Ok(path),
                Err(noq::PathError::RemoteCidsExhausted) => tokio::time::sleep(OPEN_RETRY).await,
                Err(error) => return Err(PathError { remote, why: error.to_string() }),
            }
        }
        Err(PathError { remote, why: "the peer hands out no connection IDs for it".into() })
    }

    /// Watches until just one of the paths is left, or the tunnel has ended.
    async fn close_dead_paths(self, ids: Vec<PathId>) {
        let mut monitors: Vec<Monitor> = ids.into_iter().map(Monitor::new).collect();
        let mut look = tokio::time::interval(LOOK);
        while self.is_up() && monitors.len() > 1 {
            look.tick().await;
            let now = Instant::now();
            monitors.retain_mut(|monitor| match self.connection.path(monitor.id) {
                Some(path) => monitor.handle_stats(&path.stats(), now),
                None => false,
            });
            self.close_dead(&monitors, now);
        }
    }

    fn close_dead(&self, monitors: &[Monitor], now: Instant) {
        if monitors.iter().all(|m| m.is_dead(now)) {
            return;
        }
        for dead in monitors.iter().filter(|m| m.is_dead(now)) {
            tracing::debug!(path = ?dead.id, "closing a dead path");
            if let Some(Err(error)) = self.connection.path(dead.id).map(|path| path.close()) {
                tracing::debug!(%error, "path not closed");
            }
        }
    }
}

/// What one path has done lately.
#[derive(Debug)]
struct Monitor {
    id: PathId,
    rtt: Duration,
    received: u64,
    sent: u64,
    /// Since when something was sent and nothing came back.
    unanswered: Option<Instant>,
}

impl Monitor {
    fn new(id: PathId) -> Self {
        Self { id, rtt: Duration::ZERO, received: 0, sent: 0, unanswered: None }
    }

    /// Takes note of what the path has done by now. Always true: the path is there.
    fn handle_stats(&mut self, stats: &PathStats, now: Instant) -> bool {
        if stats.udp_rx.datagrams != self.received {
            self.unanswered = None;
        } else if stats.udp_tx.datagrams != self.sent {
            self.unanswered.get_or_insert(now);
        }
        (self.rtt, self.received, self.sent) = (stats.rtt, stats.udp_rx.datagrams, stats.udp_tx.datagrams);
        true
    }

    fn is_dead(&self, now: Instant) -> bool {
        let patience = (self.rtt * DEAD_AFTER_RTTS).max(DEAD_AFTER);
        self.unanswered.is_some_and(|since| now >= since + patience)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use noq::{Connection, Endpoint, TokioRuntime};
    use pinhole_proto::Key;
    use tokio::{net::UdpSocket, task::JoinHandle};

    use super::*;
    use crate::tunnel::transport;

    const TEST_DEADLINE: Duration = Duration::from_secs(20);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_second_path_opens_and_its_death_stalls_the_data_for_less_than_two_seconds() {
        let key = Key::stretch(&"one key".parse().expect("a phrase"));
        let server = endpoint(Some(&key));
        let target = server.local_addr().expect("an address");
        let client = endpoint(None);
        let dialled =
            client.connect_with(transport::client(&key, RTT).expect("TLS"), target, "x").expect("dial");
        let (ours, theirs) =
            tokio::join!(dialled, async { server.accept().await.expect("a connection").await });
        let (tunnel, peer) = (Tunnel::new(ours.expect("connected"), target), theirs.expect("connected"));
        let (relayed, relay) = relay(target).await;
        tunnel.open_path(relayed).await.expect("a second path");

        let (mut send, _recv) = tunnel.open_stream().await.expect("a stream");
        send.write_all(&[1; 100_000]).await.expect("write");
        let mut arriving = peer.accept_bi().await.expect("a stream").1;
        arriving.read_exact(&mut vec![0; 100_000]).await.expect("read");
        relay.abort();
        let cut = Instant::now();
        let (sent, mut rest) = (vec![2; 2_000_000], vec![0; 2_000_000]);
        let both = async { tokio::join!(send.write_all(&sent), arriving.read_exact(&mut rest)) };
        let (written, read) = tokio::time::timeout(TEST_DEADLINE, both).await.expect("in time");
        assert!(written.is_ok() && read.is_ok() && rest == sent);
        assert!(cut.elapsed() < Duration::from_secs(2), "{:?}", cut.elapsed());
        assert_eq!(open_paths(&tunnel.connection), 1);
    }

    const RTT: Duration = Duration::from_millis(1);

    fn open_paths(connection: &Connection) -> usize {
        (0..transport::MAX_PATHS).filter(|id| connection.path(PathId::from(*id)).is_some()).count()
    }

    fn endpoint(server: Option<&Key>) -> Endpoint {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let answer = server.map(|key| transport::server(key, RTT).expect("TLS"));
        Endpoint::new(transport::endpoint(), answer, socket, Arc::new(TokioRuntime)).expect("an endpoint")
    }

    /// Passes datagrams between one client and `target`, until aborted.
    async fn relay(target: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        let address = front.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            let (mut there, mut here, mut client) = (vec![0; 65_536], vec![0; 65_536], None);
            loop {
                tokio::select! {
                    Ok((length, from)) = front.recv_from(&mut there) => {
                        client = Some(from);
                        back.send_to(&there[..length], target).await.expect("send");
                    }
                    Ok((length, _)) = back.recv_from(&mut here) => {
                        let client = client.expect("answers come after questions");
                        front.send_to(&here[..length], client).await.expect("send");
                    }
                }
            }
        });
        (address, task)
    }
}
