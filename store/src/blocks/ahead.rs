//! Reading ahead: the blocks of a long value that come next are read on all cores.

use std::collections::{BTreeMap, VecDeque};

use quipu_merge::{BlockId, Codec, Manifest};
use rayon::prelude::*;

use super::{decode, number_of, stored};
use crate::db::Reader;
use crate::error::StorageError;
use crate::schema::Family;

/// So many blocks are read ahead,
const AHEAD: usize = 32;
/// and so many of them by one thread: neighbours lie in one block of a table, which is read and
/// decompressed once for all of them.
const TOGETHER: usize = 16;

/// Blocks that are asked for in the order in which manifests list them.
pub struct Ahead<'r> {
    reader: Reader<'r>,
    /// Raw blocks that will be asked for.
    coming: VecDeque<BlockId>,
    /// Those that have been read, in the same order.
    ready: VecDeque<(BlockId, Option<Vec<u8>>)>,
}

impl<'r> Ahead<'r> {
    /// Nothing has been read.
    pub fn new(reader: Reader<'r>) -> Self {
        Self { reader, coming: VecDeque::new(), ready: VecDeque::new() }
    }

    /// What is kept as the block with this id, unchecked.
    pub fn fetch(&mut self, id: BlockId) -> Result<Option<Vec<u8>>, StorageError> {
        if self.ready.is_empty() && self.coming.front() == Some(&id) {
            let next: Vec<_> = self.coming.drain(..self.coming.len().min(AHEAD)).collect();
            let reader = self.reader;
            let read = next.par_chunks(TOGETHER).map(|ids| stored_once(reader, ids));
            let read = read.collect::<Result<Vec<_>, StorageError>>()?;
            self.ready = next.into_iter().zip(read.into_iter().flatten()).collect();
        }
        if self.ready.front().is_some_and(|(next, _)| *next == id) {
            return Ok(self.ready.pop_front().and_then(|(_, block)| block));
        }
        let block = stored(self.reader, id)?;
        self.expect(id, block.as_deref());
        Ok(block)
    }

    /// What a manifest lists will be asked for next.
    fn expect(&mut self, id: BlockId, bytes: Option<&[u8]>) {
        if id.codec == Codec::DagCbor
            && let Some(Ok(manifest)) = bytes.map(Manifest::decode)
        {
            let raw = manifest.chunks.iter().map(|chunk| chunk.block);
            self.coming = raw.take_while(|block| block.codec == Codec::Raw).collect();
        }
    }
}

/// What is kept as these blocks, unchecked. A long value is not to push everything else out of the
/// cache.
fn stored_once(reader: Reader<'_>, ids: &[BlockId]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
    let number = |id: &BlockId| Ok(number_of(reader, *id)?.map(u64::to_be_bytes));
    let numbers = ids.iter().map(number).collect::<Result<Vec<_>, StorageError>>()?;
    let mut keys: Vec<&[u8]> = numbers.iter().flatten().map(<[u8; 8]>::as_slice).collect();
    keys.sort_unstable();
    keys.dedup();
    let records = reader.get_many_once(Family::Blocks, &keys)?;
    let known: BTreeMap<_, _> = keys.into_iter().zip(records).collect();
    let bytes = |number: &Option<[u8; 8]>| {
        let record = known.get(number.as_ref()?.as_slice())?.as_deref()?;
        decode(record).map(|(_, bytes)| bytes.to_vec())
    };
    Ok(numbers.iter().map(bytes).collect())
}
