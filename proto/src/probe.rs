//! Sealed probes: the datagrams that find and prove a pair.
//!
//! A probe shares its port with QUIC and, later, STUN; the first two bits tell them apart (RFC 9443 §3 with QUIC's
//! fixed bit never greased):
//!
//! ```text
//! 00xxxxxx  STUN        01xxxxxx  QUIC, short header
//! 10vvvvvv  a probe     11xxxxxx  QUIC, long header
//! ```
//!
//! `v` is the [`VERSION`]. Everything after the nonce is sealed with XChaCha20-Poly1305 under a key that only the
//! two sides have; the first byte is authenticated with it. Nonces have 24 bytes, made from random ones and from the body
//! ([`ProbeSeal::nonce`]): that makes repeats impossible in practice, across restarts and copies of a machine too, without
//! a counter on disk.
//!
//! ```text
//! 0        1               25                                 n-16         n
//! +--------+---------------+----------------------------------+------------+
//! |10vvvvvv| nonce         | body, sealed                     | tag        |
//! +--------+---------------+----------------------------------+------------+
//!
//! body  0 kind   1 role   2 flags   3 zero   4 epoch (4)   8 instance (8)   16 sequence (8)
//!       24 unix time, ms (8)   32 token (8)   40 family, 0/4/6   41 zero   42 port (2)   44 ip (16)
//! ```
//!
//! All kinds have one size, [`PROBE_BYTES`]: an answer is never longer than what it answers. Integers are
//! big-endian. Bytes after the ones known are ignored, so that a later version can add some.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{Key, Role, key::Marks};

/// Version of the format, in the low six bits of the first byte.
pub const VERSION: u8 = 2;

/// Length of every probe that this version sends, bytes.
pub const PROBE_BYTES: usize = HEAD_BYTES + BODY_BYTES + TAG_BYTES;

/// Length of the longest probe that is looked at, bytes: room for later versions.
pub const MAX_PROBE_BYTES: usize = 256;

/// Length of a probe's nonce, bytes. It follows the first byte.
pub const NONCE_BYTES: usize = 24;
const HEAD_BYTES: usize = 1 + NONCE_BYTES;
const BODY_BYTES: usize = 60;
const TAG_BYTES: usize = 16;
const FIRST_BITS: u8 = 0b1000_0000;

/// The heartbeat of the old Python script.
const OLD_SCRIPT: [u8; 8] = *b"HELOCLNT";

/// The class of a datagram, by its first bits and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// For the QUIC library, if it comes from a proven address.
    Quic,
    /// Worth an attempt to open it as a probe.
    Probe,
    /// A heartbeat of the old Python script, which nothing of QUIC is as short as.
    OldScript,
    /// Nothing of ours.
    Other,
}

/// Tells QUIC, probes and everything else apart without any key.
#[must_use]
pub fn classify(datagram: &[u8]) -> Class {
    if *datagram == OLD_SCRIPT {
        return Class::OldScript;
    }
    match datagram.first() {
        Some(first) if first & 0b0100_0000 != 0 => Class::Quic,
        Some(first)
            if first & 0b1100_0000 == FIRST_BITS
                && (PROBE_BYTES..=MAX_PROBE_BYTES).contains(&datagram.len()) =>
        {
            Class::Probe
        }
        Some(_) | None => Class::Other,
    }
}

/// The kind of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Tests a pair; carries a token to be echoed.
    Probe,
    /// Answers a probe over the same pair with its token: the proof.
    Ack,
    /// The sender leaves and will not answer any more.
    Bye,
    /// Another run of the receiver's program has taken the place of the run that the token names.
    Displaced,
}

/// The opened content of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Its kind.
    pub kind: Kind,
    /// The sender's role.
    pub role: Role,
    /// In a probe: the open side chooses this pair. In an ack: the serve side has taken the choice.
    pub nominate: bool,
    /// The sender has heard the receiver in this search.
    pub heard: bool,
    /// No NAT stands before the sender on this pair: the receiver has told it the address of its own interface as the
    /// observed one. What answers at that address is the sender's own system.
    pub direct: bool,
    /// The sender has a tunnel to the receiver.
    pub tunnel: bool,
    /// Counts the sender's searches: it grows when the sender lost its tunnel and looks for a pair again.
    pub epoch: u32,
    /// Names one run of the sender's program.
    pub instance: u64,
    /// Grows with every datagram of an instance: a number seen before is a replay.
    pub sequence: u64,
    /// The sender's wall clock, ms since 1970.
    pub unix_ms: u64,
    /// Random in a probe, echoed in its ack.
    pub token: u64,
    /// Where the sender saw the receiver's last packet come from: in an ack, that which is acked.
    pub observed: Option<SocketAddr>,
}

