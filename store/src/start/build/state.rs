//! The state of a start file, chapter by chapter.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, CutNumber, Dot, EventId, Leaf, Micros, OpeningId, ParsedEvent};
use rayon::prelude::*;

use super::super::StartError;
use super::super::chapter::{Chapter, ChapterEvent, Item};
use super::super::format::Totals;
use super::super::frames::Tag;
use super::cells::Cells;
use super::values::{Erased, Value};
use super::{Build, Input, Judged, SpecialKind, twice};
use crate::blocks::{Blocks, Parent, edge_key};
use crate::bodies::{Kept, pack_values};
use crate::error::StorageError;
use crate::lookup::{Stored, dot_of};
use crate::opening::pages;
use crate::record::{EventRecord, StoredClock};
use crate::schema::{self, Family, Kind, certified, meta};

/// An event that something stands of.
#[derive(Clone, Debug)]
pub struct Place {
    pub dot: Dot,
    pub id: EventId,
    pub time: Micros,
    pub number: CutNumber,
    author: AuthorKey,
}

/// What a chapter has of an event.
struct Named {
    place: Place,
    /// What is stored of it, where it came before.
    before: Option<Vec<u8>>,
    /// Its block, where it is new.
    event: Vec<u8>,
    /// The values that stand of it in this chapter.
    values: BTreeMap<u16, Standing>,
    used: bool,
}

struct Standing {
    value: Value,
    erased: bool,
    /// The key, for who looks for the value.
    key: Vec<u8>,
}

/// What goes on from chapter to chapter.
struct Course {
    cells: Cells,
    erased: Erased,
    blocks: Blocks,
    /// How many events there are.
    events: u64,
    chapters: u64,
    /// The key that writes belong to.
    key: Vec<u8>,
}

