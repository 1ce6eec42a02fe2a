//! The indexes that find events: by id and by time.

use quipu_merge::{Dot, EventId, ParsedEvent, Seq};

use super::{Check, at, hex};
use crate::error::StorageError;
use crate::incoming::Checked;
use crate::lookup::{self, Stored};
use crate::record;
use crate::schema::{self, Family};

/// The indexes by id and by time say where the event is.
pub fn check_event(
    check: &mut Check<'_, '_, '_>,
    dot: Dot,
    checked: &Checked,
) -> Result<(), StorageError> {
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

/// Each event has an entry; an index with more names what is not there.
pub fn check(check: &mut Check<'_, '_, '_>, events: u64) -> Result<(), StorageError> {
    check_ids(check, events)?;
    check_times(check, events)
}

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
            check.find(format!("the index by id names {}, which is not there", hex(key)));
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
            check.find(format!("the index by time has an entry {} of no event", hex(key)));
        }
        Ok(())
    })?;
    Ok(())
}
