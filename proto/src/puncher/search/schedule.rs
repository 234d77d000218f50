//! UTC as the rendezvous: which ports and which roles both sides use in which stretch of time, without talking.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use hkdf::Hkdf;
use rand_core::{Rng, SeedableRng};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::puncher::budget::{MAX_FAN, MORE_FAN};
use crate::{Key, Role};

/// Length of a slot.
///
/// Long enough for a guard, a round trip and repeats; short enough that the second slot, in which the roles are
/// exchanged, comes soon.
pub const SLOT: Duration = Duration::from_secs(3);

/// The ports of slots: above those that services use, below those that Linux hands out by itself. As many as a power of
/// two, so that no port is likelier than another.
const SLOT_PORTS: RangeInclusive<u16> = 16_384..=24_575;

/// The ports of fans.
const FAN_PORTS: RangeInclusive<u16> = 24_576..=32_767;

/// The reserve ports.
const RESERVE_PORTS: RangeInclusive<u16> = 12_288..=16_383;

/// Tells the ports and roles of each slot, and the sockets of each fan; secret, because whoever knows it knows where to
/// disturb.
#[derive(Clone)]
pub struct Schedule {
    secret: Arc<Zeroizing<[u8; 32]>>,
}

impl Schedule {
    /// Derives the schedule from the shared key.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        Self { secret: Arc::new(key.slot_schedule()) }
    }

    /// Returns the own port and the peer's port of a slot. The two main ports are part of the question, so that two
    /// tunnels of one key do not ask for the same port.
    pub(in crate::puncher) fn pair(&self, slot: u64, role: Role, own: u16, peers: u16) -> (u16, u16) {
        let (serve, open) = by_role(role, own, peers);
        let question =
            [b"slot".as_slice(), &slot.to_be_bytes(), &serve.to_be_bytes(), &open.to_be_bytes()].concat();
        let drawn: [u8; 4] = self.expand(&question);
        let [serve, open] = [[drawn[0], drawn[1]], [drawn[2], drawn[3]]].map(|two| nth(&SLOT_PORTS, two));
        by_role(role, serve, open)
    }

    /// Returns the own reserve port and the peer's after a path that these searches have found; each with the main port
    /// of its side. Each path has others: what a NAT remembers of the former must not be in their way.
    pub(in crate::puncher) fn reserve(&self, role: Role, own: (u32, u16), peers: (u32, u16)) -> (u16, u16) {
        let (serve, open) = by_role(role, own, peers);
        let words = |(epoch, port): (u32, u16)| (epoch.to_be_bytes(), port.to_be_bytes());
        let ((serve_epoch, serve_port), (open_epoch, open_port)) = (words(serve), words(open));
        let question = [b"spare".as_slice(), &serve_epoch, &open_epoch, &serve_port, &open_port].concat();
        let drawn: [u8; 4] = self.expand(&question);
        let [serve, open] = [[drawn[0], drawn[1]], [drawn[2], drawn[3]]].map(|two| nth(&RESERVE_PORTS, two));
        by_role(role, serve, open)
    }

    /// Returns what a search in that epoch uses: the same whenever it asks, in another run of the program too, so that a
    /// search that begins again uses the mappings of the former.
    pub(in crate::puncher) fn deal(&self, epoch: u64, role: Role, own: u16) -> Deal {
        let role = match role {
            Role::Serve => b"serve".as_slice(),
            Role::Open => b"open",
        };
        let question = [b"fan ".as_slice(), role, &epoch.to_be_bytes(), &own.to_be_bytes()].concat();
        let mut rng = rand_chacha::ChaCha20Rng::from_seed(self.expand(&question));
        let mut fan = Vec::with_capacity(MAX_FAN + MORE_FAN);
        while fan.len() < MAX_FAN + MORE_FAN {
            let [low, high, ..] = rng.next_u64().to_be_bytes();
            let port = nth(&FAN_PORTS, [low, high]);
            if !fan.contains(&port) {
                fan.push(port);
            }
        }
        Deal { fan, start: rng.next_u32() }
    }

    fn expand<const N: usize>(&self, question: &[u8]) -> [u8; N] {
        let mut out = Zeroizing::new([0; N]);
        Hkdf::<Sha256>::from_prk(self.secret.as_slice())
            .expect("32 bytes are a whole SHA-256 output")
            .expand(question, out.as_mut())
            .expect("a few bytes are within HKDF's limit");
        *out
    }
}

