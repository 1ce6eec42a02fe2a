//! Where a repair works.

use std::fs;
use std::path::Path;

use super::error::RepairError;
use crate::error::{OpenError, StorageError};
use crate::exchange::{Lock, Place, REPAIR};
use crate::room;

/// Finishes a repair that was cut short after its database was whole, or removes what it has left.
pub fn settle(dir: &Path) -> Result<(), OpenError> {
    if !REPAIR.dir(dir).is_dir() {
        return Ok(());
    }
    let _lock = Lock::take(dir)?;
    let settled = if REPAIR.is_ready(dir) { REPAIR.finish(dir) } else { REPAIR.remove(dir) };
    Ok(settled?)
}

/// Refuses where there is no room for another database like the damaged one.
pub fn check_room(place: &Place, min_free: Option<u64>) -> Result<(), RepairError> {
    let length = length(&place.database()).map_err(StorageError::file(place.database()))?;
    let dir = place.dir();
    match room::free(dir, min_free) {
        Some((free, kept)) if free < length + kept => {
            Err(RepairError::NoRoom { dir: dir.to_owned(), free, needed: length + kept })
        }
        _ => Ok(()),
    }
}

/// Runs `make` with an empty directory to work in. An error removes it again.
pub fn working<T>(
    place: &Place,
    make: impl FnOnce(&Path) -> Result<T, RepairError>,
) -> Result<T, RepairError> {
    let work = REPAIR.dir(place.dir());
    fs::create_dir(&work).map_err(StorageError::file(&work))?;
    let made = make(&work);
    if made.is_err() {
        let _ = fs::remove_dir_all(&work);
    }
    made
}

/// The length of all files in a directory, in bytes.
fn length(dir: &Path) -> std::io::Result<u64> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut length = 0;
    for entry in entries {
        length += entry?.metadata()?.len();
    }
    Ok(length)
}
