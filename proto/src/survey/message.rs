//! What the two sides of a check tell each other over the tunnel: messages, each behind its length.
//!
//! A message is written by postcard's format (varints, fields in order), at most [`MAX_MESSAGE_BYTES`].

use serde::{Deserialize, Serialize};

use super::{LifetimeSeen, Orders, Report, Seen, Stand};

/// Longest message, bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// The introduction of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of these messages that it speaks.
    pub version: u32,
    /// The tunnel's socket: its own address, and the *other* side's as it is seen from here.
    pub stand: Stand,
    /// Mappings that it may still make.
    pub mappings: u16,
    /// Bytes that it is willing to take in a transfer.
    pub transfer_bytes: u32,
    /// Time that it wants spent on how long mappings are kept, seconds; 0 for none.
    pub lifetime_s: u16,
    /// Drawn at random for this check. Probes of both sides carry the open side's, so that one recorded in an earlier
    /// check counts for nothing.
    pub instance: u64,
}

impl Hello {
    /// The version spoken here.
    pub const VERSION: u32 = 3;
}

/// What was measured of the way from the controlling side to the other one and back, and of a transfer each way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// The shortest round trip through the tunnel, µs.
    pub rtt_min_us: u32,
    /// Half of them were shorter than this, µs.
    pub rtt_median_us: u32,
    /// The serve side's wall clock minus the open side's, ms.
    pub serve_ahead_ms: i64,
    /// Largest datagram that QUIC knows to pass, bytes of UDP payload.
    pub datagram_bytes: u16,
    /// What arrived of a transfer from each side, by [`super::index`].
    pub transfers: [Transfer; 2],
}

/// How a transfer arrived.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transfer {
    /// All of it, bytes.
    pub bytes: u64,
    /// From the first chunk to the last, µs.
    pub us: u64,
    /// What came within each quarter of a second, bytes.
    pub quarters: Vec<u32>,
}

impl Transfer {
    /// Returns its mean rate, bits in a second; `None` where too little came to tell.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.us > 0).then(|| self.bytes as f64 * 8.0 / (self.us as f64 / 1e6))
    }

    /// Returns the rates of its first and its last full second, bits in a second, where the last one brought less than
    /// half of the first: a line that lets a burst through and then slows UDP down.
    #[must_use]
    pub fn throttled(&self) -> Option<(f64, f64)> {
        let full = self.quarters.len().checked_sub(1).filter(|full| *full >= 2 * A_SECOND)?;
        let rate = |quarters: &[u32]| 8.0 * quarters.iter().map(|bytes| f64::from(*bytes)).sum::<f64>();
        let (first, last) = (rate(&self.quarters[..A_SECOND]), rate(&self.quarters[full - A_SECOND..full]));
        (last * 2.0 < first).then_some((first, last))
    }
}

/// Quarters of a second in one.
const A_SECOND: usize = 4;

/// All that a check has found out about the two sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was seen of each, by [`super::index`].
    pub seen: [Seen; 2],
    /// What was measured.
    pub figures: Figures,
    /// How long each side's NAT keeps a mapping, by [`super::index`]; `None` where that was not looked at, or could not
    /// be seen.
    pub lifetimes: [Option<LifetimeSeen>; 2],
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The first one of either side.
    Hello(Hello),
    /// Carry these out, and report.
    Round {
        /// The number that the probes carry.
        number: u32,
        /// What to do.
        orders: Orders,
    },
    /// Tell what you have heard in that round.
    Ask,
    /// The orders have been carried out.
    Sent,
    /// What was heard.
    Report(Report),
    /// Answer at once.
    Ping,
    /// Our wall clock, ms since 1970.
    Pong(u64),
    /// Send that many bytes of filling.
    Fill(u32),
    /// A chunk of filling.
    Filling(Vec<u8>),
    /// That was all of it.
    Filled,
    /// How it arrived.
    Took(Transfer),
    /// The end: all that was found out.
    Outcome(Box<Outcome>),
}

impl Message {
    /// Writes the message behind its length.
    ///
    /// # Panics
    ///
    /// When it is longer than [`MAX_MESSAGE_BYTES`], which nothing within the bounds of a survey is.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_allocvec(self).expect("memory is all that writing needs");
        assert!(body.len() <= MAX_MESSAGE_BYTES, "within the bounds of a survey");
        let length = u32::try_from(body.len()).expect("checked above");
        [&length.to_be_bytes()[..], &body].concat()
    }

    /// Returns how long the message is that follows these four bytes; `None` if it is too long.
    #[must_use]
    pub fn length(head: [u8; 4]) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(head)).ok().filter(|length| *length <= MAX_MESSAGE_BYTES)
    }

    /// Reads a message without its length.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        postcard::from_bytes(body).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::survey::{Heard, MAX_PROBES, Socket, SurveyProbe};

    #[test]
    fn the_largest_orders_and_reports_fit_into_a_message() {
        let far = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().expect("an address");
        let probe = SurveyProbe { from: Socket(u16::MAX), to: far, is_low: true };
        let orders = Orders { open: u16::MAX, probes: vec![probe; MAX_PROBES], repeats: u16::MAX };
        let heard = Heard { probe: u16::MAX, at: Socket(u16::MAX), from: far, count: u16::MAX };
        let report = Report { ports: vec![u16::MAX; 64], heard: vec![heard; 1024] };
        for message in [Message::Round { number: u32::MAX, orders }, Message::Report(report)] {
            let bytes = message.encode();
            assert_eq!(Message::length([bytes[0], bytes[1], bytes[2], bytes[3]]), Some(bytes.len() - 4));
            assert_eq!(Message::decode(&bytes[4..]), Some(message));
        }
    }

    #[test]
    fn a_line_that_slows_down_after_a_burst_is_told_from_one_that_does_not() {
        let transfer = |quarters: Vec<u32>| Transfer { bytes: 1, us: 1, quarters };
        let burst = transfer([vec![1_000_000; 4], vec![100_000; 8]].concat());
        assert_eq!(burst.throttled(), Some((32e6, 3.2e6)));
        assert_eq!(transfer(vec![1_000_000; 12]).throttled(), None);
        assert_eq!(transfer(vec![1_000_000, 1]).throttled(), None, "too short to tell");
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        proptest!(|(bytes: Vec<u8>)| { let _ = Message::decode(&bytes); });
        assert_eq!(Message::length([0, 1, 0, 1]), None);
    }
}
