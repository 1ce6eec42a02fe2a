//! Events that cannot be admitted yet: something that they follow is missing, or they are dated
//! too far ahead. They wait in the database, in a pool with a limit.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, EventId, MAX_AHEAD, Micros, ParsedEvent};

use crate::commit::Exclusive;
use crate::db::{Db, Reader};
use crate::error::{MergeError, StorageError};
use crate::ingest::{Checked, MergeReport};
use crate::ledger::{Ledger, now};
use crate::record::WaitingRecord;
use crate::schema::{Family, meta};
use crate::writer::Writer;

/// How many events wait at most.
pub const MAX_WAITING: usize = 10_000;
/// How many bytes wait at most, values included.
pub const MAX_WAITING_BYTES: u64 = 64 << 20;

/// What an event waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingReason {
    /// These events, which it follows, are not held.
    Missing(Vec<EventId>),
    /// Its body is not at hand.
    BodyMissing,
    /// It is dated ahead, and is due a minute before this.
    Due(Micros),
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

/// The pool, without the events themselves.
#[derive(Debug, Default)]
pub struct Pool {
    waiting: BTreeMap<EventId, Entry>,
    by_missing: BTreeMap<EventId, BTreeSet<EventId>>,
    due: BTreeSet<(Micros, EventId)>,
    bytes: u64,
}

#[derive(Debug)]
struct Entry {
    author: AuthorKey,
    time: Micros,
    reason: WaitingReason,
    bytes: u64,
}

impl Pool {
    /// Reads the pool back.
    pub fn load(reader: Reader<'_>) -> Result<Self, StorageError> {
        let damaged = || StorageError::damaged("a waiting event");
        let mut pool = Self::default();
        let mut walk = reader.walk(Family::Meta, b"W")?;
        walk.first()?;
        while let Some((key, value)) = walk.item() {
            let event: [u8; 32] =
                key.get(1..).and_then(|id| id.try_into().ok()).ok_or_else(damaged)?;
            let record = WaitingRecord::decode(value).ok_or_else(damaged)?;
            let parsed = ParsedEvent::decode(&record.event).map_err(|_| damaged())?;
            let mut missing = Vec::new();
            for id in parsed.event().follows() {
                if !reader.has(Family::Ids, &id.0)? {
                    missing.push(id);
                }
            }
            let time = parsed.event().time;
            let reason = match (missing.is_empty(), &record.body) {
                (false, _) => WaitingReason::Missing(missing),
                (true, None) => WaitingReason::BodyMissing,
                (true, Some(_)) => WaitingReason::Due(time),
            };
            let (author, bytes) = (parsed.event().author, value.len() as u64);
            pool.insert(EventId(event), Entry { author, time, reason, bytes });
            walk.next()?;
        }
        Ok(pool)
    }

    /// Whether this event waits.
    pub fn contains(&self, event: EventId) -> bool {
        self.waiting.contains_key(&event)
    }

    /// All that waits.
    pub fn iter(&self) -> impl Iterator<Item = WaitingInfo> + '_ {
        self.waiting.iter().map(|(&event, entry)| WaitingInfo {
            event,
            author: entry.author,
            time: entry.time,
            reason: entry.reason.clone(),
        })
    }

    /// How many bytes wait.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The events that wait for this one.
    fn waiting_for(&self, event: EventId) -> Vec<EventId> {
        self.by_missing.get(&event).into_iter().flatten().copied().collect()
    }

    /// The events that are due at `now`.
    fn due(&self, now: Micros) -> Vec<EventId> {
        self.due
            .iter()
            .take_while(|(time, _)| time.0 <= now.0 + MAX_AHEAD)
            .map(|(_, id)| *id)
            .collect()
    }

    fn insert(&mut self, event: EventId, entry: Entry) {
        match &entry.reason {
            WaitingReason::Missing(missing) => missing.iter().for_each(|id| {
                self.by_missing.entry(*id).or_default().insert(event);
            }),
            WaitingReason::Due(time) => {
                self.due.insert((*time, event));
            }
            WaitingReason::BodyMissing => {}
        }
        self.bytes += entry.bytes;
        self.waiting.insert(event, entry);
    }

    fn remove(&mut self, event: EventId) {
        let Some(entry) = self.waiting.remove(&event) else { return };
        self.bytes -= entry.bytes;
        self.due.remove(&(entry.time, event));
        if let WaitingReason::Missing(missing) = entry.reason {
            for id in missing {
                if let Some(others) = self.by_missing.get_mut(&id) {
                    others.remove(&event);
                    if others.is_empty() {
                        self.by_missing.remove(&id);
                    }
                }
            }
        }
    }
}

