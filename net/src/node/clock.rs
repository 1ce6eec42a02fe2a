//! The two clocks of a node: one that never goes back, and the one on the wall.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quipu_merge::Micros;
use quipu_proto::Moment;

/// A clock that never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Now.
    pub fn now(self) -> Moment {
        Moment(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// For how long it has been running.
    pub fn up(self) -> Duration {
        self.0.elapsed()
    }

    /// A moment as an instant of the system.
    pub fn instant(self, moment: Moment) -> Instant {
        // A clock does not reach as far as a number does.
        let after = Duration::from_micros(moment.0.min(u64::from(u32::MAX) * 1_000_000));
        self.0.checked_add(after).unwrap_or(self.0)
    }
}

/// The clock on the wall.
pub fn wall() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX).min(Micros::MAX.0))
}

/// How long it is until then; nothing where it is past.
pub fn until(then: Micros) -> Duration {
    Duration::from_micros(then.0.saturating_sub(wall().0))
}
