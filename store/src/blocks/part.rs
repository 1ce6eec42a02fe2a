//! Parts of long values: which of their blocks are not here.

use std::collections::BTreeSet;
use std::ops::Range;

use quipu_merge::{BlockId, Codec, Link, Manifest};

use super::{is_here, read};
use crate::db::Reader;
use crate::error::StorageError;

/// The blocks that hold a range of a long value and are not here, up to `limit` of them, as far as
/// manifests that are here tell. Only manifests are read.
pub fn missing_of(
    reader: Reader<'_>,
    link: Link,
    range: &Range<u64>,
    limit: usize,
) -> Result<Vec<BlockId>, StorageError> {
    let mut missing = Vec::new();
    // What is wanted as a whole is looked at once, however often it occurs.
    let mut seen = BTreeSet::new();
    let mut open = vec![(link, 0_u64)];
    while let Some((link, at)) = open.pop()
        && missing.len() < limit
    {
        let end = at.saturating_add(link.size);
        // The reader follows a link to nothing, too.
        let outside = at >= range.end || (end <= range.start && link.size > 0);
        let whole = range.start <= at && end <= range.end;
        if outside || (whole && !seen.insert(link.block)) {
            continue;
        }
        if link.block.codec == Codec::Raw {
            if !is_here(reader, link.block)? {
                missing.push(link.block);
            }
            continue;
        }
        let Some(bytes) = read(reader, link.block)? else {
            missing.push(link.block);
            continue;
        };
        // Of what is no manifest, reading tells.
        let chunks = Manifest::decode(&bytes).map(|manifest| manifest.chunks).unwrap_or_default();
        let mut next = at;
        let mut below = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            below.push((chunk, next));
            next = next.saturating_add(chunk.size);
        }
        open.extend(below.into_iter().rev());
    }
    Ok(missing)
}
