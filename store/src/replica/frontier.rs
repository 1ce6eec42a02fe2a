//! The last events of all branches.

use std::collections::BTreeSet;

use quipu_merge::{Dot, EventId, Lane, Seq};

use super::Branches;
use crate::error::{ReadError, StorageError};
use crate::ledger::Ledger;
use crate::lookup::Stored;
use crate::record::EventRecord;
use crate::schema::{self, Family};
use crate::snapshot::Snapshot;

impl Ledger {
    /// The last events of each author's branches, as of the latest commit: ascending by author. One
    /// read for each branch.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn frontier(&self) -> Result<Vec<Branches>, ReadError> {
        let snapshot = self.snapshot()?;
        let mut frontier = Vec::new();
        for (author, lanes) in snapshot.published().lanes.authors() {
            let tips = snapshot.tips_of(lanes)?.into_iter().map(|(dot, id)| (dot.seq, id));
            let mut tips: Vec<_> = tips.collect();
            tips.sort_unstable();
            frontier.push(Branches { author, tips });
        }
        Ok(frontier)
    }
}

impl Snapshot<'_> {
    /// The last events of each author's branches within the cut, ascending by author. One read for each
    /// branch.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn branches(&self) -> Result<Vec<Branches>, ReadError> {
        let (frontier, lanes) = (self.frontier()?, &self.published().lanes);
        // What another branch leaves at its end within the cut is not an end.
        let within = |lane: Lane| Some(lane).filter(|lane| frontier.seq(*lane) > 0);
        let left: BTreeSet<Dot> = lanes
            .iter()
            .filter_map(|(lane, info)| info.leaves.filter(|_| within(lane).is_some()))
            .collect();
        let mut branches = Vec::new();
        for (author, lanes) in lanes.authors() {
            let ends = lanes.iter().filter_map(|lane| within(*lane));
            let ends = ends.map(|lane| Dot { lane, seq: Seq(frontier.seq(lane)) });
            let mut tips = Vec::new();
            for end in ends.filter(|end| !left.contains(end)) {
                tips.push((
                    end.seq,
                    EventId::of(Stored::read(self.reader(), end)?.record()?.event),
                ));
            }
            tips.sort_unstable();
            if !tips.is_empty() {
                branches.push(Branches { author, tips });
            }
        }
        Ok(branches)
    }

    /// The last event of each of these lanes. Nothing follows it on its author's chain: a lane that
    /// leaves another does so before its end.
    pub(super) fn tips_of(&self, lanes: &[Lane]) -> Result<Vec<(Dot, EventId)>, StorageError> {
        let damaged = || StorageError::damaged("the last event of a branch");
        let mut tips = Vec::with_capacity(lanes.len());
        for &lane in lanes {
            let mut walk = self.reader().roam(Family::Events)?;
            walk.seek_back(&schema::dot_key(Dot { lane, seq: Seq(u64::MAX) }))?;
            let (key, record) = walk.item().ok_or_else(damaged)?;
            let dot = schema::parse_dot(key).filter(|dot| dot.lane == lane);
            let record = EventRecord::decode(record).ok_or_else(damaged)?;
            tips.push((dot.ok_or_else(damaged)?, EventId::of(record.event)));
        }
        Ok(tips)
    }
}
