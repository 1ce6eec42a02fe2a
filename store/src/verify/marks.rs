//! What stands by itself: events that wait, names.

use quipu_merge::ParsedEvent;

use super::{Check, hex};
use crate::author;
use crate::bodies::decode_height;
use crate::error::StorageError;
use crate::pruned::Pruned;
use crate::receipts;
use crate::record::WaitingRecord;
use crate::schema::{Family, meta};
use crate::shallow::Shallow;
use crate::votes;

/// Checks what else is in the family `meta`.
pub fn check(check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
    check.each(Family::Meta, &[], |check, key, value| {
        if !is_sound(key, value) {
            check.find(format!("the record {} cannot be read", hex(key)));
        }
        Ok(())
    })?;
    Ok(())
}

/// Whether a record is one of those that there are, and can be read. What others follow from has
/// been compared with them.
fn is_sound(key: &[u8], value: &[u8]) -> bool {
    match key {
        meta::FORMAT | meta::LEDGER | meta::HEADS | meta::PLACE | meta::NUMBERS => true,
        meta::BODIES => decode_height(value).is_some(),
        meta::SHALLOW => Shallow::decode(value).is_some(),
        meta::REGROWN => value.is_empty(),
        meta::AUTHOR => author::decode(value).is_some(),
        [b'W', id @ ..] => {
            let record = WaitingRecord::decode(value);
            let event =
                record.and_then(|record| ParsedEvent::decode(&record.event).ok()?.verify().ok());
            event.is_some_and(|event| event.id().0 == id)
        }
        [b'J', ..] => votes::is_sound(key, value),
        [b'Y', ..] => true,
        [b'R', ..] => receipts::event_of(key, value).is_some(),
        [b'N', author @ ..] => author.len() == 32 && std::str::from_utf8(value).is_ok(),
        [b'P', dot @ ..] => dot.len() == 12 && Pruned::decode(value).is_some(),
        [b'I', b'e', dot @ ..] => dot.len() == 12 && value.is_empty(),
        [b'I', b'b', id @ ..] => id.len() == 33 && value.is_empty(),
        [b'C' | b'E' | b'G' | b'K' | b'L' | b'M' | b'U' | b'V' | b'X', _, ..] => true,
        _ => false,
    }
}
