//! Pruning: dropping the values below a cut that no state from that cut on shows, and the bodies
//! below a certified checkpoint of which none needs an operation.
//!
//! A value written within the cut goes where a later write of its key, also within the cut and not
//! void by now, follows it; where another of the same event takes its place; or where its event is
//! void over the cut. Without new certificates events only ever become void, so what stays is shown
//! by whatever state lies between the cut and everything that is held. What becomes void later can
//! make a write stand again whose value is gone: it is shown as pruned.
//!
//! Openings are walked over page by page, and decided on by a snapshot; a few pages at a time they
//! are dropped while nobody writes, with the record that says so. Blocks are left to
//! [`Ledger::gc`].

mod bodies;
mod shown;
mod unit;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::PoisonError;

use quipu_merge::{BlockId, Clock, Cut, Dot, Lane, Seq};

use crate::blocks::Cascade;
use crate::error::{ReadError, StorageError};
use crate::ledger::Ledger;
use crate::opening;
use crate::pace::{Pace, step};
use crate::pruned::Pruned;
use crate::schema::{self, Family, meta};
use crate::snapshot::Snapshot;
use shown::{Last, Target};
use unit::{Doomed, Unit, drop_unit};

/// So many pages of openings are dealt with before others may write again.
const AT_ONCE: usize = 64;
/// So many missing values are.
const MISSING_AT_ONCE: usize = 512;

/// How to prune.
#[derive(Clone, Copy, Debug, Default)]
pub struct PruneOptions {
    /// Only tell what would go.
    pub dry_run: bool,
}

/// What pruning has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Values that were dropped, or would be.
    pub values: u64,
    /// Length of their openings as they were stored, in bytes: short values, and links to long
    /// ones.
    pub opening_bytes: u64,
    /// Blocks of long values that are garbage by that. [`Ledger::gc`] deletes them when their
    /// grace period is over.
    pub blocks: u64,
    /// Their length, in bytes.
    pub block_bytes: u64,
    /// Values that only pins keep.
    pub pinned: u64,
    /// Bodies that were dropped, or would be.
    pub bodies: u64,
    /// Their length, in bytes.
    pub body_bytes: u64,
}

impl Ledger {
    /// Drops the values written within a cut that no state from that cut on shows, with what only
    /// they refer to. From then on they are [`crate::Value::Pruned`], until they are refilled: see
    /// [`crate::MergeOptions`]. Everything else stays as it is: events, order, states, roots.
    /// Others may read and write meanwhile.
    ///
    /// Where the cut contains that of a certified checkpoint, bodies up to the last such checkpoint go
    /// too, if no state from there on needs one of their operations. Reading a state that does not
    /// contain that checkpoint's cut is [`ReadError::Pruned`] from the first of them on. Counters and
    /// lists keep the bodies that add to them. A store whose history below a checkpoint is still to come
    /// keeps all of them until it has. Memory grows with the blocks that become garbage, not with the
    /// history.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`] where the cut names an event that is not held, and errors of the
    /// disk, the database or its content, and [`StorageError::Stopped`]. Some may be pruned then and the rest
    /// not, as after a crash; the store is sound.
    pub fn prune(
        &self,
        cut: &Cut,
        options: PruneOptions,
        progress: &mut dyn Pace,
    ) -> Result<PruneReport, ReadError> {
        let snapshot = self.at(cut)?.at_frontier()?;
        let certified = snapshot.certified_within()?.filter(|_| self.shallow().is_none());
        // Bodies are not to be brought back meanwhile.
        let _alone = self.pruning.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pruning = Pruning {
            ledger: self,
            snapshot: &snapshot,
            frontier: snapshot.frontier()?,
            options,
            pinned_blocks: self.pinned_blocks()?,
            last_valid: HashMap::new(),
            cascade: Cascade::new(snapshot.reader()),
            report: PruneReport::default(),
        };
        let total = snapshot.len()?;
        let pruned = pruning.openings(total, progress);
        let pruned = pruned.and_then(|()| pruning.missing(total, progress));
        let (blocks, block_bytes) = (pruning.cascade.blocks, pruning.cascade.bytes);
        let report = match (pruned, certified) {
            (Ok(()), Some(height)) => self.prune_bodies(pruning, height, progress),
            (pruned, _) => pruned.map(|()| pruning.report).map_err(ReadError::from),
        };
        if !options.dry_run
            && matches!(report, Ok(_) | Err(ReadError::Storage(StorageError::Stopped)))
        {
            self.sync_if_durable()?;
        }
        Ok(PruneReport { blocks, block_bytes, ..report? })
    }
}