impl Build<'_> {
    /// Reads the state and checks it against its root. Tells how much there is.
    pub fn take_state(
        &mut self,
        input: &mut Input<'_>,
        judged: &Judged,
    ) -> Result<Totals, StartError> {
        let checkpoint = self.head.last.checkpoint.clone();
        let genesis_time = self.head.genesis.event().time;
        let mut course = Course {
            cells: Cells::new(checkpoint.height, checkpoint.size, genesis_time),
            erased: Erased::new(self, judged)?,
            blocks: Blocks::load(self.out.db.latest())?,
            events: self.special.len() as u64,
            chapters: 0,
            key: Vec::new(),
        };
        self.mark_redacted(judged)?;
        for (author, held) in judged.verdicts.roles() {
            let record = held.join(",").into_bytes();
            self.out.put(Family::Final, &certified::roles(author), &record)?;
            course.cells.leaf(Leaf::member(&author, &held));
        }
        while let Some(content) = input.take(Tag::Chapter)? {
            self.take_chapter(&mut course, Chapter::decode(&content)?)?;
            course.chapters += 1;
        }
        let Course { cells, erased, events, .. } = course;
        let (keys, root) = cells.finish(&mut self.out)?;
        if root.is_none_or(|root| root != checkpoint.state) {
            return Err(StartError::State);
        }
        for (dot, number) in std::mem::take(&mut self.numbers) {
            self.put_number(dot, number)?;
        }
        self.out.flush()?;
        self.erase_late(&erased)?;
        Ok(Totals { keys, events })
    }

    /// Marks what redacted events named, as far as that is known.
    fn mark_redacted(&mut self, judged: &Judged) -> Result<(), StartError> {
        for (_, _, dot) in judged.redacted.keys() {
            for (slot, _) in Stored::read(self.out.db.latest(), *dot)?.kept()?.values() {
                self.out.put(Family::Meta, &meta::erased(*dot, slot), &[])?;
            }
        }
        Ok(())
    }

    fn take_chapter(&mut self, course: &mut Course, chapter: Chapter) -> Result<(), StartError> {
        let mut named = self.name(chapter.events, course.chapters > 0)?;
        let value = |item: &Item| match item {
            Item::Put { event, value, .. } | Item::Entry { event, value, .. } => {
                let named = named.get(*event).ok_or_else(no_event)?;
                Value::of(named.place.author, value).map(Some)
            }
            _ => Ok(None),
        };
        let values = chapter.items.par_iter().map(value).collect::<Result<Vec<_>, _>>()?;
        for (item, value) in chapter.items.into_iter().zip(values) {
            self.take_item(course, &mut named, item, value)?;
        }
        for named in named {
            if !named.used {
                return Err(StartError::corrupt("an event that nothing stands of"));
            }
            course.events += u64::from(!self.special.contains_key(&named.place.dot));
            self.write_named(course, named)?;
        }
        course.cells.grow_some(&mut self.out)?;
        // The next chapter may name the same events.
        Ok(self.out.flush()?)
    }

    /// Checks the events of a chapter.
    fn name(&self, events: Vec<ChapterEvent>, again: bool) -> Result<Vec<Named>, StartError> {
        let ascending = events.is_sorted_by(|a, b| a.dot < b.dot);
        if !ascending {
            return Err(StartError::corrupt("events that do not ascend"));
        }
        let parse = |event: &ChapterEvent| match event.event.as_slice() {
            [] => Ok(None),
            block => ParsedEvent::decode(block).map(Some),
        };
        let parsed = events.par_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let named = events.into_iter().zip(parsed);
        let named = named.map(|(event, parsed)| self.name_one(event, parsed, again));
        let named = named.collect::<Result<Vec<_>, StartError>>()?;
        let mut ids = BTreeSet::new();
        match named.iter().find(|named| !ids.insert(named.place.id)) {
            Some(named) => Err(twice(named.place.id)),
            None => Ok(named),
        }
    }

    fn name_one(
        &self,
        event: ChapterEvent,
        parsed: Option<ParsedEvent>,
        again: bool,
    ) -> Result<Named, StartError> {
        let ChapterEvent { dot, number, event } = event;
        let author = self.lane(dot)?.author;
        let reader = self.out.db.latest();
        let (values, used) = (BTreeMap::new(), false);
        if let Some(special) = self.special.get(&dot) {
            let is_data = special.kind != SpecialKind::Control && !special.void;
            if parsed.is_some() || !is_data || special.number != number {
                return Err(twice(special.id));
            }
            let (before, time) = stored(&Stored::read(reader, dot)?)?;
            let place = Place { dot, id: special.id, time, number, author };
            return Ok(Named { place, before: Some(before), event, values, used });
        }
        let parsed = parsed.ok_or_else(|| StartError::corrupt("an event that has not come"))?;
        let (id, content) = (parsed.id(), parsed.event());
        let is_tip = self.lanes.tip(dot.lane) == dot.seq.0;
        if (content.author, content.seq) != (author, dot.seq)
            || is_tip
            || self.ids.contains_key(&id)
        {
            return Err(twice(id));
        }
        let known = self.numbers.get(&dot).is_some_and(|known| *known != number);
        if known || number > self.head.number() {
            return Err(StartError::contradiction(
                "the number of a cut that does not hold it first",
            ));
        }
        let mut before = None;
        if again {
            let known = dot_of(reader, id)?;
            let here = Stored::find(reader, dot)?;
            before = match (known, here) {
                (None, None) => None,
                (Some(known), Some(here)) if known == dot => Some(stored(&here)?.0),
                _ => return Err(twice(id)),
            };
        }
        let place = Place { dot, id, time: content.time, number, author };
        Ok(Named { place, before, event, values, used })
    }

    fn take_item(
        &mut self,
        course: &mut Course,
        named: &mut [Named],
        item: Item,
        value: Option<Value>,
    ) -> Result<(), StartError> {
        let Self { out, .. } = self;
        let cells = &mut course.cells;
        let begun = match &item {
            Item::Counter { key, .. }
            | Item::List { key }
            | Item::Member { key, .. }
            | Item::Register { key } => Some(key),
            _ => None,
        };
        if let Some(key) = begun {
            course.key = key.as_str().as_bytes().to_vec();
        }
        match item {
            Item::Counter { key, sum } => return cells.counter(out, &key, sum),
            Item::List { key } => return cells.begin(out, Kind::List, &key, None),
            Item::Register { key } => return cells.begin(out, Kind::Register, &key, None),
            Item::Member { key, member } => {
                return cells.begin(out, Kind::Member, &key, Some(&member));
            }
            _ => {}
        }
        let (Item::Put { event, .. } | Item::Add { event } | Item::Entry { event, .. }) = item
        else {
            return Ok(());
        };
        let named = named.get_mut(event).ok_or_else(no_event)?;
        named.used = true;
        let slot = match (&item, &value) {
            (Item::Put { slot, .. }, Some(value)) => {
                cells.put(&named.place, *slot, value.id)?;
                *slot
            }
            (Item::Entry { index, slot, .. }, Some(value)) => {
                cells.entry(out, *index, &named.place, *slot, value.id)?;
                *slot
            }
            _ => return cells.add(&named.place),
        };
        let Some(value) = value else { return Ok(()) };
        let Place { author, dot, .. } = named.place;
        let erased = course.erased.take(author, dot, value.id);
        let standing = Standing { value, erased, key: course.key.clone() };
        match named.values.insert(slot, standing) {
            Some(_) => Err(StartError::contradiction("one operation has written two keys")),
            None => Ok(()),
        }
    }

    fn write_named(&mut self, course: &Course, named: Named) -> Result<(), StartError> {
        let Named { place, before, event, values, .. } = named;
        let Place { dot, id, time, number, .. } = place;
        let mut kept = BTreeMap::<u16, OpeningId>::new();
        let mut clock = StoredClock::Floor;
        let mut event = event;
        if let Some(before) = &before {
            let damaged = || StorageError::damaged("an event");
            let record = EventRecord::decode(before).ok_or_else(damaged)?;
            if !event.is_empty() && event != record.event {
                return Err(twice(id));
            }
            event = record.event.to_vec();
            clock = record.clock.clone();
            kept.extend(Kept::decode(record.body).ok_or_else(damaged)?.values());
        }
        let named_all = self.special.get(&dot).is_some_and(|s| s.kind == SpecialKind::Redacted);
        for (slot, standing) in &values {
            let known = kept.insert(*slot, standing.value.id);
            let fits = if named_all { known == Some(standing.value.id) } else { known.is_none() };
            if !fits {
                return Err(StartError::contradiction(format!("event {id} has not written that")));
            }
        }
        let kept: Vec<_> = kept.into_iter().collect();
        let body = pack_values(&kept);
        let record = EventRecord { clock, time, event: &event, body: &body };
        self.out.put(Family::Events, &schema::dot_key(dot), &record.encode())?;
        if before.is_none() {
            self.out.write_place(dot, id, time)?;
            self.put_number(dot, number)?;
        }
        self.write_values(course, dot, &values)
    }

    fn write_values(
        &mut self,
        course: &Course,
        dot: Dot,
        values: &BTreeMap<u16, Standing>,
    ) -> Result<(), StartError> {
        for (slot, Standing { value, erased, key }) in values {
            if *erased {
                self.out.put(Family::Meta, &meta::erased(dot, *slot), &[])?;
                continue;
            }
            if value.stored.is_none() || value.link.is_some() {
                // The body that would tell the key is not here.
                self.out.put(Family::Meta, &meta::missing(dot, *slot), key)?;
            }
            if let Some(link) = value.link {
                let child = course.blocks.number_for(self.out.db, link.block)?;
                self.out.put(Family::Edges, &edge_key(child, Parent::Value(dot, *slot)), &[])?;
                self.out.delete(Family::Meta, &meta::garbage(child))?;
            }
        }
        let openings = values.iter().filter(|(_, standing)| !standing.erased);
        let openings = openings
            .filter_map(|(slot, standing)| Some((*slot, standing.value.stored.as_deref()?)));
        let out = &mut self.out;
        pages(openings, |first, page| {
            out.put(Family::Openings, &schema::opening_key(dot, first), page)
        })?;
        Ok(())
    }

    fn put_number(&mut self, dot: Dot, number: CutNumber) -> Result<(), StorageError> {
        let mut record = Vec::with_capacity(4);
        crate::record::put_number(&mut record, u64::from(number) + 1);
        self.out.put(Family::Final, &certified::boundary(dot), &record)
    }
}

fn stored(stored: &Stored<'_>) -> Result<(Vec<u8>, Micros), StorageError> {
    let record = stored.record()?;
    Ok((record.encode(), record.time))
}

fn no_event() -> StartError {
    StartError::corrupt("a write of an event that is not there")
}
