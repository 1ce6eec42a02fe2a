//! Deleting what was found, while nobody writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quipu_merge::{BlockId, Codec};

use super::GcReport;
use super::fate::{Fate, fate};
use super::find::{Marked, Marks, edges_of};
use crate::blocks::{self, Garbage, Parent};
use crate::commit::Exclusive;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::schema::{self, Family, meta};

/// Deleting a few blocks.
pub struct Deletion<'a> {
    ledger: &'a Ledger,
    grace: Duration,
    report: &'a mut GcReport,
    /// The numbers of all that have been deleted.
    deleted: &'a mut BTreeSet<u64>,
}

impl<'a> Deletion<'a> {
    /// Of what is older than the grace period. Adds to the report, and to what has been deleted.
    pub fn new(
        ledger: &'a Ledger,
        grace: Duration,
        report: &'a mut GcReport,
        deleted: &'a mut BTreeSet<u64>,
    ) -> Self {
        Self { ledger, grace, report, deleted }
    }

    /// Deletes those of a few blocks, by ascending numbers, that are still to go. None of them lists
    /// another: that edges have gone shows only when all of this has been written.
    pub fn run(mut self, likely: &[Marked]) -> Result<(), StorageError> {
        let (Some((first, _)), Some((last, _))) = (likely.first(), likely.last()) else {
            return Ok(());
        };
        let lists = likely.iter().map(|&(number, garbage)| listed(self.ledger, number, garbage.id));
        let mut lists: BTreeMap<_, _> = lists.collect::<Result<_, _>>()?;
        // What is about to be written has been written then, edges and all.
        self.ledger.making_room(|hold| {
            let reader = self.ledger.latest();
            let leases = self.ledger.blocks.lock();
            // They may have become others since they were looked at.
            let mut marks = Marks::between(reader, *first, *last)?;
            let mut edges = edges_of(reader, likely)?;
            while let Some((number, garbage)) = marks.next()? {
                let Some(listed) = lists.remove(&number) else { continue };
                let leased = leases.is_leased(garbage.id);
                match fate(edges.held(number)?, &garbage, self.grace, leased) {
                    Fate::Referred => {
                        let db = &self.ledger.db;
                        hold.writer().delete(db, Family::Meta, &meta::garbage(number))?;
                    }
                    Fate::Young => self.report.young += 1,
                    Fate::InUse => self.report.in_use += 1,
                    Fate::Goes { pinned } => {
                        self.delete(hold, number, garbage, listed)?;
                        if pinned {
                            self.delete_pin(hold, number, garbage.id)?;
                        }
                    }
                }
            }
            Ok(())
        })
    }

    fn delete(
        &mut self,
        hold: &mut Exclusive<'_>,
        number: u64,
        garbage: Garbage,
        listed: BTreeSet<BlockId>,
    ) -> Result<(), StorageError> {
        let (db, writer) = (&self.ledger.db, hold.writer());
        // Where the mark does not know it, the block may have come since.
        let len = match garbage.len {
            Some(len) => Some(len),
            None => blocks::entry_of(db.latest(), garbage.id)?.and_then(|entry| entry.len),
        };
        writer.delete(db, Family::Blocks, &number.to_be_bytes())?;
        writer.delete(db, Family::Meta, &meta::garbage(number))?;
        if garbage.is_erased() {
            writer.put(db, Family::Meta, &meta::erased_block(number), &[])?;
        }
        writer.delete(db, Family::Digests, &schema::digest_key(garbage.id))?;
        for id in listed {
            let Some(child) = blocks::entry_of(db.latest(), id)? else { continue };
            let edge = blocks::edge_key(child.number, Parent::Manifest(number));
            writer.delete(db, Family::Edges, &edge)?;
            // It has been unused for as long as this one.
            writer.mark_garbage(db, child, Garbage { since: garbage.since, ..Garbage::now(id) })?;
        }
        self.report.blocks += 1;
        self.report.bytes += len.map_or(0, u64::from);
        self.deleted.insert(number);
        Ok(())
    }

    fn delete_pin(
        &mut self,
        hold: &mut Exclusive<'_>,
        number: u64,
        id: BlockId,
    ) -> Result<(), StorageError> {
        let (db, writer) = (&self.ledger.db, hold.writer());
        writer.delete(db, Family::Edges, &blocks::edge_key(number, Parent::Pin))?;
        writer.delete(db, Family::Meta, &meta::pinned_block(id))?;
        self.report.unpinned += 1;
        Ok(())
    }
}

/// What a block lists, as far as it can be read. Raw ones are not: they lie in pieces that are
/// decompressed as a whole, with all that stays.
fn listed(
    ledger: &Ledger,
    number: u64,
    id: BlockId,
) -> Result<(u64, BTreeSet<BlockId>), StorageError> {
    if id.codec == Codec::Raw {
        return Ok((number, BTreeSet::new()));
    }
    let record = ledger.latest().get(Family::Blocks, &number.to_be_bytes())?;
    let manifest = record.as_deref().and_then(blocks::decode);
    Ok((number, manifest.map(|(id, bytes)| blocks::children(id, bytes)).unwrap_or_default()))
}
