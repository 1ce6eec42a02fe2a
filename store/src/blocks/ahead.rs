//! Reading ahead: the blocks of a long value that come next are read on all cores.

use std::collections::{BTreeMap, VecDeque};
use std::panic::resume_unwind;
use std::thread::{Scope, ScopedJoinHandle};

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

/// What has been read, in the order in which it will be asked for.
type Batch = VecDeque<(BlockId, Option<Vec<u8>>)>;

/// Blocks that are asked for in the order in which manifests list them. While some are being used,
/// the next are read by a thread of `scope`.
pub struct Ahead<'s, 'e, 'r> {
    scope: &'s Scope<'s, 'e>,
    reader: Reader<'r>,
    /// Raw blocks that will be asked for.
    coming: VecDeque<BlockId>,
    /// Those before them, which are being read.
    reading: Option<ScopedJoinHandle<'s, Result<Batch, StorageError>>>,
    /// Those before them, which have been read.
    ready: Batch,
}

impl<'s, 'e, 'r: 's> Ahead<'s, 'e, 'r> {
    /// Nothing has been read.
    pub fn new(scope: &'s Scope<'s, 'e>, reader: Reader<'r>) -> Self {
        Self { scope, reader, coming: VecDeque::new(), reading: None, ready: Batch::new() }
    }

    /// What is kept as the block with this id, unchecked.
    pub fn fetch(&mut self, id: BlockId) -> Result<Option<Vec<u8>>, StorageError> {
        if self.ready.is_empty() {
            self.go_on(id)?;
        }
        if self.ready.front().is_some_and(|(next, _)| *next == id) {
            return Ok(self.ready.pop_front().and_then(|(_, block)| block));
        }
        let block = stored(self.reader, id)?;
        self.note_listed(id, block.as_deref());
        Ok(block)
    }

    /// Makes the next batch ready, if this block is in one, and starts with the one after it.
    fn go_on(&mut self, id: BlockId) -> Result<(), StorageError> {
        let reader = self.reader;
        self.ready = match self.reading.take() {
            Some(reading) => reading.join().unwrap_or_else(|panic| resume_unwind(panic))?,
            None if self.coming.front() == Some(&id) => read(reader, self.next())?,
            None => return Ok(()),
        };
        let next = self.next();
        if !next.is_empty() {
            self.reading = Some(self.scope.spawn(move || read(reader, next)));
        }
        Ok(())
    }

    fn next(&mut self) -> Vec<BlockId> {
        self.coming.drain(..self.coming.len().min(AHEAD)).collect()
    }

    /// What a manifest lists will be asked for next.
    fn note_listed(&mut self, id: BlockId, bytes: Option<&[u8]>) {
        if id.codec == Codec::DagCbor
            && let Some(Ok(manifest)) = bytes.map(Manifest::decode)
        {
            let raw = manifest.chunks.iter().map(|chunk| chunk.block);
            self.coming = raw.take_while(|block| block.codec == Codec::Raw).collect();
        }
    }
}

/// Reads blocks on all cores.
fn read(reader: Reader<'_>, ids: Vec<BlockId>) -> Result<Batch, StorageError> {
    let read = ids.par_chunks(TOGETHER).map(|ids| stored_once(reader, ids));
    let read = read.collect::<Result<Vec<_>, StorageError>>()?;
    Ok(ids.into_iter().zip(read.into_iter().flatten()).collect())
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
