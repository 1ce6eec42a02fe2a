//! How much room long values take up.

use quipu_merge::{Codec, Link, Manifest};

use crate::blocks;
use crate::error::{ReadError, StorageError};
use crate::snapshot::Snapshot;

impl Snapshot<'_> {
    /// Calls `visit` with each block of a long value that is here, manifests before what they list:
    /// with the block, the length of the content under it, and its own length in bytes. What a
    /// manifest lists is visited where `visit` says so; whoever visits no manifest twice does no
    /// more work than there are blocks, whatever lists what. Content is not read, only manifests
    /// are. Says whether all blocks that were looked for are here.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn long_blocks(
        &self,
        link: Link,
        mut visit: impl FnMut(Link, u64) -> bool,
    ) -> Result<bool, ReadError> {
        let mut open = vec![link];
        let mut whole = true;
        while let Some(link) = open.pop() {
            let block = link.block;
            if block.codec == Codec::Raw {
                if blocks::is_here(self.reader(), block)? {
                    visit(link, link.size);
                } else {
                    whole = false;
                }
                continue;
            }
            let Some(bytes) = blocks::read(self.reader(), block)? else {
                whole = false;
                continue;
            };
            if visit(link, bytes.len() as u64) {
                let damaged = |_| StorageError::damaged(format!("the manifest {block}"));
                open.extend(Manifest::decode(&bytes).map_err(damaged)?.chunks);
            }
        }
        Ok(whole)
    }
}
