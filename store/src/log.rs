//! The events of a cut in the total order, walked over either way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quipu_merge::{AuthorKey, Clock, Dot, EventId, Height, Lane, Micros, Seq};

use crate::bodies::pruned_to;
use crate::db::Walk;
use crate::error::{ReadError, StorageError};
use crate::event::EventInfo;
use crate::extent::Extent;
use crate::lookup::{self, Stored};
use crate::record;
use crate::schema::{self, Family, Kind, certified};
use crate::shallow::Floor;
use crate::snapshot::Snapshot;

/// Which events of a history are wanted.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Only those that work on this key.
    pub key: Option<String>,
    /// Only those of this author.
    pub author: Option<AuthorKey>,
    /// The earliest first, instead of the latest.
    pub ascending: bool,
    /// Only those that come after this event, in the order that is asked for.
    pub after: Option<EventId>,
}

impl<'l> Snapshot<'l> {
    /// The events of the cut that match, the latest in the total order first unless asked otherwise.
    ///
    /// Which events work on a key cannot be told where bodies have been pruned, and what precedes the
    /// checkpoint that a store starts from is not here at all. Those that are found
    /// are given all the same, and [`ReadError::Pruned`] or [`ReadError::BelowStart`] with them: before the
    /// first, or after the last where that comes first.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`] where the event after which they are to come is not held, and
    /// [`ReadError::BelowStart`] where the store starts from a checkpoint that holds it. The disk, the database or its content.
    pub fn log(&self, filter: LogFilter) -> Result<Log<'_, 'l>, ReadError> {
        let after = filter.after.map(|id| self.position(id)).transpose()?;
        let mut parts = VecDeque::new();
        parts.extend(self.certified_part(filter.ascending, after)?);
        parts.extend(self.uncertified_part(filter.ascending, after)?);
        if !filter.ascending {
            parts.make_contiguous().reverse();
        }
        let (positions, pruned) = match &filter.key {
            Some(key) => (Some(self.positions_of_key(key)?), pruned_to(self.reader())?),
            // What comes after one that is beyond is all here.
            None if filter.ascending && after.is_some() => (None, None),
            None => (None, self.ledger_handle().floor.as_ref().map(Floor::height)),
        };
        let (batch, bounds) = (Vec::new(), BTreeMap::new());
        Ok(Log { snapshot: self, parts, filter, positions, batch, bounds, pruned })
    }

    /// Where an event stands in the total order.
    fn position(&self, id: EventId) -> Result<Position, ReadError> {
        let dot = lookup::dot_of(self.reader(), id)?.ok_or(ReadError::NoSuchEvent(id))?;
        Ok(match self.index_of(dot, id)? {
            Some(index) => Position::Certified(index),
            None => Position::Uncertified(Stored::read(self.reader(), dot)?.record()?.time, id),
        })
    }

    /// What is certified, beyond `after` in the order that is asked for.
    fn certified_part(
        &self,
        ascending: bool,
        after: Option<Position>,
    ) -> Result<Option<Part<'_>>, StorageError> {
        let end = self.log_end()?;
        let (first, end) = match after {
            Some(Position::Certified(index)) if ascending => (index + 1, end),
            Some(Position::Certified(index)) => (0, end.min(index)),
            Some(Position::Uncertified(..)) if ascending => return Ok(None),
            _ => (0, end),
        };
        if first >= end {
            return Ok(None);
        }
        let (first, end) = (certified::log(first), certified::log(end));
        let mut walk = self.reader().walk_between(Family::Final, &first, Some(end.to_vec()))?;
        if ascending {
            walk.first()?
        } else {
            walk.last()?
        }
        Ok(Some(Part::Certified(walk)))
    }

    /// What is not certified, beyond `after` in the order that is asked for.
    fn uncertified_part(
        &self,
        ascending: bool,
        after: Option<Position>,
    ) -> Result<Option<Part<'_>>, StorageError> {
        let after = match after {
            Some(Position::Certified(_)) if !ascending => return Ok(None),
            Some(Position::Uncertified(time, id)) => Some((time, id)),
            _ => None,
        };
        let Some(least) = self.least_uncertified()? else { return Ok(None) };
        let from = schema::order_key(least, Lane(0));
        let mut walk = self.reader().walk_between(Family::Order, &from, None)?;
        match (after, self.extent()) {
            (Some((time, _)), _) if ascending => walk.seek(&schema::order_key(time, Lane(0)))?,
            (None, _) if ascending => walk.first()?,
            (Some((time, _)), _) => walk.seek_back(&schema::order_key(time, Lane(u32::MAX)))?,
            (None, Extent::Time(time)) => {
                walk.seek_back(&schema::order_key(*time, Lane(u32::MAX)))?;
            }
            (None, _) => walk.last()?,
        }
        Ok(Some(Part::Uncertified { walk, after }))
    }

    /// The events within a frontier by time, the earliest first, which follows causality.
    pub(crate) fn for_each_within<E: From<StorageError>>(
        &self,
        frontier: &Clock,
        mut visit: impl FnMut(Dot, &Stored<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut walk = self.reader().walk(Family::Order, &[])?;
        walk.first()?;
        loop {
            let batch = next_same_time(&mut walk, false)?;
            if batch.is_empty() {
                return Ok(());
            }
            let held = batch.into_iter().filter(|dot| frontier.covers(*dot));
            let mut events = held
                .map(|dot| {
                    let stored = Stored::read(self.reader(), dot)?;
                    let id = EventId::of(stored.record()?.event);
                    Ok((id, dot, stored))
                })
                .collect::<Result<Vec<_>, StorageError>>()?;
            events.sort_by_key(|(id, ..)| *id);
            for (_, dot, stored) in &events {
                visit(*dot, stored)?;
            }
        }
    }
}

