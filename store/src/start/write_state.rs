//! Writing the certified state, chapter by chapter.

use std::collections::BTreeMap;

use quipu_merge::{Dot, Key, Lane, Member, Micros, OpeningId, Operation};

use super::StartError;
use super::chapter::{
    CHAPTER_LEN, Chapter, ChapterEvent, Item, MAX_CHAPTER_ITEMS, MAX_OPENING_LEN, ShownValue,
};
use super::frames::{FrameWriter, Tag};
use super::write::Source;
use crate::bodies::Kept;
use crate::certify::Cell;
use crate::error::StorageError;
use crate::lookup::{Stored, missing};
use crate::opening;
use crate::record::{Reader, Version};
use crate::schema::{self, Family, Kind, certified};

/// What is going to be an item, by names at the source.
enum Found {
    /// One that needs nothing more.
    Item(Item),
    Put {
        dot: Dot,
        key: Key,
        opening: OpeningId,
    },
    Add {
        dot: Dot,
    },
    Entry {
        index: u64,
        slot: u16,
        dot: Dot,
    },
}

/// Writes the state.
pub struct StateWriter<'w, 's, 'o> {
    source: &'w Source<'s>,
    frames: &'w mut FrameWriter<'o>,
    found: Vec<Found>,
    keys: u64,
    events: u64,
}

/// An event that a chapter names.
struct Named {
    number: quipu_merge::CutNumber,
    event: Vec<u8>,
    kept: Kept,
}

impl<'w, 's, 'o> StateWriter<'w, 's, 'o> {
    pub const fn new(source: &'w Source<'s>, frames: &'w mut FrameWriter<'o>) -> Self {
        Self { source, frames, found: Vec::new(), keys: 0, events: 0 }
    }

    /// Writes all of it. Tells how many keys there are, and how many events have been written; one that
    /// several chapters name is counted for each.
    pub fn write(mut self) -> Result<(u64, u64), StartError> {
        let reader = self.source.snapshot.reader();
        let mut walk = reader.walk(Family::Final, &[certified::STATE])?;
        walk.first()?;
        let mut last_set = None;
        while let Some((key, record)) = walk.item() {
            let state_key = key.get(1..).unwrap_or_default();
            let (kind, key, member) = schema::parse_state_key(state_key).ok_or_else(damaged)?;
            let cell = Cell::decode(kind, record).ok_or_else(damaged)?;
            let same_set = kind == Kind::Member && last_set.as_ref() == Some(&key);
            self.keys += u64::from(!same_set);
            last_set = (kind == Kind::Member).then(|| key.clone());
            let key = Key::new(&key).map_err(|_| damaged())?;
            self.key(key, member, cell)?;
            walk.next()?;
        }
        self.flush()?;
        Ok((self.keys, self.events))
    }

    fn key(&mut self, key: Key, member: Option<Vec<u8>>, cell: Cell) -> Result<(), StartError> {
        match cell {
            Cell::Counter(sum) => {
                self.take(Found::Item(Item::Counter { key, sum: sum.ok_or_else(damaged)? }))
            }
            Cell::Register(puts) => {
                self.take(Found::Item(Item::Register { key: key.clone() }))?;
                puts.into_iter().try_for_each(|put| {
                    self.take(Found::Put { dot: put.dot, key: key.clone(), opening: put.opening })
                })
            }
            Cell::Member(adds) => {
                let member = Member::new(&member.ok_or_else(damaged)?).map_err(|_| damaged())?;
                self.take(Found::Item(Item::Member { key, member }))?;
                adds.into_iter().try_for_each(|(dot, _)| self.take(Found::Add { dot }))
            }
            Cell::List(_) => {
                self.take(Found::Item(Item::List { key: key.clone() }))?;
                self.entries(&schema::state_key(Kind::List, key.as_str(), None))
            }
        }
    }

