//! Checking a store: everything again from the raw events up, as if nothing derived were there.

mod blocks;
mod branches;
mod certified;
mod derived;
mod events;
mod expected;
mod indexes;
mod marks;
mod order;
mod start;
mod strays;
mod values;

use quipu_merge::{Clock, Dot, Height};
use rocksdb::DBPinnableSlice;

use crate::db::Reader;
use crate::error::{ReadError, StorageError};
use crate::floor_state::FloorState;
use crate::ledger::Ledger;
use crate::pace::{Pace, step};
use crate::schema::Family;
use crate::shallow::Floor;
use crate::snapshot::Snapshot;

/// How many findings are listed one by one.
pub const MAX_FINDINGS: usize = 1_000;

/// Events are walked over so many times.
const PASSES: u64 = 3;
const STEP: u64 = 1024;

/// What checking a store has come to. The store is sound where there is no finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// How many events were checked.
    pub events: u64,
    /// How many openings were checked.
    pub openings: u64,
    /// How many blocks of long values were checked.
    pub blocks: u64,
    /// How many records of earlier versions were checked.
    pub versions: u64,
    /// What is wrong, the first [`MAX_FINDINGS`] of it.
    pub findings: Vec<Finding>,
    /// How many findings there are beyond those.
    pub unlisted: u64,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub const fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// What checking certified checkpoints has come to. They are sound where there is no finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointsReport {
    /// The first one that was derived from its events: that of height 1, or the one after that which the
    /// store starts from.
    pub first: Height,
    /// The first one of which the state was derived, too: that of height 1, the one that the store
    /// starts from, or the one up to which operations may have been pruned. It may be beyond the last
    /// one that was to be checked.
    pub first_state: Height,
    /// How many were derived: fewer than there are, where something is wrong.
    pub checkpoints: u64,
    /// How many events those certify.
    pub events: u64,
    /// What is wrong, the first [`MAX_FINDINGS`] of it.
    pub findings: Vec<Finding>,
    /// How many findings there are beyond those.
    pub unlisted: u64,
}

impl CheckpointsReport {
    /// Whether nothing is wrong.
    pub const fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, and where.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl Ledger {
    /// Checks every hash, signature, link, index and derived value, as of now. Where bodies have been
    /// pruned, what is left of their events is checked, and the certified states from the checkpoint on
    /// up to which they are gone. A store that starts from a checkpoint is checked from there on: what it
    /// starts with against the roots of that, and everything later as always. Others may write
    /// meanwhile. Memory grows with the current and the certified state, and with what one checkpoint
    /// certifies, not with the history.
    ///
    /// What is wrong with the content of the store is a finding, and the rest is checked all the
    /// same; one fault may cause many findings.
    ///
    /// # Errors
    /// The disk, and [`StorageError::Stopped`]. Nothing changes in any case.
    pub fn verify(&self, progress: &mut dyn Pace) -> Result<VerifyReport, ReadError> {
        let snapshot = self.snapshot()?;
        let total = snapshot.len()?.saturating_mul(PASSES);
        let mut check = Check {
            snapshot: &snapshot,
            report: VerifyReport::default(),
            progress,
            done: 0,
            total,
            gone: None,
            floor: self.floor.as_ref(),
            start: None,
            derived: Derived::default(),
        };
        check.gone = check.gone()?;
        check.start = start::read(&mut check)?;
        if let Some(loss) = self.loss() {
            check.find(loss.to_string());
        }
        let lanes = events::check(&mut check)?;
        if let Some(authority) = order::check(&mut check, &lanes)? {
            derived::check(&mut check, &lanes, &authority)?;
            certified::check(&mut check)?;
        }
        blocks::check(&mut check)?;
        marks::check(&mut check)?;
        // All is done: whoever stops now is told what has been found as well.
        let _ = check.progress.step(total, total);
        Ok(check.report)
    }
}

impl Ledger {
    /// Checks the certified checkpoints up to one that counts, from the events up: that each
    /// continues the one before and is certified, and is what its events come to. Memory grows with
    /// the state of the last one. In a store that starts from a checkpoint, they are derived from there on.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] where the store starts from a later one; the disk.
    pub fn verify_checkpoints(&self, up_to: Height) -> Result<CheckpointsReport, ReadError> {
        let snapshot = self.snapshot()?;
        if let Some(floor) = snapshot.starts_after(up_to) {
            return Err(floor.pruned());
        }
        let mut check = Check {
            snapshot: &snapshot,
            report: VerifyReport::default(),
            progress: &mut |_, _| {},
            done: 0,
            total: 0,
            gone: None,
            floor: self.floor.as_ref(),
            start: None,
            derived: Derived::default(),
        };
        check.gone = check.gone()?;
        check.start = start::read(&mut check)?;
        certified::check_up_to(&mut check, up_to)?;
        let VerifyReport { findings, unlisted, .. } = check.report;
        let Derived { checkpoints, events } = check.derived;
        let first = self.floor.as_ref().map_or(Some(Height::FIRST), |floor| floor.height().next());
        Ok(CheckpointsReport {
            first: first.unwrap_or(up_to),
            first_state: check.gone.map_or(Height::FIRST, |(height, _)| height),
            checkpoints,
            events,
            findings,
            unlisted,
        })
    }
}

/// A check that is under way.
struct Check<'s, 'l, 'p> {
    snapshot: &'s Snapshot<'l>,
    report: VerifyReport,
    progress: &'p mut dyn Pace,
    done: u64,
    total: u64,
    /// The checkpoint up to which bodies may be gone, and how far its cut goes on each lane.
    gone: Option<(Height, Clock)>,
    /// Where the store starts, if it is shallow.
    floor: Option<&'l Floor>,
    /// What it starts with then.
    start: Option<FloorState>,
    /// What has been derived of what is certified.
    derived: Derived,
}

