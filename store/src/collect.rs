//! Collecting garbage: deleting blocks to which nothing refers.
//!
//! What may be garbage has a mark, so this costs what there is of it, and not what the store
//! holds. A block goes when no edge leads to it, nobody has leased it, and its mark is older than
//! the grace period; then the edges that led from it go, too, and what they led to is looked at. Deleting
//! happens while nobody writes, a few blocks at a time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use quipu_merge::{BlockId, Codec};

use crate::blocks::{self, Cascade, Garbage, Parent};
use crate::commit::Exclusive;
use crate::db::Walk;
use crate::error::StorageError;
use crate::ledger::{Ledger, now};
use crate::merge::Progress;
use crate::schema::{self, Family, meta};

/// So many marks are read at once.
const MARKS: usize = 64;
/// So many blocks are deleted before others may write again.
const AT_ONCE: usize = 8;

const DAMAGED_MARK: &str = "the mark of a block that may be garbage";

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

/// What becomes of a marked block.
enum Fate {
    /// Something refers to it: the mark is left over.
    Referred,
    /// Its grace period is not over.
    Young,
    /// Somebody is about to refer to it.
    InUse,
    /// It goes, with what it lists; with its pin, where it has been erased.
    Goes { bytes: u64, children: BTreeSet<BlockId>, pinned: bool },
}

impl Ledger {
    /// Deletes what nothing refers to any more, and gives its room back to the disk. Others may
    /// read and write meanwhile.
    ///
    /// # Errors
    /// The disk, the database or its content. What has been deleted was garbage.
    pub fn gc(&self, options: GcOptions, progress: Progress<'_>) -> Result<GcReport, StorageError> {
        if options.dry_run {
            return self.gc_preview(options.grace);
        }
        let disk_before = self.db.table_bytes()?;
        let mut report = GcReport { disk_before, ..GcReport::default() };
        let start = Instant::now();
        let mut deleted = BTreeSet::new();
        // What a block listed may have been looked at before: again, until nothing goes any more.
        loop {
            let before = report.blocks;
            (report.young, report.in_use) = (0, 0);
            self.collect(options.grace, &mut report, &mut deleted, progress)?;
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
        progress: Progress<'_>,
    ) -> Result<(), StorageError> {
        let mut after = meta::GARBAGE.to_vec();
        loop {
            let marked = marked_after(self, &mut after)?;
            if marked.is_empty() {
                return Ok(());
            }
            // Looking while others write finds what stays, and brings the rest into memory.
            let mut likely = Vec::with_capacity(marked.len());
            for (number, garbage) in marked {
                match self.fate(number, &garbage, grace, false)? {
                    Fate::Young => report.young += 1,
                    _ => likely.push(number),
                }
            }
            for some in likely.chunks(AT_ONCE) {
                let (start, commit) = (Instant::now(), self.published().commit);
                self.delete_blocks(some, grace, report, deleted)?;
                fail::fail_point!("between-collected");
                progress(report.blocks, 0);
                if self.published().commit > commit + 1 {
                    // Others write: half of the time is theirs.
                    std::thread::sleep(start.elapsed());
                }
            }
        }
    }

    /// Deletes those of a few marked blocks that are to go, while nobody writes.
    fn delete_blocks(
        &self,
        marked: &[u64],
        grace: Duration,
        report: &mut GcReport,
        deleted: &mut BTreeSet<u64>,
    ) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged(DAMAGED_MARK);
        // What is about to be written has been written then, edges and all.
        self.making_room(|hold| {
            let leases = self.blocks.lock();
            for &number in marked {
                // It may have become another since it was looked at.
                let mark = self.latest().get(Family::Meta, &meta::garbage(number))?;
                let Some(mark) = mark else { continue };
                let garbage = Garbage::decode(&mark).ok_or_else(damaged)?;
                let leased = leases.is_leased(garbage.id);
                match self.fate(number, &garbage, grace, leased)? {
                    Fate::Referred => {
                        hold.writer().delete(&self.db, Family::Meta, &meta::garbage(number))?;
                    }
                    Fate::Young => report.young += 1,
                    Fate::InUse => report.in_use += 1,
                    Fate::Goes { bytes, children, pinned } => {
                        self.delete_block(hold, number, &garbage, children)?;
                        if pinned {
                            self.delete_pin(hold, number, garbage.id)?;
                        }
                        report.blocks += 1;
                        report.unpinned += u64::from(pinned);
                        report.bytes += bytes;
                        deleted.insert(number);
                    }
                }
            }
            Ok(())
        })
    }

