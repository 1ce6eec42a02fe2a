//! Getting back bodies that were pruned.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use quipu_merge::{Body, Dot, Micros, Operation};

use crate::bodies::{Kept, is_gone, pruned_to};
use crate::error::{MergeError, StorageError};
use crate::ingest::BATCH;
use crate::judge::key_of;
use crate::ledger::Ledger;
use crate::lookup::Stored;
use crate::missing::ValueSource;
use crate::record::{EventRecord, Standing, Version, Written};
use crate::schema::{self, Family, meta};
use crate::writer::Writer;

/// A body that has been found.
struct Found {
    dot: Dot,
    bytes: Vec<u8>,
}

impl Ledger {
    /// Looks in `source` for the bodies that have been pruned here. When all are back, everything
    /// below can be read again. Tells how many were found.
    pub(super) fn refill_bodies(&self, source: &mut impl ValueSource) -> Result<u64, MergeError> {
        if pruned_to(self.latest())?.is_none() {
            return Ok(0);
        }
        // None are to be dropped meanwhile.
        let _alone = self.pruning.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut after, mut refilled, mut lacking) = (Vec::new(), 0, false);
        loop {
            let gone = self.gone_after(&mut after)?;
            if gone.is_empty() {
                break;
            }
            let mut found = Vec::new();
            for dot in gone {
                let event = Stored::read(self.latest(), dot)?.event()?;
                match source.body(event.id(), event.event().body)? {
                    Some(bytes) => found.push(Found { dot, bytes }),
                    None => lacking = true,
                }
            }
            refilled += self.restore_bodies(&found)?;
        }
        if !lacking {
            self.in_bulk(|hold| hold.writer().delete(&self.db, Family::Meta, meta::BODIES))?;
        }
        Ok(refilled)
    }

    /// The next events whose bodies are gone, and where to go on after them.
    fn gone_after(&self, after: &mut Vec<u8>) -> Result<Vec<Dot>, StorageError> {
        let damaged = || StorageError::damaged("the record of an event");
        let mut walk = self.latest().walk(Family::Events, &[])?;
        walk.seek(after)?;
        let mut gone = Vec::new();
        while let Some((key, record)) = walk.item()
            && gone.len() < BATCH
        {
            if is_gone(EventRecord::decode(record).ok_or_else(damaged)?.body) {
                gone.push(schema::parse_dot(key).ok_or_else(damaged)?);
            }
            *after = [key, &[0]].concat();
            walk.next()?;
        }
        Ok(gone)
    }

    fn restore_bodies(&self, found: &[Found]) -> Result<u64, MergeError> {
        let damaged = |dot: Dot| {
            StorageError::damaged(format!("the body of event {} on lane {}", dot.seq, dot.lane.0))
        };
        let restored = self.in_bulk(|hold| {
            for Found { dot, bytes } in found {
                let stored = Stored::read(self.latest(), *dot)?;
                let record = stored.record()?;
                let Some(Kept::Whole(body)) = Kept::decode(bytes) else {
                    return Err(damaged(*dot));
                };
                let time = record.time;
                let record = EventRecord { body: bytes, ..record }.encode();
                let writer = hold.writer();
                writer.put(&self.db, Family::Events, &schema::dot_key(*dot), &record)?;
                let shelved = writer.shelve_again(self, *dot, time, &body);
                shelved.inspect_err(|error| writer.poison(error))?;
            }
            Ok(found.len() as u64)
        });
        Ok(restored?)
    }
}

impl Writer {
    /// Notes the writes of a body that is back as what they are: none of them stands.
    fn shelve_again(
        &mut self,
        ledger: &Ledger,
        dot: Dot,
        time: Micros,
        body: &Body,
    ) -> Result<(), StorageError> {
        let mut last = BTreeMap::new();
        for (slot, operation) in (0_u16..).zip(body.data()) {
            let written = match operation {
                Operation::Put { .. } => Written::Value { slot, beside: None },
                Operation::Add { .. } => Written::Member,
                Operation::Del { .. } | Operation::Rem { .. } => Written::Gone,
                // Such bodies stay.
                Operation::Inc { .. } | Operation::Append { .. } => continue,
            };
            last.insert(key_of(operation), written);
        }
        for (state_key, written) in last {
            let record = self.state(&ledger.db, &state_key, Standing::decode)?;
            let mut record = record.unwrap_or_default();
            self.shelve(&ledger.db, &state_key, &mut record, &Version { dot, time, written })?;
            self.put_state(&ledger.db, &state_key, &record.encode())?;
        }
        Ok(())
    }
}
