//! Long content put together again from its blocks, all of it or a range.

use std::ops::Range;

use crate::cbor::Malformed;
use crate::id::{BlockId, Codec};
use crate::value::{Link, MAX_MANIFEST_DEPTH, MAX_RAW_LEN, Manifest};

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
    fetch: impl FnMut(BlockId) -> Result<Option<Vec<u8>>, E>,
    write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), ContentReadError<E>> {
    read_content_range(link, 0..u64::MAX, fetch, write)
}

/// Reads a range of bytes of the content at `link`, as [`read_content`] reads all of it: only the
/// raw blocks that hold some of them, and the manifests above these, are fetched and checked.
///
/// Of a range that goes beyond the end it reads what there is, which may be nothing; an empty
/// range, or one that ends before it begins, is nothing.
///
/// Where the range lies follows from the lengths that manifests state. A chunk outside of it that
/// is missing, or has another length than its manifest says, is not noticed.
///
/// # Errors
/// What is wrong, and with which block. What has been handed on until then is the true beginning
/// of the range.
pub fn read_content_range<E>(
    link: Link,
    range: Range<u64>,
    mut fetch: impl FnMut(BlockId) -> Result<Option<Vec<u8>>, E>,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), ContentReadError<E>> {
    if range.is_empty() {
        return Ok(());
    }
    // What is still to be read of each manifest on the way down; on top the link itself.
    let mut path = vec![vec![link].into_iter()];
    // Where in the content the next link lies: lengths are checked on the way, and add up.
    let mut at = 0_u64;
    while at < range.end
        && let Some(links) = path.last_mut()
    {
        let Some(link) = links.next() else {
            path.pop();
            continue;
        };
        let end = at.saturating_add(link.size);
        // A link to nothing is no part to pass over, but a fault to be found.
        if end <= range.start && link.size > 0 {
            at = end;
            continue;
        }
        let bytes = fetch(link.block).map_err(ContentReadError::Fetch)?;
        match Node::check(link, bytes, path.len())? {
            Node::Raw(bytes) => {
                let part = clip(&bytes, at, &range);
                write(part).map_err(ContentReadError::Write)?;
                at = end;
            }
            Node::Manifest(chunks) => path.push(chunks.into_iter()),
        }
    }
    Ok(())
}

/// A block that is what its link says.
enum Node {
    Raw(Vec<u8>),
    Manifest(Vec<Link>),
}

impl Node {
    /// Checks what was fetched for a link that is at this depth; that of the topmost is 1.
    fn check<E>(
        link: Link,
        bytes: Option<Vec<u8>>,
        depth: usize,
    ) -> Result<Self, ContentReadError<E>> {
        let Link { block, size: expected } = link;
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
                Ok(Self::Raw(bytes))
            }
            Codec::DagCbor => {
                if depth > MAX_MANIFEST_DEPTH {
                    return Err(ContentReadError::TooDeep(block));
                }
                let manifest = Manifest::decode(&bytes)
                    .map_err(|detail| ContentReadError::Manifest { block, detail })?;
                let found = manifest.size().unwrap_or(u64::MAX);
                if found != expected {
                    return Err(ContentReadError::Size { block, expected, found });
                }
                Ok(Self::Manifest(manifest.chunks))
            }
        }
    }
}

/// The part of a chunk, which lies at `at` in the content, that is in the range.
fn clip<'c>(chunk: &'c [u8], at: u64, range: &Range<u64>) -> &'c [u8] {
    let within = |place: u64| {
        usize::try_from(place.saturating_sub(at)).map_or(chunk.len(), |n| n.min(chunk.len()))
    };
    chunk.get(within(range.start)..within(range.end)).unwrap_or_default()
}
