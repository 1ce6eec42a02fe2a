//! The raw events: encodings, hashes, signatures, places, and the indexes that find them.

use std::collections::BTreeSet;

use quipu_merge::{
    AuthorKey, Dot, EventId, Lane, LaneInfo, Lanes, OpeningId, ParsedEvent, Refusal, Seq,
};

use super::{Check, at};
use crate::bodies::{Kept, is_gone};
use crate::db::Walk;
use crate::error::StorageError;
use crate::incoming::{Checked, Incoming, check_all};
use crate::ingest::BATCH;
use crate::lookup::{self, Stored};
use crate::missing;
use crate::opening;
use crate::pruned::{Pruned, is_pruned};
use crate::record::{self, EventRecord, put_dot};
use crate::schema::{self, Family, meta};
use crate::shallow::Floor;

/// Checks each event by itself, and tells what the branches are by the events alone.
pub fn check(check: &mut Check<'_, '_, '_>) -> Result<Lanes, StorageError> {
    let mut openings = check.reader().walk(Family::Openings, &[])?;
    let moved = openings.first();
    check.sound("column family openings", moved)?;
    let mut raw =
        Raw { openings, batch: Vec::new(), lanes: Vec::new(), last: None, missing: 0, pruned: 0 };
    check.report.events = check.each(Family::Events, &[], |check, key, value| {
        let Some(dot) = schema::parse_dot(key) else {
            check.find(format!("the key {} of an event", super::hex(key)));
            return Ok(());
        };
        let record = EventRecord::decode(value);
        let event = record.map(|r| Event {
            gone: is_gone(r.body).then(|| Kept::decode(r.body)),
            incoming: Incoming {
                event: r.event.to_vec(),
                body: (!is_gone(r.body)).then(|| r.body.to_vec()),
                openings: Vec::new(),
            },
        });
        raw.batch.push((dot, event));
        if raw.batch.len() >= BATCH { raw.settle(check) } else { Ok(()) }
    })?;
    raw.settle(check)?;
    while raw.stray(check, None)? {}
    raw.check_lanes(check)?;
    raw.check_floor(check)?;
    let events = check.report.events;
    check_ids(check, events)?;
    check_times(check, events)?;
    check_missing(check, raw.missing)?;
    check_pruned(check, raw.pruned)?;
    Ok(Lanes::restore(raw.lanes))
}

/// A raw event.
struct Event {
    /// The event, with its body unless that is gone.
    incoming: Incoming,
    /// What stands in the place of a body that is gone.
    gone: Option<Option<Kept>>,
}

/// The walk over the raw events, with that over the openings beside it.
struct Raw<'s> {
    openings: Walk<'s>,
    batch: Vec<(Dot, Option<Event>)>,
    lanes: Vec<(LaneInfo, Seq)>,
    /// The event before, as far as it could be read.
    last: Option<(Dot, EventId)>,
    /// How many values are neither whole, nor pruned or erased.
    missing: u64,
    /// How many values have been pruned.
    pruned: u64,
}