    /// The entries of a list that are not void.
    fn entries(&mut self, state_key: &[u8]) -> Result<(), StartError> {
        let snapshot = self.source.snapshot;
        let reader = snapshot.reader();
        let mut walk = reader.walk(Family::Final, &certified::elements(state_key))?;
        walk.first()?;
        while let Some((key, entry)) = walk.item() {
            let (index, slot) = certified::parse_element(key).ok_or_else(damaged)?;
            let mut r = Reader(entry);
            let lane = r.number().and_then(|lane| u32::try_from(lane).ok()).map(Lane);
            let (lane, time) = lane.zip(r.number().map(Micros)).ok_or_else(damaged)?;
            let version = schema::element_key(state_key, time, lane, slot);
            let version = reader.get(Family::Versions, &version)?.ok_or_else(damaged)?;
            let version = Version::decode_tail(lane, time, &version).ok_or_else(damaged)?;
            if !snapshot.is_void(version.dot)? {
                self.take(Found::Entry { index, slot, dot: version.dot })?;
            }
            walk.next()?;
        }
        Ok(())
    }

    fn take(&mut self, found: Found) -> Result<(), StartError> {
        self.found.push(found);
        if self.found.len() < MAX_CHAPTER_ITEMS { Ok(()) } else { self.flush() }
    }

    /// Writes what has been found: one chapter, or several where that is long.
    fn flush(&mut self) -> Result<(), StartError> {
        let found = std::mem::take(&mut self.found);
        let named = self.named(&found)?;
        let mut items = Vec::with_capacity(found.len());
        for found in found {
            items.push(self.resolve(found, &named)?);
        }
        self.add_openings(&mut items)?;
        let (mut chapter, mut dots, mut len) = (Vec::new(), BTreeMap::new(), 0);
        for (dot, item) in items {
            len += item.len();
            if let Some(dot) = dot {
                let is_new = dots.insert(dot, 0).is_none();
                len +=
                    if is_new { named.get(&dot).map_or(0, |named| named.event.len()) } else { 0 };
            }
            chapter.push((dot, item));
            if len >= CHAPTER_LEN {
                self.write_chapter(
                    std::mem::take(&mut chapter),
                    std::mem::take(&mut dots),
                    &named,
                )?;
                len = 0;
            }
        }
        if chapter.is_empty() { Ok(()) } else { self.write_chapter(chapter, dots, &named) }
    }

    /// The events that something stands of, by their names at the source.
    fn named(&self, found: &[Found]) -> Result<BTreeMap<Dot, Named>, StartError> {
        let snapshot = self.source.snapshot;
        let dots = found.iter().filter_map(|found| match found {
            Found::Item(_) => None,
            Found::Put { dot, .. } | Found::Add { dot } | Found::Entry { dot, .. } => Some(*dot),
        });
        let mut dots: Vec<_> = dots.collect();
        dots.sort_unstable();
        dots.dedup();
        let mut named = BTreeMap::new();
        for (dot, stored) in Stored::read_many(snapshot.reader(), dots)? {
            let event = stored.record()?.event.to_vec();
            let kept = stored.kept()?;
            named.insert(dot, Named { number: snapshot.number_of(dot), event, kept });
        }
        Ok(named)
    }

    fn resolve(
        &self,
        found: Found,
        named: &BTreeMap<Dot, Named>,
    ) -> Result<(Option<Dot>, Pending), StartError> {
        let event = |dot: Dot| named.get(&dot).ok_or_else(|| missing(dot));
        Ok(match found {
            Found::Item(item) => (None, Pending::Item(item)),
            Found::Add { dot } => {
                event(dot)?;
                (Some(dot), Pending::Add)
            }
            Found::Put { dot, key, opening } => {
                let slot = slot_of(&event(dot)?.kept, &key, opening).ok_or_else(damaged)?;
                (Some(dot), Pending::Put { slot, value: ShownValue::Id(opening) })
            }
            Found::Entry { index, slot, dot } => {
                let opening = event(dot)?.kept.value(slot).ok_or_else(damaged)?;
                (Some(dot), Pending::Entry { index, slot, value: ShownValue::Id(opening) })
            }
        })
    }

