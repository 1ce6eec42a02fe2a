//! Reading lists: the values of what is certified in the order of the certified log, and after
//! them the others by time.

use std::collections::BTreeMap;

use quipu_merge::{Dot, EventId, Lane, Micros};

use crate::error::{ReadError, StorageError};
use crate::keys::Element;
use crate::lookup::{self, Stored};
use crate::record::{self, Version};
use crate::schema::{self, Family, Kind, certified};
use crate::snapshot::Snapshot;

/// The value after which others are wanted.
#[derive(Clone, Copy)]
enum After {
    /// By the event's index in the certified log.
    Certified(u64, u16),
    /// By time and id.
    Uncertified(Micros, EventId, u16),
}

impl Snapshot<'_> {
    /// Calls `visit` with each value of a list, in order, until it returns `false`. Tells whether
    /// the list exists.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn list(&self, key: &str, visit: impl FnMut(Element) -> bool) -> Result<bool, ReadError> {
        self.list_after(key, None, visit)
    }

    /// Does what [`Self::list`] does with the values after the one that this operation of an event
    /// would have added.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`] where that event is not held, [`ReadError::Pruned`] where the store
    /// starts from a checkpoint that holds it and it adds nothing to the list, and those of
    /// [`Self::list`].
    pub fn list_after(
        &self,
        key: &str,
        after: Option<(EventId, u16)>,
        mut visit: impl FnMut(Element) -> bool,
    ) -> Result<bool, ReadError> {
        self.check_kept()?;
        let state_key = schema::state_key(Kind::List, key, None);
        let after = after.map(|(event, slot)| self.place_after(&state_key, event, slot));
        let after = after.transpose()?;
        let mut reading = Reading {
            snapshot: self,
            state_key,
            visit: &mut visit,
            bounds: BTreeMap::new(),
            exists: false,
        };
        if after.is_some() {
            // Of what comes before, only whether there is any is asked for.
            reading.certified(None, true)?;
        }
        let goes_on = match after {
            Some(After::Uncertified(..)) => true,
            Some(After::Certified(index, slot)) => reading.certified(Some((index, slot)), false)?,
            None => reading.certified(None, false)?,
        };
        if goes_on {
            let after = match after {
                Some(After::Uncertified(time, event, slot)) => Some((time, event, slot)),
                _ => None,
            };
            reading.uncertified(after)?;
        }
        Ok(reading.exists)
    }

    fn place_after(&self, state_key: &[u8], event: EventId, slot: u16) -> Result<After, ReadError> {
        let dot = lookup::dot_of(self.reader(), event)?.ok_or(ReadError::NoSuchEvent(event))?;
        let time = Stored::read(self.reader(), dot)?.record()?.time;
        let floor = self.ledger_handle().floor.as_ref().filter(|floor| floor.covers(dot));
        let index = match floor {
            // The log does not tell, but the list does, if the event has added something to it.
            Some(floor) => {
                let index = self.index_in_list(state_key, dot.lane, time)?;
                Some(index.ok_or_else(|| floor.pruned())?)
            }
            None => self.index_of(dot, event)?,
        };
        Ok(match index {
            Some(index) => After::Certified(index, slot),
            None => After::Uncertified(time, event, slot),
        })
    }

    /// Where the event of this lane and time stands in the certified log, by the entries of a list.
    fn index_in_list(
        &self,
        state_key: &[u8],
        lane: Lane,
        time: Micros,
    ) -> Result<Option<u64>, StorageError> {
        let mut walk = self.reader().walk(Family::Final, &certified::elements(state_key))?;
        walk.first()?;
        while let Some((key, entry)) = walk.item() {
            if read_entry(entry)? == (lane, time) {
                return Ok(certified::parse_element(key).map(|(index, _)| index));
            }
            walk.next()?;
        }
        Ok(None)
    }
}

/// Which event an entry of a certified list is of.
fn read_entry(entry: &[u8]) -> Result<(Lane, Micros), StorageError> {
    let mut r = record::Reader(entry);
    let lane = r.number().and_then(|lane| u32::try_from(lane).ok()).map(Lane);
    let damaged = || StorageError::damaged("an entry of a certified list");
    lane.zip(r.number().map(Micros)).ok_or_else(damaged)
}

