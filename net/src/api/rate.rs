//! How often, and how much: buckets that fill up with time.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many callers are remembered; who has not called for longest is forgotten.
const MAX_CALLERS: usize = 16_384;

/// A bucket for each caller: it holds `size`, and fills up in `period`.
pub struct Buckets<K> {
    size: f64,
    per_second: f64,
    levels: Mutex<HashMap<K, Level>>,
}

#[derive(Clone, Copy)]
struct Level {
    left: f64,
    at: Instant,
}

impl<K: Eq + Hash + Clone> Buckets<K> {
    /// Buckets that hold `size` and fill up in `period`.
    pub fn new(size: u64, period: Duration) -> Self {
        // Whole numbers up to 2^53, which no limit comes near.
        #[expect(clippy::cast_precision_loss, reason = "a limit need not be exact")]
        let size = size.max(1) as f64;
        Self { size, per_second: size / period.as_secs_f64(), levels: Mutex::default() }
    }

    /// Takes `amount`. What is more than a bucket holds is taken from a full one, which is empty for
    /// longer then.
    ///
    /// # Errors
    /// In how many seconds there is enough; nothing has been taken.
    pub fn take(&self, caller: &K, amount: u64, now: Instant) -> Result<(), u64> {
        #[expect(clippy::cast_precision_loss, reason = "a limit need not be exact")]
        let amount = amount as f64;
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let level = self.level(&mut levels, caller, now);
        let needed = amount.min(self.size) - level.left;
        if needed > 0.0 {
            return Err(seconds(needed / self.per_second));
        }
        level.left -= amount;
        Ok(())
    }

    fn level<'l>(
        &self,
        levels: &'l mut HashMap<K, Level>,
        caller: &K,
        now: Instant,
    ) -> &'l mut Level {
        if levels.len() >= MAX_CALLERS && !levels.contains_key(caller) {
            let mut times: Vec<_> = levels.values().map(|level| level.at).collect();
            let middle = times.len() / 2;
            let (_, old, _) = times.select_nth_unstable(middle);
            let old = *old;
            levels.retain(|_, level| level.at > old);
        }
        let full = Level { left: self.size, at: now };
        let level = levels.entry(caller.clone()).or_insert(full);
        let passed = now.saturating_duration_since(level.at).as_secs_f64();
        level.left = (level.left + passed * self.per_second).min(self.size);
        level.at = now;
        level
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts of floats saturate, and a time to wait is positive"
)]
fn seconds(wait: f64) -> u64 {
    wait.ceil() as u64
}

/// What stands for whoever is at an address: of IPv6, everybody has a whole network.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        let buckets = Buckets::new(10, Duration::from_secs(5));
        let start = Instant::now();
        assert_eq!(buckets.take(&"a", 10, start), Ok(()));
        assert_eq!(buckets.take(&"a", 4, start), Err(2));
        assert_eq!(buckets.take(&"b", 1, start), Ok(()));
        assert_eq!(buckets.take(&"a", 4, start + Duration::from_secs(2)), Ok(()));
        assert_eq!(buckets.take(&"a", 1, start + Duration::from_secs(2)), Err(1));
        // More than it holds needs a full one, and is owed afterwards.
        let later = start + Duration::from_secs(60);
        assert_eq!(buckets.take(&"a", 20, later), Ok(()));
        assert_eq!(buckets.take(&"a", 1, later), Err(6));
    }

    #[test]
    fn who_calls_no_more_is_forgotten() {
        let buckets = Buckets::new(1, Duration::from_secs(60));
        let start = Instant::now();
        for caller in 0..3 * MAX_CALLERS as u64 {
            buckets.take(&caller, 1, start + Duration::from_micros(caller)).unwrap();
            assert!(buckets.levels.lock().unwrap().len() <= MAX_CALLERS);
        }
        let last = 3 * MAX_CALLERS as u64 - 1;
        assert!(buckets.take(&last, 1, start + Duration::from_micros(last)).is_err());
    }

    #[test]
    fn a_network_is_one_caller() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
