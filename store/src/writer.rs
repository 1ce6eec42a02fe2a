//! The writing side: what the next event follows, and the group of events that is written next.
//!
//! Events are stamped, signed and indexed one after the other under one lock, into the batch of
//! the current group. The first of those that wait takes the group and writes it with one fsync;
//! the others stamp the next group meanwhile. Readers see an event only when it is written.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use quipu_merge::{
    Ancestor, AuthorKey, Authority, Body, Control, Dot, EventId, LaneTable, Lanes, Verdicts,
};
use rocksdb::WriteBatch;

use crate::certify::Finality;
use crate::db::{Db, Reader};
use crate::error::StorageError;
use crate::judge::{Erased, Redacted, redacted};
use crate::lookup::{self, Known, Recent, Stored};
use crate::overlay::Overlay;
use crate::pool::Pool;
use crate::record::{self, put_dot, put_number};
use crate::replica::{HeldEvent, News};
use crate::schema::{Family, meta};

/// What readers share: the ledger as of the last commit.
#[derive(Debug)]
pub struct Published {
    /// The number of the commit.
    pub commit: u64,
    /// The branches of all authors.
    pub lanes: Arc<LaneTable>,
    /// The control events.
    pub authority: Arc<Authority>,
    /// The verdicts over everything.
    pub verdicts: Arc<Verdicts>,
    /// What is certified and counts.
    pub finality: Arc<Finality>,
    /// The events that no other follows, ascending.
    pub heads: Arc<[Known]>,
    /// The events that came with the commit, where somebody follows.
    pub new: Arc<[HeldEvent]>,
}

/// Room that is made for a group beforehand, in bytes.
const MAX_RESERVED: usize = 1 << 20;

/// The state that the next event builds on. Guarded by one lock.
pub struct Writer {
    /// The branches of all authors, with their last events.
    pub lanes: Lanes,
    /// The control events.
    pub authority: Arc<Authority>,
    /// The verdicts over everything.
    pub verdicts: Arc<Verdicts>,
    /// What is certified and counts.
    pub finality: Arc<Finality>,
    /// The events that no other follows, ascending.
    pub heads: Arc<[Known]>,
    /// Events that were lately written or followed.
    pub recent: Recent,
    /// The own event that the next one continues.
    pub own: Option<Known>,
    /// The number of the group that is being filled.
    pub group: u64,
    /// The events whose values are erased.
    pub redacted: Redacted,
    /// What their authors must not show again, for the authors that have been asked for.
    pub erased_openings: BTreeMap<AuthorKey, Erased>,
    /// The events that wait for others or for their time.
    pub pool: Pool,
    /// Events that were not in the database when it was asked for them together.
    pub absent: HashSet<EventId>,
    /// Waiting events that are certified: they need not wait for their time.
    pub certain: HashSet<EventId>,
    /// What has been taken in, for those who want to be told.
    pub news: News,
    batch: WriteBatch,
    empty: bool,
    /// Records of the family `state` in the group.
    states: Overlay,
    /// Records of the family `state` in the group that was taken last, which may not be written.
    in_flight: Overlay,
    poisoned: Option<String>,
}

impl Writer {
    /// Starts from what was published at `commit`.
    pub fn new(published: &Published, lanes: Lanes, own: Option<Known>) -> Self {
        let redacted = redacted(&published.authority, &published.verdicts);
        Self {
            lanes,
            authority: published.authority.clone(),
            verdicts: published.verdicts.clone(),
            finality: published.finality.clone(),
            heads: published.heads.clone(),
            recent: Recent::default(),
            own,
            group: published.commit + 1,
            redacted,
            erased_openings: BTreeMap::new(),
            pool: Pool::default(),
            absent: HashSet::new(),
            certain: HashSet::new(),
            news: News::default(),
            batch: WriteBatch::default(),
            empty: true,
            states: Overlay::default(),
            in_flight: Overlay::default(),
            poisoned: None,
        }
    }

