//! The events of the cut that comes next, until its checkpoint comes.
//!
//! Nothing of them is admitted before they are known to be what is certified: their ids are folded into the
//! certified log, and what that comes to is compared with the checkpoint.

use std::path::Path;

use quipu_merge::{EventId, LogHash, LogTree, Micros, event_leaf_hash};

use super::error::FillError;
use super::spilled::Spilled;
use crate::db::Db;
use crate::error::StorageError;
use crate::incoming::Checked;
use crate::ingest::BATCH;
use crate::ledger::Ledger;

/// So many bytes of events are kept in memory; more go into a file.
pub const IN_MEMORY: usize = 8 << 20;

/// Events that follow the last checkpoint, in the order of the certified log.
pub struct Gathered {
    /// The certified log with these events at its end.
    log: LogTree,
    /// Where the last of them stands.
    last: Option<(Micros, EventId)>,
    /// The first of them, where they are too many.
    spilled: Option<Spilled>,
    /// The rest, and its length in bytes.
    held: Vec<Checked>,
    len: usize,
}

impl Gathered {
    /// None yet, after what is certified in a database.
    pub fn after(ledger: &Ledger) -> Result<Self, FillError> {
        let snapshot = ledger.snapshot()?;
        let size = snapshot.published().finality.chain.size();
        let log = LogTree::resume(size, &snapshot.log_hashes());
        let log = log.map_err(|_| StorageError::damaged("the certified log"))?;
        Ok(Self { log, last: None, spilled: None, held: Vec::new(), len: 0 })
    }

    /// How long the certified log is with them.
    pub const fn size(&self) -> u64 {
        self.log.size()
    }

    /// The root of the certified log with them.
    pub fn root(&self) -> LogHash {
        self.log.root()
    }

    /// Adds the next ones. More than `in_memory` bytes go into a file in `dir`, on the disk of `db`.
    ///
    /// # Errors
    /// [`FillError::NoBody`], [`FillError::Refused`] and [`FillError::Order`], and errors of the file: they
    /// are not complete then.
    pub fn add(
        &mut self,
        events: Vec<Checked>,
        in_memory: usize,
        dir: &Path,
        db: &Db,
    ) -> Result<(), FillError> {
        for event in events {
            let id = event.event.id();
            match &event.body {
                Some(Ok(_)) => {}
                Some(Err(refusal)) => return Err(FillError::Refused(refusal.clone())),
                None => return Err(FillError::NoBody(id)),
            }
            let place = (event.event.event().time, id);
            if self.last >= Some(place) {
                return Err(FillError::Order(id));
            }
            self.last = Some(place);
            self.log.append(event_leaf_hash(id));
            self.len += length(&event);
            self.held.push(event);
        }
        if self.len > in_memory {
            let spilled = match &mut self.spilled {
                Some(spilled) => spilled,
                none => none.insert(Spilled::create(dir)?),
            };
            spilled.write(&self.held, db)?;
            (self.held, self.len) = (Vec::new(), 0);
        }
        Ok(())
    }

    /// How many of them are such.
    pub fn count(
        &self,
        is: impl Fn(EventId) -> Result<bool, StorageError>,
    ) -> Result<u64, StorageError> {
        let mut count = 0;
        let mut look_at = |events: &[Checked]| {
            for event in events {
                count += u64::from(is(event.event.id())?);
            }
            Ok::<_, StorageError>(())
        };
        if let Some(spilled) = &self.spilled {
            spilled.each(|events| look_at(&events))?;
        }
        look_at(&self.held)?;
        Ok(count)
    }

    /// Gives all of them away, some at a time.
    pub fn give(
        self,
        mut to: impl FnMut(Vec<Checked>) -> Result<(), FillError>,
    ) -> Result<(), FillError> {
        if let Some(spilled) = &self.spilled {
            spilled.each(&mut to)?;
        }
        let mut held = self.held.into_iter();
        loop {
            let events: Vec<_> = held.by_ref().take(BATCH).collect();
            if events.is_empty() {
                return Ok(());
            }
            to(events)?;
        }
    }
}

fn length(event: &Checked) -> usize {
    let openings: usize = event.openings.iter().map(|(_, opening)| opening.len()).sum();
    event.event.bytes().len() + event.body_bytes.as_ref().map_or(0, Vec::len) + openings
}
