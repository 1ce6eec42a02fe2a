//! Stores that start from a checkpoint: what precedes its cut is not here.
//!
//! Such a store is *shallow*. Up to the *floor*, how far that cut goes on each lane, it holds the events
//! that what comes later needs, and no others: the last of each lane, those with control operations and
//! those that these redact, and those whose writes stand at the cut. As their clock they have the floor
//! itself, except events with control operations, whose clocks verdicts depend on. Their bodies are in the
//! state of pruned ones ([`crate::bodies`]), again except those with control operations.
//!
//! What follows all heads of the cut is placed as in any other store: everything certified precedes it, and the
//! floor says where that ends. What follows some of them waits for the events below.

use std::collections::BTreeMap;

use quipu_merge::{
    Ancestors, AuthorKey, Clock, CutBlock, Dot, Event, EventId, Height, Lane, LaneTable, Micros,
    Seq,
};

use crate::certify::{Part, records};
use crate::db::Reader;
use crate::error::{ReadError, StorageError};
use crate::ledger::Ledger;
use crate::lookup;
use crate::record::{self, put_dot, put_number};
use crate::schema::{Family, meta};
use crate::waiting::WaitingReason;

/// How the events below the floor come, which they do in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// Their hashes are checked. When all are here, the bodies and values that no state from the
    /// checkpoint on needs are dropped, as by [`Ledger::prune`].
    Pruned,
    /// Their hashes are checked.
    Hashes,
    /// Their signatures are checked besides.
    Signatures,
}

/// From where on a store has everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shallow {
    /// The checkpoint that it starts from, which counts.
    pub height: Height,
    /// How the events below come.
    pub below: Below,
    /// How far the checkpoint's cut goes on each lane: the last event of each is here.
    pub floor: Clock,
}

impl Shallow {
    /// Reads the record, if the store is shallow.
    pub(crate) fn load(reader: Reader<'_>) -> Result<Option<Self>, StorageError> {
        let Some(record) = reader.get(Family::Meta, meta::SHALLOW)? else { return Ok(None) };
        let damaged = || StorageError::damaged("the record of where the store starts");
        Self::decode(&record).map(Some).ok_or_else(damaged)
    }

    /// The first position of a lane from which on it has no gaps, where its first event is at `first`.
    pub fn first_held(&self, lane: Lane, first: Seq) -> Seq {
        first.max(Seq(self.floor.seq(lane)))
    }

    /// Writes the record.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, self.height.0);
        out.push(match self.below {
            Below::Pruned => 0,
            Below::Hashes => 1,
            Below::Signatures => 2,
        });
        self.floor.iter().for_each(|dot| put_dot(&mut out, dot));
        out
    }

    /// Reads it back.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = record::Reader(bytes);
        let height = Some(Height(r.number()?)).filter(|height| *height >= Height::FIRST)?;
        let below = match r.take(1)? {
            [0] => Below::Pruned,
            [1] => Below::Hashes,
            [2] => Below::Signatures,
            _ => return None,
        };
        let mut floor = Clock::new();
        while !r.0.is_empty() {
            let dot: Dot = r.dot()?;
            floor.advance(dot);
        }
        Some(Self { height, below, floor })
    }
}

/// The cut that a shallow store starts from, as far as new events are measured by it.
#[derive(Debug)]
pub struct Floor {
    /// From where on the store has everything.
    pub shallow: Shallow,
    /// The heads of the cut.
    pub heads: Vec<EventId>,
    /// The largest time in it.
    pub time: Micros,
    /// How many events it holds.
    pub size: u64,
    /// The largest position that it holds of each author.
    tops: BTreeMap<AuthorKey, u64>,
}

impl Floor {
    /// Reads it, if the store is shallow.
    pub fn load(reader: Reader<'_>, lanes: &LaneTable) -> Result<Option<Self>, StorageError> {
        let Some(shallow) = Shallow::load(reader)? else { return Ok(None) };
        let cut = records::block(reader, shallow.height, Part::Cut, CutBlock::decode)?;
        let checkpoint = records::checkpoint(reader, shallow.height)?;
        let (time, size) = (checkpoint.time, checkpoint.size);
        let tops = lanes.version(&shallow.floor);
        Ok(Some(Self { shallow, heads: cut.heads().to_vec(), time, size, tops }))
    }

    /// The checkpoint that the store starts from.
    pub const fn height(&self) -> Height {
        self.shallow.height
    }

    /// Whether the cut holds an event.
    pub fn covers(&self, dot: Dot) -> bool {
        self.shallow.floor.covers(dot)
    }

    /// What reading below the cut comes to.
    pub const fn pruned(&self) -> ReadError {
        ReadError::BelowStart(self.shallow.height)
    }

    /// The largest position that the cut holds of an author; 0 if none.
    pub fn top(&self, author: AuthorKey) -> u64 {
        self.tops.get(&author).copied().unwrap_or(0)
    }

    /// The largest position that the cut holds of each author.
    pub const fn tops(&self) -> &BTreeMap<AuthorKey, u64> {
        &self.tops
    }

    /// Whether an event that is not held may be of the cut; `prev` is where the author's event before
    /// is, if that is held. An author's branch that ends lower than another of its branches goes on
    /// beyond the floor: within the cut, nothing follows its last event there.
    pub fn may_hold(&self, author: AuthorKey, seq: Seq, prev: Option<Dot>) -> bool {
        let goes_on = prev.is_some_and(|prev| prev.seq.0 >= self.shallow.floor.seq(prev.lane));
        seq.0 <= self.top(author) && !goes_on
    }

    /// What an event waits for that follows these, which are not held: they may come, unless they may
    /// be of the cut.
    pub fn waits_for(&self, event: &Event, mut missing: Vec<EventId>) -> WaitingReason {
        if event.seq.0 <= self.top(event.author).saturating_add(1) {
            missing.retain(|id| Some(*id) != event.prev);
        }
        if missing.is_empty() { WaitingReason::History } else { WaitingReason::Missing(missing) }
    }

    /// Whether an event follows everything in the cut, as far as that can be told. Only then does the
    /// floor say what it has seen.
    pub fn is_followed_by(&self, event: &Event, ancestors: &Ancestors) -> bool {
        let mut followed = ancestors.prev.iter().chain(&ancestors.parents);
        followed.any(|ancestor| !self.covers(ancestor.dot))
            || self.heads.iter().all(|head| event.follows().any(|id| id == *head))
    }
}

impl Ledger {
    /// Whether an event that is not held may be of the cut that a shallow store starts from.
    pub(crate) fn may_be_below(&self, event: &Event) -> Result<bool, StorageError> {
        let Some(floor) = self.floor.as_ref().filter(|f| event.seq.0 <= f.top(event.author)) else {
            return Ok(false);
        };
        let prev = event.prev.map(|prev| lookup::dot_of(self.latest(), prev)).transpose()?;
        Ok(floor.may_hold(event.author, event.seq, prev.flatten()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dot = |lane, seq| Dot { lane: Lane(lane), seq: Seq(seq) };
        for below in [Below::Pruned, Below::Hashes, Below::Signatures] {
            let floor = Clock::from_iter([dot(0, 1), dot(3, 1 << 40)]);
            let shallow = Shallow { height: Height(300), below, floor };
            let record = shallow.encode();
            assert_eq!(Shallow::decode(&record), Some(shallow.clone()));
            assert_eq!(Shallow::decode(&record[..record.len() - 1]), None);
            assert_eq!(shallow.first_held(Lane(3), Seq::FIRST), Seq(1 << 40));
            assert_eq!(shallow.first_held(Lane(4), Seq(7)), Seq(7));
        }
    }
}