/// The work under way.
struct Pruning<'s, 'l> {
    ledger: &'l Ledger,
    snapshot: &'s Snapshot<'l>,
    /// How far the cut goes on each lane.
    frontier: Clock,
    options: PruneOptions,
    pinned_blocks: BTreeSet<BlockId>,
    /// The last writes within the cut of keys that were asked for lately.
    last_valid: HashMap<Vec<u8>, Vec<Last>>,
    cascade: Cascade<'s>,
    report: PruneReport,
}

impl Pruning<'_, '_> {
    /// Walks over the openings that are at hand.
    fn openings(&mut self, total: u64, progress: &mut dyn Pace) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged("a page of openings");
        let mut walk = self.snapshot.reader().walk(Family::Openings, &[])?;
        walk.first()?;
        let mut target: Option<Target> = None;
        let (mut units, mut pages, mut events) = (Vec::new(), 0, 0);
        while let Some((key, page)) = walk.item() {
            let dot = key.get(..12).and_then(schema::parse_dot).ok_or_else(damaged)?;
            if !self.frontier.covers(dot) {
                // The rest of the lane lies beyond the cut.
                let Some(next) = dot.lane.0.checked_add(1) else { break };
                walk.seek(&schema::dot_key(Dot { lane: Lane(next), seq: Seq(0) }))?;
                continue;
            }
            let of_event = match target.take().filter(|target| target.dot == dot) {
                Some(target) => target,
                None => {
                    events += 1;
                    self.target(dot)?
                }
            };
            let mut values = Vec::new();
            for (slot, stored) in opening::read_page(page).ok_or_else(damaged)? {
                values.extend(self.decide(&of_event, slot, Some(stored))?);
            }
            if !values.is_empty() {
                units.push(Unit { dot, time: of_event.time, page: Some(key.to_vec()), values });
            }
            target = Some(of_event);
            pages += 1;
            if pages % AT_ONCE == 0 {
                self.settle(std::mem::take(&mut units))?;
                step(progress, events, total)?;
            }
            walk.next()?;
        }
        self.settle(units)?;
        step(progress, total, total)
    }

    /// Walks over the values that are not here: those that no state shows need not come.
    fn missing(&mut self, total: u64, progress: &mut dyn Pace) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged("the mark of a missing value");
        let reader = self.snapshot.reader();
        let mut walk = reader.walk(Family::Meta, meta::MISSING)?;
        walk.first()?;
        let mut target: Option<Target> = None;
        let mut units = Vec::new();
        while let Some((key, _)) = walk.item() {
            let (dot, slot) = meta::parse_missing(key).ok_or_else(damaged)?;
            walk.next()?;
            // One that has an opening has been decided on.
            if !self.frontier.covers(dot) || opening::find(reader, dot, slot)?.is_some() {
                continue;
            }
            let of_event = match target.take().filter(|target| target.dot == dot) {
                Some(target) => target,
                None => self.target(dot)?,
            };
            if let Some(doomed) = self.decide(&of_event, slot, None)? {
                let (time, values) = (of_event.time, vec![doomed]);
                units.push(Unit { dot, time, page: None, values });
            }
            target = Some(of_event);
            if units.len() >= MISSING_AT_ONCE {
                self.settle(std::mem::take(&mut units))?;
                step(progress, total, total)?;
            }
        }
        self.settle(units)
    }

    /// Drops values, or only counts them.
    fn settle(&mut self, units: Vec<Unit>) -> Result<(), StorageError> {
        if units.is_empty() {
            return Ok(());
        }
        if self.options.dry_run {
            return units
                .iter()
                .flat_map(|unit| &unit.values)
                .try_for_each(|gone| self.count(gone));
        }
        let ledger = self.ledger;
        ledger.making_room(|hold| {
            let mut records = BTreeMap::new();
            for unit in units {
                // It may have been pinned since.
                if self.is_pinned(unit.dot)? {
                    continue;
                }
                let pruned = match records.entry(unit.dot) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(Pruned::of(ledger.latest(), unit.dot)?),
                };
                for gone in drop_unit(ledger, hold, unit, pruned)? {
                    self.count(&gone)?;
                }
            }
            Ok::<_, StorageError>(())
        })?;
        fail::fail_point!("between-pruned");
        Ok(())
    }

    fn count(&mut self, gone: &Doomed) -> Result<(), StorageError> {
        self.report.values += 1;
        self.report.opening_bytes += gone.len;
        match gone.link {
            Some(link) => self.cascade.release(link.block),
            None => Ok(()),
        }
    }
}
