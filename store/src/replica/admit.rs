//! Admitting events that peers send.

use quipu_merge::Refusal;

use super::HeldEvent;
use crate::error::StorageError;
use crate::incoming::{Checked, Incoming, check_all};
use crate::ingest::{MergeReport, Outcome};
use crate::ledger::{Ledger, now};

/// Events whose encodings, hashes and signatures have been checked, in their order.
#[derive(Clone, Debug, Default)]
pub struct CheckedEvents(Vec<Result<Checked, Refusal>>);

impl CheckedEvents {
    /// Checks events on all cores. That takes longer than to admit them: a batch may be checked while
    /// the one before is admitted.
    pub fn check(events: Vec<Incoming>) -> Self {
        Self(check_all(events))
    }
}

/// What admitting events has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmitReport {
    /// What has become of each event in its turn, in their order. One that waited then may have been
    /// admitted after a later one.
    pub outcomes: Vec<Result<Outcome, Refusal>>,
    /// All that is held now and was not before, in the order in which it was admitted: what had been
    /// waiting included.
    pub new: Vec<HeldEvent>,
}

impl Ledger {
    /// Checks events and admits them one after the other, with the openings that came along. One that
    /// is refused does not stop the others. What misses ancestors, or its body, or is dated more than
    /// a minute ahead, waits; what had been waiting follows as soon as it may, and what is due by now
    /// goes first.
    ///
    /// With [`crate::Durability::Immediate`] all of it is on the disk when this returns.
    ///
    /// # Errors
    /// The disk, the database or its content. Then some may have been admitted, each of them whole,
    /// and the others not: they are to be offered again. With [`StorageError::NoRoom`] none has been.
    pub fn admit(&self, events: Vec<Incoming>) -> Result<AdmitReport, StorageError> {
        self.admit_checked(CheckedEvents::check(events))
    }

    /// Does what [`Self::admit`] does with events that have been checked.
    ///
    /// # Errors
    /// Those of [`Self::admit`].
    pub fn admit_checked(&self, events: CheckedEvents) -> Result<AdmitReport, StorageError> {
        let CheckedEvents(batch) = events;
        let mut outcomes = Vec::with_capacity(batch.len());
        if batch.is_empty() && self.lock_writer().pool.due(now()).is_empty() {
            return Ok(AdmitReport::default());
        }
        let mut report = MergeReport::default();
        let new = self.in_bulk(|hold| {
            hold.writer().news.start_batch();
            let due = hold.writer().pool.due(now());
            let taken = self.release(hold, due, &mut report).and_then(|()| {
                self.offer_all(hold, batch, &mut report, |outcome| {
                    outcomes.push(outcome);
                    Ok::<_, StorageError>(())
                })
            });
            let new = hold.writer().news.end_batch();
            taken.map(|()| new)
        })?;
        let waits = outcomes.iter().any(|outcome| matches!(outcome, Ok(Outcome::Waits(_))));
        if waits || !new.is_empty() {
            self.sync_if_durable()?;
            self.count_pending()?;
        }
        Ok(AdmitReport { outcomes, new })
    }
}
