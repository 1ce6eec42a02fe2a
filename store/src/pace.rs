//! Long work that can end early.

use std::ops::ControlFlow;

use crate::error::StorageError;

/// Hears how far a long work has come, and says whether it is to go on.
///
/// Closures do, that take what is done and, as far as known, what there is to do in all: one that returns
/// nothing lets the work go on to its end, another returns [`ControlFlow::Break`] to end it before the
/// next step. Then the work fails with [`StorageError::Stopped`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::ops::ControlFlow;
/// use std::time::{Duration, Instant};
///
/// use quipu_store::{GcOptions, Ledger, NewLedger};
/// # let dir = tempfile::tempdir()?;
/// # let ledger = Ledger::create(dir.path().join("ledger"), &NewLedger::default())?;
/// let end = Instant::now() + Duration::from_secs(60);
/// ledger.gc(GcOptions::default(), &mut |_, _| match Instant::now() < end {
///     true => ControlFlow::Continue(()),
///     false => ControlFlow::Break(()),
/// })?;
/// # Ok(())
/// # }
/// ```
pub trait Pace: Send {
    /// So much is done.
    fn step(&mut self, done: u64, total: u64) -> ControlFlow<()>;
}

impl<F: FnMut(u64, u64) -> R + Send, R: Verdict> Pace for F {
    fn step(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        self(done, total).flow()
    }
}

/// What a closure says to whether work is to go on.
pub trait Verdict {
    /// It goes on, or breaks off.
    fn flow(self) -> ControlFlow<()>;
}

impl Verdict for () {
    fn flow(self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl Verdict for ControlFlow<()> {
    fn flow(self) -> Self {
        self
    }
}

/// Takes a step of a work, or ends it.
pub fn step(pace: &mut dyn Pace, done: u64, total: u64) -> Result<(), StorageError> {
    match pace.step(done, total) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(StorageError::Stopped),
    }
}