/// How many checkpoints have been derived from their events, and how many events those certify.
#[derive(Clone, Copy, Default)]
struct Derived {
    checkpoints: u64,
    events: u64,
}

impl<'s> Check<'s, '_, '_> {
    /// Up to where bodies may be gone.
    fn gone(&mut self) -> Result<Option<(Height, Clock)>, StorageError> {
        let gone = self.snapshot.pruned_bodies().map_err(|error| match error {
            ReadError::Storage(error) => error,
            other => StorageError::damaged(other.to_string()),
        });
        Ok(self.sound("how far bodies are gone", gone)?.flatten())
    }

    fn reader(&self) -> Reader<'s> {
        self.snapshot.reader()
    }

    fn find(&mut self, what: impl Into<String>) {
        if self.report.findings.len() < MAX_FINDINGS {
            self.report.findings.push(Finding { what: what.into() });
        } else {
            self.report.unlisted += 1;
        }
    }

    /// Whether an event is of the cut that a shallow store starts from.
    fn is_below(&self, dot: Dot) -> bool {
        self.floor.is_some_and(|floor| floor.covers(dot))
    }

    /// Counts one event of a pass.
    fn step(&mut self) {
        self.done += 1;
    }

    /// Makes a finding out of damage; `None` then. Only what keeps the disk from being read at all
    /// is an error.
    fn sound<T>(
        &mut self,
        whose: &str,
        result: Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(StorageError::Damaged { what }) => {
                self.find(format!("{whose}: {what}"));
                Ok(None)
            }
            Err(error @ StorageError::Corrupt { .. }) => {
                self.find(format!("{whose}: {error}"));
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    fn get(
        &mut self,
        family: Family,
        key: &[u8],
    ) -> Result<Option<DBPinnableSlice<'s>>, StorageError> {
        let found = self.reader().get(family, key);
        Ok(self.sound(&format!("column family {}", family.name()), found)?.flatten())
    }

    /// Visits the records that begin with `prefix`, as far as they can be read, and counts them. Every
    /// part of a check goes through here, so it is here that it can be ended.
    fn each(
        &mut self,
        family: Family,
        prefix: &[u8],
        mut visit: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<(), StorageError>,
    ) -> Result<u64, StorageError> {
        let mut walk = self.reader().walk(family, prefix)?;
        let mut moved = walk.first();
        let mut count: u64 = 0;
        while self.sound(&format!("column family {}", family.name()), moved)?.is_some()
            && let Some((key, value)) = walk.item()
        {
            count += 1;
            if count.is_multiple_of(STEP) {
                step(self.progress, self.done.min(self.total), self.total)?;
            }
            visit(self, key, value)?;
            moved = walk.next();
        }
        Ok(count)
    }
}

/// An event in a finding, where its id cannot be told.
fn at(dot: Dot) -> String {
    format!("event {} on lane {}", dot.seq, dot.lane.0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
