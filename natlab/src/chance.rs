//! Chance that can be repeated: a small generator whose whole state is one number.

/// Draws pseudo-random numbers from a seed (SplitMix64, Steele et al. 2014); not for secrets.
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// Starts a sequence; equal seeds give equal sequences.
    pub fn new(seed: u64) -> Chance {
        Chance { state: seed }
    }

    /// Starts an independent sequence of its own, so that two users do not disturb each other's draws.
    pub fn fork(&mut self) -> Chance {
        Chance::new(self.next_u64())
    }

    /// Draws any number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Draws a number below the bound; the bias is below 2⁻³² for bounds of 32 bits.
    ///
    /// # Panics
    /// When the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        self.next_u64() % bound
    }

    /// Draws a number from 0 up to, not including, 1.
    pub fn fraction(&mut self) -> f64 {
        // 53 bits are all an f64 can hold.
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Says yes with that probability; draws nothing for 0 and below.
    pub fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.fraction() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_draw_equal_numbers() {
        let mut first = Chance::new(7);
        let mut second = Chance::new(7);
        assert!((0..100).all(|_| first.next_u64() == second.next_u64()));
    }

    #[test]
    fn a_probability_is_met_within_a_percent() {
        let mut chance = Chance::new(1);
        let hits = (0..100_000).filter(|_| chance.happens(0.25)).count();
        assert!((24_000..26_000).contains(&hits), "{hits} of 100,000");
    }
}
