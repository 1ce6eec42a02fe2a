//! Dropping below a checkpoint what is not to stay, where a store was started without it.
//!
//! What no state from the checkpoint on needs goes as by [`Ledger::prune`], and may go at each checkpoint
//! before: what stands at a later one stood there, or was written since.

use quipu_merge::{Cut, Height};

use super::error::FillError;
use crate::bodies::pruned_to;
use crate::certify::records;
use crate::error::{ReadError, StorageError};
use crate::ledger::Ledger;
use crate::pace::Pace;
use crate::prune::PruneOptions;

/// So many events come, at least, before the second database is pruned while it is filled.
pub const PRUNE_EVERY: u64 = 1 << 18;
/// Nor is it before what has come since is such a part of what came before: each time, all of it is read.
const PART: u64 = 4;

/// How far the second database has been pruned.
#[derive(Clone, Copy, Debug)]
pub struct Pruned {
    /// So many events of the certified log had come when that was begun.
    begun: u64,
    /// So many had when it came to its end.
    done: u64,
}

impl Pruned {
    /// How far it has been.
    pub fn of(ledger: &Ledger) -> Result<Self, StorageError> {
        let begun = match pruned_to(ledger.latest())? {
            Some(height) => records::checkpoint(ledger.latest(), height)?.size,
            None => 0,
        };
        Ok(Self { begun, done: 0 })
    }

    /// Whether so much has come since that it is worth while.
    pub fn is_due(self, certified: u64, every: u64) -> bool {
        certified.saturating_sub(self.begun) >= every.max(self.begun / PART)
    }

    /// Prunes up to the last checkpoint.
    pub fn prune(&mut self, ledger: &Ledger, progress: &mut dyn Pace) -> Result<(), FillError> {
        let certified = ledger.certification();
        let Some(height) = certified.height.filter(|_| certified.events > self.done) else {
            return Ok(());
        };
        self.begun = certified.events;
        ledger.prune(&cut_of(ledger, height)?, PruneOptions::default(), progress)?;
        self.done = certified.events;
        Ok(())
    }
}

fn cut_of(ledger: &Ledger, height: Height) -> Result<Cut, ReadError> {
    let damaged = || StorageError::damaged(format!("the cut of checkpoint {height}"));
    let cut = ledger.snapshot()?.checkpoint_cut(height)?.ok_or_else(damaged)?;
    Ok(Cut::Heads(cut.heads().to_vec()))
}
