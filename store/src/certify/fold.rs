//! Folding the events that a cut has beyond the last certified one into the certified state.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use quipu_merge::{
    Clock, CutNumber, Dot, EventId, Key, Member, Micros, OpeningId, Operation, Seq, Subject,
    Verdicts, list_entry_hash,
};

use super::sink::Sink;
use super::source::FinalRecords;
use super::state::{Cell, CertifiedPut};
use crate::bodies::Kept;
use crate::db::Reader;
use crate::error::StorageError;
use crate::judge::key_of;
use crate::lookup;
use crate::record::{EventRecord, StoredClock, put_number};
use crate::schema::{self, Family, Kind, certified};
use crate::snapshot::Snapshot;

/// How many positions the clocks have at most that are remembered while events are folded.
const KEPT_POSITIONS: usize = 1 << 20;
/// So many records are looked for together.
const TOGETHER: usize = 4096;

/// An event that becomes certified.
pub struct FinalEvent {
    pub dot: Dot,
    pub time: Micros,
    pub id: EventId,
    /// Its operations: all of them, unless a checkpoint is derived again.
    pub kept: Kept,
    clock: StoredClock,
}

impl FinalEvent {
    fn decode(dot: Dot, record: &[u8]) -> Result<Self, StorageError> {
        let damaged = || {
            let Dot { lane, seq } = dot;
            StorageError::damaged(format!("the record of event {seq} on lane {}", lane.0))
        };
        let record = EventRecord::decode(record).ok_or_else(damaged)?;
        let (time, id) = (record.time, EventId::of(record.event));
        let kept = Kept::decode(record.body).ok_or_else(damaged)?;
        Ok(Self { dot, time, id, kept, clock: record.clock })
    }
}

/// The events between two cuts, in the order of the certified log. Memory grows with them.
pub fn read_between(
    snapshot: &Snapshot<'_>,
    from: &Clock,
    to: &Clock,
) -> Result<Vec<FinalEvent>, StorageError> {
    let mut events = Vec::new();
    for last in to.iter() {
        let after = Dot { lane: last.lane, seq: Seq(from.seq(last.lane)).next() };
        if after.seq > last.seq {
            continue;
        }
        let end = Dot { lane: last.lane, seq: last.seq.next() };
        let end = Some(schema::dot_key(end).to_vec());
        let mut walk =
            snapshot.reader().walk_between(Family::Events, &schema::dot_key(after), end)?;
        walk.first()?;
        while let Some((key, record)) = walk.item() {
            let damaged = || StorageError::damaged("the key of an event");
            events.push(FinalEvent::decode(schema::parse_dot(key).ok_or_else(damaged)?, record)?);
            walk.next()?;
        }
    }
    events.sort_unstable_by_key(|event| (event.time, event.id));
    Ok(events)
}

/// The records of the certified state that are worked on.
#[derive(Default)]
pub struct Cells(BTreeMap<Vec<u8>, (Cell, bool)>);

impl Cells {
    /// Those that have changed, by their keys in the family `state`.
    pub fn changed(&self) -> impl Iterator<Item = (&[u8], &Cell)> {
        self.0.iter().filter(|(_, (_, changed))| *changed).map(|(key, (cell, _))| (&**key, cell))
    }

    /// Those that have changed and whose keys begin with `prefix`.
    pub fn changed_from<'c>(
        &'c self,
        prefix: &'c [u8],
    ) -> impl Iterator<Item = (&'c [u8], &'c Cell)> {
        let from = self.0.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        from.filter(|(_, (_, changed))| *changed).map(|(key, (cell, _))| (&**key, cell))
    }

    fn load(records: &dyn FinalRecords, events: &[FinalEvent]) -> Result<Self, StorageError> {
        let damaged = || StorageError::damaged("a record of the certified state");
        let operations = events.iter().flat_map(|event| event.kept.operations());
        let mut state_keys: Vec<_> = operations.map(key_of).collect();
        state_keys.sort_unstable();
        state_keys.dedup();
        let mut cells = BTreeMap::new();
        for together in state_keys.chunks(TOGETHER) {
            let keys: Vec<_> = together.iter().map(|key| certified::state(key)).collect();
            let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
            let found = records.get_many(&keys)?;
            for (state_key, record) in together.iter().zip(found) {
                let kind = schema::kind_of(state_key).ok_or_else(damaged)?;
                let cell = match record {
                    Some(record) => Cell::decode(kind, &record),
                    None => Cell::empty(kind),
                };
                cells.insert(state_key.clone(), (cell.ok_or_else(damaged)?, false));
            }
        }
        Ok(Self(cells))
    }

    fn change(&mut self, kind: Kind, key: &Key, member: Option<&Member>) -> Option<&mut Cell> {
        let state_key = schema::state_key(kind, key.as_str(), member.map(Member::as_bytes));
        let (cell, changed) = self.0.get_mut(&state_key)?;
        *changed = true;
        Some(cell)
    }
}

/// The events of one certified cut on their way into the certified state.
pub struct Fold<'f> {
    reader: Reader<'f>,
    snapshot: &'f Snapshot<'f>,
    verdicts: &'f Verdicts,
    number: CutNumber,
    /// The index of the next event in the certified log.
    index: u64,
    clocks: Clocks<'f>,
    cells: Cells,
    sink: &'f mut dyn Sink,
}

