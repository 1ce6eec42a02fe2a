//! The blocks of long values: finding and copying them.

use std::collections::BTreeSet;

use quipu_merge::{BlockId, Codec, Content, Link, Manifest, Opening};
use rocksdb::WriteBatch;

use crate::db::Reader;
use crate::error::StorageError;
use crate::ledger::Ledger;
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
        if let Some(bytes) = visit(id)?
            && id.codec == Codec::DagCbor
            && let Ok(manifest) = Manifest::decode(&bytes)
        {
            open.extend(manifest.chunks.iter().map(|chunk| chunk.block));
        }
    }
    Ok(())
}

/// The block with this id. What has rotted on the disk is as good as missing.
pub fn read(reader: Reader<'_>, id: BlockId) -> Result<Option<Vec<u8>>, StorageError> {
    let bytes = reader.get(Family::Blocks, &schema::block_key(id))?;
    let sound = bytes.filter(|bytes| BlockId::of(id.codec, bytes) == id);
    Ok(sound.map(|bytes| bytes.to_vec()))
}

/// Whether all blocks of a long value are here.
pub fn are_here(reader: Reader<'_>, link: Link) -> Result<bool, StorageError> {
    let mut all = true;
    for_each(link, |id| {
        let bytes = reader.get(Family::Blocks, &schema::block_key(id))?;
        all &= bytes.is_some();
        // Nothing depends on the rest any more.
        Ok::<_, StorageError>(bytes.filter(|_| all).map(|bytes| bytes.to_vec()))
    })?;
    Ok(all)
}

impl Ledger {
    /// Takes in the blocks of a long value, as far as `find` has them. Without an event that
    /// refers to them they are of no consequence.
    pub(crate) fn copy_blocks<E: From<StorageError>>(
        &self,
        link: Link,
        mut find: impl FnMut(BlockId) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<(), E> {
        for_each(link, |id| {
            let key = schema::block_key(id);
            if let Some(held) = self.latest().get(Family::Blocks, &key)? {
                return Ok(Some(held.to_vec()));
            }
            let found = find(id)?;
            if let Some(bytes) = &found {
                let mut batch = WriteBatch::default();
                self.db.put(&mut batch, Family::Blocks, &key, bytes)?;
                self.db.write(batch, false)?;
            }
            Ok(found)
        })
    }
}
