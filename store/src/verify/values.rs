//! The openings of events, and what is said of values that are not whole.

use std::collections::BTreeSet;

use quipu_merge::{AuthorKey, Dot, OpeningId};

use super::{Check, at, hex, strays};
use crate::db::Walk;
use crate::error::StorageError;
use crate::missing;
use crate::opening;
use crate::pruned::{Pruned, is_pruned};
use crate::schema::{self, Family, meta};

/// A walk over the openings, beside one over the events.
pub struct Values<'s> {
    openings: Walk<'s>,
    /// How many values are neither whole, nor pruned or erased.
    missing: u64,
    /// How many values have been pruned.
    pruned: u64,
}

impl<'s> Values<'s> {
    /// Begins with the first opening.
    pub fn begin(check: &mut Check<'s, '_, '_>) -> Result<Self, StorageError> {
        let mut openings = check.reader().walk(Family::Openings, &[])?;
        let moved = openings.first();
        check.sound("column family openings", moved)?;
        Ok(Self { openings, missing: 0, pruned: 0 })
    }

    /// The openings of the event at `dot`: each is what its operation names.
    pub fn check_event(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        dot: Dot,
        values: Option<(AuthorKey, Vec<(u16, OpeningId)>)>,
    ) -> Result<(), StorageError> {
        strays::skip(check, &mut self.openings, Some(dot))?;
        let prefix = schema::dot_key(dot);
        let (mut here, mut whole) = (BTreeSet::new(), BTreeSet::new());
        while let Some((key, page)) = self.openings.item()
            && key.starts_with(&prefix)
        {
            let slot = key.strip_prefix(&prefix).and_then(|slot| slot.try_into().ok());
            let page = opening::read_page(page).filter(|page| {
                // A page stands under its first slot.
                page.first().map(|(first, _)| *first) == slot.map(u16::from_be_bytes)
                    && page.is_sorted_by(|a, b| a.0 < b.0)
            });
            let sound = values.as_ref().zip(page.as_ref()).is_none_or(|((author, all), page)| {
                page.iter().all(|(slot, stored)| {
                    let block = opening::unpack(*author, stored);
                    block.is_some_and(|block| {
                        all.binary_search(&(*slot, OpeningId::of(&block))).is_ok()
                    })
                })
            });
            if !sound || page.is_none() {
                let from =
                    slot.map_or_else(|| hex(key), |slot| u16::from_be_bytes(slot).to_string());
                check.find(format!(
                    "{}: its openings from {from} on are not what it names",
                    at(dot)
                ));
            }
            check.report.openings += page.as_ref().map_or(1, |page| page.len() as u64);
            for (slot, stored) in page.into_iter().flatten() {
                here.insert(slot);
                let is_whole = missing::is_whole(check.reader(), Some(stored));
                if check.sound(&at(dot), is_whole)? == Some(true) {
                    whole.insert(slot);
                }
            }
            let moved = self.openings.next();
            check.sound("column family openings", moved)?;
        }
        for (slot, _) in values.into_iter().flat_map(|(_, values)| values) {
            if !whole.contains(&slot) {
                self.not_whole(check, dot, slot, here.contains(&slot))?;
            }
        }
        Ok(())
    }

    /// A value that is not whole is recorded as pruned, or marked as erased or as missing. One of
    /// which only blocks are missing has not been pruned.
    fn not_whole(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        dot: Dot,
        slot: u16,
        here: bool,
    ) -> Result<(), StorageError> {
        let pruned = is_pruned(check.reader(), dot, slot);
        if !here && check.sound(&at(dot), pruned)? == Some(true) {
            self.pruned += 1;
            return Ok(());
        }
        if check.get(Family::Meta, &meta::erased(dot, slot))?.is_some() {
            return Ok(());
        }
        self.missing += 1;
        if check.get(Family::Meta, &meta::missing(dot, slot))?.is_none() {
            check.find(format!("{}: its value {slot} is gone", at(dot)));
        }
        Ok(())
    }

    /// After the last event: no opening is left, no value is marked as missing that is not, and none is
    /// recorded as pruned that is at hand, or none at all.
    pub fn finish(mut self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        strays::skip(check, &mut self.openings, None)?;
        check_missing(check, self.missing)?;
        check_pruned(check, self.pruned)
    }
}

fn check_missing(check: &mut Check<'_, '_, '_>, missing: u64) -> Result<(), StorageError> {
    let marks = check.each(Family::Meta, meta::MISSING, |_, _, _| Ok(()))?;
    if marks > missing {
        check.find(format!("{marks} values are marked as missing where {missing} are"));
    }
    Ok(())
}

fn check_pruned(check: &mut Check<'_, '_, '_>, pruned: u64) -> Result<(), StorageError> {
    let mut recorded = 0;
    check.each(Family::Meta, meta::PRUNED, |_, _, record| {
        // What cannot be read is found with the other records.
        recorded += Pruned::decode(record).map_or(0, |pruned| pruned.slots().len() as u64);
        Ok(())
    })?;
    if recorded > pruned {
        check.find(format!("{recorded} values are recorded as pruned where {pruned} are"));
    }
    Ok(())
}
