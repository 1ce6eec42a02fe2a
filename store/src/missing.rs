//! Values that are not whole here: their opening has not come along with their event, or blocks
//! of theirs have not. They are marked, so that they can be asked for without looking for them.

use quipu_merge::{Body, BodyId, Dot, EventId, OpeningId};

use crate::blocks::{self, BlockSink};
use crate::db::Reader;
use crate::error::{MergeError, StorageError};
use crate::ingest::{BATCH, MergeOptions, MergeReport};
use crate::ledger::Ledger;
use crate::lookup::Stored;
use crate::opening;
use crate::pruned::is_pruned;
use crate::schema::{Family, meta};

/// Where values can be had.
pub trait ValueSource {
    /// The body of an event, which is what its id says.
    fn body(&mut self, event: EventId, id: BodyId) -> Result<Option<Vec<u8>>, MergeError>;

    /// The opening of a value, which is what its id says.
    fn opening(
        &mut self,
        event: EventId,
        slot: u16,
        id: OpeningId,
    ) -> Result<Option<Vec<u8>>, MergeError>;

    /// Copies the blocks of the long value that an opening refers to, if it does, as far as they
    /// are there.
    fn copy_blocks(&mut self, to: &mut BlockSink<'_>, opening: &[u8]) -> Result<(), MergeError>;
}

/// Whether a value is whole whose opening has this stored form.
pub fn is_whole(reader: Reader<'_>, stored: Option<&[u8]>) -> Result<bool, StorageError> {
    let Some(stored) = stored else { return Ok(false) };
    let Some(link) = opening::long_value(stored) else { return Ok(true) };
    Ok(blocks::first_missing(reader, link)?.is_none())
}

/// The values of an event that are not whole with these stored openings.
pub fn incomplete(
    reader: Reader<'_>,
    body: &Body,
    openings: &[(u16, Vec<u8>)],
) -> Result<Vec<u16>, StorageError> {
    let mut incomplete = Vec::new();
    for (slot, operation) in (0_u16..).zip(body.data()) {
        if operation.value().is_none() {
            continue;
        }
        let at = openings.binary_search_by_key(&slot, |(slot, _)| *slot).ok();
        let stored = at.and_then(|at| openings.get(at)).map(|(_, stored)| stored.as_slice());
        if !is_whole(reader, stored)? {
            incomplete.push(slot);
        }
    }
    Ok(incomplete)
}

/// A value of which something has been found, and its opening where that was missing.
pub struct Found {
    /// The event.
    pub dot: Dot,
    /// The index of the operation in its body.
    pub slot: u16,
    /// The opening in its stored form, if it was not here.
    pub opening: Option<Vec<u8>>,
}

impl Ledger {
    /// How many values are not whole here.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn count_missing(&self) -> Result<u64, StorageError> {
        self.latest().count(Family::Meta, meta::MISSING)
    }

    /// Looks in `source` for the values that are not whole here, and for those that have been
    /// pruned where `options` say so, with their bodies. Adds how many it had to `report`.
    pub(crate) fn fill(
        &self,
        source: &mut impl ValueSource,
        options: MergeOptions,
        report: &mut MergeReport,
    ) -> Result<(), MergeError> {
        if options.refill {
            let (bodies, values) = self.refill(source)?;
            report.refilled_bodies += bodies;
            report.new_values += values;
        }
        report.new_values += self.fill_missing(source)?;
        Ok(())
    }

    pub(crate) fn fill_missing(&self, source: &mut impl ValueSource) -> Result<u64, MergeError> {
        let (mut after, mut added) = (meta::MISSING.to_vec(), 0);
        loop {
            let wanted = self.missing_after(&mut after, BATCH)?;
            if wanted.is_empty() {
                return Ok(added);
            }
            let (mut found, mut sink) = (Vec::new(), BlockSink::new(self));
            for (dot, slot) in wanted {
                found.extend(self.find_in(source, &mut sink, dot, slot)?);
            }
            sink.commit()?;
            added += self.add_found(found)?;
        }
    }

    /// The next marks, up to `limit`, and where to go on after them.
    pub(crate) fn missing_after(
        &self,
        after: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Vec<(Dot, u16)>, StorageError> {
        let damaged = || StorageError::damaged("the mark of a missing value");
        let mut walk = self.latest().walk(Family::Meta, meta::MISSING)?;
        walk.seek(after)?;
        let mut wanted = Vec::new();
        while let Some((key, _)) = walk.item()
            && wanted.len() < limit
        {
            wanted.push(meta::parse_missing(key).ok_or_else(damaged)?);
            *after = [key, &[0]].concat();
            walk.next()?;
        }
        Ok(wanted)
    }

    fn find_in(
        &self,
        source: &mut impl ValueSource,
        sink: &mut BlockSink<'_>,
        dot: Dot,
        slot: u16,
    ) -> Result<Option<Found>, MergeError> {
        let damaged = || StorageError::damaged("the mark of a missing value");
        let stored = Stored::read(self.latest(), dot)?;
        let (event, kept) = (stored.event()?, stored.kept()?);
        let author = event.event().author;
        let id = kept.value(slot);
        if let Some(held) = opening::find(self.latest(), dot, slot)? {
            let held = opening::unpack(author, &held).ok_or_else(damaged)?;
            source.copy_blocks(sink, &held)?;
            return Ok(Some(Found { dot, slot, opening: None }));
        }
        let Some(opening) = source.opening(event.id(), slot, id.ok_or_else(damaged)?)? else {
            return Ok(None);
        };
        source.copy_blocks(sink, &opening)?;
        Ok(Some(Found { dot, slot, opening: Some(opening::pack(author, &opening)) }))
    }

    /// Takes in what has been found, each value once and ascending, where it is still missing, and
    /// looks whether it is whole. Tells how many got their opening by that, or are whole.
    pub(crate) fn add_found(&self, found: Vec<Found>) -> Result<u64, StorageError> {
        self.in_bulk(|hold| {
            let (mut added, mut openings) = (0, Vec::with_capacity(found.len()));
            for Found { dot, slot, opening } in found {
                let mark = meta::missing(dot, slot);
                // Since it was looked for, somebody else may have brought it, or a redact erased it.
                if !self.latest().has(Family::Meta, &mark)? {
                    continue;
                }
                let held = opening::find(self.latest(), dot, slot)?;
                let whole = is_whole(self.latest(), held.as_deref().or(opening.as_deref()))?;
                if whole {
                    hold.writer().delete(&self.db, Family::Meta, &mark)?;
                }
                let comes = opening.filter(|_| held.is_none());
                added += u64::from(whole || comes.is_some());
                if let Some(opening) = comes {
                    if let Some(link) = opening::long_value(&opening) {
                        let child = self.blocks.number_for(&self.db, link.block)?;
                        hold.writer().link_value(&self.db, dot, slot, child)?;
                    }
                    openings.push((dot, slot, opening));
                }
            }
            for of_event in openings.chunk_by(|a, b| a.0 == b.0) {
                let Some((dot, ..)) = of_event.first() else { continue };
                let stored = of_event.iter().map(|(_, slot, stored)| (*slot, stored.as_slice()));
                hold.writer().put_openings(&self.db, *dot, stored)?;
            }
            Ok(added)
        })
    }
}

/// Whether there should be a mark, by what is at hand and what has been pruned.
pub fn is_marked(reader: Reader<'_>, dot: Dot, slot: u16) -> Result<bool, StorageError> {
    let whole = is_whole(reader, opening::find(reader, dot, slot)?.as_deref())?;
    Ok(!whole && !is_pruned(reader, dot, slot)?)
}
