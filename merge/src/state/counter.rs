//! A counter: an exact sum.

use std::fmt;

use crdts::{CmRDT, PNCounter};

use crate::clock::Lane;

/// The sum of everything that was added, which may exceed 64 bits.
///
/// A [`PNCounter`] keeps 64 bits per actor. The amounts are split into halves of 32 bits, each
/// with a counter of its own, so that no lane overflows before 2^32 operations on one key.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    low: PNCounter<Lane>,
    high: PNCounter<Lane>,
    /// What it began with.
    begun: i128,
}

impl Counter {
    /// Begins with what others have added.
    pub fn begin(&mut self, sum: i128) {
        self.begun += sum;
    }

    /// Adds `by` on behalf of `lane`.
    pub fn add(&mut self, lane: Lane, by: i64) {
        let amount = by.unsigned_abs();
        for (half, amount) in
            [(&mut self.low, amount & u64::from(u32::MAX)), (&mut self.high, amount >> 32)]
        {
            if amount > 0 {
                let op =
                    if by > 0 { half.inc_many(lane, amount) } else { half.dec_many(lane, amount) };
                half.apply(op);
            }
        }
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ((self.high.read() << 32_u32) + self.low.read() + self.begun).fmt(f)
    }
}
