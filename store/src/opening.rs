//! How openings are stored: without the author where it is the event's, as it nearly always is,
//! and several to a page where an event has many.
//!
//! A page is found by the event and the slot of its first opening. Pages of one event may overlap
//! where openings came later than others.

use quipu_merge::{AuthorKey, Content, Dot, Link, Opening, SALT_LEN};

use crate::blocks::{self, Garbage};
use crate::db::{Db, Reader};
use crate::error::StorageError;
use crate::record::{self, put_number};
use crate::schema::{self, Family};
use crate::writer::Writer;

/// A page that is at least this long, in bytes, is full.
const PAGE_LEN: usize = 3072;

/// Longest value that is also kept beside its key, so that reading it takes one look-up.
pub const MAX_BESIDE: usize = 128;

const WHOLE: u8 = 0;
const INLINE: u8 = 1;

/// The stored form of an opening that an event of `author` names.
pub fn pack(author: AuthorKey, opening: &[u8]) -> Vec<u8> {
    if let Ok(Opening { author: by, salt, content: Content::Inline(bytes) }) =
        Opening::decode(opening)
        && by == author
    {
        return pack_inline(&salt, &bytes);
    }
    // Long values are rare, and what is malformed must be kept to the byte.
    [&[WHOLE], opening].concat()
}

/// The opening block of a stored form; `None` where it is damaged.
pub fn unpack(author: AuthorKey, stored: &[u8]) -> Option<Vec<u8>> {
    match stored.split_first()? {
        (&WHOLE, opening) => Some(opening.to_vec()),
        (&INLINE, rest) => {
            let (salt, content) = rest.split_first_chunk::<SALT_LEN>()?;
            let content = Content::Inline(content.to_vec());
            Some(Opening { author, salt: *salt, content }.encode())
        }
        _ => None,
    }
}

/// The long value that a stored opening refers to, if it does.
pub fn long_value(stored: &[u8]) -> Option<Link> {
    blocks::link_of(stored.strip_prefix(&[WHOLE])?)
}

/// The stored form of an opening of the event's author with a short value.
pub fn pack_inline(salt: &[u8; SALT_LEN], content: &[u8]) -> Vec<u8> {
    [&[INLINE], salt.as_slice(), content].concat()
}

/// What is kept of a value beside its key: short values as they are.
pub fn beside(stored: &[u8]) -> Option<Box<[u8]>> {
    let (_, content) = stored.strip_prefix(&[INLINE])?.split_first_chunk::<SALT_LEN>()?;
    (content.len() <= MAX_BESIDE).then(|| content.into())
}

/// The openings of a page, by slot; `None` where it is damaged.
pub fn read_page(page: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut r = record::Reader(page);
    let mut openings = Vec::new();
    while !r.0.is_empty() {
        let slot = u16::try_from(r.number()?).ok()?;
        let len = usize::try_from(r.number()?).ok()?;
        openings.push((slot, r.take(len)?));
    }
    Some(openings)
}

/// Puts stored openings, ascending by slot, on pages. `put` is called with the first slot and the bytes
/// of each.
pub fn pages<'o, E>(
    openings: impl IntoIterator<Item = (u16, &'o [u8])>,
    mut put: impl FnMut(u16, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut page = Vec::new();
    let mut first = 0;
    for (slot, stored) in openings {
        if page.is_empty() {
            first = slot;
        }
        put_number(&mut page, u64::from(slot));
        put_number(&mut page, stored.len() as u64);
        page.extend_from_slice(stored);
        if page.len() >= PAGE_LEN {
            put(first, &page)?;
            page.clear();
        }
    }
    if page.is_empty() { Ok(()) } else { put(first, &page) }
}

/// Finds the stored form of the opening of an operation.
pub fn find(reader: Reader<'_>, dot: Dot, slot: u16) -> Result<Option<Vec<u8>>, StorageError> {
    let key = schema::opening_key(dot, slot);
    let damaged = || StorageError::damaged("a page of openings");
    let on_page = |page: &[u8]| {
        let openings = read_page(page).ok_or_else(damaged)?;
        let found = openings.into_iter().find(|(at, _)| *at == slot);
        Ok::<_, StorageError>(found.map(|(_, stored)| stored.to_vec()))
    };
    // Most events have few operations, or what is wanted stands first.
    if let Some(page) = reader.get(Family::Openings, &key)? {
        return on_page(&page);
    }
    let mut walk = reader.walk(Family::Openings, &schema::dot_key(dot))?;
    walk.seek_back(&key)?;
    while let Some((_, page)) = walk.item() {
        if let Some(stored) = on_page(page)? {
            return Ok(Some(stored));
        }
        walk.back()?;
    }
    Ok(None)
}

impl Writer {
    /// Adds stored openings of an event, ascending by slot, none of which it has yet.
    pub fn put_openings<'o>(
        &mut self,
        db: &Db,
        dot: Dot,
        openings: impl IntoIterator<Item = (u16, &'o [u8])>,
    ) -> Result<(), StorageError> {
        pages(openings, |first, page| {
            self.put(db, Family::Openings, &schema::opening_key(dot, first), page)
        })
    }

    /// Drops openings of an event, whose values have been erased, and whose pages are all in the
    /// database.
    pub fn drop_openings(&mut self, db: &Db, dot: Dot, slots: &[u16]) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged("a page of openings");
        let mut walk = db.latest().walk(Family::Openings, &schema::dot_key(dot))?;
        walk.first()?;
        while let Some((key, page)) = walk.item() {
            let openings = read_page(page).ok_or_else(damaged)?;
            if openings.iter().any(|(slot, _)| slots.contains(slot)) {
                for (slot, stored) in openings.iter().filter(|(slot, _)| slots.contains(slot)) {
                    if let Some(link) = long_value(stored) {
                        self.unlink_value(db, (dot, *slot), Garbage::erased(link.block))?;
                    }
                }
                self.delete(db, Family::Openings, key)?;
                let kept = openings.into_iter().filter(|(slot, _)| !slots.contains(slot));
                self.put_openings(db, dot, kept)?;
            }
            walk.next()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_comes_back_to_the_byte() {
        let (author, other) = (AuthorKey([1; 32]), AuthorKey([2; 32]));
        let salt = [3; SALT_LEN];
        let inline = Opening { author, salt, content: Content::Inline(b"value".to_vec()) }.encode();
        let foreign =
            Opening { author: other, salt, content: Content::Inline(Vec::new()) }.encode();
        for block in [inline.as_slice(), &foreign, b"malformed", b""] {
            assert_eq!(unpack(author, &pack(author, block)).as_deref(), Some(block));
        }
        assert!(pack(author, &inline).len() < inline.len() - 32);
        assert_eq!(unpack(author, b""), None);
        assert_eq!(unpack(author, &[INLINE, 1, 2]), None);
    }
}
