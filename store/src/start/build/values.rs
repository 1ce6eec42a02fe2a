//! Values that stand: checking their openings, and which of them are erased.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, Dot, Link, OpeningId};

use super::super::StartError;
use super::super::chapter::ShownValue;
use super::{Build, Judged};
use crate::blocks::{self, Garbage, Parent, edge_key};
use crate::error::StorageError;
use crate::lookup::Stored;
use crate::opening;
use crate::schema::{Family, dot_key, meta, opening_key};

/// A value whose id is known.
#[derive(Clone, Debug)]
pub struct Value {
    pub id: OpeningId,
    /// Its opening as it is stored, if that is at hand.
    pub stored: Option<Vec<u8>>,
    /// The blocks that it is in, if it is long.
    pub link: Option<Link>,
}

impl Value {
    /// What an event of `author` names.
    pub fn of(author: AuthorKey, shown: &ShownValue) -> Result<Self, StartError> {
        let stored = match shown {
            ShownValue::Id(id) => return Ok(Self { id: *id, stored: None, link: None }),
            ShownValue::Opening(stored) => stored,
        };
        let opening = opening::unpack(author, stored);
        let opening = opening.filter(|opening| opening::pack(author, opening) == *stored);
        let opening = opening.ok_or_else(|| StartError::corrupt("an opening"))?;
        let link = opening::long_value(stored);
        Ok(Self { id: OpeningId::of(&opening), stored: Some(stored.clone()), link })
    }
}

/// What is erased: the values of these events, and what these authors must not show again.
pub struct Erased {
    events: BTreeSet<Dot>,
    openings: BTreeMap<AuthorKey, BTreeSet<OpeningId>>,
}

impl Erased {
    /// What is known to be erased before any of the state has been read.
    pub fn new(build: &Build<'_>, judged: &Judged) -> Result<Self, StorageError> {
        let mut erased = Self { events: BTreeSet::new(), openings: BTreeMap::new() };
        for (author, _, dot) in judged.redacted.keys() {
            erased.events.insert(*dot);
            let openings = erased.openings.entry(*author).or_default();
            let values = Stored::read(build.out.db.latest(), *dot)?.kept()?.values();
            openings.extend(values.into_iter().map(|(_, opening)| opening));
        }
        Ok(erased)
    }

    /// The authors of redacted events.
    pub fn authors(&self) -> impl Iterator<Item = AuthorKey> {
        self.openings.keys().copied()
    }

    /// Whether a value is erased that stands. What a redacted event named is known from then on.
    pub fn take(&mut self, author: AuthorKey, dot: Dot, opening: OpeningId) -> bool {
        let Some(openings) = self.openings.get_mut(&author) else { return false };
        if self.events.contains(&dot) {
            openings.insert(opening);
        }
        openings.contains(&opening)
    }

    /// Whether a value is erased.
    pub fn has(&self, author: AuthorKey, opening: OpeningId) -> bool {
        self.openings.get(&author).is_some_and(|openings| openings.contains(&opening))
    }
}

impl Build<'_> {
    /// Erases what was read before it was known that a redacted event named it, too.
    pub fn erase_late(&mut self, erased: &Erased) -> Result<(), StartError> {
        let reader = self.out.db.latest();
        for author in erased.authors() {
            for &lane in self.lanes.table().clone().of(author) {
                let mut walk = reader.walk(Family::Events, &lane.0.to_be_bytes())?;
                walk.first()?;
                while let Some((key, record)) = walk.item() {
                    let damaged = || StorageError::damaged("an event");
                    let dot = crate::schema::parse_dot(key).ok_or_else(damaged)?;
                    let record = crate::record::EventRecord::decode(record).ok_or_else(damaged)?;
                    let kept = crate::bodies::Kept::decode(record.body).ok_or_else(damaged)?;
                    let mut slots = BTreeSet::new();
                    for (slot, opening) in kept.values() {
                        let mark = meta::erased(dot, slot);
                        if erased.has(author, opening) && !reader.has(Family::Meta, &mark)? {
                            slots.insert(slot);
                        }
                    }
                    if !slots.is_empty() {
                        self.erase(dot, &slots)?;
                    }
                    walk.next()?;
                }
            }
        }
        Ok(self.out.flush()?)
    }

    fn erase(&mut self, dot: Dot, slots: &BTreeSet<u16>) -> Result<(), StorageError> {
        for slot in slots {
            self.out.put(Family::Meta, &meta::erased(dot, *slot), &[])?;
            self.out.delete(Family::Meta, &meta::missing(dot, *slot))?;
        }
        let reader = self.out.db.latest();
        let mut walk = reader.walk(Family::Openings, &dot_key(dot))?;
        walk.first()?;
        while let Some((key, page)) = walk.item() {
            let damaged = || StorageError::damaged("a page of openings");
            let openings = opening::read_page(page).ok_or_else(damaged)?;
            let (gone, kept): (Vec<_>, Vec<_>) =
                openings.into_iter().partition(|(slot, _)| slots.contains(slot));
            for (slot, stored) in &gone {
                if let Some(link) = opening::long_value(stored)
                    && let Some(child) = blocks::number_of(reader, link.block)?
                {
                    self.out.delete(Family::Edges, &edge_key(child, Parent::Value(dot, *slot)))?;
                    let garbage = Garbage::erased(link.block).encode();
                    self.out.put(Family::Meta, &meta::garbage(child), &garbage)?;
                }
            }
            self.out.delete(Family::Openings, key)?;
            let out = &mut self.out;
            opening::pages(kept, |first, page| {
                out.put(Family::Openings, &opening_key(dot, first), page)
            })?;
            walk.next()?;
        }
        Ok(())
    }
}
