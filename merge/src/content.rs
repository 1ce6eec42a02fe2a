//! Long content, cut into raw blocks under manifests, and put together again.
//!
//! Both directions stream: they hold one raw block and one manifest per level.

use std::mem;

use crate::cbor::Malformed;
use crate::id::{BlockId, Codec};
use crate::value::{
    CONTENT_LEN_LIMIT, Link, MAX_CHUNKS, MAX_MANIFEST_DEPTH, MAX_RAW_LEN, Manifest,
};

/// Cuts content into blocks of [`MAX_RAW_LEN`] bytes and hands each block on as it is complete,
/// manifests after what they list.
#[derive(Debug)]
pub struct ContentWriter<F> {
    emit: F,
    cut: Cut,
    buffer: Vec<u8>,
    size: u64,
    /// Links that wait for their manifest; those at place *n* have at most *n* manifests below.
    levels: Vec<Vec<Link>>,
}

/// Where to cut; only tests use other lengths than the format's.
#[derive(Clone, Copy, Debug)]
struct Cut {
    raw_len: usize,
    chunks: usize,
}

/// Content that cannot be written. Blocks may have been handed on; nothing refers to them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentWriteError<E> {
    /// There is no content: an opening carries the empty value itself.
    #[error("there is no content")]
    Empty,
    /// The content has 2^53 bytes or more.
    #[error("the content has 2^53 bytes or more")]
    TooLong,
    /// A manifest breaks a limit: a fault of this program.
    #[error("a manifest cannot be written: {0}")]
    Manifest(Malformed),
    /// A block could not be handed on.
    #[error("a block cannot be written")]
    Emit(#[source] E),
}

impl<E, F: FnMut(BlockId, &[u8]) -> Result<(), E>> ContentWriter<F> {
    /// Starts empty content, whose blocks go to `emit`.
    pub fn new(emit: F) -> Self {
        Self::with(Cut { raw_len: MAX_RAW_LEN, chunks: MAX_CHUNKS }, emit)
    }

    fn with(cut: Cut, emit: F) -> Self {
        Self { emit, cut, buffer: Vec::new(), size: 0, levels: Vec::new() }
    }

    /// Adds bytes to the content.
    ///
    /// # Errors
    /// The content becomes too long, or a block cannot be handed on. Start again then.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), ContentWriteError<E>> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size >= CONTENT_LEN_LIMIT {
            return Err(ContentWriteError::TooLong);
        }
        while !bytes.is_empty() {
            let room = self.cut.raw_len.saturating_sub(self.buffer.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() >= self.cut.raw_len {
                self.raw()?;
            }
        }
        Ok(())
    }

    /// Hands on the blocks that are left, and tells where the content is.
    ///
    /// # Errors
    /// There is no content, or a block cannot be handed on.
    pub fn finish(mut self) -> Result<Link, ContentWriteError<E>> {
        if !self.buffer.is_empty() {
            self.raw()?;
        }
        let mut level = 0;
        loop {
            let links = self.levels.get_mut(level).ok_or(ContentWriteError::Empty)?;
            let links = mem::take(links);
            let top = level + 1 == self.levels.len();
            match *links.as_slice() {
                [link] if top => return Ok(link),
                [] => {}
                // A manifest of one link would say nothing: the link goes up itself.
                [link] => self.link(level + 1, link)?,
                _ => self.manifest(level, links)?,
            }
            level += 1;
        }
    }

    fn raw(&mut self) -> Result<(), ContentWriteError<E>> {
        let block = BlockId::of(Codec::Raw, &self.buffer);
        (self.emit)(block, &self.buffer).map_err(ContentWriteError::Emit)?;
        let link = Link { block, size: self.buffer.len() as u64 };
        self.buffer.clear();
        self.link(0, link)
    }

    /// Adds a link to a level; a full level becomes a manifest first, so that content which just
    /// fills one has no manifest above it.
    fn link(&mut self, level: usize, link: Link) -> Result<(), ContentWriteError<E>> {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        let Some(links) = self.levels.get_mut(level) else { return Ok(()) };
        let full = (links.len() >= self.cut.chunks).then(|| mem::take(links));
        links.push(link);
        full.map_or(Ok(()), |links| self.manifest(level, links))
    }

    fn manifest(&mut self, level: usize, chunks: Vec<Link>) -> Result<(), ContentWriteError<E>> {
        let manifest = Manifest { chunks };
        let size = manifest.size().ok_or(ContentWriteError::TooLong)?;
        let bytes = manifest.encode().map_err(ContentWriteError::Manifest)?;
        let block = BlockId::of(Codec::DagCbor, &bytes);
        (self.emit)(block, &bytes).map_err(ContentWriteError::Emit)?;
        self.link(level + 1, Link { block, size })
    }
}

