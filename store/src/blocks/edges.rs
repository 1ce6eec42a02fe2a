//! What refers to a block.

use std::collections::BTreeSet;

use quipu_merge::{BlockId, Dot, Micros};

use super::{Entry, entry_of, put_len, read_len};
use crate::db::{Db, Reader, Walk};
use crate::error::StorageError;
use crate::ledger::{Ledger, now};
use crate::opening;
use crate::record;
use crate::schema::{Family, digest_key, dot_key, meta, parse_dot};
use crate::writer::Writer;

/// What refers to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parent {
    /// The manifest with this number.
    Manifest(u64),
    /// A pin of this replica.
    Pin,
    /// A value: the event, and the index of the operation in its body.
    Value(Dot, u16),
}

const MANIFEST: u8 = b'm';
const PIN: u8 = b'p';
const VALUE: u8 = b'v';

/// The key of an edge.
pub fn edge_key(child: u64, parent: Parent) -> Vec<u8> {
    let mut key = child.to_be_bytes().to_vec();
    match parent {
        Parent::Manifest(number) => {
            key.push(MANIFEST);
            key.extend(number.to_be_bytes());
        }
        Parent::Pin => key.push(PIN),
        Parent::Value(dot, slot) => {
            key.push(VALUE);
            key.extend(dot_key(dot));
            key.extend(slot.to_be_bytes());
        }
    }
    key
}

/// Reads the key of an edge.
pub fn parse_edge(key: &[u8]) -> Option<(u64, Parent)> {
    let (child, rest) = key.split_first_chunk::<8>()?;
    let parent = match rest.split_first()? {
        (&MANIFEST, number) => Parent::Manifest(u64::from_be_bytes(number.try_into().ok()?)),
        (&PIN, []) => Parent::Pin,
        (&VALUE, place) => {
            let (dot, slot) = place.split_last_chunk::<2>()?;
            Parent::Value(parse_dot(dot)?, u16::from_be_bytes(*slot))
        }
        _ => return None,
    };
    Some((u64::from_be_bytes(*child), parent))
}

/// What refers to a block, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    No,
    /// A pin, and nothing else.
    ByPin,
    /// A value or a manifest.
    Yes,
}

/// Tells of blocks whether they are held, one after the other by ascending numbers.
pub struct Edges<'r> {
    walk: Walk<'r>,
    /// Where it stands: no edge lies between what was asked for last and this.
    at: Option<(u64, Parent)>,
    started: bool,
}

impl<'r> Edges<'r> {
    /// For the blocks from `first` to `last`. What has been deleted leaves a trace in the database,
    /// and a walk passes all traces up to where it ends: it is not to go farther than it must.
    pub fn between(reader: Reader<'r>, first: u64, last: u64) -> Result<Self, StorageError> {
        let end = last.checked_add(1).map(|end| end.to_be_bytes().to_vec());
        let walk = reader.walk_between(Family::Edges, &first.to_be_bytes(), end)?;
        Ok(Self { walk, at: None, started: false })
    }

    /// Whether a block is held.
    pub fn held(&mut self, child: u64) -> Result<Held, StorageError> {
        if !self.started || self.at.is_some_and(|(at, _)| at < child) {
            self.walk.seek(&child.to_be_bytes())?;
            self.started = true;
            self.look()?;
        }
        if self.at == Some((child, Parent::Pin)) {
            self.walk.next()?;
            self.look()?;
            let other = self.at.is_some_and(|(at, _)| at == child);
            return Ok(if other { Held::Yes } else { Held::ByPin });
        }
        Ok(if self.at.is_some_and(|(at, _)| at == child) { Held::Yes } else { Held::No })
    }

    fn look(&mut self) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged("an edge between blocks");
        let at = self.walk.item().map(|(key, _)| parse_edge(key).ok_or_else(damaged));
        self.at = at.transpose()?;
        Ok(())
    }
}

/// Whether anything refers to a block.
pub fn is_referred_to(reader: Reader<'_>, child: u64) -> Result<bool, StorageError> {
    Ok(Edges::between(reader, child, child)?.held(child)? != Held::No)
}

/// So many edges are followed from one block, and from all on the way together, when what refers to a
/// block is looked for.
const MAX_FOLLOWED: usize = 256;
const MAX_FOLLOWED_IN_ALL: usize = 4096;

