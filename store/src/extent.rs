//! How far a snapshot goes: cuts, as positions on lanes.

use std::collections::BTreeMap;

use quipu_merge::{AuthorKey, Clock, Cut, Dot, EventId, Lane, LaneInfo, Micros, Seq};

use crate::error::{ReadError, StorageError};
use crate::lookup::{self, Stored};
use crate::shallow::Floor;
use crate::snapshot::Snapshot;

/// How far a snapshot goes.
#[derive(Clone, Debug)]
pub(crate) enum Extent {
    /// Everything that is held.
    Everything,
    /// What these positions cover, and the times of the events that named them.
    Frontier { clock: Clock, heads: Vec<(Dot, Micros)> },
    /// Everything up to this time.
    Time(Micros),
}

impl Snapshot<'_> {
    /// The largest position that the cut holds on each lane.
    pub(crate) fn frontier(&self) -> Result<Clock, StorageError> {
        match self.extent() {
            Extent::Frontier { clock, .. } => Ok(clock.clone()),
            Extent::Everything => {
                let mut all = Clock::new();
                self.published().heads.iter().for_each(|head| all.join(&head.clock));
                Ok(all)
            }
            Extent::Time(time) => {
                let mut frontier = Clock::new();
                for (lane, _) in self.published().lanes.iter() {
                    if let Some(dot) = self.last_by(lane, *time)? {
                        frontier.advance(dot);
                    }
                }
                Ok(frontier)
            }
        }
    }

    /// The largest position that the cut holds on a lane.
    pub(crate) fn seq_on(&self, lane: Lane) -> Result<u64, StorageError> {
        match self.extent() {
            Extent::Everything => Ok(u64::MAX),
            Extent::Frontier { clock, .. } => Ok(clock.seq(lane)),
            Extent::Time(time) => Ok(self.last_by(lane, *time)?.map_or(0, |dot| dot.seq.0)),
        }
    }

    /// How far a cut goes. Of a shallow store, only cuts that contain that of the checkpoint that it
    /// starts from can be told.
    pub(crate) fn resolve(&self, cut: &Cut) -> Result<Extent, ReadError> {
        let floor = self.ledger_handle().floor.as_ref();
        let pruned = |floor: &Floor| Err(floor.pruned());
        Ok(match cut {
            Cut::Everything => Extent::Everything,
            Cut::Time(time) => match floor.filter(|floor| *time < floor.time) {
                Some(floor) => return pruned(floor),
                None => Extent::Time(*time),
            },
            Cut::Heads(heads) => {
                let (mut clock, mut named) = (Clock::new(), Vec::with_capacity(heads.len()));
                for &id in heads {
                    let place = self.ledger_handle().places.of(self.reader(), id)?;
                    let place = place.ok_or(ReadError::NoSuchEvent(id))?;
                    named.push((place.dot, place.time));
                    clock.join(&place.clock());
                }
                let covers = |floor: &&Floor| {
                    named.iter().any(|(dot, _)| !floor.covers(*dot))
                        || floor.heads.iter().all(|head| heads.contains(head))
                };
                match floor.filter(|floor| !covers(floor)) {
                    Some(floor) => return pruned(floor),
                    None => Extent::Frontier { clock, heads: named },
                }
            }
            Cut::Clock(limit) => {
                let covers = |(author, seq)| limit.get(author).is_some_and(|limit| limit >= seq);
                match floor.filter(|floor| !floor.tops().iter().all(covers)) {
                    Some(floor) => return pruned(floor),
                    None => Extent::Frontier { clock: self.below(limit)?, heads: Vec::new() },
                }
            }
        })
    }

    /// The first position of a lane from which on it has no gaps.
    pub(crate) fn first_held(&self, lane: Lane, info: &LaneInfo) -> Seq {
        let (first, floor) = (info.first(), self.ledger_handle().floor.as_ref());
        floor.map_or(first, |floor| floor.shallow.first_held(lane, first))
    }

    /// What these events and their ancestors cover.
    pub(crate) fn clock_of_heads(&self, heads: &[EventId]) -> Result<Clock, ReadError> {
        let mut clock = Clock::new();
        for &head in heads {
            let place = self.ledger_handle().places.of(self.reader(), head)?;
            clock.join(&place.ok_or(ReadError::NoSuchEvent(head))?.clock());
        }
        Ok(clock)
    }

    /// The events whose vector clock is at most `limit`: clocks only grow along a lane.
    fn below(&self, limit: &BTreeMap<AuthorKey, u64>) -> Result<Clock, StorageError> {
        let lanes = &self.published().lanes;
        let holds = |dot: Dot| -> Result<bool, StorageError> {
            let version = lanes.version(&lookup::clock_at(self.reader(), dot)?);
            Ok(version.iter().all(|(author, seq)| limit.get(author).is_some_and(|max| seq <= max)))
        };
        let tips = {
            let mut all = Clock::new();
            self.published().heads.iter().for_each(|h| all.join(&h.clock));
            all
        };
        let mut frontier = Clock::new();
        for (lane, info) in lanes.iter() {
            let Some(&max) = limit.get(&info.author) else { continue };
            let first = self.first_held(lane, info);
            let (mut low, mut high) = (first.0, tips.seq(lane).min(max) + 1);
            // Binary search for the first event that is not below.
            while low < high {
                let middle = low.midpoint(high);
                let dot = Dot { lane, seq: Seq(middle) };
                if holds(dot)? { low = middle + 1 } else { high = middle }
            }
            if low > first.0 {
                frontier.advance(Dot { lane, seq: Seq(low - 1) });
            }
        }
        Ok(frontier)
    }

    /// The last event of a lane with at most this time: times only grow along a lane.
    fn last_by(&self, lane: Lane, time: Micros) -> Result<Option<Dot>, StorageError> {
        let Some(info) = self.published().lanes.get(lane) else { return Ok(None) };
        let tip = self.published().heads.iter().map(|head| head.clock.seq(lane)).max().unwrap_or(0);
        let first = self.first_held(lane, info).0;
        let (mut low, mut high) = (first, tip + 1);
        while low < high {
            let middle = low.midpoint(high);
            let dot = Dot { lane, seq: Seq(middle) };
            let at = Stored::read(self.reader(), dot)?.record()?.time;
            if at <= time { low = middle + 1 } else { high = middle }
        }
        Ok((low > first).then_some(Dot { lane, seq: Seq(low - 1) }))
    }
}
