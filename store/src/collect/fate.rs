//! What becomes of a block that may be garbage.

use std::time::Duration;

use crate::blocks::{Garbage, Held};
use crate::ledger::now;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Something refers to it: the mark is left over.
    Referred,
    /// Its grace period is not over.
    Young,
    /// Somebody is about to refer to it.
    InUse,
    /// It goes, with its pin if it has one.
    Goes { pinned: bool },
}

/// What becomes of a block, by what refers to it, its mark, and whether somebody has leased it.
/// Erasing wins over pins.
pub fn fate(held: Held, garbage: &Garbage, grace: Duration, leased: bool) -> Fate {
    let pinned = held == Held::ByPin;
    if held == Held::Yes || pinned && !garbage.is_erased() {
        return Fate::Referred;
    }
    let grace = u64::try_from(grace.as_micros()).unwrap_or(u64::MAX);
    if garbage.since.0.saturating_add(grace) > now().0 {
        return Fate::Young;
    }
    if leased { Fate::InUse } else { Fate::Goes { pinned } }
}
