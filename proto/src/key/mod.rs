//! The one secret both sides share, and everything derived from it.
//!
//! 1. A [`Phrase`] is drawn from entropy, or read from what a user typed; spelling habits (case, blanks, hyphens) do
//!    not matter. Its last word proves that it was drawn, and tells a typing error.
//! 2. A phrase that a user made up is taken only as such ([`Phrase::own`]), and must not look weak.
//! 3. [`Key::stretch`] runs Argon2id once (RFC 9106). There is no place to agree on a random salt with nothing but
//!    two IPs, so the salt is a constant of this program; the strength of the phrase must carry the weight.
//! 4. HKDF-SHA256 (RFC 5869) derives independent keys, one label each: whoever learns one learns no other.

mod phrase;
mod quic;
mod typo;
mod words;

pub use phrase::{Phrase, PhraseError, WeakPhrase};
pub use quic::{CONNECTION_ID_BYTES, InitialKey, Instances, Marks};
pub use typo::Typo;
pub use words::PHRASE_WORDS;

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Role;

/// Argon2id's memory cost, KiB. With [`ARGON2_PASSES`] it takes 0.13 s of one core of a 2020s server and 1.4 s of a
/// tenth of such a core; `cargo bench --bench key` prints the table that it was chosen from. A machine of 128 MiB has
/// room for it. Glibc takes so much from the system and gives it back at once; less than 32 MiB it may keep.
pub const ARGON2_MEMORY_KIB: u32 = 46 * 1024;

/// Argon2id's number of passes.
pub const ARGON2_PASSES: u32 = 3;

const SALT: &[u8] = b"pinhole key stretching, version 2";

/// The stretched secret, from which all keys are derived. Clones share the one copy of it, which is wiped with the
/// last of them.
#[derive(Clone)]
pub struct Key {
    secret: Arc<Zeroizing<[u8; 32]>>,
}

impl Key {
    /// Stretches a phrase into a key. Takes a tenth of a second, and 46 MiB meanwhile, by design.
    #[must_use]
    pub fn stretch(phrase: &Phrase) -> Self {
        let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, 1, Some(32))
            .expect("the costs are constants in range");
        let mut blocks = Zeroizing::new(vec![Block::new(); params.block_count()]);
        let mut secret = Arc::new(Zeroizing::new([0; 32]));
        let out = Arc::get_mut(&mut secret).expect("nobody else has it yet");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                phrase.as_str().as_bytes(),
                SALT,
                out.as_mut_slice(),
                blocks.as_mut_slice(),
            )
            .expect("output and salt have lengths that Argon2 takes");
        Self { secret }
    }

    /// Derives the key that seals probes.
    pub(crate) fn probe_seal(&self) -> Zeroizing<[u8; 32]> {
        self.derive(b"pinhole v2 probe seal")
    }

    /// Derives the key that seals survey probes.
    pub(crate) fn survey_seal(&self) -> Zeroizing<[u8; 32]> {
        self.derive(b"pinhole v2 letter seal")
    }

    /// Derives the key of checks, from which all that a check uses is derived in turn: no check can be taken for a
    /// tunnel, displace one, or be answered by one.
    #[must_use]
    pub fn for_check(&self) -> Self {
        Self { secret: Arc::new(self.derive(b"pinhole v2 check")) }
    }

    /// Derives what names the key to another program of the same user, which may or may not have the same key. Nobody
    /// else is told.
    #[must_use]
    pub fn tag(&self) -> Zeroizing<[u8; 32]> {
        self.derive(b"pinhole v2 local tag")
    }

    /// Returns whether a tag is that of this key, in a time that does not depend on where they differ.
    #[must_use]
    pub fn is_named_by(&self, tag: &[u8; 32]) -> bool {
        self.tag().ct_eq(tag).into()
    }

    /// Derives the secret of the slot schedule.
    pub(crate) fn slot_schedule(&self) -> Zeroizing<[u8; 32]> {
        self.derive(b"pinhole v2 slot schedule")
    }

    /// Derives the seed of the Ed25519 identity that `role` shows in TLS (RFC 8032 §5.1.5, RFC 7250).
    ///
    /// Both sides can derive both: each needs its own private key, and the other's public key to pin it.
    #[must_use]
    pub fn identity_seed(&self, role: Role) -> Zeroizing<[u8; 32]> {
        self.derive(match role {
            Role::Serve => b"pinhole v2 identity serve",
            Role::Open => b"pinhole v2 identity open",
        })
    }

    /// Derives the key that hedges the nonces of probes against a machine that was copied.
    pub(crate) fn nonces(&self) -> Zeroizing<[u8; 32]> {
        self.derive(b"pinhole v2 nonce")
    }

    /// Derives the secret of QUIC's Initial packets: without it nobody opens or makes one.
    #[must_use]
    pub fn quic_initial(&self) -> Zeroizing<[u8; 32]> {
        self.derive(b"pinhole v2 quic initial")
    }

    /// Derives the key that marks QUIC's connection IDs.
    #[must_use]
    pub fn connection_ids(&self) -> Zeroizing<[u8; 32]> {
        self.derive(b"pinhole v2 connection id")
    }

    fn derive(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::from_prk(self.secret.as_slice())
            .expect("32 bytes are a whole SHA-256 output")
            .expand(label, out.as_mut())
            .expect("32 bytes are within HKDF's limit");
        out
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// Returns the key of a drawn phrase that the name stands for.
#[cfg(test)]
pub(crate) fn of_test(name: &str) -> Key {
    let mut entropy = [0; 32];
    entropy[..name.len()].copy_from_slice(name.as_bytes());
    Key::stretch(&Phrase::generate(entropy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::stretch(&text.parse().expect("a phrase"))
    }

    #[test]
    fn the_same_phrase_in_another_spelling_gives_the_same_key() {
        let spelt = "Moonlight  spotter shush THEFT relocate_vending affix\n";
        let canonical = "moonlight-spotter-shush-theft-relocate-vending-affix";
        assert_eq!(key(spelt).secret, key(canonical).secret);
    }

    #[test]
    fn each_label_gives_another_key() {
        let key = of_test("labels");
        let of = |key: &Key| {
            [
                key.probe_seal(),
                key.survey_seal(),
                key.identity_seed(Role::Serve),
                key.identity_seed(Role::Open),
                key.tag(),
                key.slot_schedule(),
                key.nonces(),
                key.quic_initial(),
                key.connection_ids(),
            ]
        };
        let derived: std::collections::BTreeSet<_> =
            [of(&key), of(&key.for_check())].iter().flatten().map(|derived| **derived).collect();
        assert_eq!(derived.len(), 18);
    }

    #[test]
    fn a_key_is_named_by_its_own_tag_alone() {
        let (one, other) = (of_test("one"), of_test("other"));
        assert!(one.is_named_by(&one.tag()) && !one.is_named_by(&other.tag()));
    }

    /// Two releases that derive different keys from one phrase could not talk: this value is part of the protocol.
    #[test]
    fn derivation_is_pinned() {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let key = key("moonlight-spotter-shush-theft-relocate-vending-affix");
        assert_eq!(
            hex(key.secret.as_slice()),
            "2021a5644fe7d25b5c21cfab3af09075f93e40349dd2ac3edbe27c313b10833c"
        );
        assert_eq!(
            hex(&*key.probe_seal()),
            "2acae76699ca8fd1709b55784f8f374074df27666be7b3b9e94e8e04bb772451"
        );
    }

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        assert_eq!(format!("{:?}", of_test("debug")), "Key(secret)");
    }
}
