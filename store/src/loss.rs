//! Acknowledged writes that are gone: saying so, and keeping the own chain from going on in their
//! place.

use quipu_merge::AuthorKey;

use crate::db::Db;
use crate::error::{OpenError, StorageError, WriteError};
use crate::ledger::Ledger;
use crate::lookup;
use crate::mark::Loss;

/// Forgets a loss that has been made good meanwhile. One that has just been noticed stays for as
/// long as the store is open, so that somebody hears of it.
pub fn settle(db: &Db) -> Result<(), StorageError> {
    match db.loss() {
        Some(loss) if !db.is_loss_new() && is_back(db, &loss)? => db.settle_loss(),
        _ => Ok(()),
    }
}

/// Whether everything that was lost is held again.
fn is_back(db: &Db, loss: &Loss) -> Result<bool, StorageError> {
    let Some(wanted) = loss.wanted() else { return Ok(false) };
    for event in wanted {
        if lookup::dot_of(db.latest(), event)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Names a loss as the reason why a store cannot be opened.
pub fn explain(error: OpenError, loss: Option<Loss>) -> OpenError {
    match (error, loss) {
        (OpenError::Storage(StorageError::Damaged { what }), Some(loss)) => {
            StorageError::damaged(format!("{loss}; {what}")).into()
        }
        (error, _) => error,
    }
}

impl Ledger {
    /// Writes that were acknowledged, are not in the store any more, and have not come back. They
    /// are forgotten once they have, once the key has been rotated, and by [`Ledger::keep_place`].
    pub fn loss(&self) -> Option<Loss> {
        self.db.loss()
    }

    /// Refuses to continue the chain of `author` where its last events are gone.
    pub(crate) fn check_not_lost(&self, author: AuthorKey) -> Result<(), WriteError> {
        let Some(loss) = self.db.loss() else { return Ok(()) };
        let concerned = match loss.own() {
            Some((own, _, id)) => own == author && lookup::dot_of(self.db.latest(), id)?.is_none(),
            // Nothing of its own was there to be lost, or nobody knows.
            None => loss.commit().is_none(),
        };
        if concerned { Err(WriteError::Lost(loss)) } else { Ok(()) }
    }
}