impl<'f> Fold<'f> {
    /// Folds the events of the cut with this number, whose first has this index in the log. Gives
    /// `sink` what is to be written, and tells the keys that have changed.
    pub fn run(
        snapshot: &'f Snapshot<'f>,
        records: &dyn FinalRecords,
        verdicts: &'f Verdicts,
        (number, index): (CutNumber, u64),
        events: &[FinalEvent],
        sink: &'f mut dyn Sink,
    ) -> Result<Cells, StorageError> {
        let reader = snapshot.reader();
        let cells = Cells::load(records, events)?;
        let clocks = Clocks { reader, known: HashMap::new(), positions: 0 };
        let mut fold = Self { reader, snapshot, verdicts, number, index, clocks, cells, sink };
        for event in events {
            fold.event(event)?;
            fold.index += 1;
        }
        let Self { cells, sink, .. } = fold;
        for (state_key, cell) in cells.changed() {
            let key = certified::state(state_key);
            match cell.encode() {
                Some(record) => sink.put(Family::Final, &key, &record)?,
                None => sink.delete(Family::Final, &key)?,
            }
        }
        Ok(cells)
    }

    fn event(&mut self, event: &FinalEvent) -> Result<(), StorageError> {
        let void = self.is_void(event)?;
        let mut writes = BTreeMap::<&Key, Option<OpeningId>>::new();
        let mut members = BTreeMap::<(&Key, &Member), bool>::new();
        for (slot, operation) in (0_u16..).zip(event.kept.operations()) {
            match operation {
                Operation::Append { key, value } => self.append(event, slot, key, *value, void)?,
                _ if void => {}
                Operation::Put { key, value } => drop(writes.insert(key, Some(*value))),
                Operation::Del { key } => drop(writes.insert(key, None)),
                Operation::Add { key, member } => drop(members.insert((key, member), true)),
                Operation::Rem { key, member } => drop(members.insert((key, member), false)),
                Operation::Inc { key, by } => {
                    if let Some(Cell::Counter(sum)) = self.cells.change(Kind::Counter, key, None) {
                        *sum.get_or_insert(0) += i128::from(by.get());
                    }
                }
            }
        }
        for (key, value) in writes {
            let Some(Cell::Register(puts)) = self.cells.change(Kind::Register, key, None) else {
                continue;
            };
            self.clocks.drop_seen(event, puts, |put| put.dot)?;
            puts.extend(value.map(|opening| CertifiedPut {
                dot: event.dot,
                number: self.number,
                time: event.time,
                event: event.id,
                opening,
            }));
        }
        for ((key, member), adds_it) in members {
            let cell = self.cells.change(Kind::Member, key, Some(member));
            let Some(Cell::Member(adds)) = cell else { continue };
            self.clocks.drop_seen(event, adds, |(dot, _)| *dot)?;
            adds.extend(adds_it.then_some((event.dot, event.id)));
        }
        Ok(())
    }

    /// Void events have entries too: over a cut without what makes them void, they are not.
    fn append(
        &mut self,
        event: &FinalEvent,
        slot: u16,
        key: &Key,
        value: OpeningId,
        void: bool,
    ) -> Result<(), StorageError> {
        let state_key = schema::state_key(Kind::List, key.as_str(), None);
        let mut entry = Vec::with_capacity(12);
        put_number(&mut entry, u64::from(event.dot.lane.0));
        put_number(&mut entry, event.time.0);
        let entry_key = certified::element(&state_key, self.index, slot);
        self.sink.put(Family::Final, &entry_key, &entry)?;
        if !void && let Some(Cell::List(tree)) = self.cells.change(Kind::List, key, None) {
            tree.append(list_entry_hash(event.id, value));
        }
        Ok(())
    }

    fn is_void(&mut self, event: &FinalEvent) -> Result<bool, StorageError> {
        if self.verdicts.all_clear() {
            return Ok(false);
        }
        let lanes = &self.snapshot.published().lanes;
        let Some(info) = lanes.get(event.dot.lane) else { return Ok(false) };
        let acts = self.snapshot.acts_of(event.dot);
        if acts.is_empty() && self.verdicts.is_clear(info.author) {
            return Ok(false);
        }
        let clock = lookup::clock_of(self.reader, event.dot, event.clock.clone())?;
        let subject = Subject { author: info.author, dot: event.dot, clock: &clock, acts: &acts };
        Ok(self.verdicts.is_void(lanes, &subject))
    }
}

/// What events have seen. Most share the clock of an earlier event of their lane.
struct Clocks<'f> {
    reader: Reader<'f>,
    known: HashMap<Dot, Arc<Clock>>,
    positions: usize,
}

impl Clocks<'_> {
    /// Takes out what `event` has seen.
    fn drop_seen<T>(
        &mut self,
        event: &FinalEvent,
        writes: &mut Vec<T>,
        dot: impl Fn(&T) -> Dot,
    ) -> Result<(), StorageError> {
        if writes.is_empty() {
            return Ok(());
        }
        let base = match &event.clock {
            StoredClock::Same(base) => Dot { lane: event.dot.lane, seq: *base },
            _ => event.dot,
        };
        let seen = self.at(base)?;
        writes.retain(|write| {
            let write = dot(write);
            // On its own lane an event has seen all that comes before it.
            !(write.lane == event.dot.lane && write.seq <= event.dot.seq || seen.covers(write))
        });
        Ok(())
    }

    fn at(&mut self, dot: Dot) -> Result<Arc<Clock>, StorageError> {
        if let Some(clock) = self.known.get(&dot) {
            return Ok(clock.clone());
        }
        let clock = Arc::new(lookup::clock_at(self.reader, dot)?);
        if self.positions > KEPT_POSITIONS {
            self.known.clear();
            self.positions = 0;
        }
        self.positions += clock.len() + 1;
        self.known.insert(dot, clock.clone());
        Ok(clock)
    }
}
