//! QUIC's first packets under keys of ours, and a count of the packets that could be opened.
//!
//! RFC 9001 §5.2 seals Initial packets with keys that everybody on the way can derive. Whoever sees one, or guesses
//! when one is due, could then begin handshakes in the peer's name, end them with a CONNECTION_CLOSE, or put text of
//! his own into its reason. Here the keys follow from the shared key ([`InitialKey`]). All else of TLS and QUIC stays
//! as it is: these are wrappers round the library's objects.
//!
//! Retry packets, whose integrity key is public as well (RFC 9001 §5.8), are neither sent nor accepted.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::BytesMut;
use noq_proto::{
    ConnectError, ConnectionId, PathId, Side,
    crypto::{
        ClientConfig, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey,
        ServerConfig, Session, UnsupportedVersion,
        rustls::{QuicClientConfig, QuicServerConfig},
    },
};
use noq_proto::{TransportError, transport_parameters::TransportParameters};
use pinhole_proto::key::{InitialKey, Instances};

/// Counts packets that nobody but the peer can have sealed, each for the first time.
#[derive(Debug, Clone, Default)]
pub struct Opened(Arc<AtomicU64>);

impl Opened {
    /// Returns how many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The keys of this pair of runs, and the counter of what was opened; shared by the wrappers.
#[derive(Debug, Clone)]
pub(crate) struct Veil {
    key: InitialKey,
    instances: Instances,
    opened: Opened,
}

impl Veil {
    pub(crate) fn new(key: InitialKey, instances: Instances, opened: Opened) -> Self {
        Self { key, instances, opened }
    }

    /// Returns what the library derives Initial keys from.
    fn cover(&self, id: ConnectionId) -> ConnectionId {
        ConnectionId::new(&self.key.connection_id(self.instances, &id))
    }

    fn session(&self, inner: Box<dyn Session>) -> Box<dyn Session> {
        Box::new(Veiled { inner, veil: self.clone() })
    }

