//! Whether all is here that somebody who follows has not seen yet.

use quipu_merge::EventId;

use super::ranges::reach;
use crate::error::ReadError;
use crate::ledger::Ledger;

impl Ledger {
    /// Checks that everything is here beyond these events and what precedes them on their authors' chains:
    /// each event that is held in a whole replica, and with `operations` also what it does. Events that
    /// are not held here name nothing.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] where the store starts from a checkpoint, and not all of its cut is
    /// among what precedes; [`ReadError::Pruned`] where that is so of operations that may have been
    /// pruned. The disk, the database or its content.
    pub fn check_beyond(
        &self,
        seen: impl IntoIterator<Item = EventId>,
        operations: bool,
    ) -> Result<(), ReadError> {
        let snapshot = self.snapshot()?;
        let lacking = if operations {
            snapshot.pruned_bodies()?
        } else {
            let floor = self.floor.as_ref();
            floor.map(|floor| (floor.height(), floor.shallow.floor.clone()))
        };
        let Some((height, cut)) = lacking else { return Ok(()) };
        let seen = reach(&snapshot, seen.into_iter())?;
        if cut.iter().all(|dot| seen.get(&dot.lane).is_some_and(|seen| *seen >= dot.seq.0)) {
            return Ok(());
        }
        Err(snapshot.without_bodies(height))
    }
}
