//! Long content taken in, in portions of any length.

use super::cut::Cutter;
use super::manifest::Tree;
use crate::cbor::Malformed;
use crate::id::BlockId;
use crate::value::{CONTENT_LEN_LIMIT, Link, MAX_CHUNKS};

/// How many windows of the cutter are held before the bytes that are cut make room. More of them
/// move bytes less often, and take more memory.
const WINDOWS: usize = 4;

/// Cuts content by what it says, with FastCDC, into blocks of [`MIN_CHUNK_LEN`] to
/// [`MAX_CHUNK_LEN`] bytes, and hands each block on as it is complete, manifests after what they
/// list.
///
/// It holds about 1 MiB, and for content of more than 512 MiB some more for manifests. Portions of
/// 1 MiB or more are mostly cut where they lie, without being copied.
///
/// [`MIN_CHUNK_LEN`]: crate::MIN_CHUNK_LEN
/// [`MAX_CHUNK_LEN`]: crate::MAX_CHUNK_LEN
#[derive(Debug)]
pub struct ContentWriter<F> {
    cutter: Cutter,
    held: Held,
    size: u64,
    tree: Tree<F>,
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
        Self::with(Cutter::new(), MAX_CHUNKS, emit)
    }

    /// The same with other lengths of chunks and manifests, for tests.
    pub(super) const fn with(cutter: Cutter, width: usize, emit: F) -> Self {
        Self { cutter, held: Held::new(), size: 0, tree: Tree::new(width, emit) }
    }

    /// Adds bytes to the content. Where it is cut does not depend on the portions.
    ///
    /// # Errors
    /// The content becomes too long, or a block cannot be handed on. Start again then.
    pub fn write(&mut self, portion: &[u8]) -> Result<(), ContentWriteError<E>> {
        self.size = self.size.saturating_add(portion.len() as u64);
        if self.size >= CONTENT_LEN_LIMIT {
            return Err(ContentWriteError::TooLong);
        }
        let window = self.cutter.window();
        let mut rest = portion;
        loop {
            if self.held.bytes().is_empty() {
                rest = self.cut_whole_windows(rest)?;
            }
            let room = window.saturating_sub(self.held.bytes().len());
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.held.push(now, window);
            if self.held.bytes().len() < window {
                return Ok(());
            }
            self.cut_held()?;
            rest = later;
            // Where all that is held is of this portion, it can be cut where it lies.
            let held = self.held.bytes().len();
            let back = portion.len().checked_sub(rest.len() + held);
            if let Some(again) = back.and_then(|at| portion.get(at..))
                && again.len() >= window
            {
                self.held.clear();
                rest = again;
            }
        }
    }

    /// Hands on the blocks that are left, and tells where the content is.
    ///
    /// # Errors
    /// There is no content, or a block cannot be handed on.
    pub fn finish(mut self) -> Result<Link, ContentWriteError<E>> {
        while !self.held.bytes().is_empty() {
            self.cut_held()?;
        }
        self.tree.finish()
    }

    /// Cuts bytes where they lie while there is a window of them, and gives what is left.
    fn cut_whole_windows<'p>(
        &mut self,
        mut bytes: &'p [u8],
    ) -> Result<&'p [u8], ContentWriteError<E>> {
        while bytes.len() >= self.cutter.window() {
            let (chunk, rest) = bytes.split_at(self.cutter.chunk(bytes));
            self.tree.raw(chunk)?;
            bytes = rest;
        }
        Ok(bytes)
    }

    fn cut_held(&mut self) -> Result<(), ContentWriteError<E>> {
        let bytes = self.held.bytes();
        let (chunk, _) = bytes.split_at(self.cutter.chunk(bytes));
        let len = chunk.len();
        self.tree.raw(chunk)?;
        self.held.skip(len);
        Ok(())
    }
}

/// Bytes that wait until enough follow them to know where to cut.
#[derive(Debug)]
struct Held {
    buffer: Vec<u8>,
    /// Where those begin that are not cut yet.
    start: usize,
}

impl Held {
    const fn new() -> Self {
        Self { buffer: Vec::new(), start: 0 }
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8], window: usize) {
        if self.buffer.len() + bytes.len() > WINDOWS * window {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    fn skip(&mut self, len: usize) {
        self.start += len;
        if self.bytes().is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.start = 0;
    }
}
