//! Getting back what was pruned, from a replica or a file that still has it.

mod bodies;

use std::collections::BTreeMap;

use quipu_merge::Dot;

use crate::blocks::BlockSink;
use crate::bodies::Kept;
use crate::error::{MergeError, StorageError};
use crate::ingest::BATCH;
use crate::ledger::Ledger;
use crate::lookup::Stored;
use crate::missing::{self, ValueSource};
use crate::opening;
use crate::pruned::Pruned;
use crate::schema::{self, Family, meta};

/// A pruned value that has been found, with its opening in its stored form.
struct Found {
    dot: Dot,
    slot: u16,
    stored: Vec<u8>,
}

impl Ledger {
    /// Looks in `source` for the bodies and the values that have been pruned here. Values that it has
    /// as a whole, and that are not erased, are at hand again, unless their event still lacks its
    /// body. Tells how many bodies and values that were.
    pub(crate) fn refill(&self, source: &mut impl ValueSource) -> Result<(u64, u64), MergeError> {
        let bodies = self.refill_bodies(source)?;
        let (mut from, mut refilled) = (None, 0);
        loop {
            let wanted = self.pruned_from(from)?;
            let Some(&(dot, slot)) = wanted.last() else { return Ok((bodies, refilled)) };
            from = Some((dot, slot));
            let (mut found, mut sink) = (Vec::new(), BlockSink::new(self));
            for (dot, slot) in wanted {
                let event = Stored::read(self.latest(), dot)?;
                let (event, kept) = (event.event()?, event.kept()?);
                let Kept::Whole(_) = &kept else { continue };
                let id = kept.value(slot);
                let id = id.ok_or_else(|| StorageError::damaged("a pruned value that is none"))?;
                if let Some(opening) = source.opening(event.id(), slot, id)? {
                    source.copy_blocks(&mut sink, &opening)?;
                    let stored = opening::pack(event.event().author, &opening);
                    found.push(Found { dot, slot, stored });
                }
            }
            sink.commit()?;
            fail::fail_point!("between-refilled");
            refilled += self.put_back(&found)?;
        }
    }

    /// The next pruned values after this one.
    fn pruned_from(&self, after: Option<(Dot, u16)>) -> Result<Vec<(Dot, u16)>, StorageError> {
        let damaged = || StorageError::damaged("the record of the pruned values of an event");
        let mut walk = self.latest().walk(Family::Meta, meta::PRUNED)?;
        match after {
            Some((dot, _)) => walk.seek(&meta::pruned(dot))?,
            None => walk.first()?,
        }
        let mut wanted = Vec::new();
        while let Some((key, record)) = walk.item()
            && wanted.len() < BATCH
        {
            let dot = key.strip_prefix(meta::PRUNED).and_then(schema::parse_dot);
            let dot = dot.ok_or_else(damaged)?;
            let pruned = Pruned::decode(record).ok_or_else(damaged)?;
            let slots = pruned.slots().iter().map(|slot| (dot, *slot));
            wanted.extend(slots.filter(|value| Some(*value) > after).take(BATCH - wanted.len()));
            walk.next()?;
        }
        Ok(wanted)
    }

    fn put_back(&self, found: &[Found]) -> Result<u64, StorageError> {
        self.in_bulk(|hold| {
            let mut refilled = 0;
            for of_event in found.chunk_by(|a, b| a.dot == b.dot) {
                let Some(Found { dot, .. }) = of_event.first() else { continue };
                // Its body may have been pruned since.
                if let Kept::Values(_) = Stored::read(self.latest(), *dot)?.kept()? {
                    continue;
                }
                let mut pruned = Pruned::of(self.latest(), *dot)?;
                let mut openings = BTreeMap::new();
                for Found { slot, stored, .. } in of_event {
                    // Since it was looked for, somebody else may have brought it, or a redact
                    // erased it.
                    let erased = self.latest().has(Family::Meta, &meta::erased(*dot, *slot))?;
                    if !erased
                        && missing::is_whole(self.latest(), Some(stored))?
                        && pruned.remove(*slot)
                    {
                        openings.insert(*slot, stored.clone());
                    }
                }
                let stored: Vec<_> = openings.into_iter().collect();
                let links = self.links(&stored)?;
                let writer = hold.writer();
                for (slot, child) in links {
                    writer.link_value(&self.db, *dot, slot, child)?;
                }
                refilled += stored.len() as u64;
                let stored = stored.iter().map(|(slot, stored)| (*slot, stored.as_slice()));
                writer.put_openings(&self.db, *dot, stored)?;
                writer.put_pruned(&self.db, *dot, &pruned)?;
            }
            Ok(refilled)
        })
    }
}
