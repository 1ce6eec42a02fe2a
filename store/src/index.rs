//! Taking an admitted event in: the event itself and everything derived from it, in one batch.

use std::collections::BTreeMap;

use quipu_merge::{Admission, Body, Dot, Micros, Operation, SignedEvent, Subject};

use crate::db::Db;
use crate::error::StorageError;
use crate::lookup::{self, Known};
use crate::opening;
use crate::record::{EventRecord, Standing, Sum, Version, Written, put_dot, put_number};
use crate::schema::{self, Family, Kind, meta};
use crate::writer::Writer;

/// An event to be taken in, all of whose rules have been checked.
#[derive(Clone, Copy)]
pub struct NewEvent<'a> {
    /// The event.
    pub event: &'a SignedEvent,
    /// The encoding of its body.
    pub body_bytes: &'a [u8],
    /// Its body.
    pub body: &'a Body,
    /// The openings at hand, as they are stored, by the index of their operation.
    pub openings: &'a [(u16, Vec<u8>)],
    /// The slots with long values, and the numbers of the blocks that they refer to.
    pub links: &'a [(u16, u64)],
    /// The slots whose values are not whole here.
    pub incomplete: &'a [u16],
    /// Where it goes, and what it has seen.
    pub admission: &'a Admission,
    /// The event before on the author's chain.
    pub prev: Option<&'a Known>,
}

/// What one event did to the key of a record in `state`.
struct Change {
    state_key: Vec<u8>,
    version: Version,
}

impl Writer {
    /// Adds an event to the group.
    ///
    /// An error leaves the group half filled: the caller poisons the writer.
    pub fn take_in(&mut self, db: &Db, new: &NewEvent<'_>) -> Result<Known, StorageError> {
        let content = new.event.event();
        let dot = new.admission.placement.dot;
        let (stored, base) = lookup::stored_clock(&new.admission.clock, dot, new.prev);
        let known = Known {
            id: new.event.id(),
            author: content.author,
            dot,
            time: content.time,
            clock: new.admission.clock.clone(),
            base,
        };
        self.lanes.insert(content.author, new.admission.placement);
        self.judge_new(db, new)?;
        self.write_event(
            db,
            new,
            EventRecord {
                clock: stored,
                time: content.time,
                event: new.event.bytes(),
                body: new.body_bytes,
            },
        )?;
        let void = self.verdicts.is_void(
            self.lanes.table(),
            &Subject { author: known.author, dot, clock: &known.clock, acts: &new.admission.acts },
        );
        if void {
            self.put(db, Family::Meta, &meta::void(dot), &[])?;
        }
        let erased = self.erased_slots(db, new)?;
        self.write_values(db, new, dot, &erased)?;
        self.write_keys(db, new, &known, void, &erased)?;
        self.follow(new.event, &known);
        self.news.note(new.event);
        Ok(known)
    }

    /// Replaces the heads that the event follows by the event.
    fn follow(&mut self, event: &SignedEvent, known: &Known) {
        let followed = |id| event.event().follows().any(|followed| followed == id);
        let mut heads: Vec<_> =
            self.heads.iter().filter(|head| !followed(head.id)).cloned().collect();
        let place = heads.partition_point(|head| head.id < known.id);
        heads.insert(place, known.clone());
        self.heads = heads.into();
        self.absent.remove(&known.id);
        self.recent.insert(known.clone());
    }

    fn write_event(
        &mut self,
        db: &Db,
        new: &NewEvent<'_>,
        record: EventRecord<'_>,
    ) -> Result<(), StorageError> {
        let placement = new.admission.placement;
        let dot = placement.dot;
        let content = new.event.event();
        self.put(db, Family::Events, &schema::dot_key(dot), &record.encode())?;
        let mut place = Vec::with_capacity(12);
        put_dot(&mut place, dot);
        self.put(db, Family::Ids, &new.event.id().0, &place)?;
        let mut seq = Vec::with_capacity(8);
        put_number(&mut seq, dot.seq.0);
        self.put(db, Family::Order, &schema::order_key(content.time, dot.lane), &seq)?;
        if placement.starts_lane {
            let mut lane = content.author.0.to_vec();
            if let Some(leaves) = placement.leaves {
                put_dot(&mut lane, leaves);
            }
            self.put(db, Family::Meta, &meta::lane(dot.lane), &lane)?;
        }
        if !new.admission.acts.is_empty() || matches!(new.body, Body::Genesis(_)) {
            // The event is in the authority already: it is the last.
            let number = self.authority.events().len() as u64 - 1;
            self.put(db, Family::Meta, &meta::control(number), &place)?;
        }
        Ok(())
    }

