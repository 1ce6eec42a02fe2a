//! Which bodies go: those of which no state from a certified checkpoint on needs an operation.
//!
//! A write goes where another within the certified cut has seen it that is not void, which is final:
//! it stands in no state that contains the cut, and whatever it has seen, the other has seen too. Only
//! bodies go whose every operation does, and whose values are gone. Those that add to counters and
//! lists stay, since every state shows what they added; so do those of void events, and of control
//! events. What stays is therefore all that later states need, and deriving them again reads nothing
//! else.

use std::collections::{BTreeSet, HashMap};

use quipu_merge::{BodyId, Dot, Height, Operation, Seq};

use super::Pruning;
use super::shown::Target;
use crate::blocks::Cascade;
use crate::bodies::{is_gone, pruned_to, remains};
use crate::commit::Exclusive;
use crate::error::{ReadError, StorageError};
use crate::judge::key_of;
use crate::ledger::Ledger;
use crate::lookup::Stored;
use crate::opening;
use crate::pace::{Pace, step};
use crate::pruned::Pruned;
use crate::record::EventRecord;
use crate::schema::{self, Family, meta};

/// So many bodies are dropped before others may write again.
const AT_ONCE: usize = 512;

/// A body that goes.
pub struct DoomedBody {
    dot: Dot,
    /// Its length, in bytes.
    len: u64,
    /// The keys of the versions that its writes have become.
    versions: BTreeSet<Vec<u8>>,
}

impl Pruning<'_, '_> {
    /// Walks over the bodies within a certified cut, which the snapshot is of.
    pub fn bodies(&mut self, height: Height, progress: &mut dyn Pace) -> Result<(), StorageError> {
        let total = self.frontier.iter().map(|dot| dot.seq.0).sum();
        let (mut doomed, mut done) = (Vec::new(), 0);
        let lanes: Vec<Dot> = self.frontier.iter().collect();
        for last in lanes {
            let end = schema::dot_key(Dot { lane: last.lane, seq: last.seq.next() });
            let first = schema::dot_key(Dot { lane: last.lane, seq: Seq(0) });
            let reader = self.snapshot.reader();
            let mut walk = reader.walk_between(Family::Events, &first, Some(end.to_vec()))?;
            walk.first()?;
            while let Some((key, record)) = walk.item() {
                let damaged = || StorageError::damaged("the record of an event");
                let dot = schema::parse_dot(key).ok_or_else(damaged)?;
                let body = EventRecord::decode(record).ok_or_else(damaged)?.body;
                if !is_gone(body) {
                    doomed.extend(self.doomed_body(dot, body.len() as u64)?);
                }
                if doomed.len() >= AT_ONCE {
                    self.drop_bodies(height, std::mem::take(&mut doomed))?;
                    step(progress, done, total)?;
                }
                done += 1;
                walk.next()?;
            }
        }
        self.drop_bodies(height, doomed)?;
        step(progress, total, total)
    }

    /// Whether a body goes.
    fn doomed_body(&mut self, dot: Dot, len: u64) -> Result<Option<DoomedBody>, StorageError> {
        let target = self.target(dot)?;
        if target.void || target.pinned || target.body.data().is_empty() {
            return Ok(None);
        }
        let mut versions = BTreeSet::new();
        for (slot, operation) in (0_u16..).zip(target.body.data()) {
            if matches!(operation, Operation::Inc { .. } | Operation::Append { .. }) {
                return Ok(None);
            }
            let state_key = key_of(operation);
            let version = schema::version_key(&state_key, dot.lane, target.time);
            if !versions.contains(&version) && !self.is_followed(&state_key, dot)? {
                return Ok(None);
            }
            if operation.value().is_some() && !self.is_value_gone(&target, slot)? {
                return Ok(None);
            }
            versions.insert(version);
        }
        Ok(Some(DoomedBody { dot, len, versions }))
    }

    /// Whether a value that goes with its operation is gone, or would be by now.
    fn is_value_gone(&self, target: &Target, slot: u16) -> Result<bool, StorageError> {
        let Some(stored) = opening::find(self.snapshot.reader(), target.dot, slot)? else {
            return Ok(true);
        };
        Ok(self.options.dry_run && !self.holds_pinned(opening::long_value(&stored))?)
    }