impl Raw<'_> {
    /// Checks the events of a batch, their signatures on all cores.
    fn settle(&mut self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        let batch = std::mem::take(&mut self.batch);
        let (mut places, mut incoming) = (Vec::new(), Vec::new());
        for (dot, event) in batch {
            places.push((dot, event.as_ref().map(|event| event.gone.clone())));
            incoming.extend(event.map(|event| event.incoming));
        }
        let mut checked = check_all(incoming).into_iter();
        for (dot, gone) in places {
            check.step();
            let found = if gone.is_some() { checked.next() } else { None };
            self.event(check, dot, found, gone.flatten())?;
        }
        Ok(())
    }

    fn event(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        dot: Dot,
        found: Option<Result<Checked, Refusal>>,
        gone: Option<Option<Kept>>,
    ) -> Result<(), StorageError> {
        let checked = match found {
            Some(Ok(checked)) => Some(checked),
            Some(Err(refusal)) => {
                check.find(format!("{}: {refusal}", at(dot)));
                None
            }
            None => {
                check.find(format!("{}: its record cannot be read", at(dot)));
                None
            }
        };
        self.place(check, dot, checked.as_ref())?;
        self.last = checked.as_ref().map(|checked| (dot, checked.event.id()));
        let mut values = None;
        if let Some(checked) = checked {
            indexed(check, dot, &checked)?;
            let author = checked.event.event().author;
            match (checked.body, gone) {
                (Some(Ok(body)), _) => values = Some((author, Kept::Whole(body).values())),
                (Some(Err(refusal)), _) => check.find(refusal.to_string()),
                (None, Some(Some(left))) => {
                    if check.gone.as_ref().is_none_or(|(_, cut)| !cut.covers(dot)) {
                        check.find(format!("{}: its body is gone, and may not be", at(dot)));
                    }
                    values = Some((author, left.values()));
                }
                (None, _) => check.find(format!("{}: it has no body", at(dot))),
            }
        }
        self.openings(check, dot, values)
    }

    /// An event continues the one before it on its lane, or starts the next lane.
    fn place(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        dot: Dot,
        checked: Option<&Checked>,
    ) -> Result<(), StorageError> {
        let event = checked.map(|checked| checked.event.event());
        if event.is_some_and(|event| event.seq != dot.seq) {
            check.find(format!("{}: its event has another position", at(dot)));
        }
        let lane = dot.lane.0 as usize;
        if let Some((info, tip)) = self.lanes.get_mut(lane) {
            // Up to where a shallow store starts, there are gaps.
            let gap = dot.seq != tip.next();
            if gap && check.is_below(dot) {
                *tip = dot.seq;
                if event.is_some_and(|event| event.author != info.author) {
                    check.find(format!("{}: it is by another author than the lane", at(dot)));
                }
                return Ok(());
            }
            if gap {
                check.find(format!("{}: the one before it is missing", at(dot)));
            }
            *tip = dot.seq;
            if event.is_some_and(|event| event.author != info.author) {
                check.find(format!("{}: it is by another author than the lane", at(dot)));
            }
            let continues =
                self.last.zip(event).is_none_or(|((_, last), event)| event.prev == Some(last));
            if !continues {
                check.find(format!("{}: it does not continue the one before it", at(dot)));
            }
            return Ok(());
        }
        if lane != self.lanes.len() {
            check.find(format!(
                "lanes {} to {} have no events",
                self.lanes.len(),
                lane.saturating_sub(1)
            ));
        }
        // Lanes are numbered without gaps: what is missing stands empty, within reason.
        if lane - self.lanes.len() > MAX_GAP {
            return Ok(());
        }
        let nobody = LaneInfo { author: AuthorKey([0; 32]), leaves: None };
        self.lanes.resize(lane, (nobody.clone(), Seq(0)));
        let mut info =
            event.map_or(nobody, |event| LaneInfo { author: event.author, leaves: None });
        if let Some(prev) = event.and_then(|event| event.prev) {
            let leaves = lookup::dot_of(check.reader(), prev);
            info.leaves = check.sound(&at(dot), leaves)?.flatten();
        }
        if let Some(known) = self.known_lane(check, dot, event.map(|event| event.author)) {
            info = known;
        } else if event.is_some() && info.first() != dot.seq {
            check.find(format!("{}: it neither starts a chain nor leaves a lane", at(dot)));
        }
        self.lanes.push((info, dot.seq));
        Ok(())
    }

    /// A lane that begins below where a shallow store starts: what its record says.
    fn known_lane(
        &self,
        check: &Check<'_, '_, '_>,
        dot: Dot,
        author: Option<AuthorKey>,
    ) -> Option<LaneInfo> {
        let info =
            check.snapshot.published().lanes.get(dot.lane).filter(|_| check.is_below(dot))?;
        let fits = author.is_none_or(|author| author == info.author) && info.first() <= dot.seq;
        fits.then(|| info.clone())
    }

    /// How many events the lanes have up to where the store starts.
    fn floor_count(&self, floor: &Floor) -> u64 {
        let lanes = (0..).map(Lane).zip(&self.lanes);
        let count = |(lane, (info, _)): (Lane, &(LaneInfo, Seq))| {
            (floor.shallow.floor.seq(lane) + 1).saturating_sub(info.first().0)
        };
        lanes.map(count).sum()
    }

    /// Of a shallow store, the last event of each lane up to where it starts is here.
    fn check_floor(&self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        let Some(floor) = check.floor else { return Ok(()) };
        let count = self.floor_count(floor);
        if count != floor.size {
            let (height, size) = (floor.height(), floor.size);
            check.find(format!(
                "branches that hold {count} events up to checkpoint {height}, which holds {size}"
            ));
        }
        for dot in floor.shallow.floor.iter() {
            if check.get(Family::Events, &schema::dot_key(dot))?.is_none() {
                check.find(format!("{}: the store starts from it, and it is missing", at(dot)));
            }
        }
        Ok(())
    }

    /// The openings of an event: each is what its operation names.
    fn openings(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        dot: Dot,
        values: Option<(AuthorKey, Vec<(u16, OpeningId)>)>,
    ) -> Result<(), StorageError> {
        while self.stray(check, Some(dot))? {}
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
                check.find(format!(
                    "{}: the openings from {} are not what the event names",
                    at(dot),
                    super::hex(key)
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

    /// Skips an opening that comes before those of `dot`: it belongs to no event.
    fn stray(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        dot: Option<Dot>,
    ) -> Result<bool, StorageError> {
        let Some((key, _)) = self.openings.item() else { return Ok(false) };
        if dot.is_some_and(|dot| key >= schema::dot_key(dot).as_slice()) {
            return Ok(false);
        }
        check.find(format!("the opening {} belongs to no event", super::hex(key)));
        check.report.openings += 1;
        let moved = self.openings.next();
        check.sound("column family openings", moved)?;
        Ok(true)
    }

    /// The records of the lanes say what the events say.
    fn check_lanes(&self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        for (number, (info, _)) in (0..).zip(&self.lanes) {
            let mut expected = info.author.0.to_vec();
            if let Some(leaves) = info.leaves {
                put_dot(&mut expected, leaves);
                let left = self.lanes.get(leaves.lane.0 as usize);
                if left.is_none_or(|(left, tip)| left.author != info.author || *tip <= leaves.seq) {
                    check.find(format!(
                        "lane {number} leaves its author's chain where it does not fork"
                    ));
                }
            }
            let record = check.get(Family::Meta, &meta::lane(Lane(number)))?;
            if record.is_none_or(|record| *record != expected) {
                check.find(format!("the record of lane {number} is not what its events say"));
            }
        }
        let records = check.each(Family::Meta, b"L", |_, _, _| Ok(()))?;
        if records != self.lanes.len() as u64 {
            check.find(format!("{records} records of lanes for {} lanes", self.lanes.len()));
        }
        Ok(())
    }
}

const MAX_GAP: usize = 1 << 16;

/// The indexes by id and by time say where the event is.
fn indexed(check: &mut Check<'_, '_, '_>, dot: Dot, checked: &Checked) -> Result<(), StorageError> {
    let id = checked.event.id();
    let place = lookup::dot_of(check.reader(), id);
    if check.sound(&at(dot), place)?.is_some_and(|place| place != Some(dot)) {
        check.find(format!("event {id}: the index by id does not say where it is"));
    }
    let key = schema::order_key(checked.event.event().time, dot.lane);
    let entry = check.get(Family::Order, &key)?;
    if entry.and_then(|bytes| record::Reader(&bytes).number()) != Some(dot.seq.0) {
        check.find(format!("event {id}: the index by time does not list it"));
    }
    Ok(())
}

/// No value is marked as missing that is not.
fn check_missing(check: &mut Check<'_, '_, '_>, missing: u64) -> Result<(), StorageError> {
    let marks = check.each(Family::Meta, meta::MISSING, |_, _, _| Ok(()))?;
    if marks > missing {
        check.find(format!("{marks} values are marked as missing where {missing} are"));
    }
    Ok(())
}

/// No value is recorded as pruned that is at hand, or none at all.
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

/// Each event has an entry; an index with more names what is not there.
fn check_ids(check: &mut Check<'_, '_, '_>, events: u64) -> Result<(), StorageError> {
    let entries = check.each(Family::Ids, &[], |_, _, _| Ok(()))?;
    if entries <= events {
        return Ok(());
    }
    check.find(format!("the index by id has {entries} entries for {events} events"));
    check.each(Family::Ids, &[], |check, key, value| {
        let dot = record::Reader(value).dot();
        let stored = dot.and_then(|dot| Stored::find(check.reader(), dot).ok().flatten());
        let event = stored.as_ref().and_then(|stored| stored.record().ok());
        if event.is_none_or(|record| EventId::of(record.event).0 != key) {
            check.find(format!("the index by id names {}, which is not there", super::hex(key)));
        }
        Ok(())
    })?;
    Ok(())
}

fn check_times(check: &mut Check<'_, '_, '_>, events: u64) -> Result<(), StorageError> {
    let entries = check.each(Family::Order, &[], |_, _, _| Ok(()))?;
    if entries <= events {
        return Ok(());
    }
    check.find(format!("the index by time has {entries} entries for {events} events"));
    check.each(Family::Order, &[], |check, key, value| {
        let place = schema::parse_order(key).zip(record::Reader(value).number());
        let time = match place {
            Some(((_, lane), seq)) => {
                let stored =
                    Stored::find(check.reader(), Dot { lane, seq: Seq(seq) }).ok().flatten();
                let bytes = stored.as_ref().and_then(|stored| stored.record().ok());
                bytes
                    .and_then(|record| ParsedEvent::decode(record.event).ok())
                    .map(|event| event.event().time)
            }
            None => None,
        };
        if place.is_none_or(|((at, _), _)| time != Some(at)) {
            check.find(format!("the index by time has an entry {} of no event", super::hex(key)));
        }
        Ok(())
    })?;
    Ok(())
}