/// The sockets and the order of one birthday.
#[derive(Debug, Clone)]
pub(in crate::puncher) struct Deal {
    /// Own ports to fan out from.
    pub(in crate::puncher) fan: Vec<u16>,
    /// Where the sweep starts.
    pub(in crate::puncher) start: u32,
}

/// Picks a port of a range whose size is a power of two.
fn nth(ports: &RangeInclusive<u16>, drawn: [u8; 2]) -> u16 {
    let span = ports.end() - ports.start() + 1;
    ports.start() + u16::from_be_bytes(drawn) % span
}

/// Orders what is ours and the peer's by role, or the other way round.
fn by_role<T>(role: Role, first: T, second: T) -> (T, T) {
    match role {
        Role::Serve => (first, second),
        Role::Open => (second, first),
    }
}

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schedule(secret)")
    }
}

/// Returns the number of the slot in which a wall clock is.
pub(in crate::puncher) fn slot_at(unix: Duration) -> u64 {
    unix.as_secs() / SLOT.as_secs()
}

/// Returns the time to the next slot.
pub(in crate::puncher) fn to_next_slot(unix: Duration) -> Duration {
    SLOT - Duration::new(unix.as_secs() % SLOT.as_secs(), unix.subsec_nanos())
}

/// Returns which side speaks first in a slot; the other one only opens its NAT and answers.
pub(in crate::puncher) fn speaker(slot: u64) -> Role {
    if slot.is_multiple_of(2) { Role::Serve } else { Role::Open }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::key;

    fn schedule(name: &str) -> Schedule {
        Schedule::new(&key::of_test(name))
    }

    /// Two releases that draw different ports from one key would never meet: these values are part of the protocol.
    #[test]
    fn the_schedule_is_pinned() {
        let schedule = schedule("pinned");
        let slots = [0, 1, 600_000_000];
        let pairs = slots.map(|slot| schedule.pair(slot, Role::Serve, 5555, 5555));
        assert_eq!(pairs, [(19_643, 21_728), (21_325, 20_250), (18_292, 21_453)]);
        assert_eq!(slots.map(speaker), [Role::Serve, Role::Open, Role::Serve]);
    }

    #[test]
    fn both_sides_see_the_same_pair() {
        let schedule = schedule("one key");
        for slot in 0..100 {
            let (serve, open) = schedule.pair(slot, Role::Serve, 5555, 6666);
            assert_eq!(schedule.pair(slot, Role::Open, 6666, 5555), (open, serve));
            assert!(SLOT_PORTS.contains(&serve) && SLOT_PORTS.contains(&open));
        }
    }

    #[test]
    fn both_sides_see_the_same_reserve_ports_and_others_after_each_path() {
        let schedule = schedule("pinned");
        let paths = [((1, 5555), (1, 5555)), ((1, 5555), (2, 5555)), ((1, 6666), (1, 5555))];
        let drawn = paths.map(|(serve, open)| {
            let (own, peers) = schedule.reserve(Role::Serve, serve, open);
            assert_eq!(schedule.reserve(Role::Open, open, serve), (peers, own));
            assert!(RESERVE_PORTS.contains(&own) && RESERVE_PORTS.contains(&peers));
            (own, peers)
        });
        assert_eq!(drawn, [(13_515, 15_511), (12_359, 12_620), (12_851, 14_072)], "part of the protocol");
    }

    #[test]
    fn a_fan_is_the_same_when_asked_again_and_another_in_another_epoch() {
        let schedule = schedule("one key");
        let fan = |epoch, role, own| schedule.deal(epoch, role, own).fan.into_iter().collect::<BTreeSet<_>>();
        let first = fan(7, Role::Serve, 5555);
        assert_eq!(first.len(), MAX_FAN + MORE_FAN);
        assert!(first.iter().all(|port| FAN_PORTS.contains(port)));
        assert_eq!(fan(7, Role::Serve, 5555), first);
        let others = [fan(8, Role::Serve, 5555), fan(7, Role::Open, 5555), fan(7, Role::Serve, 5556)];
        assert!(others.iter().all(|other| other.intersection(&first).count() < MAX_FAN / 2));
    }

    #[test]
    fn a_slot_begins_where_the_one_before_it_ends() {
        let end = Duration::from_millis(2999);
        assert_eq!((slot_at(end), slot_at(end + to_next_slot(end))), (0, 1));
        assert_eq!(to_next_slot(Duration::MAX - SLOT).as_secs(), 2);
        assert_eq!(to_next_slot(Duration::from_secs(6)), SLOT);
    }
}