/// Seals and opens probes with the key both sides share. Clones share the one copy of it.
#[derive(Clone)]
pub struct ProbeSeal {
    cipher: Arc<XChaCha20Poly1305>, // its feature `zeroize` wipes it
    nonces: Arc<Zeroizing<[u8; 32]>>,
    marks: Marks,
    #[cfg(fuzzing)]
    is_transparent: bool,
}

impl ProbeSeal {
    /// Derives the seal from the shared key.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        Self::of(&key.probe_seal(), key)
    }

    /// Derives the seal of survey probes, which a puncher cannot open.
    #[must_use]
    pub fn of_survey(key: &Key) -> Self {
        Self::of(&key.survey_seal(), key)
    }

    fn of(secret: &[u8; 32], key: &Key) -> Self {
        Self {
            cipher: Arc::new(XChaCha20Poly1305::new(secret.into())),
            nonces: Arc::new(key.nonces()),
            marks: Marks::new(key),
            #[cfg(fuzzing)]
            is_transparent: false,
        }
    }

    /// Makes a seal that hides nothing and costs nothing: whoever fuzzes a machine looks for its states, and sealing would
    /// take most of the time.
    #[cfg(fuzzing)]
    #[must_use]
    pub fn transparent(key: &Key) -> Self {
        Self { is_transparent: true, ..Self::new(key) }
    }

    /// Seals a survey probe: a probe of which the role, the instance (the number drawn for that check) and the
    /// token alone say something.
    #[must_use]
    pub fn seal_survey_probe(
        &self,
        role: Role,
        instance: u64,
        token: u64,
        nonce: [u8; NONCE_BYTES],
    ) -> [u8; PROBE_BYTES] {
        let probe = Probe {
            kind: Kind::Probe,
            role,
            nominate: false,
            heard: false,
            direct: false,
            tunnel: false,
            epoch: 0,
            instance,
            sequence: 0,
            unix_ms: 0,
            token,
            observed: None,
        };
        self.seal(&probe, nonce)
    }

    /// Makes the nonce of a probe from drawn bytes and what the probe says: the first 20 bytes of
    /// HMAC-SHA256(nonce key, drawn | body), and their mark ([`Marks`]), by which whoever holds the key knows in some
    /// nanoseconds what is not worth an attempt to open it. A machine that was copied draws the same bytes as its copy; still two
    /// different probes never share a nonce.
    #[must_use]
    pub fn nonce(&self, probe: &Probe, drawn: [u8; NONCE_BYTES]) -> [u8; NONCE_BYTES] {
        #[cfg(fuzzing)]
        if self.is_transparent {
            return drawn;
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(&**self.nonces).expect("HMAC takes keys of any length");
        mac.update(&drawn);
        mac.update(&probe.encode());
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let [mut nonce @ .., _, _, _, _, _, _, _, _] = whole;
        self.marks.finish(&mut nonce);
        nonce
    }

    /// Seals a probe. The nonce must never be used twice: see [`Self::nonce`].
    #[must_use]
    pub fn seal(&self, probe: &Probe, nonce: [u8; NONCE_BYTES]) -> [u8; PROBE_BYTES] {
        let mut out = [0; PROBE_BYTES];
        out[0] = FIRST_BITS | VERSION;
        out[1..HEAD_BYTES].copy_from_slice(&nonce);
        let mut body = probe.encode();
        let first = [out[0]];
        #[cfg(fuzzing)]
        if self.is_transparent {
            out[HEAD_BYTES..HEAD_BYTES + BODY_BYTES].copy_from_slice(&body);
            let tag = checksum(&out[..HEAD_BYTES + BODY_BYTES]);
            out[HEAD_BYTES + BODY_BYTES..].copy_from_slice(&tag);
            return out;
        }
        let tag = self
            .cipher
            .encrypt_inout_detached(&XNonce::from(nonce), &first, body.as_mut_slice().into())
            .expect("60 bytes are within the cipher's limit");
        out[HEAD_BYTES..HEAD_BYTES + BODY_BYTES].copy_from_slice(&body);
        out[HEAD_BYTES + BODY_BYTES..].copy_from_slice(&tag);
        out
    }

    /// Opens a datagram that [`classify`] took for a probe.
    ///
    /// # Errors
    ///
    /// Says whether it was sealed with another key (or is noise), or is of another version.
    pub fn open(&self, datagram: &[u8]) -> Result<Probe, OpenError> {
        if classify(datagram) != Class::Probe {
            return Err(OpenError::NoProbe);
        }
        let (nonce, rest) = datagram[1..].split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::NoProbe)?;
        let (sealed, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(OpenError::NoProbe)?;
        #[cfg(fuzzing)]
        if self.is_transparent {
            if checksum(&datagram[..datagram.len() - TAG_BYTES]) != *tag {
                return Err(OpenError::Sealed { version: datagram[0] & !0b1100_0000 });
            }
            return Probe::decode(sealed).ok_or(OpenError::Unknown);
        }
        let mut body = [0; MAX_PROBE_BYTES];
        let body = &mut body[..sealed.len()];
        body.copy_from_slice(sealed);
        self.cipher
            .decrypt_inout_detached(&XNonce::from(*nonce), &datagram[..1], (&mut *body).into(), tag.into())
            .map_err(|_| OpenError::Sealed { version: datagram[0] & !0b1100_0000 })?;
        Probe::decode(body).ok_or(OpenError::Unknown)
    }
}

