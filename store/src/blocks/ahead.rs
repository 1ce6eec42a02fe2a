//! Reading ahead: the blocks of a long value that come next are read on all cores.

use std::collections::VecDeque;

use quipu_merge::{BlockId, Codec, Manifest};
use rayon::prelude::*;

use super::stored;
use crate::db::Reader;
use crate::error::StorageError;

/// So many blocks are read together.
const AHEAD: usize = 32;

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
            let read = next.into_par_iter().map(|id| Ok((id, stored(reader, id)?)));
            self.ready = read.collect::<Result<Vec<_>, StorageError>>()?.into();
        }
        if self.ready.front().is_some_and(|(next, _)| *next == id) {
            return Ok(self.ready.pop_front().and_then(|(_, block)| block));
        }
        let block = stored(self.reader, id)?;
        self.note_listed(id, block.as_deref());
        Ok(block)
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
