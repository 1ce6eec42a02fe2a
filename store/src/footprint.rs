//! How much room long values take up.

use quipu_merge::{BlockId, Codec, Link, Manifest};

use crate::blocks;
use crate::error::{ReadError, StorageError};
use crate::snapshot::Snapshot;

impl Snapshot<'_> {
    /// Calls `visit` with each block of a long value that is here, manifests before what they list,
    /// and its length in bytes. Content is not read, only manifests are. `visit` tells whether what
    /// a manifest lists is of interest. Says whether all blocks that were of interest are here.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn long_blocks(
        &self,
        link: Link,
        mut visit: impl FnMut(BlockId, u64) -> bool,
    ) -> Result<bool, ReadError> {
        let mut open = vec![link];
        let mut whole = true;
        while let Some(Link { block, size }) = open.pop() {
            if block.codec == Codec::Raw {
                if blocks::is_here(self.reader(), block)? {
                    visit(block, size);
                } else {
                    whole = false;
                }
                continue;
            }
            let Some(bytes) = blocks::read(self.reader(), block)? else {
                whole = false;
                continue;
            };
            if visit(block, bytes.len() as u64) {
                let damaged = |_| StorageError::damaged(format!("the manifest {block}"));
                open.extend(Manifest::decode(&bytes).map_err(damaged)?.chunks);
            }
        }
        Ok(whole)
    }
}