/// A place in the total order.
#[derive(Clone, Copy)]
enum Position {
    /// In the certified log.
    Certified(u64),
    /// After it, by time and id.
    Uncertified(Micros, EventId),
}

/// A part of what is walked over.
enum Part<'s> {
    /// A range of the certified log.
    Certified(Walk<'s>),
    /// What is not certified, by time, beyond an event.
    Uncertified { walk: Walk<'s>, after: Option<(Micros, EventId)> },
}

/// Walks over events, the latest first.
pub struct Log<'s, 'l> {
    snapshot: &'s Snapshot<'l>,
    /// What is left to walk over.
    parts: VecDeque<Part<'s>>,
    filter: LogFilter,
    /// Where the events of the wanted key are.
    positions: Option<BTreeSet<Dot>>,
    /// Events that come next, the last of them first.
    batch: Vec<EventInfo>,
    bounds: BTreeMap<Lane, u64>,
    /// Where events are not here, or those that work on the wanted key may have lost their operations.
    pruned: Option<Height>,
}

impl Log<'_, '_> {
    fn advance(&mut self) -> Result<Option<EventInfo>, ReadError> {
        loop {
            if let Some(event) = self.batch.pop() {
                return Ok(Some(event));
            }
            let ascending = self.filter.ascending;
            let (dots, after) = match self.parts.front_mut() {
                None => return Ok(None),
                Some(Part::Certified(walk)) => {
                    (next_certified(walk, ascending)?.into_iter().collect(), None)
                }
                Some(Part::Uncertified { walk, after }) => {
                    (next_same_time(walk, !ascending)?, Some(*after))
                }
            };
            if dots.is_empty() {
                self.parts.pop_front();
                continue;
            }
            for dot in dots {
                let is_other_part = after.is_some() && self.snapshot.is_certified(dot);
                if !is_other_part && self.wants(dot)? {
                    self.batch.push(self.snapshot.event_at(dot)?);
                }
            }
            if let Some(after) = after.flatten() {
                let beyond = |event: &EventInfo| {
                    let place = (event.time, event.id);
                    if ascending { place > after } else { place < after }
                };
                self.batch.retain(beyond);
            }
            self.batch.sort_by_key(|event| event.id);
            if ascending {
                self.batch.reverse();
            }
        }
    }

    fn wants(&mut self, dot: Dot) -> Result<bool, ReadError> {
        if self.positions.as_ref().is_some_and(|positions| !positions.contains(&dot)) {
            return Ok(false);
        }
        let lanes = &self.snapshot.published().lanes;
        let author = lanes.get(dot.lane).map(|info| info.author);
        if self.filter.author.is_some() && author != self.filter.author {
            return Ok(false);
        }
        Ok(self.snapshot.holds(dot, &mut self.bounds)?)
    }
}

impl Iterator for Log<'_, '_> {
    type Item = Result<EventInfo, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.filter.ascending
            && let Some(next) = self.advance().transpose()
        {
            return Some(next);
        }
        match self.pruned.take() {
            Some(height) => Some(Err(self.snapshot.without_bodies(height))),
            None => self.advance().transpose(),
        }
    }
}

/// The event that the cursor over the certified log stands at; moves it on.
fn next_certified(walk: &mut Walk<'_>, ascending: bool) -> Result<Option<Dot>, StorageError> {
    let damaged = || StorageError::damaged("the certified log");
    let Some((_, entry)) = walk.item() else { return Ok(None) };
    let dot = record::Reader(entry).dot().ok_or_else(damaged)?;
    if ascending {
        walk.next()?
    } else {
        walk.back()?
    }
    Ok(Some(dot))
}

/// The events of the time that the cursor stands at; moves it on.
fn next_same_time(walk: &mut Walk<'_>, backwards: bool) -> Result<Vec<Dot>, StorageError> {
    let damaged = || StorageError::damaged("the index by time");
    let mut batch = Vec::new();
    let mut time = None;
    while let Some((key, value)) = walk.item() {
        let (at, lane) = schema::parse_order(key).ok_or_else(damaged)?;
        if *time.get_or_insert(at) != at {
            break;
        }
        let seq = record::Reader(value).number().ok_or_else(damaged)?;
        batch.push(Dot { lane, seq: Seq(seq) });
        if backwards { walk.back()? } else { walk.next()? }
    }
    Ok(batch)
}

impl Snapshot<'_> {
    /// Where the events that work on a key are, whatever its kinds.
    fn positions_of_key(&self, key: &str) -> Result<BTreeSet<Dot>, StorageError> {
        let mut positions = BTreeSet::new();
        for kind in [Kind::Register, Kind::Counter, Kind::List, Kind::Member] {
            let prefix = schema::state_key(kind, key, None);
            self.collect_positions(kind, &prefix, &mut positions)?;
        }
        Ok(positions)
    }
}