/// Whether something for which `is_it` holds refers to a block, directly or through manifests. `is_it`
/// is called with a block on the way and what refers to it. Of blocks to which very much refers, not
/// all is looked at.
pub fn find_parent(
    reader: Reader<'_>,
    block: u64,
    mut is_it: impl FnMut(u64, Parent) -> Result<bool, StorageError>,
) -> Result<bool, StorageError> {
    let damaged = || StorageError::damaged("an edge between blocks");
    let (mut open, mut seen, mut followed) = (vec![block], BTreeSet::from([block]), 0);
    while let Some(child) = open.pop()
        && followed < MAX_FOLLOWED_IN_ALL
    {
        let mut walk = reader.walk(Family::Edges, &child.to_be_bytes())?;
        walk.first()?;
        for _ in 0..MAX_FOLLOWED {
            let Some((key, _)) = walk.item() else { break };
            let (_, parent) = parse_edge(key).ok_or_else(damaged)?;
            if is_it(child, parent)? {
                return Ok(true);
            }
            if let Parent::Manifest(number) = parent
                && seen.insert(number)
            {
                open.push(number);
            }
            followed += 1;
            walk.next()?;
        }
    }
    Ok(false)
}

/// The mark of a block that may be garbage.
#[derive(Clone, Copy, Debug)]
pub struct Garbage {
    /// Since when nothing refers to it.
    pub since: Micros,
    /// Its id. The index has it under the number that is marked, as long as the mark stands.
    pub id: BlockId,
    /// Its length in bytes, if it was here when it was marked. So nobody has to look into the index,
    /// where garbage lies scattered among all that stays.
    pub len: Option<u32>,
}

impl Garbage {
    /// Nothing refers to the block from now on.
    pub fn now(id: BlockId) -> Self {
        Self { since: now(), id, len: None }
    }

    /// The block was of a value that has been erased.
    pub const fn erased(id: BlockId) -> Self {
        Self { since: Micros(0), id, len: None }
    }

    /// Whether it was of an erased value: it has no grace period.
    pub const fn is_erased(&self) -> bool {
        self.since.0 == 0
    }

    /// Writes the mark.
    pub fn encode(self) -> Vec<u8> {
        let mut record = [self.since.0.to_be_bytes().as_slice(), &digest_key(self.id)].concat();
        put_len(&mut record, self.len);
        record
    }

    /// Reads the mark.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (since, rest) = bytes.split_first_chunk::<8>()?;
        let (id, rest) = super::decode(rest)?;
        let mut r = record::Reader(rest);
        let len = read_len(&mut r)?;
        r.0.is_empty().then_some(Self { since: Micros(u64::from_be_bytes(*since)), id, len })
    }
}

impl Ledger {
    /// The slots with long values, and the numbers of the blocks that they refer to.
    pub(crate) fn links(
        &self,
        openings: &[(u16, Vec<u8>)],
    ) -> Result<Vec<(u16, u64)>, StorageError> {
        let mut links = Vec::new();
        for (slot, stored) in openings {
            if let Some(link) = opening::long_value(stored) {
                links.push((*slot, self.blocks.number_for(&self.db, link.block)?));
            }
        }
        Ok(links)
    }
}

impl Writer {
    /// Says that a value refers to the block with this number.
    pub fn link_value(
        &mut self,
        db: &Db,
        dot: Dot,
        slot: u16,
        child: u64,
    ) -> Result<(), StorageError> {
        self.put(db, Family::Edges, &edge_key(child, Parent::Value(dot, slot)), &[])?;
        // Nothing referred to it when it came. Collecting is not to look at what stays.
        self.delete(db, Family::Meta, &meta::garbage(child))
    }

    /// Says that a value no longer refers to a block. Tells the block's number.
    pub fn unlink_value(
        &mut self,
        db: &Db,
        (dot, slot): (Dot, u16),
        garbage: Garbage,
    ) -> Result<Option<u64>, StorageError> {
        let Some(child) = entry_of(db.latest(), garbage.id)? else { return Ok(None) };
        self.delete(db, Family::Edges, &edge_key(child.number, Parent::Value(dot, slot)))?;
        self.mark_garbage(db, child, garbage)?;
        Ok(Some(child.number))
    }

    /// Marks a block to which something no longer refers. What has been erased stays so: others
    /// that go later do not give it a grace period again.
    pub fn mark_garbage(
        &mut self,
        db: &Db,
        block: Entry,
        garbage: Garbage,
    ) -> Result<(), StorageError> {
        let key = meta::garbage(block.number);
        if !garbage.is_erased() {
            let before = db.latest().get(Family::Meta, &key)?;
            if before.and_then(|mark| Garbage::decode(&mark)).is_some_and(|mark| mark.is_erased()) {
                return Ok(());
            }
        }
        self.put(db, Family::Meta, &key, &Garbage { len: block.len, ..garbage }.encode())
    }
}
