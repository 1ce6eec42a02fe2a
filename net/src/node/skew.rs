//! The clocks of peers.

use std::time::Duration;

use quipu_merge::AuthorKey;

use super::core::Core;

/// A clock that differs by so much is warned of: half of what events may be dated ahead.
const MAX_SKEW: Duration = Duration::from_secs(30);

impl Core {
    /// A peer has told its time.
    pub(super) fn clock_told(&mut self, peer: AuthorKey, ahead: i64) {
        let Some(connected) = self.connected.get_mut(&peer) else { return };
        connected.clock_ahead = ahead;
        let off = u128::from(ahead.unsigned_abs()) > MAX_SKEW.as_micros();
        if off && !connected.warned {
            let seconds = ahead / 1_000_000;
            tracing::warn!(
                %peer,
                ahead_seconds = seconds,
                "the clocks differ: events dated more than a minute ahead wait until they are due"
            );
        }
        connected.warned = off;
    }
}
