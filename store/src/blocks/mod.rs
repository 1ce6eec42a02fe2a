//! The blocks of long values: where they are, what refers to them, and who is using them.
//!
//! Blocks are kept under local numbers in the order in which they came: what belongs together lies
//! together, nothing is ever sorted into its place, and what is collected leaves whole files. An
//! index by digest finds them. An **edge** says that something refers to a block: a manifest, the
//! value of an event, or a pin. A block to which no edge leads is garbage, and has a mark that says since when;
//! marks of other blocks may be left over, and mean nothing.
//!
//! Whoever is about to refer to blocks **leases** them meanwhile, in memory: what a crash ends needs no lease.

mod ahead;
mod cascade;
mod edges;
mod numbers;
mod part;
mod sink;

use std::collections::BTreeSet;

use quipu_merge::{BlockId, Codec, Content, Link, Manifest, Opening};

pub use ahead::Ahead;
pub use cascade::Cascade;
pub use edges::{Edges, Garbage, Held, Parent, edge_key, find_parent, is_referred_to, parse_edge};
pub use numbers::{Blocks, remove_unfinished};
pub use part::missing_of;
pub use sink::BlockSink;

use crate::db::Reader;
use crate::error::StorageError;
use crate::record::{self, put_number};
use crate::schema::{self, Family};

/// The long value that an opening refers to, if it does.
pub fn link_of(opening: &[u8]) -> Option<Link> {
    match Opening::decode(opening) {
        Ok(Opening { content: Content::Linked(link), .. }) => Some(link),
        _ => None,
    }
}

/// Calls `visit` with the id of each block of a long value, manifests before what they list, and
/// each once, however often it occurs. `visit` hands the block back, as far as it is at hand.
pub fn for_each<E>(
    link: Link,
    mut visit: impl FnMut(BlockId) -> Result<Option<Vec<u8>>, E>,
) -> Result<(), E> {
    let mut open = vec![link.block];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        if let Some(bytes) = visit(id)? {
            open.extend(children(id, &bytes));
        }
    }
    Ok(())
}

/// The blocks that a block lists, if it is a manifest.
pub fn children(id: BlockId, bytes: &[u8]) -> BTreeSet<BlockId> {
    let manifest = if id.codec == Codec::DagCbor { Manifest::decode(bytes).ok() } else { None };
    manifest.into_iter().flat_map(|manifest| manifest.chunks).map(|chunk| chunk.block).collect()
}

/// What the index says of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub number: u64,
    /// Its length in bytes, if it is here. Otherwise something refers to it that has come before it.
    pub len: Option<u32>,
}

impl Entry {
    /// That of a block that is here.
    pub fn of(number: u64, bytes: &[u8]) -> Self {
        Self { number, len: u32::try_from(bytes.len()).ok() }
    }

    fn encode(self) -> Vec<u8> {
        let mut record = Vec::with_capacity(8);
        put_number(&mut record, self.number);
        put_len(&mut record, self.len);
        record
    }

    /// Reads an entry.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = record::Reader(bytes);
        let (number, len) = (r.number()?, read_len(&mut r)?);
        r.0.is_empty().then_some(Self { number, len })
    }
}

/// Appends the length of a block, which may not be here.
fn put_len(out: &mut Vec<u8>, len: Option<u32>) {
    put_number(out, len.map_or(0, |len| u64::from(len) + 1));
}

fn read_len(r: &mut record::Reader<'_>) -> Option<Option<u32>> {
    r.number()?.checked_sub(1).map(u32::try_from).transpose().ok()
}

/// What the index says of a block, which something refers to or which is here.
pub fn entry_of(reader: Reader<'_>, id: BlockId) -> Result<Option<Entry>, StorageError> {
    let Some(bytes) = reader.get(Family::Digests, &schema::digest_key(id))? else {
        return Ok(None);
    };
    let damaged = || StorageError::damaged(format!("the index entry of block {id}"));
    Entry::decode(&bytes).map(Some).ok_or_else(damaged)
}

/// The number of a block, which something refers to or which is here.
pub fn number_of(reader: Reader<'_>, id: BlockId) -> Result<Option<u64>, StorageError> {
    Ok(entry_of(reader, id)?.map(|entry| entry.number))
}

/// What is kept as the block with this id, unchecked.
pub fn stored(reader: Reader<'_>, id: BlockId) -> Result<Option<Vec<u8>>, StorageError> {
    let Some(number) = number_of(reader, id)? else { return Ok(None) };
    let Some(record) = reader.get(Family::Blocks, &number.to_be_bytes())? else { return Ok(None) };
    Ok(decode(&record).map(|(_, bytes)| bytes.to_vec()))
}

/// The block with this id. What has rotted on the disk is as good as missing.
pub fn read(reader: Reader<'_>, id: BlockId) -> Result<Option<Vec<u8>>, StorageError> {
    Ok(stored(reader, id)?.filter(|bytes| BlockId::of(id.codec, bytes) == id))
}

/// Whether the block with this id is here.
pub fn is_here(reader: Reader<'_>, id: BlockId) -> Result<bool, StorageError> {
    Ok(entry_of(reader, id)?.is_some_and(|entry| entry.len.is_some()))
}

/// A block of a long value that is not here, if there is one. Only manifests are read.
pub fn first_missing(reader: Reader<'_>, link: Link) -> Result<Option<BlockId>, StorageError> {
    Ok(missing(reader, link, 1)?.pop())
}

/// The blocks of a long value that are not here, up to `limit` of them, as far as manifests that are
/// here tell. Only manifests are read.
pub fn missing(reader: Reader<'_>, link: Link, limit: usize) -> Result<Vec<BlockId>, StorageError> {
    let mut missing = Vec::new();
    for_each(link, |id| {
        if missing.len() >= limit {
            return Ok(None);
        }
        let manifest = if id.codec == Codec::DagCbor { read(reader, id)? } else { None };
        if manifest.is_none() && !(id.codec == Codec::Raw && is_here(reader, id)?) {
            missing.push(id);
        }
        Ok::<_, StorageError>(manifest)
    })?;
    Ok(missing)
}

impl BlockSink<'_> {
    /// Takes in the blocks of a long value, as far as `find` has them.
    pub fn copy<E: From<StorageError>>(
        &mut self,
        link: Link,
        mut find: impl FnMut(BlockId) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<(), E> {
        for_each(link, |id| {
            if self.has(id)? {
                // What it lists may be missing all the same.
                return Ok(self.read(id)?);
            }
            let found = find(id)?;
            if let Some(bytes) = &found {
                self.put(id, bytes)?;
            }
            Ok(found)
        })
    }
}

/// What is kept of a block: its id, for whoever finds it, and its bytes.
fn encode(id: BlockId, bytes: &[u8]) -> Vec<u8> {
    [schema::digest_key(id).as_slice(), bytes].concat()
}

/// Reads a kept block back.
pub fn decode(record: &[u8]) -> Option<(BlockId, &[u8])> {
    let (&codec, rest) = record.split_first()?;
    let (digest, bytes) = rest.split_first_chunk::<32>()?;
    let codec = [Codec::Raw, Codec::DagCbor].into_iter().find(|known| *known as u8 == codec)?;
    Some((BlockId { codec, digest: *digest }, bytes))
}
