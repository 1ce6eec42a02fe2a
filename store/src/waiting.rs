//! Events that cannot be admitted yet: something that they follow is missing, or they are dated
//! too far ahead. They wait in the database, in a pool with a limit.

use std::collections::BTreeSet;

use quipu_merge::{AuthorKey, EventId, Micros, ParsedEvent};

use crate::commit::Exclusive;
use crate::db::Db;
use crate::error::StorageError;
use crate::incoming::Checked;
use crate::ingest::{BATCH, MergeReport, Outcome};
use crate::ledger::{Ledger, now};
use crate::pool::Entry;
use crate::record::WaitingRecord;
use crate::schema::{Family, meta};
use crate::writer::Writer;

/// What an event waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingReason {
    /// These events, which it follows, are not held.
    Missing(Vec<EventId>),
    /// Its body is not at hand.
    BodyMissing,
    /// It is dated ahead, and is due a minute before this.
    Due(Micros),
    /// What precedes the checkpoint that the store starts from: it does not follow all of that, or
    /// redacts an event there.
    History,
}

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingInfo {
    /// Its id.
    pub event: EventId,
    /// Who wrote it.
    pub author: AuthorKey,
    /// When it says that it was written.
    pub time: Micros,
    /// What it waits for.
    pub reason: WaitingReason,
}

impl Writer {
    /// Lets an event wait. Tells how many are forgotten because too many wait: others, which leave
    /// for this one, or this one, of which what waited before goes on waiting. What is forgotten
    /// has to be offered again.
    pub fn wait(
        &mut self,
        db: &Db,
        checked: &Checked,
        reason: WaitingReason,
    ) -> Result<u64, StorageError> {
        let event = checked.event.id();
        let record = WaitingRecord {
            event: checked.event.bytes().to_vec(),
            // Other bytes would only stand in the way of the right ones.
            body: checked.named_body().cloned(),
            openings: checked.openings.clone(),
        };
        let has_body = record.body.is_some();
        let record = record.encode();
        let key = meta::waiting(event.0);
        if self.pool.contains(event)
            && db.latest().get(Family::Meta, &key)?.is_some_and(|before| *before == *record)
        {
            // What it waits for is not written down.
            self.pool.set_reason(event, reason);
            return Ok(0);
        }
        let content = checked.event.event();
        let (bytes, group) = (record.len() as u64, self.group);
        let (author, time) = (content.author, content.time);
        let entry = Entry { author, time, reason, bytes, has_body, group };
        let Some(left) = self.pool.put(event, entry) else { return Ok(1) };
        for event in &left {
            self.delete(db, Family::Meta, &meta::waiting(event.0))?;
        }
        self.put(db, Family::Meta, &key, &record)?;
        Ok(left.len() as u64)
    }

    /// Takes an event out of the pool.
    pub fn stop_waiting(&mut self, db: &Db, event: EventId) -> Result<(), StorageError> {
        if self.pool.remove(event).is_some() {
            self.delete(db, Family::Meta, &meta::waiting(event.0))?;
        }
        Ok(())
    }

    /// Takes a refused event out of the pool, and where it is refused `for_good`, all that waits for
    /// it and can never be admitted either. Tells how many are refused thus, this one included.
    pub fn refuse(&mut self, db: &Db, event: EventId, for_good: bool) -> Result<u64, StorageError> {
        let refused =
            if for_good { self.pool.with_followers(event) } else { BTreeSet::from([event]) };
        for event in &refused {
            self.stop_waiting(db, *event)?;
        }
        Ok(refused.len() as u64)
    }
}

impl Ledger {
    /// Admits the events that have waited for their time and are due by now. Opening a store and
    /// taking in events do this too.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn admit_due(&self) -> Result<u64, StorageError> {
        let due = self.lock_writer().pool.due(now());
        if due.is_empty() {
            return Ok(0);
        }
        let mut report = MergeReport::default();
        self.in_bulk(|hold| self.release(hold, due, &mut report))?;
        self.sync_if_durable()?;
        self.count_pending()?;
        Ok(report.new_events)
    }

    /// When the next event is due that waits for nothing but its time, if one does: then
    /// [`Self::admit_due`] admits it, and so does [`Self::admit`].
    pub fn next_due(&self) -> Option<Micros> {
        self.lock_writer().pool.next_due()
    }

    /// What waits of an event, if it waits.
    pub(crate) fn waiting_record(
        &self,
        hold: &mut Exclusive<'_>,
        event: EventId,
    ) -> Result<Option<WaitingRecord>, StorageError> {
        let Some(group) = hold.writer().pool.group(event) else { return Ok(None) };
        // Nobody else writes: all groups before the one that is being filled are written.
        if group == hold.writer().group {
            hold.flush()?;
        }
        let Some(record) = self.latest().get(Family::Meta, &meta::waiting(event.0))? else {
            return Ok(None);
        };
        let damaged = || StorageError::damaged("a waiting event");
        WaitingRecord::decode(&record).map(Some).ok_or_else(damaged)
    }

    /// Everything that waits, with what is at hand of it.
    pub(crate) fn waiting_records(
        &self,
    ) -> Result<Vec<(ParsedEvent, WaitingRecord)>, StorageError> {
        let damaged = || StorageError::damaged("a waiting event");
        let mut records = Vec::new();
        for waiting in self.waiting() {
            let key = meta::waiting(waiting.event.0);
            let Some(record) = self.latest().get(Family::Meta, &key)? else { continue };
            let record = WaitingRecord::decode(&record).ok_or_else(damaged)?;
            let event = ParsedEvent::decode(&record.event).map_err(|_| damaged())?;
            records.push((event, record));
        }
        Ok(records)
    }

    /// Everything that waits.
    pub fn waiting(&self) -> Vec<WaitingInfo> {
        self.lock_writer().pool.iter().collect()
    }

    /// Offers waiting events again, and then those that waited for them.
    pub(crate) fn release(
        &self,
        hold: &mut Exclusive<'_>,
        first: Vec<EventId>,
        report: &mut MergeReport,
    ) -> Result<(), StorageError> {
        let (mut ready, mut admitted) = (first, 0_usize);
        while let Some(event) = ready.pop() {
            let Some(record) = self.waiting_record(hold, event)? else { continue };
            let damaged = |_| StorageError::damaged("a waiting event");
            let parsed = ParsedEvent::decode(&record.event).map_err(damaged)?;
            // Its signature held when it was put there.
            let checked = Checked::new(parsed.verified_before(), record.body, record.openings);
            match self.admit_or_wait(hold, &checked, report) {
                Ok(Outcome::Admitted) => {
                    ready.extend(hold.writer().pool.waiting_for(event));
                    admitted += 1;
                    // Written by the batch, and not all of it at once, which would be kept in memory.
                    if admitted.is_multiple_of(BATCH) {
                        hold.flush()?;
                    }
                }
                Ok(_) => {}
                // Whoever sent it is gone: it is dropped, and counted.
                Err(error) => {
                    let for_good = checked.is_for_good(&error.refusal()?);
                    report.refused += hold.writer().refuse(&self.db, event, for_good)?;
                }
            }
        }
        Ok(())
    }

    /// The events that wait for this one, which has just been admitted.
    pub(crate) fn waiting_for(writer: &Writer, event: EventId) -> Vec<EventId> {
        writer.pool.waiting_for(event)
    }
}

#[cfg(test)]
mod tests;
