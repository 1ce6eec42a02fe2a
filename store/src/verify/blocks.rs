//! The blocks of long values, and what refers to them: every edge that should be there, and no
//! other.

use quipu_merge::{BlockId, Codec};

use super::{Check, at, hex};
use crate::blocks::{self, Entry, Garbage, Parent};
use crate::error::StorageError;
use crate::opening;
use crate::schema::{self, Family, meta};

/// Checks the blocks, their index, the edges to them and the marks of garbage.
pub fn check(check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
    let mut edges = 0;
    let mut indexed = 0;
    check.report.blocks = check.each(Family::Blocks, &[], |check, key, record| {
        let sound =
            blocks::decode(record).filter(|(id, bytes)| BlockId::of(id.codec, bytes) == *id);
        let number = key.try_into().ok().map(u64::from_be_bytes);
        let Some(((id, bytes), number)) = sound.zip(number) else {
            check.find(format!("block {} is not what its id says", hex(key)));
            return Ok(());
        };
        let entry = blocks::entry_of(check.reader(), id);
        let entry = check.sound("the index of blocks", entry)?.flatten();
        if entry == Some(Entry::of(number, bytes)) {
            indexed += 1;
        } else {
            check.find(format!("block {id}: the index does not say where it is, and how long"));
        }
        for child in blocks::children(id, bytes) {
            edges += edge(check, child, Parent::Manifest(number), &format!("block {id}"))?;
        }
        garbage(check, number, id)
    })?;
    edges += values(check)?;
    edges += pins(check)?;
    check_edges(check, edges)?;
    check_marks(check)?;
    check_index(check, indexed)
}

/// The edges from the values of events.
fn values(check: &mut Check<'_, '_, '_>) -> Result<u64, StorageError> {
    let mut edges = 0;
    check.each(Family::Openings, &[], |check, key, page| {
        let dot = key.get(..12).and_then(schema::parse_dot);
        // What cannot be read has been found already.
        let (Some(dot), Some(page)) = (dot, opening::read_page(page)) else { return Ok(()) };
        for (slot, stored) in page {
            if let Some(link) = opening::long_value(stored) {
                edges += edge(check, link.block, Parent::Value(dot, slot), &at(dot))?;
            }
        }
        Ok(())
    })?;
    Ok(edges)
}

/// The edges from pins, and whether what is pinned is here.
fn pins(check: &mut Check<'_, '_, '_>) -> Result<u64, StorageError> {
    let mut edges = 0;
    check.each(Family::Meta, meta::PINNED_BLOCK, |check, key, _| {
        // What cannot be read is found with the other marks.
        let id = key.strip_prefix(meta::PINNED_BLOCK).and_then(blocks::decode);
        let Some((id, _)) = id else { return Ok(()) };
        let here = blocks::is_here(check.reader(), id);
        if check.sound("the index of blocks", here)? == Some(false) {
            check.find(format!("block {id} is pinned, and gone"));
        }
        edges += edge(check, id, Parent::Pin, "a pin")?;
        Ok(())
    })?;
    check.each(Family::Meta, meta::PINNED_EVENT, |check, key, _| {
        let dot = key.strip_prefix(meta::PINNED_EVENT).and_then(schema::parse_dot);
        let Some(dot) = dot else { return Ok(()) };
        if check.get(Family::Events, &schema::dot_key(dot))?.is_none() {
            check.find(format!("{} is pinned, and gone", at(dot)));
        }
        Ok(())
    })?;
    Ok(edges)
}

/// There is an edge to a block. Tells how many there are: one, or none.
fn edge(
    check: &mut Check<'_, '_, '_>,
    child: BlockId,
    parent: Parent,
    whose: &str,
) -> Result<u64, StorageError> {
    let number = blocks::number_of(check.reader(), child);
    let number = check.sound("the index of blocks", number)?.flatten();
    let there = match number {
        Some(number) => check.get(Family::Edges, &blocks::edge_key(number, parent))?.is_some(),
        None => false,
    };
    if !there {
        check.find(format!("{whose}: no edge says that it refers to block {child}"));
    }
    Ok(there.into())
}

/// A block to which no edge leads is marked as garbage.
fn garbage(check: &mut Check<'_, '_, '_>, number: u64, id: BlockId) -> Result<(), StorageError> {
    let referred = blocks::is_referred_to(check.reader(), number);
    if check.sound("column family edges", referred)? == Some(false)
        && check.get(Family::Meta, &meta::garbage(number))?.is_none()
    {
        check.find(format!("block {id}: nothing refers to it, and no mark says so"));
    }
    Ok(())
}

/// A mark of garbage has the number that the index has for its block: collecting relies on it.
fn check_marks(check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
    check.each(Family::Meta, meta::GARBAGE, |check, key, mark| {
        let number = key.strip_prefix(meta::GARBAGE).and_then(|number| number.try_into().ok());
        let Some((number, mark)) = number.map(u64::from_be_bytes).zip(Garbage::decode(mark)) else {
            check.find(format!("the mark {} of a block cannot be read", hex(key)));
            return Ok(());
        };
        let indexed = blocks::number_of(check.reader(), mark.id);
        if check.sound("the index of blocks", indexed)?.flatten() != Some(number) {
            check.find(format!(
                "block {}: its mark has a number that the index does not have",
                mark.id
            ));
        }
        Ok(())
    })?;
    Ok(())
}

/// There are no edges but those that have been met.
fn check_edges(check: &mut Check<'_, '_, '_>, met: u64) -> Result<(), StorageError> {
    let edges = check.each(Family::Edges, &[], |check, key, _| {
        if blocks::parse_edge(key).is_none() {
            check.find(format!("the edge {} cannot be read", hex(key)));
        }
        Ok(())
    })?;
    if edges > met {
        check.find(format!("there are {edges} edges to blocks where {met} things refer to one"));
    }
    Ok(())
}

/// The index names blocks that are here, and those that something is waiting for.
fn check_index(check: &mut Check<'_, '_, '_>, indexed: u64) -> Result<(), StorageError> {
    let mut here = 0;
    check.each(Family::Digests, &[], |check, key, value| {
        let codec = key.first().copied();
        let known = key.len() == 33
            && [Codec::Raw, Codec::DagCbor].iter().any(|known| Some(*known as u8) == codec);
        let Some(entry) = Entry::decode(value).filter(|_| known) else {
            check.find(format!("the index entry {} of a block cannot be read", hex(key)));
            return Ok(());
        };
        here += u64::from(entry.len.is_some());
        Ok(())
    })?;
    if here > indexed {
        check.find(format!("the index names {here} blocks where there are {indexed}"));
    }
    Ok(())
}
