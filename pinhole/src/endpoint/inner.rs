//! What all peers of an endpoint share: the key, the sockets, QUIC.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pinhole_proto::{
    Key,
    key::Instances,
    puncher::{Limits, SharedBudget},
};
use pinhole_quic::{CloseReason, Credentials, PathEstimate, Shared};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::JoinSet,
};

use super::{Builder, StartError, driver::Command};
use crate::mux::{GatheringRuntime, Mux, PeerId, QuicSocket};

/// Longest time that closing may take.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// The part of an endpoint that all its peers share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) key: Key,
    pub(super) mux: Arc<Mux>,
    pub(super) quic: noq::Endpoint,
    /// What each peer's search may ask of the NATs on the way, and what all together may.
    pub(super) limits: Limits,
    pub(super) budget: SharedBudget,
    peers: Arc<Mutex<Peers>>,
    /// Gives handshakes that peers begin to their drivers.
    _acceptor: JoinSet<()>,
}

/// The drivers of peers.
#[derive(Debug, Default)]
struct Peers {
    drivers: BTreeMap<PeerId, Reached>,
    is_closed: bool,
}

/// A handle of a peer's driver, which is not kept alive by this.
#[derive(Debug)]
struct Reached {
    commands: mpsc::WeakSender<Command>,
    handshakes: mpsc::Sender<noq::Incoming>,
}

impl Inner {
    pub(super) fn new(builder: Builder) -> Result<Self, StartError> {
        let Builder { key, address, limits } = builder;
        let mux = Mux::bind(address)?;
        let quic = quic_endpoint(&key, &mux)?;
        let peers = Arc::<Mutex<Peers>>::default();
        let mut acceptor = JoinSet::new();
        acceptor.spawn(accept(quic.clone(), peers.clone()));
        let budget = SharedBudget::new(limits);
        Ok(Self { key, mux, quic, limits, budget, peers, _acceptor: acceptor })
    }

    /// Records a peer.
    pub(super) fn add(
        &self,
        id: PeerId,
        commands: mpsc::WeakSender<Command>,
        handshakes: mpsc::Sender<noq::Incoming>,
    ) -> Result<(), StartError> {
        let mut peers = lock(&self.peers);
        if peers.is_closed {
            return Err(StartError::Closed);
        }
        peers.drivers.retain(|_, driver| !driver.handshakes.is_closed());
        peers.drivers.insert(id, Reached { commands, handshakes });
        Ok(())
    }

    /// Says goodbye to all peers, and waits until that is under way, within [`CLOSE_TIME`].
    pub(super) async fn close(&self) {
        let drivers = {
            let mut peers = lock(&self.peers);
            peers.is_closed = true;
            std::mem::take(&mut peers.drivers)
        };
        within_close_time(async {
            // The punchers first: as long as they answer, the peers would connect to us again.
            let mut leaving = JoinSet::new();
            for Reached { commands, handshakes } in drivers.into_values() {
                let Some(commands) = commands.upgrade() else { continue };
                leaving.spawn(async move {
                    leave(&commands).await;
                    drop(handshakes); // not before: a driver whom nobody can give any ends at once
                });
            }
            leaving.join_all().await;
            self.quic.close(CloseReason::Leaving.code().into(), b"");
            self.quic.wait_all_draining().await;
        })
        .await;
    }
}

/// Has a driver say goodbye and end.
pub(super) async fn leave(driver: &mpsc::Sender<Command>) {
    let (done, left) = oneshot::channel();
    if driver.send(Command::Leave(done)).await.is_ok() {
        let _driver_is_gone = left.await;
    }
}

/// Waits until something is closed, for [`CLOSE_TIME`] at most.
pub(super) async fn within_close_time(close: impl Future<Output = ()>) {
    if tokio::time::timeout(CLOSE_TIME, close).await.is_err() {
        tracing::debug!("closing took too long");
    }
}

/// Gives the first packets of handshakes to the drivers. What nobody wants gets no answer.
async fn accept(quic: noq::Endpoint, peers: Arc<Mutex<Peers>>) {
    while let Some(incoming) = quic.accept().await {
        let handshakes = {
            let peers = lock(&peers);
            let driver = peers.drivers.iter().find(|(id, _)| id.address() == incoming.remote_address());
            driver.map(|(_, driver)| driver.handshakes.clone())
        };
        let unwanted = match handshakes {
            Some(handshakes) => handshakes.try_send(incoming).err().map(TrySendError::into_inner),
            None => Some(incoming),
        };
        if let Some(unwanted) = unwanted {
            unwanted.ignore();
        }
    }
    // QUIC has ended, closed or by a fault: so do the drivers, and who watches them learns it.
    lock(&peers).drivers.clear();
}

fn lock(peers: &Mutex<Peers>) -> MutexGuard<'_, Peers> {
    peers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws bytes from the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut drawn = [0; N];
    getrandom::fill(&mut drawn).map_err(|_| StartError::Entropy)?;
    Ok(drawn)
}

/// Makes QUIC's endpoint. Each peer sets how it is answered, the open side's too, which ignores everybody; the endpoint's own
/// configuration is for nobody: without one the library would answer with a stateless reset.
fn quic_endpoint(key: &Key, mux: &Arc<Mux>) -> Result<noq::Endpoint, StartError> {
    let credentials = Credentials::new(key, random()?).map_err(|error| StartError::Tls(error.into()))?;
    let shared = Shared::new(credentials);
    let answer = Some(shared.server(Instances::default(), PathEstimate::UNKNOWN));
    let socket = Box::new(QuicSocket::new(mux.clone()));
    let config = pinhole_quic::endpoint(&shared.credentials);
    noq::Endpoint::new_with_abstract_socket(config, answer, socket, Arc::new(GatheringRuntime))
        .map_err(StartError::Quic)
}