    /// Refuses to go on after a failed write.
    pub fn check(&self) -> Result<(), StorageError> {
        self.poisoned.as_ref().map_or(Ok(()), |why| Err(StorageError::Poisoned(why.clone())))
    }

    /// Refuses everything from now on: what is in memory is no longer what is on the disk.
    pub fn poison(&mut self, why: &StorageError) {
        self.poisoned.get_or_insert_with(|| why.to_string());
    }

    /// Adds a record of the family `state` to the group, where the next events will find it.
    pub fn put_state(&mut self, db: &Db, key: &[u8], record: &[u8]) -> Result<(), StorageError> {
        self.empty = false;
        db.put(&mut self.batch, Family::State, key, record)?;
        self.states.insert(key, Some(record));
        Ok(())
    }

    /// Begins the group with records of families other than `state`. It must be empty: what others
    /// have put into it would be lost.
    pub fn begin_with(&mut self, batch: WriteBatch) -> Result<(), StorageError> {
        if !self.empty {
            return Err(StorageError::damaged("the order of groups"));
        }
        self.empty = batch.is_empty();
        self.batch = batch;
        Ok(())
    }

    /// Adds a put to a family other than `state` to the group.
    pub fn put(
        &mut self,
        db: &Db,
        family: Family,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StorageError> {
        debug_assert!(family != Family::State, "records of the state are to be found again");
        self.empty = false;
        db.put(&mut self.batch, family, key, value)
    }

    /// Adds a delete to the group.
    pub fn delete(&mut self, db: &Db, family: Family, key: &[u8]) -> Result<(), StorageError> {
        self.empty = false;
        if family == Family::State {
            self.states.insert(key, None);
        }
        db.delete(&mut self.batch, family, key)
    }

    /// The record of a key in the family `state`, with what is not written yet.
    pub fn state<T>(
        &self,
        db: &Db,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StorageError> {
        match self.unwritten(key) {
            Some(record) => decode_state(record, decode),
            None => decode_state(db.latest().get(Family::State, key)?.as_deref(), decode),
        }
    }

    /// The records of many keys in the family `state`, which ascend. Looking for them together is
    /// about twice as fast as one by one.
    pub fn states<T>(
        &self,
        db: &Db,
        keys: &[&[u8]],
        decode: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<Option<T>>, StorageError> {
        let written = db.latest().get_many(Family::State, keys)?;
        let records = keys.iter().zip(&written).map(|(key, written)| {
            decode_state(self.unwritten(key).unwrap_or(written.as_deref()), &decode)
        });
        records.collect()
    }

    /// What the groups that are not written yet make of a key in the family `state`.
    fn unwritten(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.states.get(key).or_else(|| self.in_flight.get(key))
    }

    /// An event that is held, written or not.
    pub fn known(
        &mut self,
        reader: Reader<'_>,
        id: EventId,
    ) -> Result<Option<Known>, StorageError> {
        if let Some(known) = self.recent.get(&id) {
            return Ok(Some(known.clone()));
        }
        if let Some(known) = self.heads.iter().find(|head| head.id == id) {
            return Ok(Some(known.clone()));
        }
        if self.absent.contains(&id) {
            return Ok(None);
        }
        let Some(dot) = lookup::dot_of(reader, id)? else { return Ok(None) };
        let known = lookup::known_at(reader, dot)?;
        self.recent.insert(known.clone());
        Ok(Some(known))
    }

    /// Looks for the events of a batch together, so that [`Self::known`] need not look for those
    /// that are new one by one, until [`Self::forget_ahead`] is called.
    pub fn look_ahead(
        &mut self,
        reader: Reader<'_>,
        mut ids: Vec<EventId>,
    ) -> Result<(), StorageError> {
        ids.sort_unstable();
        let keys: Vec<_> = ids.iter().map(|id| id.0.as_slice()).collect();
        let found = reader.get_many(Family::Ids, &keys)?;
        let absent = ids.iter().zip(found).filter(|(_, place)| place.is_none());
        self.absent = absent.map(|(id, _)| *id).collect();
        Ok(())
    }

    /// Forgets what [`Self::look_ahead`] found: others may write from now on.
    pub fn forget_ahead(&mut self) {
        self.absent.clear();
    }

    /// The events that the redacts of a body name, as far as they are held.
    pub fn targets(
        &mut self,
        reader: Reader<'_>,
        body: &Body,
    ) -> Result<BTreeMap<EventId, Ancestor>, StorageError> {
        let mut targets = BTreeMap::new();
        for operation in body.control() {
            if let Control::Redact { event } = operation
                && let Some(known) = self.known(reader, *event)?
            {
                targets.insert(*event, Ancestor::from(known));
            }
        }
        Ok(targets)
    }

    /// The heads apart from the own event that the next one continues.
    pub fn other_heads(&self) -> impl Iterator<Item = &Known> {
        let own = self.own.as_ref().map(|own| own.id);
        self.heads.iter().filter(move |head| Some(head.id) != own)
    }

    /// The id of an event that is held, written or not.
    pub fn id_at(&self, reader: Reader<'_>, dot: Dot) -> Result<EventId, StorageError> {
        match self.recent.at(dot).or_else(|| self.heads.iter().find(|head| head.dot == dot)) {
            Some(known) => Ok(known.id),
            None => Ok(EventId::of(Stored::read(reader, dot)?.record()?.event)),
        }
    }

    /// Whether nothing waits to be written.
    pub const fn is_empty(&self) -> bool {
        self.empty
    }

    /// Takes the group to write it, and starts the next.
    pub fn take(&mut self, db: &Db) -> Result<(WriteBatch, Published), StorageError> {
        // The next group is likely to be as large as this one.
        let next = WriteBatch::with_capacity_bytes(self.batch.size_in_bytes().min(MAX_RESERVED));
        let mut batch = std::mem::replace(&mut self.batch, next);
        let commit = self.group;
        let mut heads = Vec::new();
        put_number(&mut heads, commit);
        self.heads.iter().for_each(|head| put_dot(&mut heads, head.dot));
        db.put(&mut batch, Family::Meta, meta::HEADS, &heads)?;
        self.group += 1;
        self.empty = true;
        // The group before is written: groups are taken one after the other.
        self.in_flight.clear();
        std::mem::swap(&mut self.in_flight, &mut self.states);
        self.recent.age();
        let published = Published {
            commit,
            lanes: self.lanes.table().clone(),
            authority: self.authority.clone(),
            verdicts: self.verdicts.clone(),
            finality: self.finality.clone(),
            heads: self.heads.clone(),
            new: self.news.take_group(),
        };
        Ok((batch, published))
    }
}

fn decode_state<T>(
    record: Option<&[u8]>,
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, StorageError> {
    let damaged = || StorageError::damaged("a record of the current state");
    record.map(|bytes| decode(bytes).ok_or_else(damaged)).transpose()
}

/// Reads the number of the last commit.
pub fn read_commit(reader: Reader<'_>) -> Result<u64, StorageError> {
    let damaged = || StorageError::damaged("the record of the heads");
    let bytes = reader.get(Family::Meta, meta::HEADS)?.ok_or_else(damaged)?;
    record::Reader(&bytes).number().ok_or_else(damaged)
}

/// Reads the commit number and the heads back.
pub fn read_heads(reader: Reader<'_>) -> Result<(u64, Vec<Dot>), StorageError> {
    let damaged = || StorageError::damaged("the record of the heads");
    let bytes = reader.get(Family::Meta, meta::HEADS)?.ok_or_else(damaged)?;
    let mut r = record::Reader(&bytes);
    let commit = r.number().ok_or_else(damaged)?;
    let mut heads = Vec::new();
    while !r.0.is_empty() {
        heads.push(r.dot().ok_or_else(damaged)?);
    }
    Ok((commit, heads))
}