/// Stands in the place of a tag that proves something.
#[cfg(fuzzing)]
fn checksum(bytes: &[u8]) -> [u8; TAG_BYTES] {
    let mix = |sum: u128, word: u128| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let (words, rest) = bytes.as_chunks::<TAG_BYTES>();
    let mut last = [0; TAG_BYTES];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).map(|word| u128::from_le_bytes(*word)).fold(1, mix).to_be_bytes()
}

impl std::fmt::Debug for ProbeSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProbeSeal(secret)")
    }
}

/// The reason why a datagram is no probe for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Wrong first bits or length.
    #[error("not a probe")]
    NoProbe,
    /// The seal does not open: another key, or noise.
    #[error("sealed with another key (version {version})")]
    Sealed {
        /// The version that the first byte claims.
        version: u8,
    },
    /// Opened, but of a kind that this version does not know.
    #[error("a kind of probe that this version does not know")]
    Unknown,
}

impl Probe {
    fn encode(&self) -> [u8; BODY_BYTES] {
        let mut out = [0; BODY_BYTES];
        out[0] = match self.kind {
            Kind::Probe => 1,
            Kind::Ack => 2,
            Kind::Bye => 3,
            Kind::Displaced => 4,
        };
        out[1] = match self.role {
            Role::Serve => 0,
            Role::Open => 1,
        };
        out[2] = u8::from(self.nominate)
            | u8::from(self.heard) << 1
            | u8::from(self.direct) << 2
            | u8::from(self.tunnel) << 3;
        out[4..8].copy_from_slice(&self.epoch.to_be_bytes());
        out[8..16].copy_from_slice(&self.instance.to_be_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        out[24..32].copy_from_slice(&self.unix_ms.to_be_bytes());
        out[32..40].copy_from_slice(&self.token.to_be_bytes());
        encode_address(self.observed, &mut out[40..60]);
        out
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let body = body.first_chunk::<BODY_BYTES>()?;
        Some(Self {
            kind: match body[0] {
                1 => Kind::Probe,
                2 => Kind::Ack,
                3 => Kind::Bye,
                4 => Kind::Displaced,
                _ => return None,
            },
            role: match body[1] {
                0 => Role::Serve,
                1 => Role::Open,
                _ => return None,
            },
            nominate: body[2] & 1 != 0,
            heard: body[2] & 2 != 0,
            direct: body[2] & 4 != 0,
            tunnel: body[2] & 8 != 0,
            epoch: u32::from_be_bytes(*body[4..].first_chunk()?),
            instance: u64::from_be_bytes(*body[8..].first_chunk()?),
            sequence: u64::from_be_bytes(*body[16..].first_chunk()?),
            unix_ms: u64::from_be_bytes(*body[24..].first_chunk()?),
            token: u64::from_be_bytes(*body[32..].first_chunk()?),
            observed: decode_address(&body[40..60]),
        })
    }
}

fn encode_address(address: Option<SocketAddr>, out: &mut [u8]) {
    let Some(address) = address else { return };
    out[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            out[0] = 4;
            out[4..8].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out[0] = 6;
            out[4..20].copy_from_slice(&ip.octets());
        }
    }
}

fn decode_address(bytes: &[u8]) -> Option<SocketAddr> {
    let ip = match bytes[0] {
        4 => Ipv4Addr::from(*bytes[4..].first_chunk::<4>()?).into(),
        6 => Ipv6Addr::from(*bytes[4..].first_chunk::<16>()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*bytes[2..].first_chunk()?)))
}

#[cfg(test)]
mod tests;