/// Content that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentReadError<E> {
    /// A block is not at hand.
    #[error("block {0} is missing")]
    Missing(BlockId),
    /// The bytes at hand are not those that the id names.
    #[error("block {0} is not what its id says")]
    Mismatch(BlockId),
    /// A block that should be a manifest is none.
    #[error("manifest {block} is malformed: {detail}")]
    Manifest {
        /// The block.
        block: BlockId,
        /// What is wrong with it.
        detail: Malformed,
    },
    /// The content under a block has another length than the link to it says, or a length that
    /// no such block can have.
    #[error("block {block} holds {found} bytes of content where {expected} are promised")]
    Size {
        /// The block.
        block: BlockId,
        /// The length that the link promises, in bytes.
        expected: u64,
        /// The length that the block shows, in bytes.
        found: u64,
    },
    /// There are more than four manifests above a block.
    #[error("manifest {0} is nested too deep")]
    TooDeep(BlockId),
    /// A block cannot be fetched.
    #[error("a block cannot be fetched")]
    Fetch(#[source] E),
    /// Content cannot be handed on.
    #[error("content cannot be written")]
    Write(#[source] E),
}

/// Reads the content at `link` in order, and hands it on piece by piece. Blocks come from
/// `fetch`, and are checked before anything of them is used; `None` says that one is not at hand.
///
/// A few blocks can name content of almost 2^53 bytes, by listing one chunk often: look at
/// `link.size`, which nothing exceeds, before reading what others wrote.
///
/// # Errors
/// What is wrong, and with which block. What has been handed on until then is the true beginning
/// of the content.
pub fn read_content<E>(
    link: Link,
    mut fetch: impl FnMut(BlockId) -> Result<Option<Vec<u8>>, E>,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), ContentReadError<E>> {
    // What is still to be read of each manifest on the way down; on top the link itself.
    let mut path = vec![vec![link].into_iter()];
    while let Some(links) = path.last_mut() {
        let Some(link) = links.next() else {
            path.pop();
            continue;
        };
        let Link { block, size: expected } = link;
        let bytes = fetch(block).map_err(ContentReadError::Fetch)?;
        let bytes = bytes.ok_or(ContentReadError::Missing(block))?;
        if BlockId::of(block.codec, &bytes) != block {
            return Err(ContentReadError::Mismatch(block));
        }
        match block.codec {
            Codec::Raw => {
                let found = bytes.len() as u64;
                if found != expected || bytes.is_empty() || bytes.len() > MAX_RAW_LEN {
                    return Err(ContentReadError::Size { block, expected, found });
                }
                write(&bytes).map_err(ContentReadError::Write)?;
            }
            Codec::DagCbor => {
                if path.len() > MAX_MANIFEST_DEPTH {
                    return Err(ContentReadError::TooDeep(block));
                }
                let manifest = Manifest::decode(&bytes)
                    .map_err(|detail| ContentReadError::Manifest { block, detail })?;
                let found = manifest.size().unwrap_or(u64::MAX);
                if found != expected {
                    return Err(ContentReadError::Size { block, expected, found });
                }
                path.push(manifest.chunks.into_iter());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
