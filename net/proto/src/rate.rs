//! How often a peer may do something.

use std::time::Duration;

use crate::time::Moment;

/// So often, and so many times at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Between two times, in the long run.
    pub every: Duration,
    /// At once.
    pub burst: u32,
}

/// What has been used of a rate: a token bucket, told by when it is full again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket(Moment);

impl Bucket {
    /// Uses it so many times, where that is not too often.
    pub fn take(&mut self, rate: Rate, count: u32, now: Moment) -> bool {
        let full = self.0.max(now).after(rate.every.saturating_mul(count));
        let allowed = full <= now.after(rate.every.saturating_mul(rate.burst));
        if allowed {
            self.0 = full;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_a_burst_and_then_its_rate() {
        let rate = Rate { every: Duration::from_millis(100), burst: 3 };
        let mut bucket = Bucket::default();
        let mut take = |count, micros| bucket.take(rate, count, Moment(micros));
        assert!(!take(4, 1_000_000));
        assert!(take(2, 1_000_000) && take(1, 1_000_000) && !take(1, 1_000_000));
        assert!(!take(1, 1_099_999) && take(1, 1_100_000) && !take(1, 1_100_000));
        assert!(take(3, 9_000_000) && !take(1, 9_000_000));
    }
}