struct Reading<'r, 'l> {
    snapshot: &'r Snapshot<'l>,
    state_key: Vec<u8>,
    visit: &'r mut dyn FnMut(Element) -> bool,
    bounds: BTreeMap<Lane, u64>,
    exists: bool,
}

impl Reading<'_, '_> {
    /// The values of certified events, or only whether there is one. Tells whether to go on.
    fn certified(&mut self, after: Option<(u64, u16)>, only_look: bool) -> Result<bool, ReadError> {
        let reader = self.snapshot.reader();
        let mut walk = reader.walk(Family::Final, &certified::elements(&self.state_key))?;
        match after {
            Some((index, slot)) => {
                walk.seek(&certified::element(&self.state_key, index, slot))?;
                if walk.item().and_then(|(key, _)| certified::parse_element(key)) == after {
                    walk.next()?;
                }
            }
            None => walk.first()?,
        }
        let damaged = || StorageError::damaged("an entry of a certified list");
        while let Some((key, entry)) = walk.item() {
            let (_, slot) = certified::parse_element(key).ok_or_else(damaged)?;
            let (lane, time) = read_entry(entry)?;
            let version_key = schema::element_key(&self.state_key, time, lane, slot);
            let version = reader.get(Family::Versions, &version_key)?.ok_or_else(damaged)?;
            let version = Version::decode_tail(lane, time, &version).ok_or_else(damaged)?;
            if self.shows(version.dot)? {
                self.exists = true;
                let event = self.snapshot.id_at(version.dot)?;
                if only_look || !self.give(event, slot, &version)? {
                    return Ok(false);
                }
            }
            walk.next()?;
        }
        Ok(true)
    }

    /// The values of events that are not certified.
    fn uncertified(&mut self, after: Option<(Micros, EventId, u16)>) -> Result<(), ReadError> {
        let Some(least) = self.snapshot.least_uncertified()? else { return Ok(()) };
        let mut walk = self.snapshot.reader().walk(Family::Versions, &self.state_key)?;
        let from = after.map_or(least, |(time, ..)| time.max(least));
        walk.seek(&schema::element_key(&self.state_key, from, Lane(0), 0))?;
        let mut same_time = Vec::<(EventId, u16, Version)>::new();
        loop {
            let damaged = || StorageError::damaged("a value of a list");
            let next = match walk.item() {
                Some((key, value)) => {
                    let (time, lane, slot) =
                        schema::parse_element(self.state_key.len(), key).ok_or_else(damaged)?;
                    Some((slot, Version::decode_tail(lane, time, value).ok_or_else(damaged)?))
                }
                None => None,
            };
            // Values of one time stand in the order of their events' ids.
            let time = next.as_ref().map(|(_, version)| version.time);
            if same_time.first().is_some_and(|(_, _, version)| Some(version.time) != time) {
                same_time.sort_by_key(|(id, slot, _)| (*id, *slot));
                for (event, slot, version) in same_time.drain(..) {
                    self.exists = true;
                    if after.is_some_and(|after| (version.time, event, slot) <= after) {
                        continue;
                    }
                    if !self.give(event, slot, &version)? {
                        return Ok(());
                    }
                }
            }
            let Some((slot, version)) = next else { return Ok(()) };
            if !self.snapshot.is_certified(version.dot) && self.shows(version.dot)? {
                same_time.push((self.snapshot.id_at(version.dot)?, slot, version));
            }
            walk.next()?;
        }
    }

    fn shows(&mut self, dot: Dot) -> Result<bool, StorageError> {
        Ok(self.snapshot.holds(dot, &mut self.bounds)? && !self.snapshot.is_void(dot)?)
    }

    fn give(&mut self, event: EventId, slot: u16, version: &Version) -> Result<bool, StorageError> {
        let author = self.snapshot.author_at(version.dot)?;
        let value = self.snapshot.value_of(version)?;
        Ok((self.visit)(Element { event, slot, author, time: version.time, value }))
    }
}
