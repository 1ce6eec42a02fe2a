//! Long content put together again from its blocks.

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