    /// Drops bodies, or only counts them.
    fn drop_bodies(&mut self, height: Height, doomed: Vec<DoomedBody>) -> Result<(), StorageError> {
        if doomed.is_empty() {
            return Ok(());
        }
        let ledger = self.ledger;
        let dropped = if self.options.dry_run {
            doomed.iter().map(|body| body.len).collect()
        } else {
            let dropped = ledger.making_room(|hold| drop_all(ledger, hold, height, &doomed))?;
            fail::fail_point!("between-pruned-bodies");
            dropped
        };
        self.report.bodies += dropped.len() as u64;
        self.report.body_bytes += dropped.iter().sum::<u64>();
        Ok(())
    }
}

impl Ledger {
    /// Drops the bodies up to a checkpoint that counts of which no state from there on needs an
    /// operation. Values have been dropped before.
    pub(super) fn prune_bodies(
        &self,
        pruning: Pruning<'_, '_>,
        height: Height,
        progress: &mut dyn Pace,
    ) -> Result<super::PruneReport, ReadError> {
        let damaged = || StorageError::damaged("the cut of a checkpoint is missing");
        let cut = self.snapshot()?.checkpoint_cut(height)?.ok_or_else(damaged)?;
        let cut = quipu_merge::Cut::Heads(cut.heads().to_vec());
        let snapshot = self.at(&cut)?;
        let mut pruning = Pruning {
            snapshot: &snapshot,
            frontier: snapshot.frontier()?,
            last_valid: HashMap::new(),
            cascade: Cascade::new(snapshot.reader()),
            ..pruning
        };
        pruning.bodies(height, progress)?;
        Ok(pruning.report)
    }
}

/// Drops bodies as far as they are still as they were when they were decided on. Tells their lengths.
fn drop_all(
    ledger: &Ledger,
    hold: &mut Exclusive<'_>,
    height: Height,
    doomed: &[DoomedBody],
) -> Result<Vec<u64>, StorageError> {
    let height = pruned_to(ledger.latest())?.map_or(height, |before| before.max(height));
    let writer = hold.writer();
    // From the first of them on, and until all are back, nothing below is told from what is left.
    let record = height.0.to_be_bytes();
    let mut dropped = Vec::new();
    for body in doomed {
        if let Some(gone) = Gone::of(ledger, body)? {
            if dropped.is_empty() {
                writer.put(&ledger.db, Family::Meta, meta::BODIES, &record)?;
            }
            let written = gone.write(ledger, writer, body);
            written.inspect_err(|error| writer.poison(error))?;
            dropped.push(body.len);
        }
    }
    Ok(dropped)
}

/// What takes the place of an event's body.
struct Gone {
    /// The record of the event without it.
    record: Vec<u8>,
    /// Its values, all of which are gone.
    pruned: Pruned,
}

impl Gone {
    /// Nothing where something of the event is needed by now.
    fn of(ledger: &Ledger, doomed: &DoomedBody) -> Result<Option<Self>, StorageError> {
        let (latest, dot) = (ledger.latest(), doomed.dot);
        let stored = Stored::read(latest, dot)?;
        let record = stored.record()?;
        if is_gone(record.body) || latest.has(Family::Meta, &meta::pinned_event(dot))? {
            return Ok(None);
        }
        for version in &doomed.versions {
            if !latest.has(Family::Versions, version)? {
                return Ok(None);
            }
        }
        let body = stored.body()?;
        let mut pruned = Pruned::of(latest, dot)?;
        for (slot, operation) in (0_u16..).zip(body.data()) {
            if operation.value().is_none() || pruned.slots().contains(&slot) {
                continue;
            }
            // It may have come since. What has been erased is not missing either.
            if opening::find(latest, dot, slot)?.is_some()
                || latest.has(Family::Meta, &meta::missing(dot, slot))?
            {
                return Ok(None);
            }
            pruned.insert(slot, None);
        }
        debug_assert_eq!(BodyId::of(record.body), stored.event()?.event().body);
        let left = remains(&body);
        let record = EventRecord { body: &left, ..record }.encode();
        Ok(Some(Self { record, pruned }))
    }

    fn write(
        &self,
        ledger: &Ledger,
        writer: &mut crate::writer::Writer,
        doomed: &DoomedBody,
    ) -> Result<(), StorageError> {
        let db = &ledger.db;
        writer.put(db, Family::Events, &schema::dot_key(doomed.dot), &self.record)?;
        writer.put_pruned(db, doomed.dot, &self.pruned)?;
        doomed.versions.iter().try_for_each(|key| writer.delete(db, Family::Versions, key))
    }
}
