//! A look at the database's manifest before RocksDB reads it, which never comes to an end where a
//! record claims to be of a log file that is used again.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::error::StorageError;

const CURRENT: &str = "CURRENT";
/// A manifest is a log: records of a header and content, none of which crosses the end of a block.
const BLOCK: usize = 32 * 1024;
/// A checksum of four bytes, a length of two, a kind.
const HEADER: usize = 7;
/// The kinds of records of log files that are used again, which manifests never are.
const REUSED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// Refuses a database that is not there, or whose manifest cannot be one. What else is wrong with it,
/// RocksDB tells.
pub fn check(database: &Path) -> Result<(), StorageError> {
    let current = database.join(CURRENT);
    if !current.exists() {
        return Err(StorageError::damaged(format!("{} is missing", current.display())));
    }
    let Ok(name) = fs::read_to_string(current) else { return Ok(()) };
    let path = database.join(name.trim_end());
    let Ok(mut file) = File::open(&path) else { return Ok(()) };
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        match file.by_ref().take(BLOCK as u64).read_to_end(&mut block) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) if has_reused(&block) => {
                return Err(StorageError::damaged(format!(
                    "{}: a record of a kind that no manifest has",
                    path.display()
                )));
            }
            Ok(_) => {}
        }
    }
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