    fn counted(&self, inner: Box<dyn PacketKey>) -> Box<dyn PacketKey> {
        Box::new(Counted { inner, opened: self.opened.clone(), next: AtomicU64::new(0) })
    }
}

/// The open side's TLS.
pub(crate) struct Client {
    pub(crate) inner: QuicClientConfig,
    pub(crate) veil: Veil,
}

impl ClientConfig for Client {
    fn start_session(
        &self,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        self.inner.start_session(version, server_name, params).map(|inner| self.veil.session(inner))
    }
}

/// The serve side's TLS.
pub(crate) struct Server {
    pub(crate) inner: Arc<QuicServerConfig>,
    pub(crate) veil: Veil,
}

impl ServerConfig for Server {
    fn initial_keys(&self, version: u32, dst_cid: ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.inner.initial_keys(version, self.veil.cover(dst_cid))
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.inner.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(&self, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        self.veil.session(self.inner.clone().start_session(version, params))
    }
}

/// A TLS session whose Initial keys are ours.
struct Veiled {
    inner: Box<dyn Session>,
    veil: Veil,
}

impl Session for Veiled {
    fn initial_keys(&self, dst_cid: ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(self.veil.cover(dst_cid), side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let Keys { header, packet } = self.inner.write_handshake(buf)?;
        Some(Keys { header, packet: KeyPair { remote: self.veil.counted(packet.remote), ..packet } })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.inner.next_1rtt_keys()?;
        Some(KeyPair { remote: self.veil.counted(keys.remote), ..keys })
    }

    fn is_valid_retry(&self, _orig_dst_cid: ConnectionId, _header: &[u8], _payload: &[u8]) -> bool {
        false
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

/// A key that counts what it opens. A copy of an old packet opens as well, and does not count: its number is not
/// above all others.
struct Counted {
    inner: Box<dyn PacketKey>,
    opened: Opened,
    /// The least packet number that counts.
    next: AtomicU64,
}

impl PacketKey for Counted {
    fn encrypt(&self, path_id: PathId, packet: u64, buf: &mut [u8], header_len: usize) {
        self.inner.encrypt(path_id, packet, buf, header_len);
    }

    fn decrypt(
        &self,
        path_id: PathId,
        packet: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        self.inner.decrypt(path_id, packet, header, payload)?;
        if self.next.fetch_max(packet + 1, Ordering::Relaxed) <= packet {
            self.opened.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.inner.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.inner.integrity_limit()
    }
}

#[cfg(test)]
mod tests {
    use pinhole_proto::{Key, key::Phrase};

    use super::*;
    use crate::tls;

    const ID: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

    fn veil(instances: Instances) -> (Veil, QuicServerConfig) {
        let key = Key::stretch(&Phrase::generate([1; 32]));
        (Veil::new(InitialKey::new(&key), instances, Opened::default()), tls::server(&key).expect("TLS"))
    }

    fn server(instances: Instances) -> Server {
        let (veil, inner) = veil(instances);
        Server { inner: Arc::new(inner), veil }
    }

    fn params() -> TransportParameters {
        TransportParameters::read(Side::Client, &mut &[][..]).expect("all of them have a default")
    }

    /// What the serve side seals in its first packet under those keys.
    fn sealed(keys: &Keys) -> Vec<u8> {
        let mut packet = vec![0xc1; 20 + 30];
        packet.resize(20 + 30 + keys.packet.local.tag_len(), 0);
        keys.packet.local.encrypt(PathId::ZERO, 0, &mut packet, 20);
        packet
    }

    /// Whether the open side opens that.
    fn opens(instances: Instances, packet: &[u8]) -> bool {
        let (veil, _) = veil(instances);
        let key = Key::stretch(&Phrase::generate([1; 32]));
        let client = Client { inner: tls::client(&key).expect("TLS"), veil };
        let params = params();
        let session = client.start_session(1, "x", &params).expect("a session");
        let keys = session.initial_keys(ConnectionId::new(&ID), Side::Client);
        let mut payload = BytesMut::from(&packet[20..]);
        keys.packet.remote.decrypt(PathId::ZERO, 0, &packet[..20], &mut payload).is_ok()
    }

    #[test]
    fn nobody_opens_or_makes_a_first_packet_without_the_key_or_of_another_run() {
        let runs = Instances { serve: 1, open: 2 };
        let ours = server(runs).initial_keys(1, ConnectionId::new(&ID)).expect("version 1");
        assert!(opens(runs, &sealed(&ours)));
        assert!(!opens(Instances { serve: 3, ..runs }, &sealed(&ours)), "a recording");
        let (_, library) = veil(runs);
        let public = Arc::new(library).initial_keys(1, ConnectionId::new(&ID)).expect("version 1");
        assert!(!opens(runs, &sealed(&public)), "made by somebody who has seen the connection ID");
    }

    #[test]
    fn a_retry_is_never_valid() {
        let (veil, library) = veil(Instances::default());
        let library = Arc::new(library);
        let params = params();
        let (header, id) = ([0xf0; 12], ConnectionId::new(&ID));
        let tag = library.retry_tag(1, id, &header);
        let plain = library.clone().start_session(1, &params);
        assert!(plain.is_valid_retry(id, &header, &tag));
        assert!(!veil.session(plain).is_valid_retry(id, &header, &tag));
    }

    #[test]
    fn a_packet_counts_once_and_a_copy_or_an_older_one_never() {
        let (veil, _) = veil(Instances::default());
        let keys = server(Instances::default()).initial_keys(1, ConnectionId::new(&ID)).expect("version 1");
        let counted = veil.counted(keys.packet.remote);
        let client = {
            let key = Key::stretch(&Phrase::generate([1; 32]));
            Client { inner: tls::client(&key).expect("TLS"), veil: veil.clone() }
        };
        let params = params();
        let session = client.start_session(1, "x", &params).expect("a session");
        let theirs = session.initial_keys(ConnectionId::new(&ID), Side::Client).packet.local;
        let arrives = |number: u64, is_forged: bool| {
            let mut packet = vec![0; 20 + 30 + theirs.tag_len()];
            theirs.encrypt(PathId::ZERO, number, &mut packet, 20);
            packet[25] ^= u8::from(is_forged);
            let mut payload = BytesMut::from(&packet[20..]);
            let _opened = counted.decrypt(PathId::ZERO, number, &packet[..20], &mut payload);
            veil.opened.count()
        };
        assert_eq!(
            [(5, false), (5, false), (4, false), (6, true), (6, false)].map(|(n, forged)| arrives(n, forged)),
            [1, 1, 1, 1, 2]
        );
    }
}
