//! What stands of a key over a cut, and where its writes are.

use std::collections::BTreeSet;

use quipu_merge::{Dot, Lane, Micros};

use crate::error::StorageError;
use crate::extent::Extent;
use crate::lookup::{self, Stored};
use crate::record::{OlderLanes, Standing, Version};
use crate::schema::{self, Family, Kind};
use crate::snapshot::Snapshot;

impl Snapshot<'_> {
    /// The writes of a register or a member that stand over the cut, in no order.
    pub(crate) fn standing(&self, state_key: &[u8]) -> Result<Vec<Version>, StorageError> {
        let Some(record) = self.record(state_key, Standing::decode)? else { return Ok(Vec::new()) };
        if matches!(self.extent(), Extent::Everything) {
            return Ok(record.writes);
        }
        let mut latest = Vec::new();
        for lane in self.lanes_of_key(state_key, &record)? {
            latest.extend(self.latest_on(state_key, &record, lane, |dot| self.is_void(dot))?);
        }
        if latest.len() < 2 {
            return Ok(latest);
        }
        let clocks = latest
            .iter()
            .map(|version| Ok((version.dot, lookup::writes_seen_at(self.reader(), version.dot)?)))
            .collect::<Result<Vec<_>, StorageError>>()?;
        latest.retain(|version| {
            !clocks.iter().any(|(dot, clock)| *dot != version.dot && clock.covers(version.dot))
        });
        Ok(latest)
    }

    /// The last write of a register or a member on each lane that the cut holds and that is not
    /// void over everything that is held, now.
    pub(crate) fn last_valid(&self, state_key: &[u8]) -> Result<Vec<Dot>, StorageError> {
        let Some(record) = self.record(state_key, Standing::decode)? else { return Ok(Vec::new()) };
        let mut last = Vec::new();
        for lane in self.lanes_of_key(state_key, &record)? {
            let version = self.latest_on(state_key, &record, lane, |dot| self.is_void_now(dot))?;
            last.extend(version.map(|version| version.dot));
        }
        Ok(last)
    }

    /// The last version on a lane that the cut holds and that is not void.
    fn latest_on(
        &self,
        state_key: &[u8],
        record: &Standing,
        lane: Lane,
        is_void: impl Fn(Dot) -> Result<bool, StorageError>,
    ) -> Result<Option<Version>, StorageError> {
        let bound = match self.extent() {
            Extent::Everything => return Ok(None),
            Extent::Time(time) => *time,
            Extent::Frontier { clock, heads } => match clock.seq(lane) {
                0 => return Ok(None),
                // Versions are kept by time, which grows along a lane as positions do.
                seq => {
                    let dot = Dot { lane, seq: quipu_merge::Seq(seq) };
                    match heads.iter().find(|(head, _)| *head == dot) {
                        Some((_, time)) => *time,
                        None => self.time_at(dot)?,
                    }
                }
            },
        };
        let mut standing =
            record.writes.iter().find(|write| write.dot.lane == lane && write.time <= bound);
        let mut walk = self.reader().roam(Family::Versions)?;
        walk.seek_back(&schema::version_key(state_key, lane, bound))?;
        loop {
            let shelved = match walk.item() {
                Some((key, value)) if key.starts_with(state_key) => {
                    let damaged = || StorageError::damaged("a version of a key");
                    let (at, time) =
                        schema::parse_version(state_key.len(), key).ok_or_else(damaged)?;
                    (at == lane)
                        .then(|| Version::decode_tail(at, time, value).ok_or_else(damaged))
                        .transpose()?
                }
                _ => None,
            };
            // What stands now may be older than a shelved version that is void by now. And it may be
            // void itself over the cut, where a certificate beyond it has made it valid.
            let is_shelved = match (standing, &shelved) {
                (Some(standing), Some(shelved)) => shelved.time > standing.time,
                (_, shelved) => shelved.is_some(),
            };
            let newest = if is_shelved { shelved } else { standing.cloned() };
            let Some(newest) = newest else { return Ok(None) };
            if !is_void(newest.dot)? {
                return Ok(Some(newest));
            }
            if is_shelved {
                walk.back()?;
            } else {
                standing = None;
            }
        }
    }

    fn time_at(&self, dot: Dot) -> Result<Micros, StorageError> {
        Ok(Stored::read(self.reader(), dot)?.record()?.time)
    }

    /// The lanes that wrote a key.
    fn lanes_of_key(
        &self,
        state_key: &[u8],
        record: &Standing,
    ) -> Result<BTreeSet<Lane>, StorageError> {
        let mut lanes: BTreeSet<_> = record.writes.iter().map(|write| write.dot.lane).collect();
        if let OlderLanes::Few(older) = &record.older {
            lanes.extend(older);
            return Ok(lanes);
        }
        // Found by skipping from one to the next.
        let mut walk = self.reader().walk(Family::Versions, state_key)?;
        walk.first()?;
        while let Some((key, _)) = walk.item() {
            let damaged = || StorageError::damaged("a version of a key");
            let (lane, _) = schema::parse_version(state_key.len(), key).ok_or_else(damaged)?;
            lanes.insert(lane);
            let Some(next) = lane.0.checked_add(1) else { break };
            walk.seek(&schema::version_key(state_key, Lane(next), Micros(0)))?;
        }
        Ok(lanes)
    }

    /// Adds where the events are that work on the keys of one kind that begin with `prefix`.
    pub(crate) fn collect_positions(
        &self,
        kind: Kind,
        prefix: &[u8],
        positions: &mut BTreeSet<Dot>,
    ) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged("a version of a key");
        if matches!(kind, Kind::Register | Kind::Member) {
            let mut walk = self.reader().walk(Family::State, prefix)?;
            walk.first()?;
            while let Some((_, value)) = walk.item() {
                positions.extend(
                    Standing::decode(value).ok_or_else(damaged)?.writes.iter().map(|w| w.dot),
                );
                walk.next()?;
            }
        }
        let mut walk = self.reader().walk(Family::Versions, prefix)?;
        walk.first()?;
        while let Some((key, value)) = walk.item() {
            let seq = crate::record::Reader(value).number().ok_or_else(damaged)?;
            let tail = if kind == Kind::List { 14 } else { 12 };
            let tail =
                key.len().checked_sub(tail).and_then(|at| key.get(at..)).ok_or_else(damaged)?;
            let lane = match kind {
                Kind::List => schema::parse_element(0, tail).map(|(_, lane, _)| lane),
                _ => schema::parse_version(0, tail).map(|(lane, _)| lane),
            };
            positions.insert(Dot { lane: lane.ok_or_else(damaged)?, seq: quipu_merge::Seq(seq) });
            walk.next()?;
        }
        Ok(())
    }
}
