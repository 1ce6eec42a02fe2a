//! Finding events and what they have seen.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quipu_merge::{Ancestor, AuthorKey, Body, Clock, Dot, EventId, Micros, ParsedEvent, Seq};

use crate::bodies::Kept;
use crate::db::Reader;
use crate::error::StorageError;
use crate::record::{self, EventRecord, SharedClock, StoredClock};
use crate::schema::{self, Family};
use crate::shallow::Shallow;

/// A clock is stored in full at least after so many differences.
pub const MAX_DEPTH: u64 = 16;
/// How many events are remembered that others may soon follow.
const RECENT: usize = 8192;

/// An event that is held, as far as following it is concerned.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its id.
    pub id: EventId,
    /// Who wrote it.
    pub author: AuthorKey,
    /// Its local name.
    pub dot: Dot,
    /// When it says that it was written.
    pub time: Micros,
    /// What it has seen, itself included.
    pub clock: SharedClock,
    /// The event of its lane whose clock is stored and differs only by the lane's own position,
    /// and how many differences that one is away from a full clock.
    pub base: (Seq, u64),
}

impl From<Known> for Ancestor {
    fn from(known: Known) -> Self {
        Self { author: known.author, dot: known.dot, time: known.time, clock: known.clock }
    }
}

/// Where the event with this id is.
pub fn dot_of(reader: Reader<'_>, id: EventId) -> Result<Option<Dot>, StorageError> {
    let Some(bytes) = reader.get(Family::Ids, &id.0)? else { return Ok(None) };
    let damaged = || StorageError::damaged(format!("the index entry of event {id}"));
    record::Reader(&bytes).dot().map(Some).ok_or_else(damaged)
}

/// The stored bytes of an event.
pub struct Stored<'a> {
    bytes: rocksdb::DBPinnableSlice<'a>,
    dot: Dot,
}

impl<'a> Stored<'a> {
    /// Reads the event at `dot`, if there is one.
    pub fn find(reader: Reader<'a>, dot: Dot) -> Result<Option<Self>, StorageError> {
        let bytes = reader.get(Family::Events, &schema::dot_key(dot))?;
        Ok(bytes.map(|bytes| Self { bytes, dot }))
    }

    /// Reads the event at `dot`, which an index names.
    pub fn read(reader: Reader<'a>, dot: Dot) -> Result<Self, StorageError> {
        Self::find(reader, dot)?.ok_or_else(|| missing(dot))
    }

    /// Reads many events at once, as far as they are there.
    pub fn read_many(
        reader: Reader<'a>,
        mut dots: Vec<Dot>,
    ) -> Result<BTreeMap<Dot, Self>, StorageError> {
        dots.sort_unstable();
        let keys: Vec<_> = dots.iter().map(|dot| schema::dot_key(*dot)).collect();
        let keys: Vec<_> = keys.iter().map(<[u8; 12]>::as_slice).collect();
        let found = dots.into_iter().zip(reader.get_many(Family::Events, &keys)?);
        Ok(found.filter_map(|(dot, bytes)| Some((dot, Self { bytes: bytes?, dot }))).collect())
    }

    /// The parts of the record.
    pub fn record(&self) -> Result<EventRecord<'_>, StorageError> {
        EventRecord::decode(&self.bytes).ok_or_else(|| damaged(self.dot))
    }

    /// The event.
    pub fn event(&self) -> Result<ParsedEvent, StorageError> {
        ParsedEvent::decode(self.record()?.event).map_err(|_| damaged(self.dot))
    }

    /// The body, where it must be here.
    pub fn body(&self) -> Result<Body, StorageError> {
        self.kept()?.whole().ok_or_else(|| damaged(self.dot))
    }

    /// What is kept of the body.
    pub fn kept(&self) -> Result<Kept, StorageError> {
        Kept::decode(self.record()?.body).ok_or_else(|| damaged(self.dot))
    }
}

