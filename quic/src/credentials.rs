//! The credentials that QUIC takes from the shared key, made once for an endpoint.

use std::sync::Arc;

use noq_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use pinhole_proto::{
    Key,
    key::{InitialKey, Instances, Marks},
};

use super::{
    ids::ConnectionIds,
    initial::{Client, Opened, Server, Veil},
    tls,
};

/// Identities of both roles, keys of the first packets, connection IDs. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    client: QuicClientConfig,
    server: Arc<QuicServerConfig>,
    initial: InitialKey,
    ids: ConnectionIds,
}

impl Credentials {
    /// Makes them from the shared key, and from a seed that is used for nothing else.
    ///
    /// # Errors
    ///
    /// When TLS does not take what follows from the key.
    pub fn new(key: &Key, seed: [u8; 16]) -> Result<Self, rustls::Error> {
        Ok(Self {
            client: tls::client(key)?,
            server: Arc::new(tls::server(key)?),
            initial: InitialKey::new(key),
            ids: ConnectionIds::new(Marks::new(key), seed),
        })
    }

    pub(crate) fn ids(&self) -> &ConnectionIds {
        &self.ids
    }

    pub(crate) fn client(&self, instances: Instances, opened: Opened) -> Arc<Client> {
        Arc::new(Client { inner: self.client.clone(), veil: self.veil(instances, opened) })
    }

    pub(crate) fn server(&self, instances: Instances, opened: Opened) -> Arc<Server> {
        Arc::new(Server { inner: self.server.clone(), veil: self.veil(instances, opened) })
    }

    fn veil(&self, instances: Instances, opened: Opened) -> Veil {
        Veil::new(self.initial.clone(), instances, opened)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(secret)")
    }
}