    fn write_values(
        &mut self,
        db: &Db,
        new: &NewEvent<'_>,
        dot: Dot,
        erased: &BTreeMap<u16, bool>,
    ) -> Result<(), StorageError> {
        let kept = new.openings.iter().filter(|(slot, _)| erased.get(slot) != Some(&true));
        self.put_openings(db, dot, kept.map(|(slot, stored)| (*slot, stored.as_slice())))?;
        for (slot, child) in new.links.iter().filter(|(slot, _)| erased.get(slot) != Some(&true)) {
            self.link_value(db, dot, *slot, *child)?;
        }
        for slot in erased.keys() {
            self.put(db, Family::Meta, &meta::erased(dot, *slot), &[])?;
        }
        for slot in new.incomplete.iter().filter(|slot| !erased.contains_key(slot)) {
            self.put(db, Family::Meta, &meta::missing(dot, *slot), &[])?;
        }
        Ok(())
    }

    /// Applies the event to the keys that it works on.
    fn write_keys(
        &mut self,
        db: &Db,
        new: &NewEvent<'_>,
        known: &Known,
        void: bool,
        erased: &BTreeMap<u16, bool>,
    ) -> Result<(), StorageError> {
        let (standing, sums, lists) = changes(new, known.dot, known.time, erased);
        let records = self.records_before(db, &standing)?;
        for (change, record) in standing.into_iter().zip(records) {
            self.write_standing(db, change, record.unwrap_or_default(), known, void)?;
        }
        for (state_key, amount) in sums {
            let version =
                Version { dot: known.dot, time: known.time, written: Written::Amount(amount) };
            let key = schema::version_key(&state_key, known.dot.lane, known.time);
            self.put(db, Family::Versions, &key, &version.encode_tail())?;
            let mut sum = self.state(db, &state_key, Sum::decode)?.unwrap_or_default();
            if !void {
                sum.sum += amount;
                sum.events += 1;
            }
            self.put_state(db, &state_key, &sum.encode())?;
        }
        for (state_key, values) in lists {
            let added = values.len() as u64;
            for (slot, written) in values {
                let key = schema::element_key(&state_key, known.time, known.dot.lane, slot);
                let version = Version { dot: known.dot, time: known.time, written };
                self.put(db, Family::Versions, &key, &version.encode_tail())?;
            }
            self.add_to_count(db, &state_key, if void { 0 } else { added.cast_signed() })?;
        }
        Ok(())
    }

    /// The records of the keys that change, as they are before that.
    fn records_before(
        &self,
        db: &Db,
        changes: &[Change],
    ) -> Result<Vec<Option<Standing>>, StorageError> {
        if let [change] = changes {
            return Ok(vec![self.state(db, &change.state_key, Standing::decode)?]);
        }
        let keys: Vec<_> = changes.iter().map(|change| change.state_key.as_slice()).collect();
        self.states(db, &keys, Standing::decode)
    }

    /// Applies the last write of a register or a member.
    fn write_standing(
        &mut self,
        db: &Db,
        change: Change,
        mut record: Standing,
        known: &Known,
        void: bool,
    ) -> Result<(), StorageError> {
        let before = record.values();
        if void {
            self.shelve(db, &change.state_key, &mut record, &change.version)?;
        } else {
            let (covered, standing): (Vec<_>, Vec<_>) = std::mem::take(&mut record.writes)
                .into_iter()
                .partition(|write| known.clock.covers(write.dot));
            for version in &covered {
                self.shelve(db, &change.state_key, &mut record, version)?;
            }
            record.writes = standing;
            record.writes.push(change.version);
        }
        self.put_standing(db, &change.state_key, &record, before)
    }

    /// Moves a write that no longer stands to the versions.
    pub fn shelve(
        &mut self,
        db: &Db,
        state_key: &[u8],
        record: &mut Standing,
        version: &Version,
    ) -> Result<(), StorageError> {
        record.older.insert(version.dot.lane);
        let key = schema::version_key(state_key, version.dot.lane, version.time);
        self.put(db, Family::Versions, &key, &version.encode_tail())
    }

