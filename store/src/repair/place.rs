//! Where a repair works.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::error::RepairError;
use crate::error::{OpenError, StorageError};
use crate::exchange::{Lock, Place, REPAIR};
use crate::room;

/// Whether a repair is at work, or was cut short.
pub fn is_left(dir: &Path) -> bool {
    REPAIR.dir(dir).is_dir()
}

/// Finishes a repair that was cut short after its database was whole, or removes what it has left.
pub fn settle(dir: &Path) -> Result<(), OpenError> {
    if !is_left(dir) {
        return Ok(());
    }
    // Whoever repairs has both, and whoever has the store open has the former.
    let place = Place::take(dir)?;
    let Some(lock) = REPAIR.lock(dir)? else { return Ok(()) };
    let settled =
        if REPAIR.is_ready(dir) { REPAIR.finish(&place, &lock) } else { REPAIR.remove(dir) };
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
pub fn working(
    place: &Place,
    make: impl FnOnce(&Path) -> Result<(), RepairError>,
) -> Result<Lock, RepairError> {
    let dir = place.dir();
    let work = REPAIR.dir(dir);
    let locked = || OpenError::Locked(dir.to_owned());
    // Where there is no database, there is no lock of one: others may come until this one is had.
    match fs::create_dir(&work) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(locked().into()),
        made => made.map_err(StorageError::file(&work))?,
    }
    let lock = REPAIR.lock(dir)?.ok_or_else(locked)?;
    match make(&work) {
        Ok(()) => Ok(lock),
        Err(error) => {
            let _ = fs::remove_dir_all(&work);
            Err(error)
        }
    }
}

/// The length of all files in a directory, in bytes.
fn length(dir: &Path) -> std::io::Result<u64> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut length = 0;
    for entry in entries {
        length += entry?.metadata()?.len();
    }
    Ok(length)
}
