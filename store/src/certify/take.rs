//! Taking the certified checkpoints that another replica has.

use quipu_merge::Height;

use super::{AcceptError, CertifiedCheckpoint};
use crate::error::{MergeError, StorageError};
use crate::ledger::Ledger;
use crate::snapshot::Snapshot;

impl Ledger {
    /// Takes the checkpoints whose cuts are within that of a snapshot of another replica, as far as
    /// they can be taken now. Where that replica holds others than this one, the first of them is
    /// kept as proof of it.
    pub(crate) fn take_certified(&self, from: &Snapshot<'_>) -> Result<(), MergeError> {
        let Some(last) = from.certified_within()? else { return Ok(()) };
        let held = self.held_height();
        let mut next = Some(held.map_or(Height::FIRST, |held| Height(held.0 + 1)));
        if next.and_then(|next| from.starts_after(next)).is_some() {
            // Others have those between.
            return Ok(());
        }
        if let Some(held) = held
            && let Some(other) = self.first_other(from, held.min(last))?
        {
            next = Some(other);
        }
        while let Some(height) = next.filter(|height| *height <= last) {
            match self.accept(certified(from, height)?) {
                Ok(_) => {}
                Err(AcceptError::Storage(error)) => return Err(error.into()),
                // Those before have been taken; the rest can be when their events have come.
                Err(_) => break,
            }
            next = height.next();
        }
        Ok(())
    }

    /// The first height up to this one of which the other replica holds another checkpoint.
    fn first_other(
        &self,
        from: &Snapshot<'_>,
        up_to: Height,
    ) -> Result<Option<Height>, MergeError> {
        let same = |height: u64| -> Result<bool, MergeError> {
            let height = Height(height);
            let own = self.held_id(&self.certifying.lock(), height)?;
            Ok(own == Some(certified(from, height)?.id()))
        };
        // Of those before a start, there is nothing to compare.
        let starts = [&self.floor, &from.ledger_handle().floor];
        let starts = starts.into_iter().flatten().map(|floor| floor.height().0);
        let first = starts.fold(Height::FIRST.0, u64::max);
        if up_to.0 < first || same(up_to.0)? {
            return Ok(None);
        }
        // Each names the one before: once they differ, they differ ever after.
        let (mut low, mut high) = (first, up_to.0);
        while low < high {
            let middle = low.midpoint(high);
            if same(middle)? { low = middle + 1 } else { high = middle }
        }
        Ok(Some(Height(high)))
    }
}

fn certified(from: &Snapshot<'_>, height: Height) -> Result<CertifiedCheckpoint, MergeError> {
    let gap = || StorageError::damaged(format!("checkpoint {height} is missing"));
    Ok(from.checkpoint(height)?.ok_or_else(gap)?)
}
