//! A look at the database's logs before RocksDB reads them: its manifest, and what has been written
//! and is not in tables yet.
//!
//! RocksDB never comes to an end where a record claims to be of a log file that is used again. And
//! where a record of the manifest goes beyond the end of the file, it takes that for a write that a
//! crash interrupted and goes on without it, even if all of the record is there and only its length
//! has become wrong: the tables that it and later ones add would be removed.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::culprit::files;
use crate::error::StorageError;

const CURRENT: &str = "CURRENT";
/// A log consists of records of a header and content, none of which crosses the end of a block.
const BLOCK: usize = 32 * 1024;
/// A checksum of four bytes, a length of two, a kind.
const HEADER: usize = 7;
/// The kinds of records of log files that are used again, which none is here, each with the kind of
/// which it is the like in other files.
const REUSED: [(u8, u8); 6] = [(5, 1), (6, 2), (7, 3), (8, 4), (11, 10), (131, 130)];

/// Refuses a database that is not there, or has a log that cannot be one. What else is wrong, RocksDB
/// tells.
pub fn check(database: &Path) -> Result<(), StorageError> {
    let current = database.join(CURRENT);
    if !current.exists() {
        return Err(StorageError::damaged(format!("{} is missing", current.display())));
    }
    if let Ok(name) = fs::read_to_string(current) {
        check_file(&database.join(name.trim_end()), End::Certain)?;
    }
    for (path, _) in files(database).filter(|(_, name)| name.ends_with(".log")) {
        check_file(&path, End::Open)?;
    }
    Ok(())
}

/// Makes a log readable that claims to be used again. A record whose kind has become wrong by that
/// is right then; of any other, its checksum tells.
pub fn mend(log: &mut [u8]) {
    for mut block in log.chunks_mut(BLOCK) {
        while let Some(([_, _, _, _, low, high, kind], rest)) =
            block.split_first_chunk_mut::<HEADER>()
        {
            if let Some((_, like)) = REUSED.iter().find(|(reused, _)| reused == kind) {
                *kind = *like;
            }
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let Some(next) = rest.get_mut(length..) else { break };
            block = next;
        }
    }
}

/// Whether what is there of a last record that is cut off may be compared with its checksum.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It may: nothing else tells that it is missing.
    Certain,
    /// It need not be: the mark tells what is missing, and the rest can be read.
    Open,
}

fn check_file(path: &Path, end: End) -> Result<(), StorageError> {
    let Ok(mut file) = File::open(path) else { return Ok(()) };
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        match file.by_ref().take(BLOCK as u64).read_to_end(&mut block) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {
                if let Some(fault) = fault(&block, end) {
                    let what = format!("{}: {fault}", path.display());
                    return Err(StorageError::damaged(what));
                }
            }
        }
    }
}

fn fault(mut block: &[u8], end: End) -> Option<&'static str> {
    while let Some((&[a, b, c, d, low, high, kind], rest)) = block.split_first_chunk::<HEADER>() {
        if REUSED.iter().any(|(reused, _)| *reused == kind) {
            return Some("a record of a kind that is never written");
        }
        let length = usize::from(u16::from_le_bytes([low, high]));
        let Some(next) = rest.get(length..) else {
            let is_shorter =
                end == End::Certain && is_there(kind, u32::from_le_bytes([a, b, c, d]), rest);
            return is_shorter.then_some("a record that claims to be longer than it is");
        };
        block = next;
    }
    None
}

/// Whether a record with this checksum, which is that of its kind and content, masked, ends
/// somewhere in `rest`.
fn is_there(kind: u8, masked: u32, rest: &[u8]) -> bool {
    const MASK: u32 = 0xa282_ead8;
    let wanted = masked.wrapping_sub(MASK).rotate_left(15);
    let mut sum = crc32c::crc32c(&[kind]);
    sum == wanted
        || rest.iter().any(|byte| {
            sum = crc32c::crc32c_append(sum, &[*byte]);
            sum == wanted
        })
}