fn damaged(dot: Dot) -> StorageError {
    StorageError::damaged(format!("the record of event {} on lane {}", dot.seq, dot.lane.0))
}

/// An index names an event that is not there.
pub fn missing(dot: Dot) -> StorageError {
    StorageError::damaged(format!("event {} on lane {} is missing", dot.seq, dot.lane.0))
}

/// What the event at `dot` has seen, itself included.
pub fn clock_at(reader: Reader<'_>, dot: Dot) -> Result<Clock, StorageError> {
    let stored = Stored::read(reader, dot)?;
    let clock = stored.record()?.clock;
    clock_of(reader, dot, clock)
}

/// What the event at `dot` has seen of the writes that are kept, itself included. Of those that stand
/// where a shallow store starts, none has seen another.
pub fn writes_seen_at(reader: Reader<'_>, dot: Dot) -> Result<Clock, StorageError> {
    match Stored::read(reader, dot)?.record()?.clock {
        StoredClock::Floor => Ok(Clock::from_iter([dot])),
        clock => clock_of(reader, dot, clock),
    }
}

/// The clock that a record describes.
pub fn clock_of(reader: Reader<'_>, dot: Dot, stored: StoredClock) -> Result<Clock, StorageError> {
    let mut differences = Vec::new();
    let mut at = dot;
    let mut stored = stored;
    let mut clock = loop {
        let base = match stored {
            StoredClock::Full(dots) => break dots.into_iter().collect::<Clock>(),
            StoredClock::Floor => {
                break Shallow::load(reader)?.ok_or_else(|| damaged(at))?.floor;
            }
            StoredClock::Same(base) => base,
            StoredClock::More { base, more, .. } => {
                differences.push(more);
                base
            }
        };
        // Bases lie strictly before, so that even a damaged record ends this.
        if base >= at.seq || differences.len() as u64 > MAX_DEPTH {
            return Err(damaged(at));
        }
        at.seq = base;
        stored = Stored::read(reader, at)?.record()?.clock;
    };
    differences.into_iter().rev().flatten().for_each(|dot| clock.advance(dot));
    clock.advance(dot);
    Ok(clock)
}

/// Reads all of what following the event at `dot` needs.
pub fn known_at(reader: Reader<'_>, dot: Dot) -> Result<Known, StorageError> {
    let stored = Stored::read(reader, dot)?;
    let event = stored.event()?;
    let record = stored.record()?;
    let base = match &record.clock {
        StoredClock::Full(_) | StoredClock::Floor => (dot.seq, 0),
        StoredClock::More { depth, .. } => (dot.seq, *depth),
        StoredClock::Same(base) => {
            let base_dot = Dot { lane: dot.lane, seq: *base };
            match Stored::read(reader, base_dot)?.record()?.clock {
                StoredClock::More { depth, .. } => (*base, depth),
                _ => (*base, 0),
            }
        }
    };
    let clock = Arc::new(clock_of(reader, dot, record.clock)?);
    let content = event.event();
    Ok(Known { id: event.id(), author: content.author, dot, time: content.time, clock, base })
}

/// What cutting by an event needs to know of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its local name.
    pub dot: Dot,
    /// When it says that it was written.
    pub time: Micros,
    /// What it has seen, up to its own position: most events share the clock of an earlier one.
    seen: SharedClock,
}

impl Place {
    /// What it has seen, itself included.
    pub fn clock(&self) -> Clock {
        let mut clock = Clock::clone(&self.seen);
        clock.advance(self.dot);
        clock
    }
}

/// Places that were looked for lately. Events never change, so neither do they.
#[derive(Default)]
pub struct Places(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    places: Generations<EventId, Place>,
    clocks: Generations<Dot, SharedClock>,
}