    /// Writes what stands of a key, and what follows from it: the list of conflicts, or the number
    /// of members of a set.
    pub fn put_standing(
        &mut self,
        db: &Db,
        state_key: &[u8],
        record: &Standing,
        before: usize,
    ) -> Result<(), StorageError> {
        let now = record.values();
        if state_key.first() == Some(&(Kind::Register as u8)) {
            match (before > 1, now > 1) {
                (false, true) => self.put(db, Family::Meta, &meta::conflict(state_key), &[])?,
                (true, false) => self.delete(db, Family::Meta, &meta::conflict(state_key))?,
                _ => {}
            }
        } else if (before > 0) != (now > 0) {
            let parsed = schema::parse_state_key(state_key);
            let (_, key, _) = parsed.ok_or_else(|| StorageError::damaged("the key of a member"))?;
            let set = schema::state_key(Kind::Set, &key, None);
            self.add_to_count(db, &set, if now > 0 { 1 } else { -1 })?;
        }
        self.put_state(db, state_key, &record.encode())
    }

    /// Changes the number of members of a set or of values of a list; one with 0 does not exist.
    /// A list may have existed at an earlier cut, and its record is how its key is found there;
    /// the key of a set is found by its members.
    pub fn add_to_count(&mut self, db: &Db, state_key: &[u8], by: i64) -> Result<(), StorageError> {
        let count = self.state(db, state_key, decode_count)?.unwrap_or(0).saturating_add_signed(by);
        if count == 0 && state_key.first() == Some(&(Kind::Set as u8)) {
            return self.delete(db, Family::State, state_key);
        }
        let mut record = Vec::with_capacity(8);
        put_number(&mut record, count);
        self.put_state(db, state_key, &record)
    }
}

/// Reads the number of members or values.
pub fn decode_count(bytes: &[u8]) -> Option<u64> {
    crate::record::Reader(bytes).number()
}

type Standings = Vec<Change>;
type Sums = Vec<(Vec<u8>, i128)>;
type Lists = Vec<(Vec<u8>, Vec<(u16, Written)>)>;

/// What the operations of an event come to, key by key.
fn changes(
    new: &NewEvent<'_>,
    dot: Dot,
    time: Micros,
    erased: &BTreeMap<u16, bool>,
) -> (Standings, Sums, Lists) {
    let value = |slot: u16| {
        let found = new.openings.binary_search_by_key(&slot, |(slot, _)| *slot).ok();
        let opening =
            found.and_then(|at| new.openings.get(at)).filter(|_| !erased.contains_key(&slot));
        Written::Value { slot, beside: opening.and_then(|(_, stored)| opening::beside(stored)) }
    };
    let mut standing = Vec::with_capacity(new.body.data().len());
    let mut sums = BTreeMap::<_, i128>::new();
    let mut lists = BTreeMap::<_, Vec<_>>::new();
    for (slot, operation) in (0_u16..).zip(new.body.data()) {
        let (kind, member, written) = match operation {
            Operation::Put { .. } => (Kind::Register, None, value(slot)),
            Operation::Del { .. } => (Kind::Register, None, Written::Gone),
            Operation::Add { member, .. } => {
                (Kind::Member, Some(member.as_bytes()), Written::Member)
            }
            Operation::Rem { member, .. } => (Kind::Member, Some(member.as_bytes()), Written::Gone),
            Operation::Inc { key, by } => {
                let key = schema::state_key(Kind::Counter, key.as_str(), None);
                *sums.entry(key).or_default() += i128::from(by.get());
                continue;
            }
            Operation::Append { key, .. } => {
                let key = schema::state_key(Kind::List, key.as_str(), None);
                lists.entry(key).or_default().push((slot, value(slot)));
                continue;
            }
        };
        let state_key = schema::state_key(kind, operation.key().as_str(), member);
        standing.push(Change { state_key, version: Version { dot, time, written } });
    }
    // The last write of a key in an event counts: a stable sort keeps it last of its run.
    standing.sort_by(|a: &Change, b: &Change| a.state_key.cmp(&b.state_key));
    standing.dedup_by(|later, earlier| {
        let same = later.state_key == earlier.state_key;
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
    (standing, sums.into_iter().collect(), lists.into_iter().collect())
}
