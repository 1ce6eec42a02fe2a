//! Random numbers that a seed repeats.

use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from `QUIPU_SEED`, or from the clock, and prints which.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let given = std::env::var("QUIPU_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(now.as_secs());
        println!("QUIPU_SEED={seed}");
        Self::from_seed(seed)
    }

    /// Another that has nothing to do with this one, however much of it is used.
    pub const fn fork(&mut self) -> Self {
        Self(self.next() | 1)
    }

    pub const fn from_seed(seed: u64) -> Self {
        // Neighbouring seeds give numbers that have nothing to do with each other.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub const fn next(&mut self) -> u64 {
        // Xorshift: https://doi.org/10.18637/jss.v008.i14
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below a bound.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An index into something of this length.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    /// Two different indices into something of this length.
    pub fn two(&mut self, len: usize) -> (usize, usize) {
        let first = self.index(len);
        (first, (first + 1 + self.index(len - 1)) % len)
    }
}
