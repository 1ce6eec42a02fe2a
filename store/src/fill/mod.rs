//! The history below a shallow store: it comes into a second database beside that of the store, and
//! when it is whole, that one takes the place of the first.
//!
//! The second database is an ordinary one, and nobody reads it before. Events come in the order of
//! the certified log, with the checkpoint of each height after the events of its cut. They are gathered
//! until that has come, and admitted when they are known to be what it certifies; then it is derived. So a
//! lie costs one cut, and what is not certified is never written. Signatures of events need not be checked
//! for that: the root covers their ids.
//!
//! When the checkpoint has come from which the store starts, a mark says that all is there. Whoever
//! opens the store next has the second database take in what the first one has beyond the checkpoint and
//! what nobody else has, and exchanges them ([`crate::exchange`]).

mod complete;
mod error;
mod filling;
mod front;
mod gathered;
mod history;
mod local;
mod place;
mod prune;
mod spilled;

use crate::ledger::Ledger;
use crate::merge::{OtherReplica, Progress};

pub use self::complete::{is_whole, settle};
pub use self::error::FillError;
pub use self::filling::Filling;
pub use self::history::{History, HistoryItem, MAX_HISTORY_EVENTS};

/// Length of a portion that comes from another store on this machine, in bytes.
const PORTION: usize = 4 << 20;

impl Ledger {
    /// Opens what has come so far of the history below this store, or begins. `None` where nothing is to
    /// come: the store is not shallow, or has everything and only has to be opened again.
    ///
    /// # Errors
    /// [`FillError::Open`] where somebody is at it, and errors of the disk. What is certified stays.
    pub fn open_filling(&self) -> Result<Option<Filling>, FillError> {
        match self.shallow() {
            Some(shallow) if !is_whole(self.dir()) => Filling::open(self, shallow).map(Some),
            _ => Ok(None),
        }
    }

    /// Brings in the history below this store from another store, with the values that are at hand
    /// there and to stay here. It is read when this store is opened next. Nothing is done where all of it is here.
    /// Ended early, it goes on from the last checkpoint that has come.
    ///
    /// # Errors
    /// [`FillError`]: `source` lacks the checkpoint from which this store starts or has another one,
    /// or has pruned what is below.
    pub fn fill_from(&self, source: &Self, progress: Progress<'_>) -> Result<(), FillError> {
        let (own, found) = (self.id(), source.id());
        if own != found {
            return Err(FillError::OtherLedger { own, found });
        }
        let Some(mut filling) = self.open_filling()? else { return Ok(()) };
        let (height, id) = filling.target();
        match source.snapshot()?.checkpoint(height) {
            Ok(Some(found)) if found.id() == id => {}
            Ok(Some(_)) => return Err(FillError::OtherCheckpoint(height)),
            Ok(None) => return Err(FillError::NoCheckpoint(height)),
            Err(error) => return Err(error.into()),
        }
        while !filling.is_whole() {
            let portion = source.history(filling.next(), height, PORTION)?;
            if portion.items.is_empty() {
                return Err(filling.not_whole());
            }
            filling.take(filling.next(), portion.items)?;
            filling.prune(&mut |_, _| {})?;
            progress(filling.next(), filling.total());
        }
        filling.take_values(&mut OtherReplica(&source.snapshot()?))?;
        filling.finish()
    }
}

#[cfg(test)]
mod tests;
