//! Making a replica that may write from the first.

use std::path::Path;

use quipu_merge::Role;

use crate::error::OpenError;
use crate::ingest::MergeReport;
use crate::ledger::Ledger;
use crate::load;
use crate::merge::Progress;
use crate::options::Options;

impl Options {
    /// Makes a replica of all of `source` in `dir`, with a key of its own that `source` has
    /// granted a role, which takes an admin's key there. The grant comes first, so that the replica
    /// has it, and is the only event that is written.
    ///
    /// # Errors
    /// [`OpenError::Grant`]: nothing is left. Those of [`Options::clone_ledger`]: what was made is
    /// removed again, but a grant that has been written to `source` stays, to a key that nobody
    /// has.
    pub fn clone_granted(
        &self,
        dir: impl AsRef<Path>,
        source: &Ledger,
        role: Role,
        progress: Progress<'_>,
    ) -> Result<(Ledger, MergeReport), OpenError> {
        self.build_filled(
            dir.as_ref(),
            |identity, db| {
                let granted = source.grant(identity.author(), role);
                granted.map_err(|error| OpenError::Grant(Box::new(error)))?;
                load::first_of(db, source.latest())
            },
            |ledger| Ok(ledger.merge(source, progress)?),
        )
    }
}
