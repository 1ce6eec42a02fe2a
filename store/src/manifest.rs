//! A look at the database's manifest before RocksDB reads it, which never comes to an end where a
//! record claims to be of a log file that is used again.

use std::fs;
use std::path::Path;

use crate::error::StorageError;

const CURRENT: &str = "CURRENT";
/// A manifest is a log: records of a header and content, none of which crosses the end of a block.
const BLOCK: usize = 32 * 1024;
/// A checksum of four bytes, a length of two, a kind.
const HEADER: usize = 7;
/// The kinds of records of log files that are used again, which manifests never are.
const REUSED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// Refuses a database whose manifest cannot be one. What else is wrong with it, RocksDB tells.
pub fn check(database: &Path) -> Result<(), StorageError> {
    let Ok(name) = fs::read_to_string(database.join(CURRENT)) else { return Ok(()) };
    let path = database.join(name.trim_end());
    let Ok(bytes) = fs::read(&path) else { return Ok(()) };
    if bytes.chunks(BLOCK).any(has_reused) {
        return Err(StorageError::damaged(format!(
            "{}: a record of a kind that no manifest has",
            path.display()
        )));
    }
    Ok(())
}

fn has_reused(mut block: &[u8]) -> bool {
    while let Some((&[_, _, _, _, low, high, kind], rest)) = block.split_first_chunk::<HEADER>() {
        if REUSED.contains(&kind) {
            return true;
        }
        let length = usize::from(u16::from_le_bytes([low, high]));
        let Some(next) = rest.get(length..) else { return false };
        block = next;
    }
    false
}
