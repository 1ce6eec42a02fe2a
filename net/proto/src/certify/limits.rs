//! How long, how often, how many.

use std::time::Duration;

use crate::rate::Rate;

/// Messages of one peer that came early, for the next height or one that has not begun.
pub const MAX_EARLY: usize = 64;
/// Length of the same, in bytes.
pub const MAX_EARLY_LEN: usize = 1 << 20;
/// Checkpoints that are proposed in a height and looked at. Of one round the core takes two, and more only
/// where more than two thirds have voted for them.
pub const MAX_VALUES: usize = 64;
/// Proposals of a height that are handed on when somebody asks.
pub const MAX_PROPOSALS: usize = 128;

/// Checkpoints that are compared with those of others.
pub const MAX_RECENT: usize = 8;

/// Between two reports of a validator that holds more.
pub const REPORT_EVERY: Duration = Duration::from_millis(250);
/// Between two times that everybody is told where this node stands, in case somebody has missed it.
pub const BEAT_EVERY: Duration = Duration::from_secs(10);
/// Until something that the store could not do, or lacked events for, is tried again.
pub const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Until another peer is asked for checkpoints.
pub const SYNC_PATIENCE: Duration = Duration::from_secs(5);
/// Between two questions where a validator stands.
pub const ASK_CLAIM_EVERY: Duration = Duration::from_secs(2);

/// For so long, a validator that starts waits for those others that have not said what they have seen of
/// it, once enough have.
pub const OTHERS_PATIENCE: Duration = Duration::from_secs(2);

/// How often a peer may say something about certification: votes of a hundred rounds at once, and ten
/// times as often as an honest one comes to.
pub const MESSAGE_RATE: Rate = Rate { every: Duration::from_millis(5), burst: 1024 };
/// How often a peer may ask for checkpoints. What is more is not answered.
pub const ASK_RATE: Rate = Rate { every: Duration::from_millis(100), burst: 16 };
