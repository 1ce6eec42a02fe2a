//! The tree of manifests above the raw blocks of a content.

use std::mem;

use super::write::ContentWriteError;
use crate::id::{BlockId, Codec};
use crate::value::{Link, Manifest};

/// Names raw blocks, lists them in manifests, and hands all of these on as they are complete,
/// manifests after what they list.
#[derive(Debug)]
pub struct Tree<F> {
    emit: F,
    /// How many links a manifest lists.
    width: usize,
    /// Links that wait for their manifest; those at place *n* have at most *n* manifests below.
    levels: Vec<Vec<Link>>,
}

impl<E, F: FnMut(BlockId, &[u8]) -> Result<(), E>> Tree<F> {
    pub const fn new(width: usize, emit: F) -> Self {
        Self { emit, width, levels: Vec::new() }
    }

    /// Adds the next raw block.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), ContentWriteError<E>> {
        let block = self.emit(Codec::Raw, bytes)?;
        self.link(0, Link { block, size: bytes.len() as u64 })
    }

    /// Hands on the manifests that are left, and tells which block is on top.
    pub fn finish(mut self) -> Result<Link, ContentWriteError<E>> {
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

    /// Adds a link to a level; a full level becomes a manifest first, so that content which just
    /// fills one has no manifest above it.
    fn link(&mut self, level: usize, link: Link) -> Result<(), ContentWriteError<E>> {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        let Some(links) = self.levels.get_mut(level) else { return Ok(()) };
        let full = (links.len() >= self.width).then(|| mem::take(links));
        links.push(link);
        full.map_or(Ok(()), |links| self.manifest(level, links))
    }

    fn manifest(&mut self, level: usize, chunks: Vec<Link>) -> Result<(), ContentWriteError<E>> {
        let manifest = Manifest { chunks };
        let size = manifest.size().ok_or(ContentWriteError::TooLong)?;
        let bytes = manifest.encode().map_err(ContentWriteError::Manifest)?;
        let block = self.emit(Codec::DagCbor, &bytes)?;
        self.link(level + 1, Link { block, size })
    }

    fn emit(&mut self, codec: Codec, bytes: &[u8]) -> Result<BlockId, ContentWriteError<E>> {
        let block = BlockId::of(codec, bytes);
        (self.emit)(block, bytes).map_err(ContentWriteError::Emit)?;
        Ok(block)
    }
}