    fn fate(
        &self,
        number: u64,
        garbage: &Garbage,
        grace: Duration,
        leased: bool,
    ) -> Result<Fate, StorageError> {
        let grace = u64::try_from(grace.as_micros()).unwrap_or(u64::MAX);
        // Erasing wins over pins.
        let pinned = garbage.is_erased() && blocks::is_only_pinned(self.latest(), number)?;
        if !pinned && blocks::is_referred_to(self.latest(), number)? {
            return Ok(Fate::Referred);
        }
        if garbage.since.0.saturating_add(grace) > now().0 {
            return Ok(Fate::Young);
        }
        if leased {
            return Ok(Fate::InUse);
        }
        let entry = blocks::entry_of(self.latest(), garbage.id)?;
        let len = entry.filter(|entry| entry.number == number).and_then(|entry| entry.len);
        let bytes = len.map_or(0, u64::from);
        Ok(Fate::Goes { bytes, children: self.listed(number, garbage.id)?, pinned })
    }

    /// What a block lists, as far as it can be read. Raw ones are not: they lie in pieces that are
    /// decompressed as a whole, with all that stays.
    fn listed(&self, number: u64, id: BlockId) -> Result<BTreeSet<BlockId>, StorageError> {
        if id.codec == Codec::Raw {
            return Ok(BTreeSet::new());
        }
        let record = self.latest().get(Family::Blocks, &number.to_be_bytes())?;
        let manifest = record.as_deref().and_then(blocks::decode);
        Ok(manifest.map(|(id, bytes)| blocks::children(id, bytes)).unwrap_or_default())
    }

    fn delete_block(
        &self,
        hold: &mut Exclusive<'_>,
        number: u64,
        garbage: &Garbage,
        children: BTreeSet<BlockId>,
    ) -> Result<(), StorageError> {
        let (db, writer) = (&self.db, hold.writer());
        writer.delete(db, Family::Blocks, &number.to_be_bytes())?;
        writer.delete(db, Family::Meta, &meta::garbage(number))?;
        if garbage.is_erased() {
            writer.put(db, Family::Meta, &meta::erased_block(number), &[])?;
        }
        if blocks::number_of(db.latest(), garbage.id)? == Some(number) {
            writer.delete(db, Family::Digests, &schema::digest_key(garbage.id))?;
        }
        for id in children {
            let Some(child) = blocks::number_of(db.latest(), id)? else { continue };
            let edge = blocks::edge_key(child, Parent::Manifest(number));
            writer.delete(db, Family::Edges, &edge)?;
            // It has been unused for as long as this one.
            writer.mark_garbage(db, child, Garbage { since: garbage.since, id })?;
        }
        Ok(())
    }

    fn delete_pin(
        &self,
        hold: &mut Exclusive<'_>,
        number: u64,
        id: BlockId,
    ) -> Result<(), StorageError> {
        let edge = blocks::edge_key(number, Parent::Pin);
        hold.writer().delete(&self.db, Family::Edges, &edge)?;
        hold.writer().delete(&self.db, Family::Meta, &meta::pinned_block(id))
    }

    /// Tells what collecting would delete. A block goes where all that refers to it goes.
    fn gc_preview(&self, grace: Duration) -> Result<GcReport, StorageError> {
        let start = Instant::now();
        let disk = self.db.table_bytes()?;
        let mut report = GcReport { disk_before: disk, disk_after: disk, ..GcReport::default() };
        let mut cascade = Cascade::new(self.latest());
        let mut after = meta::GARBAGE.to_vec();
        loop {
            let marked = marked_after(self, &mut after)?;
            if marked.is_empty() {
                break;
            }
            for (number, garbage) in marked {
                let leased = |id| self.blocks.lock().is_leased(id);
                match self.fate(number, &garbage, grace, leased(garbage.id))? {
                    Fate::Referred => {}
                    Fate::Young => report.young += 1,
                    Fate::InUse => report.in_use += 1,
                    Fate::Goes { .. } => {
                        cascade.take(number, garbage.id, garbage.is_erased(), leased)?;
                    }
                }
            }
        }
        (report.blocks, report.bytes) = (cascade.blocks, cascade.bytes);
        report.unpinned = cascade.unpinned;
        report.purged = self.erasures()?.events.len() as u64;
        report.collecting = start.elapsed();
        Ok(report)
    }
}

/// The next marks, and where to go on after them.
fn marked_after(ledger: &Ledger, after: &mut Vec<u8>) -> Result<Vec<(u64, Garbage)>, StorageError> {
    let damaged = || StorageError::damaged(DAMAGED_MARK);
    let mut walk: Walk<'_> = ledger.latest().walk(Family::Meta, meta::GARBAGE)?;
    walk.seek(after)?;
    let mut marked = Vec::new();
    while let Some((key, value)) = walk.item()
        && marked.len() < MARKS
    {
        let number = key.strip_prefix(meta::GARBAGE).and_then(|number| number.try_into().ok());
        let number = number.map(u64::from_be_bytes).ok_or_else(damaged)?;
        marked.push((number, Garbage::decode(value).ok_or_else(damaged)?));
        *after = [key, &[0]].concat();
        walk.next()?;
    }
    Ok(marked)
}
