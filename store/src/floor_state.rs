//! What stood at the cut that a shallow store starts from, as its state keeps it: where the operations of
//! the events below are not here, states are folded from this on.

use std::collections::BTreeMap;

use quipu_merge::{
    CertifiedCuts, Clock, Dot, Effect, Key, Lane, Member, Micros, OpeningId, Operation, Place,
    State,
};

use crate::bodies::Kept;
use crate::db::Reader;
use crate::error::StorageError;
use crate::lookup::Stored;
use crate::record::{self, Standing, Version, Written};
use crate::schema::{self, Family, Kind, certified};
use crate::shallow::Floor;

/// What stood there, by the keys of the family `state`. It is here for good: what covers a write, or is
/// added to a counter or a list, does not change it.
#[derive(Default)]
pub struct FloorState {
    /// The writes of registers and members.
    pub writes: BTreeMap<Vec<u8>, Vec<Version>>,
    /// What counters had come to.
    pub sums: BTreeMap<Vec<u8>, i128>,
    /// The values of lists, in the order of the certified log.
    pub entries: BTreeMap<Vec<u8>, Vec<Version>>,
    /// How many versions lists have.
    pub elements: BTreeMap<Vec<u8>, u64>,
}

/// Operations by their indexes in the body of their event.
type Operations = Vec<(u32, Operation)>;

impl FloorState {
    /// Reads it. Memory grows with it.
    pub fn read(reader: Reader<'_>, floor: &Floor) -> Result<Self, StorageError> {
        let mut found = Self::default();
        for kind in [Kind::Register, Kind::Member] {
            let mut walk = reader.walk(Family::State, &[kind as u8])?;
            walk.first()?;
            while let Some((key, record)) = walk.item() {
                let writes = Standing::decode(record).ok_or_else(damaged)?.writes;
                let below = writes.into_iter().filter(|write| floor.covers(write.dot));
                below.for_each(|write| found.add(key, write));
                walk.next()?;
            }
        }
        let mut walk = reader.walk(Family::Versions, &[])?;
        walk.first()?;
        while let Some((key, record)) = walk.item() {
            let (state_key, version) = read_version(key, record).ok_or_else(damaged)?;
            if floor.covers(version.dot) {
                found.add(state_key, version);
            }
            walk.next()?;
        }
        found.lists(reader, floor)?;
        Ok(found)
    }

    fn add(&mut self, state_key: &[u8], version: Version) {
        match &version.written {
            _ if state_key.first() == Some(&(Kind::List as u8)) => {
                *self.elements.entry(state_key.to_vec()).or_default() += 1;
            }
            Written::Amount(amount) => {
                *self.sums.entry(state_key.to_vec()).or_default() += amount;
            }
            _ => self.writes.entry(state_key.to_vec()).or_default().push(version),
        }
    }

    fn lists(&mut self, reader: Reader<'_>, floor: &Floor) -> Result<(), StorageError> {
        let mut walk = reader.walk(Family::Final, &[certified::ELEMENT])?;
        walk.first()?;
        while let Some((key, entry)) = walk.item() {
            let (index, slot) = certified::parse_element(key).ok_or_else(damaged)?;
            if index < floor.size {
                let state_key = key.len().checked_sub(10).and_then(|at| key.get(1..at));
                let state_key = state_key.ok_or_else(damaged)?;
                let mut r = record::Reader(entry);
                let lane = r.number().and_then(|lane| u32::try_from(lane).ok()).map(Lane);
                let (lane, time) = lane.zip(r.number().map(Micros)).ok_or_else(damaged)?;
                let version = schema::element_key(state_key, time, lane, slot);
                let version = reader.get(Family::Versions, &version)?.ok_or_else(damaged)?;
                let version = Version::decode_tail(lane, time, &version).ok_or_else(damaged)?;
                self.entries.entry(state_key.to_vec()).or_default().push(version);
            }
            walk.next()?;
        }
        Ok(())
    }

    /// Folds it into a state of which nothing has been folded.
    pub fn fold_into(
        &self,
        reader: Reader<'_>,
        cuts: &CertifiedCuts,
        state: &mut State,
    ) -> Result<(), StorageError> {
        for (state_key, sum) in &self.sums {
            state.begin_counter(key_of(state_key)?.0, *sum);
        }
        let mut events = BTreeMap::<Dot, Operations>::new();
        let writes = self.writes.iter().chain(&self.entries);
        for (state_key, versions) in writes {
            for version in versions {
                let operation = operation(reader, state_key, version)?;
                events.entry(version.dot).or_default().push(operation);
            }
        }
        // None of them has seen another; and on a lane they come in their order.
        for (dot, mut operations) in events {
            operations.sort_by_key(|(slot, _)| *slot);
            let stored = Stored::read(reader, dot)?;
            let event = stored.event()?;
            let (id, content) = (event.id(), event.event());
            let place = Place { number: cuts.number(dot), time: content.time, id };
            let (author, clock) = (content.author, Clock::from_iter([dot]));
            let effect = Effect { place, author, dot, clock: &clock, operations: &[] };
            state.apply_some(&effect, operations.iter().map(|(slot, one)| (*slot, one)));
        }
        Ok(())
    }
}

/// The opening that a write names.
pub fn opening_of(kept: &Kept, version: &Version) -> Option<OpeningId> {
    match version.written {
        Written::Value { slot, .. } => kept.value(slot),
        _ => None,
    }
}

fn operation(
    reader: Reader<'_>,
    state_key: &[u8],
    version: &Version,
) -> Result<(u32, Operation), StorageError> {
    let (key, member) = key_of(state_key)?;
    let kept = Stored::read(reader, version.dot)?.kept()?;
    let value = opening_of(&kept, version);
    let slot = match version.written {
        Written::Value { slot, .. } => u32::from(slot),
        // Adds have no values to be told apart by.
        _ => 0,
    };
    let operation = match (schema::kind_of(state_key), member, value) {
        (Some(Kind::Member), Some(member), _) => Operation::Add { key, member },
        (Some(Kind::Register), _, Some(value)) => Operation::Put { key, value },
        (Some(Kind::List), _, Some(value)) => Operation::Append { key, value },
        _ => return Err(damaged()),
    };
    Ok((slot, operation))
}

fn key_of(state_key: &[u8]) -> Result<(Key, Option<Member>), StorageError> {
    let (_, key, member) = schema::parse_state_key(state_key).ok_or_else(damaged)?;
    let member = member.map(|member| Member::new(&member)).transpose().map_err(|_| damaged())?;
    Ok((Key::new(&key).map_err(|_| damaged())?, member))
}

fn read_version<'k>(key: &'k [u8], record: &[u8]) -> Option<(&'k [u8], Version)> {
    let is_list = key.first() == Some(&(Kind::List as u8));
    let tail = if is_list { 14 } else { 12 };
    let (state_key, place) = key.split_at_checked(key.len().checked_sub(tail)?)?;
    let (lane, time) = if is_list {
        schema::parse_element(0, place).map(|(time, lane, _)| (lane, time))?
    } else {
        schema::parse_version(0, place)?
    };
    Some((state_key, Version::decode_tail(lane, time, record)?))
}

fn damaged() -> StorageError {
    StorageError::damaged("what the store starts with")
}
