//! Collecting garbage: deleting blocks to which nothing refers.
//!
//! What may be garbage has a mark, so this costs what there is of it, and not what the store
//! holds. A block goes when no edge leads to it, nobody has leased it, and its mark is older than
//! the grace period; then the edges that led from it go, too, and what they led to is looked at.
//! Looking happens beside writers; deleting while nobody writes, a few blocks at a time.

mod delete;
mod fate;
mod find;
mod preview;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use delete::Deletion;
use find::Marked;
use quipu_merge::Codec;

use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::pace::{Pace, step};

/// So many marks are looked at together.
const MARKS: usize = 1 << 12;
/// So many blocks are deleted before others may write again: the fewest while others do, the most
/// while nobody does.
const AT_ONCE: RangeInclusive<usize> = 8..=64;

/// How to collect garbage.
#[derive(Clone, Copy, Debug)]
pub struct GcOptions {
    /// Blocks stay for so long after the last reference to them has gone.
    pub grace: Duration,
    /// Only tell what would go.
    pub dry_run: bool,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self { grace: Duration::from_secs(24 * 60 * 60), dry_run: false }
    }
}

/// What collecting garbage has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Blocks that were deleted, or would be.
    pub blocks: u64,
    /// Their length, in bytes.
    pub bytes: u64,
    /// Blocks to which nothing refers, and whose grace period is not over.
    pub young: u64,
    /// Blocks to which nothing refers yet, but that somebody is about to refer to.
    pub in_use: u64,
    /// Blocks of erased values that were pinned: they went all the same, and their pins with them.
    pub unpinned: u64,
    /// Events whose erased values were still in files of the database.
    pub purged: u64,
    /// Length of the table files before, in bytes.
    pub disk_before: u64,
    /// Length of the table files after, in bytes.
    pub disk_after: u64,
    /// How long it took to find and to delete what goes.
    pub collecting: Duration,
    /// How long it took to rewrite the files that held it.
    pub reclaiming: Duration,
}

impl Ledger {
    /// Deletes what nothing refers to any more, and gives its room back to the disk. Others may
    /// read and write meanwhile.
    ///
    /// # Errors
    /// The disk, the database or its content. What has been deleted was garbage.
    /// [`StorageError::Stopped`]: the room of what has been deleted has been given back then, and the next
    /// time goes on with the rest.
    pub fn gc(
        &self,
        options: GcOptions,
        progress: &mut dyn Pace,
    ) -> Result<GcReport, StorageError> {
        if options.dry_run {
            return self.gc_preview(options.grace, progress);
        }
        let disk_before = self.db.table_bytes()?;
        let mut report = GcReport { disk_before, ..GcReport::default() };
        let start = Instant::now();
        let mut deleted = BTreeSet::new();
        // What a block listed may have been looked at before: again, until nothing goes any more.
        loop {
            let before = report.blocks;
            (report.young, report.in_use) = (0, 0);
            match self.collect(options.grace, &mut report, &mut deleted, progress) {
                // What is deleted and not given back now would be found by nobody later.
                Err(StorageError::Stopped) if !deleted.is_empty() => {
                    self.reclaim(&deleted)?;
                    return Err(StorageError::Stopped);
                }
                collected => collected?,
            }
            if report.blocks == before {
                break;
            }
        }
        report.collecting = start.elapsed();
        let start = Instant::now();
        report.purged = self.reclaim(&deleted)?;
        report.reclaiming = start.elapsed();
        report.disk_after = self.db.table_bytes()?;
        Ok(report)
    }

    /// Goes through the marks once.
    fn collect(
        &self,
        grace: Duration,
        report: &mut GcReport,
        deleted: &mut BTreeSet<u64>,
        progress: &mut dyn Pace,
    ) -> Result<(), StorageError> {
        let (mut after, mut at_once) = (0, *AT_ONCE.start());
        loop {
            step(progress, report.blocks, 0)?;
            let marked = self.marked_after(&mut after)?;
            if marked.is_empty() {
                return Ok(());
            }
            let found = self.find(marked, grace)?;
            report.young += found.young;
            let mut rest = found.likely.as_slice();
            while !rest.is_empty() {
                let (some, others) = rest.split_at(together(rest, at_once));
                rest = others;
                let (start, commit) = (Instant::now(), self.published().commit);
                Deletion::new(self, grace, report, deleted).run(some)?;
                fail::fail_point!("between-collected");
                step(progress, report.blocks, 0)?;
                if self.published().commit > commit + 1 {
                    // Others write: half of the time is theirs.
                    at_once = *AT_ONCE.start();
                    std::thread::sleep(start.elapsed());
                } else {
                    at_once = (at_once * 2).min(*AT_ONCE.end());
                }
            }
        }
    }
}

/// How many of the first so many are deleted together: a manifest alone, as it may list thousands,
/// and others of these among them.
fn together(likely: &[Marked], most: usize) -> usize {
    let mut some = likely.iter().take(most);
    match some.position(|(_, garbage)| garbage.id.codec == Codec::DagCbor) {
        Some(manifest) => manifest.max(1),
        None => most.min(likely.len()),
    }
}