impl Writer {
    /// Puts an event into the pool. `false` where the pool is full: the event is forgotten then,
    /// and has to be offered again.
    pub fn wait(
        &mut self,
        db: &Db,
        checked: &Checked,
        reason: WaitingReason,
    ) -> Result<bool, StorageError> {
        let event = checked.event.id();
        self.stop_waiting(db, event)?;
        let record = WaitingRecord {
            event: checked.event.bytes().to_vec(),
            body: checked.body_bytes.clone(),
            openings: checked.openings.clone(),
        }
        .encode();
        let bytes = record.len() as u64;
        if self.pool.waiting.len() >= MAX_WAITING || self.pool.bytes + bytes > MAX_WAITING_BYTES {
            return Ok(false);
        }
        let content = checked.event.event();
        self.put(db, Family::Meta, &meta::waiting(event.0), &record)?;
        self.pool
            .insert(event, Entry { author: content.author, time: content.time, reason, bytes });
        Ok(true)
    }

    /// Takes an event out of the pool.
    pub fn stop_waiting(&mut self, db: &Db, event: EventId) -> Result<(), StorageError> {
        if self.pool.contains(event) {
            self.pool.remove(event);
            self.delete(db, Family::Meta, &meta::waiting(event.0))?;
        }
        Ok(())
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
        let admitted =
            self.exclusively(|hold| self.release(hold, due, &mut report).map_err(storage));
        admitted.map(|()| report.new_events)
    }

    /// What waits of an event, if it waits.
    pub(crate) fn waiting_record(
        &self,
        hold: &mut Exclusive<'_>,
        event: EventId,
    ) -> Result<Option<WaitingRecord>, StorageError> {
        if !hold.writer().pool.contains(event) {
            return Ok(None);
        }
        hold.flush()?;
        let Some(record) = self.latest().get(Family::Meta, &meta::waiting(event.0))? else {
            return Ok(None);
        };
        let damaged = || StorageError::damaged("a waiting event");
        WaitingRecord::decode(&record).map(Some).ok_or_else(damaged)
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
    ) -> Result<(), MergeError> {
        let mut ready = first;
        while let Some(event) = ready.pop() {
            let Some(record) = self.waiting_record(hold, event)? else { continue };
            let damaged = |_| StorageError::damaged("a waiting event");
            let parsed = ParsedEvent::decode(&record.event).map_err(damaged)?;
            // Its signature held when it was put there.
            let checked = Checked::new(parsed.verified_before(), record.body, record.openings);
            hold.writer().stop_waiting(&self.db, event)?;
            match self.take_in_one(hold, &checked, report) {
                Ok(true) => ready.extend(hold.writer().pool.waiting_for(event)),
                Ok(false) => {}
                // Whoever sent it is gone: it is dropped, and counted.
                Err(MergeError::Refused(_)) => report.refused += 1,
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// The events that wait for this one, which has just been admitted.
    pub(crate) fn waiting_for(writer: &Writer, event: EventId) -> Vec<EventId> {
        writer.pool.waiting_for(event)
    }
}

fn storage(error: MergeError) -> StorageError {
    match error {
        MergeError::Storage(error) => error,
        other => StorageError::damaged(other.to_string()),
    }
}
