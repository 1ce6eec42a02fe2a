//! Where a generator's choices come from: a seed, or the bytes of a fuzzer.

/// A source of choices that always answers; the same source makes the same choices.
#[derive(Clone, Debug)]
pub struct Dice(Source);

#[derive(Clone, Debug)]
enum Source {
    Seed(u64),
    Bytes(std::vec::IntoIter<u8>),
}

impl Dice {
    /// Choices without end from a seed.
    pub const fn seeded(seed: u64) -> Self {
        Self(Source::Seed(seed))
    }

    /// Choices read from bytes, then always the first choice.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Source::Bytes(Vec::from(bytes).into_iter()))
    }

    /// Whether no choice is left; never with a seed.
    pub fn is_spent(&self) -> bool {
        matches!(&self.0, Source::Bytes(bytes) if bytes.len() == 0)
    }

    /// A number below `limit`, or 0 where that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        // A fuzzer's byte per small choice keeps its inputs short and its mutations local.
        let wide = limit > 256;
        let number = match &mut self.0 {
            Source::Seed(state) => splitmix64(state),
            Source::Bytes(bytes) => {
                let mut byte = || u64::from(bytes.next().unwrap_or(0));
                if wide { byte() << 8 | byte() } else { byte() }
            }
        };
        (number % (limit.max(1) as u64)) as usize
    }

    /// True in about `percent` of 100 cases, and never once the bytes are spent.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent.min(99)
    }

    /// One of the items; `None` where there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
}

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
