//! UTC as the rendezvous: which ports and which roles both sides use in which stretch of time, without talking.

use std::time::Duration;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::{Key, Role};

/// Length of a slot.
///
/// Long enough for a guard, a round trip and repeats; short enough that the second slot, in which the roles are
/// exchanged, comes soon.
pub const SLOT: Duration = Duration::from_secs(3);

/// The ports that slots draw from: above those that services use, below those that Linux hands out by itself.
const PORTS: std::ops::RangeInclusive<u16> = 16_384..=32_767;

/// Tells the ports and roles of each slot; secret, because whoever knows it knows where to disturb.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Schedule {
    secret: [u8; 32],
}

impl Schedule {
    /// Derives the schedule from the shared key.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        Self { secret: *key.slot_schedule() }
    }

    /// Returns the ports of a slot, the serve side's first.
    pub(super) fn ports(&self, slot: u64) -> [u16; 2] {
        let mut drawn = Zeroizing::new([0; 4]);
        Hkdf::<Sha256>::from_prk(&self.secret)
            .expect("32 bytes are a whole SHA-256 output")
            .expand(&slot.to_be_bytes(), drawn.as_mut())
            .expect("4 bytes are within HKDF's limit");
        let span = PORTS.end() - PORTS.start() + 1; // a power of two: no port is likelier than another
        [[drawn[0], drawn[1]], [drawn[2], drawn[3]]].map(|two| PORTS.start() + u16::from_be_bytes(two) % span)
    }

    /// Returns the own port and the peer's port of a slot.
    pub(super) fn pair(&self, slot: u64, role: Role) -> (u16, u16) {
        let [serve, open] = self.ports(slot);
        match role {
            Role::Serve => (serve, open),
            Role::Open => (open, serve),
        }
    }
}

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schedule(secret)")
    }
}

/// Returns the number of the slot in which a wall clock is.
pub(super) fn slot_at(unix: Duration) -> u64 {
    unix.as_secs() / SLOT.as_secs()
}

/// Returns when a slot begins on the wall clock.
pub(super) fn slot_start(slot: u64) -> Duration {
    SLOT * u32::try_from(slot).unwrap_or(u32::MAX)
}

/// Returns which side speaks first in a slot; the other one only opens its NAT and answers.
pub(super) fn speaker(slot: u64) -> Role {
    if slot.is_multiple_of(2) { Role::Serve } else { Role::Open }
}
