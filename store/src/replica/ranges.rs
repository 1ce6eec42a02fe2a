//! Ranges of events: what a feed has to send, and in which order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use quipu_merge::{Dot, EventId, Lane, Micros, Seq};

use super::Want;
use crate::db::Reader;
use crate::error::StorageError;
use crate::lookup::{self, Stored};
use crate::record;
use crate::schema::{self, Family};
use crate::snapshot::Snapshot;

/// With no more than so many events left, they are looked up one by one.
const FEW: u64 = 16;
/// So many entries of the index by time may be passed in vain, and as many again for each that was
/// wanted, before the events are looked up one by one.
const PASSED: usize = 64;
const PASSED_EACH: usize = 16;

/// Events of one lane that follow each other.
#[derive(Clone, Copy, Debug)]
struct Range {
    lane: Lane,
    next: u64,
    last: u64,
    /// The time of the next one, once it is known.
    time: Option<Micros>,
}

/// The events that are wanted, without those that have been taken.
#[derive(Debug)]
pub struct Ranges {
    /// Ascending, apart from each other.
    ranges: Vec<Range>,
    /// How many events are left.
    left: u64,
    /// Where the last one that was taken stands in the order by time.
    after: Option<(Micros, Lane)>,
}

impl Ranges {
    /// What is wanted, as far as it is held.
    pub fn new(snapshot: &Snapshot<'_>, wants: &[Want]) -> Result<Self, StorageError> {
        let mut ranges = Vec::new();
        for want in wants {
            let held = reach(snapshot, want.held.iter().map(|(_, id)| *id))?;
            for (lane, last) in reach(snapshot, want.up_to.iter().copied())? {
                let info = snapshot.published().lanes.get(lane);
                let first = info.map_or(1, |info| snapshot.first_held(lane, info).0);
                let next = first.max(held.get(&lane).map_or(0, |held| held + 1));
                if next <= last {
                    ranges.push(Range { lane, next, last, time: None });
                }
            }
        }
        ranges.sort_unstable_by_key(|range| (range.lane, range.next));
        ranges.dedup_by(|later, earlier| {
            let meets = later.lane == earlier.lane && later.next <= earlier.last + 1;
            if meets {
                earlier.last = earlier.last.max(later.last);
            }
            meets
        });
        let left = ranges.iter().map(|range| range.last + 1 - range.next).sum();
        Ok(Self { ranges, left, after: None })
    }

    /// How many events are left.
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Takes up to `count` events in an order that follows causality: by time, then by lane.
    pub fn take(&mut self, reader: Reader<'_>, count: usize) -> Result<Vec<Dot>, StorageError> {
        let mut taken = Vec::new();
        // The index by time has them all in order, but others too.
        if self.left > FEW {
            self.scan(reader, count, &mut taken)?;
        }
        if taken.len() < count && self.left > 0 {
            self.look_up(reader, count, &mut taken)?;
        }
        Ok(taken)
    }

    fn scan(
        &mut self,
        reader: Reader<'_>,
        count: usize,
        taken: &mut Vec<Dot>,
    ) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged("the index by time");
        let mut walk = reader.walk(Family::Order, &[])?;
        let after = self.after.and_then(|(time, lane)| Some((time, Lane(lane.0.checked_add(1)?))));
        let (time, lane) = match after {
            Some(after) => after,
            None => (self.earliest(reader)?, Lane(0)),
        };
        walk.seek(&schema::order_key(time, lane))?;
        let mut passed = 0;
        while taken.len() < count && self.left > 0 && passed <= PASSED + PASSED_EACH * taken.len() {
            let Some((key, value)) = walk.item() else { break };
            let (time, lane) = schema::parse_order(key).ok_or_else(damaged)?;
            let seq = record::Reader(value).number().ok_or_else(damaged)?;
            match self.find(lane, seq) {
                Some(at) => taken.extend(self.advance(at, time)),
                None => passed += 1,
            }
            walk.next()?;
        }
        Ok(())
    }

    /// The range that goes on with this event.
    fn find(&self, lane: Lane, seq: u64) -> Option<usize> {
        let at = self.ranges.partition_point(|range| (range.lane, range.last) < (lane, seq));
        let range = self.ranges.get(at)?;
        (range.lane == lane && range.next == seq).then_some(at)
    }

    fn look_up(
        &mut self,
        reader: Reader<'_>,
        count: usize,
        taken: &mut Vec<Dot>,
    ) -> Result<(), StorageError> {
        let mut open = BinaryHeap::new();
        for (at, range) in self.ranges.iter_mut().enumerate() {
            if let Some(time) = range.time(reader)? {
                open.push(Reverse((time, range.lane, at)));
            }
        }
        while taken.len() < count
            && let Some(Reverse((time, lane, at))) = open.pop()
        {
            taken.extend(self.advance(at, time));
            if let Some(range) = self.ranges.get_mut(at)
                && let Some(time) = range.time(reader)?
            {
                open.push(Reverse((time, lane, at)));
            }
        }
        Ok(())
    }

    fn advance(&mut self, at: usize, time: Micros) -> Option<Dot> {
        let range = self.ranges.get_mut(at)?;
        let dot = Dot { lane: range.lane, seq: Seq(range.next) };
        range.next += 1;
        range.time = None;
        self.left -= 1;
        self.after = Some((time, dot.lane));
        Some(dot)
    }

    fn earliest(&mut self, reader: Reader<'_>) -> Result<Micros, StorageError> {
        let mut earliest = Micros::MAX;
        for range in &mut self.ranges {
            earliest = range.time(reader)?.map_or(earliest, |time| time.min(earliest));
        }
        Ok(earliest)
    }
}

impl Range {
    /// The time of the next event, if there is one.
    fn time(&mut self, reader: Reader<'_>) -> Result<Option<Micros>, StorageError> {
        if self.time.is_none() && self.next <= self.last {
            let dot = Dot { lane: self.lane, seq: Seq(self.next) };
            self.time = Some(Stored::read(reader, dot)?.record()?.time);
        }
        Ok(self.time)
    }
}

/// How far the chains that end at these events go on each lane. Events that are not held name none.
pub fn reach(
    snapshot: &Snapshot<'_>,
    ids: impl Iterator<Item = EventId>,
) -> Result<BTreeMap<Lane, u64>, StorageError> {
    let mut reach = BTreeMap::<Lane, u64>::new();
    for id in ids {
        let Some(end) = lookup::dot_of(snapshot.reader(), id)? else { continue };
        for dot in snapshot.published().lanes.chain(end) {
            let known = reach.insert(dot.lane, dot.seq.0);
            if let Some(known) = known {
                // What the lane leaves has been followed from here before.
                reach.insert(dot.lane, known.max(dot.seq.0));
                break;
            }
        }
    }
    Ok(reach)
}
