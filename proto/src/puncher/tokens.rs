//! Tokens of tests that need no memory: the moment of sending, and a proof that this side has sent them over that pair.
//!
//! A test may go to hundreds of pairs at once, and whoever copies probes can make it thousands: to remember each would
//! be a table that somebody else fills. The peer echoes the token, and the token says by itself whether it was ours.

use std::{
    hash::Hasher,
    net::IpAddr,
    time::{Duration, Instant},
};

use siphasher::sip::SipHasher24;

use super::Pair;

/// Unit of the moment in a token: fine enough for a round trip on one machine.
pub(super) const TICK: Duration = Duration::from_micros(10);

/// Bits of the moment that are in a token; the proof is of all of them, so none counts again 167 s later.
const TICK_BITS: u32 = 24;

/// Makes tokens and knows them again. Its key is drawn with each run of the program and never leaves it.
#[derive(Clone)]
pub(super) struct Tokens {
    key: SipHasher24,
    /// The moment from which ticks are counted.
    began: Option<Instant>,
}

impl Tokens {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        Self { key: SipHasher24::new_with_key(key), began: None }
    }

    /// Makes the token of a test that leaves now.
    pub(super) fn make(&mut self, pair: Pair, now: Instant) -> u64 {
        self.began.get_or_insert(now);
        let tick = self.tick(now);
        self.proof(pair, tick) << TICK_BITS | tick & TICKS
    }

    /// Returns how long ago this side has sent a test with that token over that pair; `None` if it has not.
    pub(super) fn age(&self, pair: Pair, token: u64, now: Instant) -> Option<Duration> {
        self.began?;
        let tick = self.tick(now);
        let ticks = tick.wrapping_sub(token) & TICKS;
        let is_ours = token >> TICK_BITS == self.proof(pair, tick.checked_sub(ticks)?);
        is_ours.then(|| TICK * u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    fn tick(&self, now: Instant) -> u64 {
        let since = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        u64::try_from(since.as_micros() / TICK.as_micros()).unwrap_or(u64::MAX)
    }

    /// 40 bits of SipHash-2-4.
    fn proof(&self, pair: Pair, tick: u64) -> u64 {
        let mut hasher = self.key;
        hasher.write_u64(tick);
        hasher.write_u16(pair.socket.0);
        hasher.write_u16(pair.remote.port());
        match pair.remote.ip() {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        hasher.finish() >> TICK_BITS
    }
}

/// The bits of the moment.
const TICKS: u64 = (1 << TICK_BITS) - 1;

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(secret)")
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{super::SocketId, *};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
    fn a_token_tells_its_age_over_its_own_pair_alone() {
        let mut tokens = Tokens::new(&[1; 16]);
        let pair = |socket, port| Pair {
            socket: SocketId(socket),
            remote: SocketAddr::from(([203, 0, 113, 9], port)),
        };
        let mut now = Instant::now();
        for _ in 0..400 {
            now += Duration::from_millis(777);
            let token = tokens.make(pair(0, 5555), now);
            let later = now + Duration::from_millis(40);
            assert_eq!(tokens.age(pair(0, 5555), token, later), Some(Duration::from_millis(40)));
            assert_eq!(tokens.age(pair(1, 5555), token, later), None);
            assert_eq!(tokens.age(pair(0, 5556), token, later), None);
            assert_eq!(tokens.age(pair(0, 5555), token ^ 1, later), None);
            assert_eq!(
                tokens.age(pair(0, 5555), token, now + TICK * (1 << TICK_BITS)),
                None,
                "a round later"
            );
            assert_eq!(Tokens::new(&[2; 16]).age(pair(0, 5555), token, later), None);
        }
    }
}