impl Places {
    /// The place of the event with this id.
    pub fn of(&self, reader: Reader<'_>, id: EventId) -> Result<Option<Place>, StorageError> {
        if let Some(place) = self.lock().places.get(&id) {
            return Ok(Some(place));
        }
        let Some(dot) = dot_of(reader, id)? else { return Ok(None) };
        let stored = Stored::read(reader, dot)?;
        let record = stored.record()?;
        let time = record.time;
        let seen = match record.clock {
            StoredClock::Same(base) => self.clock(reader, Dot { lane: dot.lane, seq: base })?,
            other => Arc::new(clock_of(reader, dot, other)?),
        };
        let (place, positions) = (Place { dot, time, seen: seen.clone() }, seen.len());
        self.lock().places.insert(id, place.clone(), positions);
        Ok(Some(place))
    }

    fn clock(&self, reader: Reader<'_>, dot: Dot) -> Result<SharedClock, StorageError> {
        if let Some(clock) = self.lock().clocks.get(&dot) {
            return Ok(clock);
        }
        let clock = Arc::new(clock_at(reader, dot)?);
        self.lock().clocks.insert(dot, clock.clone(), clock.len());
        Ok(clock)
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was used lately: the younger things, and the older ones until there are enough of the
/// younger.
struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    /// Positions in the clocks of the younger things.
    positions: usize,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), positions: 0 }
    }
}

impl<K: Eq + Hash + Copy, V: Clone> Generations<K, V> {
    /// How many positions the younger clocks have at most, one more counted for each.
    const KEPT: usize = 1 << 16;

    fn get(&mut self, key: &K) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (value, positions) = self.old.remove(key)?;
        self.insert(*key, value.clone(), positions);
        Some(value)
    }

    fn insert(&mut self, key: K, value: V, positions: usize) {
        if self.positions >= Self::KEPT {
            self.old = std::mem::take(&mut self.young);
            self.positions = 0;
        }
        self.positions += positions + 1;
        self.young.insert(key, (value, positions));
    }
}

/// How to store the clock of an event that continues `prev` on its lane, if it does.
pub fn stored_clock(clock: &Clock, dot: Dot, prev: Option<&Known>) -> (StoredClock, (Seq, u64)) {
    let full = || (StoredClock::Full(clock.iter().collect()), (dot.seq, 0));
    let Some(prev) = prev.filter(|prev| prev.dot.lane == dot.lane) else { return full() };
    let more: Vec<_> =
        clock.iter().filter(|seen| seen.lane != dot.lane && !prev.clock.covers(*seen)).collect();
    let (base, depth) = prev.base;
    if more.is_empty() {
        return (StoredClock::Same(base), prev.base);
    }
    if depth + 1 >= MAX_DEPTH || more.len() * 2 > clock.len() {
        return full();
    }
    let depth = depth + 1;
    (StoredClock::More { base, depth, more }, (dot.seq, depth))
}

/// Events that were written or followed lately. New events mostly follow these.
#[derive(Default)]
pub struct Recent {
    young: Generation,
    old: Generation,
}

/// Events by their ids and by their places.
#[derive(Default)]
struct Generation {
    known: HashMap<EventId, Known>,
    ids: HashMap<Dot, EventId>,
}

impl Generation {
    fn at(&self, dot: Dot) -> Option<&Known> {
        self.known.get(self.ids.get(&dot)?)
    }
}

impl Recent {
    /// Remembers an event, at least until [`Self::age`] has been called twice.
    pub fn insert(&mut self, known: Known) {
        self.young.ids.insert(known.dot, known.id);
        self.young.known.insert(known.id, known);
    }

    /// Looks for an event.
    pub fn get(&self, id: &EventId) -> Option<&Known> {
        self.young.known.get(id).or_else(|| self.old.known.get(id))
    }

    /// Looks for an event by its place.
    pub fn at(&self, dot: Dot) -> Option<&Known> {
        self.young.at(dot).or_else(|| self.old.at(dot))
    }

    /// Forgets the older half where there are many. To be called when everything is written.
    pub fn age(&mut self) {
        if self.young.known.len() > RECENT {
            self.old = std::mem::take(&mut self.young);
        }
    }
}