    /// Puts openings in the place of their ids, where they are at hand and not erased.
    fn add_openings(&self, items: &mut [(Option<Dot>, Pending)]) -> Result<(), StartError> {
        let snapshot = self.source.snapshot;
        let mut wanted = Vec::new();
        for (dot, item) in items.iter_mut() {
            if let (Some(dot), Some((slot, value))) = (*dot, item.value())
                && !snapshot.is_erased(dot, slot)?
            {
                wanted.push((schema::opening_key(dot, slot), dot, slot, value));
            }
        }
        wanted.sort_unstable_by_key(|(key, ..)| *key);
        let keys: Vec<_> = wanted.iter().map(|(key, ..)| key.as_slice()).collect();
        let pages = snapshot.reader().get_many(Family::Openings, &keys)?;
        for ((_, dot, slot, value), page) in wanted.into_iter().zip(pages) {
            // Most events have few operations, or what is wanted stands first.
            let on_page = page.as_deref().and_then(opening::read_page);
            let first = on_page.into_iter().flatten().find(|(at, _)| *at == slot);
            let stored = match first {
                Some((_, stored)) => Some(stored.to_vec()),
                None => opening::find(snapshot.reader(), dot, slot)?,
            };
            if let Some(stored) = stored.filter(|stored| stored.len() <= MAX_OPENING_LEN) {
                *value = ShownValue::Opening(stored);
            }
        }
        Ok(())
    }

    fn write_chapter(
        &mut self,
        items: Vec<(Option<Dot>, Pending)>,
        mut places: BTreeMap<Dot, usize>,
        named: &BTreeMap<Dot, Named>,
    ) -> Result<(), StartError> {
        let lanes = &self.source.lanes;
        let mut dots = Vec::with_capacity(places.len());
        for dot in places.keys() {
            dots.push((lanes.dot(*dot).ok_or_else(|| missing(*dot))?, *dot));
        }
        dots.sort_unstable();
        let mut chapter = Chapter::default();
        for (place, (dot, source)) in dots.into_iter().enumerate() {
            places.insert(source, place);
            let Named { number, event, .. } = named.get(&source).ok_or_else(|| missing(source))?;
            let special = self.source.special.contains(&dot);
            self.events += u64::from(!special);
            let event = if special { Vec::new() } else { event.clone() };
            chapter.events.push(ChapterEvent { dot, number: *number, event });
        }
        for (dot, item) in items {
            let event = dot.and_then(|dot| places.get(&dot)).copied().unwrap_or_default();
            chapter.items.push(item.at(event));
        }
        self.frames.frame(Tag::Chapter, &chapter.encode())
    }
}

/// An item whose event has no place in a chapter yet.
enum Pending {
    Item(Item),
    Add,
    Put { slot: u16, value: ShownValue },
    Entry { index: u64, slot: u16, value: ShownValue },
}

impl Pending {
    const fn value(&mut self) -> Option<(u16, &mut ShownValue)> {
        match self {
            Self::Put { slot, value } | Self::Entry { slot, value, .. } => Some((*slot, value)),
            Self::Item(_) | Self::Add => None,
        }
    }

    /// About how long it is, in bytes.
    fn len(&self) -> usize {
        let value = match self {
            Self::Put { value, .. } | Self::Entry { value, .. } => value,
            Self::Item(Item::Member { key, member }) => {
                return 16 + key.as_str().len() + member.as_bytes().len();
            }
            Self::Item(_) | Self::Add => return 64,
        };
        match value {
            ShownValue::Id(_) => 64,
            ShownValue::Opening(stored) => 32 + stored.len(),
        }
    }

    fn at(self, event: usize) -> Item {
        match self {
            Self::Item(item) => item,
            Self::Add => Item::Add { event },
            Self::Put { slot, value } => Item::Put { event, slot, value },
            Self::Entry { index, slot, value } => Item::Entry { index, event, slot, value },
        }
    }
}

/// The operation of an event that put this into a register: the last that works on it.
fn slot_of(kept: &Kept, key: &Key, opening: OpeningId) -> Option<u16> {
    let slots = (0_u16..).zip(kept.operations());
    let writes = slots.filter(|(_, operation)| match operation {
        Operation::Put { key: of, .. } | Operation::Del { key: of } => of == key,
        _ => false,
    });
    let (slot, last) = writes.last()?;
    (last.value() == Some(opening)).then_some(slot)
}

fn damaged() -> StorageError {
    StorageError::damaged("the certified state")
}
