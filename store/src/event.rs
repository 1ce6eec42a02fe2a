//! Events as they are shown.

use std::collections::BTreeMap;

use quipu_merge::{AuthorKey, Body, Dot, EventId, Lane, Micros, Seq};

use crate::db::Walk;
use crate::error::{ReadError, StorageError};
use crate::extent::Extent;
use crate::lookup::Stored;
use crate::schema::{self, Family, Kind};
use crate::snapshot::{Snapshot, Value};

/// An event that is held.
#[derive(Clone, Debug)]
pub struct EventInfo {
    /// Its id.
    pub id: EventId,
    /// Who wrote it.
    pub author: AuthorKey,
    /// Its position in the author's chain.
    pub seq: Seq,
    /// When it says that it was written.
    pub time: Micros,
    /// The author's event before.
    pub prev: Option<EventId>,
    /// The other events that it follows.
    pub parents: Vec<EventId>,
    /// Its body.
    pub body: Body,
    /// Length of its body, in bytes.
    pub size: u32,
    /// Whether it is void over the snapshot.
    pub void: bool,
    dot: Dot,
}

impl EventInfo {
    pub(crate) fn read(
        snapshot: &Snapshot<'_>,
        dot: Dot,
        stored: &Stored<'_>,
    ) -> Result<Self, ReadError> {
        let event = stored.event()?;
        let content = event.event();
        Ok(Self {
            id: event.id(),
            author: content.author,
            seq: content.seq,
            time: content.time,
            prev: content.prev,
            parents: content.parents.clone(),
            size: content.size,
            body: stored.body()?,
            void: snapshot.is_void(dot)?,
            dot,
        })
    }

    /// The value of the operation at this index of the body; `None` where it carries none.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn value(&self, snapshot: &Snapshot<'_>, index: usize) -> Result<Option<Value>, ReadError> {
        let carries =
            self.body.data().get(index).is_some_and(|operation| operation.value().is_some());
        let slot = u16::try_from(index).ok().filter(|_| carries);
        Ok(slot.map(|slot| snapshot.value_at(self.dot, slot)).transpose()?)
    }
}

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
    /// # Errors
    /// [`ReadError::NoSuchEvent`] where the event after which they are to come is not held. The disk, the database or its content.
    pub fn log(&self, filter: LogFilter) -> Result<Log<'_, 'l>, ReadError> {
        let mut walk = self.reader().walk(Family::Order, &[])?;
        let after =
            filter.after.map(|id| Ok::<_, ReadError>((self.time_of(id)?, id))).transpose()?;
        match (after, self.extent()) {
            (Some((time, _)), _) if filter.ascending => {
                walk.seek(&schema::order_key(time, Lane(0)))?;
            }
            (None, _) if filter.ascending => walk.first()?,
            (Some((time, _)), _) => walk.seek_back(&schema::order_key(time, Lane(u32::MAX)))?,
            (None, Extent::Time(time)) => {
                walk.seek_back(&schema::order_key(*time, Lane(u32::MAX)))?;
            }
            (None, _) => walk.last()?,
        }
        let positions = match &filter.key {
            Some(key) => Some(self.positions_of_key(key)?),
            None => None,
        };
        Ok(Log {
            snapshot: self,
            walk,
            filter,
            after,
            positions,
            same_time: Vec::new(),
            bounds: BTreeMap::new(),
        })
    }

    /// The events of the cut in the total order, the earliest first, as positions.
    pub(crate) fn for_each_in_order<E: From<StorageError>>(
        &self,
        mut visit: impl FnMut(Dot, &Stored<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let frontier = self.frontier()?;
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

/// Walks over events, the latest first.
pub struct Log<'s, 'l> {
    snapshot: &'s Snapshot<'l>,
    walk: Walk<'s>,
    filter: LogFilter,
    /// The event after which they come, with its time.
    after: Option<(Micros, EventId)>,
    /// Where the events of the wanted key are.
    positions: Option<std::collections::BTreeSet<Dot>>,
    /// Events of one time, the last of them first.
    same_time: Vec<EventInfo>,
    bounds: BTreeMap<Lane, u64>,
}

impl Log<'_, '_> {
    fn advance(&mut self) -> Result<Option<EventInfo>, ReadError> {
        loop {
            if let Some(event) = self.same_time.pop() {
                return Ok(Some(event));
            }
            let ascending = self.filter.ascending;
            let batch = next_same_time(&mut self.walk, !ascending)?;
            if batch.is_empty() {
                return Ok(None);
            }
            for dot in batch {
                if self.wants(dot)? {
                    self.same_time.push(self.snapshot.event_at(dot)?);
                }
            }
            if let Some(after) = self.after {
                let beyond = |event: &EventInfo| {
                    let place = (event.time, event.id);
                    if ascending { place > after } else { place < after }
                };
                self.same_time.retain(beyond);
            }
            self.same_time.sort_by_key(|event| event.id);
            if ascending {
                self.same_time.reverse();
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
        let bound = match self.bounds.get(&dot.lane) {
            Some(bound) => *bound,
            None => {
                let bound = self.snapshot.seq_on(dot.lane)?;
                self.bounds.insert(dot.lane, bound);
                bound
            }
        };
        Ok(dot.seq.0 <= bound)
    }
}

impl Iterator for Log<'_, '_> {
    type Item = Result<EventInfo, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
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
        let seq = crate::record::Reader(value).number().ok_or_else(damaged)?;
        batch.push(Dot { lane, seq: Seq(seq) });
        if backwards { walk.back()? } else { walk.next()? }
    }
    Ok(batch)
}

impl Snapshot<'_> {
    /// Where the events that work on a key are, whatever its kinds.
    fn positions_of_key(&self, key: &str) -> Result<std::collections::BTreeSet<Dot>, StorageError> {
        let mut positions = std::collections::BTreeSet::new();
        for kind in [Kind::Register, Kind::Counter, Kind::List, Kind::Member] {
            let prefix = schema::state_key(kind, key, None);
            self.collect_positions(kind, &prefix, &mut positions)?;
        }
        Ok(positions)
    }
}
