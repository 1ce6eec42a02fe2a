//! Starting from a checkpoint: a file that has all that its state needs, written by one replica, and the
//! shallow store ([`crate::shallow`]) that another makes of it. See the format, "Start files".
//!
//! A file is believed in nothing: what it holds is checked against the ledger's id, by way of the
//! chain of certified checkpoints, the certified log and the certified state. What only the events below
//! can show is said in decision 0023.

mod build;
mod chapter;
mod error;
mod format;
mod frames;
mod lanes;
#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that panics has done its work, and lists of lies are long"
)]
mod tests;
mod write;
mod write_state;

use std::io::Read;
use std::path::Path;

use quipu_merge::{CheckpointId, EventId, Height};

use crate::error::OpenError;
use crate::ledger::Ledger;
use crate::merge::Progress;
use crate::options::Options;
use crate::shallow::Below;

pub use build::build;
pub use error::StartError;

/// What a start file holds, or was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// The height of the checkpoint.
    pub height: Height,
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// How many events it certifies.
    pub events: u64,
    /// How many registers, counters, sets and lists its state has.
    pub keys: u64,
    /// The length of the file, in bytes.
    pub len: u64,
}

/// How to start from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartOptions {
    /// How the events below come.
    pub below: Below,
    /// The ledger that it must be about, if that is known.
    pub ledger: Option<EventId>,
}

impl Options {
    /// Makes a shallow store in `dir` of a file that [`Ledger::write_start`] has written, with a key of its
    /// own. `progress` hears how many bytes have been read; how many there are is not known. Memory is that
    /// of [`Ledger::write_start`].
    ///
    /// # Errors
    /// [`OpenError::Exists`] where `dir` is there and not empty, [`OpenError::Start`] where nothing can be
    /// started from the file, and errors of the disk. What was made is removed again.
    pub fn start_from(
        &self,
        dir: impl AsRef<Path>,
        file: &mut dyn Read,
        start: &StartOptions,
        progress: Progress<'_>,
    ) -> Result<(Ledger, StartInfo), OpenError> {
        let mut info = None;
        let ledger = self.build(dir.as_ref(), |_, db| {
            info = Some(build(db, file, start, progress)?);
            Ok(())
        })?;
        // It has been built.
        let info = info.ok_or(StartError::NotOne)?;
        Ok((ledger, info))
    }
}
