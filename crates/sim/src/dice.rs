//! Chance from a seed: the same numbers on every machine.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to explore with.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Throws what this seed throws.
    pub const fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66)
    }

    /// Throws what this seed throws for this purpose, whatever else is thrown.
    pub fn named(seed: u64, purpose: &str) -> Dice {
        let hash = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Dice::new(seed.wrapping_add(hash))
    }

    /// Any number.
    pub const fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `0..end`; 0 where there is none.
    pub const fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.any() % end }
    }

    /// Once in so many times.
    pub const fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let at = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        of.get(at).cloned()
    }

    /// Less than so many milliseconds.
    pub const fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}
