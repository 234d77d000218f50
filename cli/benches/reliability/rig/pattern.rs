//! A stream of bytes that both ends know without talking: each byte follows from its place.

/// The stream of one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pattern {
    seed: u64,
}

impl Pattern {
    /// Makes the stream of that number; no two are alike.
    pub(crate) fn new(number: u64) -> Pattern {
        Pattern { seed: number.wrapping_mul(0xd1b5_4a32_d192_ed03) }
    }

    /// Fills a buffer with the bytes from that place on.
    pub(crate) fn fill(self, place: u64, buffer: &mut [u8]) {
        buffer.iter_mut().zip(place..).for_each(|(byte, place)| *byte = self.byte(place));
    }

    /// Returns the place of the first byte that is not the stream's, of some that came at that place.
    pub(crate) fn first_wrong(self, place: u64, came: &[u8]) -> Option<u64> {
        came.iter().zip(place..).find(|(byte, place)| **byte != self.byte(*place)).map(|(_, place)| place)
    }

    /// Mixes a word of eight bytes (SplitMix64) and returns one of them.
    fn byte(self, place: u64) -> u8 {
        let mut word = self.seed.wrapping_add((place / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31).to_le_bytes()[(place % 8) as usize]
    }
}
