//! The directory of the second database, and what tells how far it has come.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::StorageError;
use crate::exchange::{FILLING, write_whole};
use crate::mark::{LOSS_FILE, sync_directory};
use crate::private;

/// The mark that the database has its first event. Without it, nothing of the directory is used.
const BEGUN: &str = "begun";
/// The mark that it has everything up to the checkpoint from which the store starts.
const WHOLE: &str = "whole";

/// Whether there is a database to go on with, in the directory of a store.
pub fn is_begun(store: &Path) -> bool {
    FILLING.dir(store).join(BEGUN).is_file()
}

/// Whether everything below the store has come, and only has to take its place.
pub fn is_whole(store: &Path) -> bool {
    is_begun(store) && FILLING.dir(store).join(WHOLE).is_file()
}

/// Makes the directory anew, empty.
pub fn clear(store: &Path) -> Result<(), StorageError> {
    discard(store)?;
    let work = FILLING.dir(store);
    private::create_dir(&work).map_err(StorageError::file(&work))?;
    sync_directory(store)
}

/// Says that the database has its first event.
pub fn mark_begun(store: &Path) -> Result<(), StorageError> {
    write_whole(&FILLING.dir(store), BEGUN, b"")
}

/// Says that the database is whole.
pub fn mark_whole(store: &Path) -> Result<(), StorageError> {
    write_whole(&FILLING.dir(store), WHOLE, b"")
}

/// Says that there is nothing to go on with: it is made anew when it is opened next.
pub fn forget_begun(store: &Path) -> Result<(), StorageError> {
    let work = FILLING.dir(store);
    remove_file(&work.join(BEGUN))?;
    sync_directory(&work)
}

/// Removes the directory with all that is in it, if it is there.
pub fn discard(store: &Path) -> Result<(), StorageError> {
    let work = FILLING.dir(store);
    if !work.is_dir() {
        return Ok(());
    }
    // From here on it is of no use, wherever this is cut short.
    for mark in [WHOLE, BEGUN] {
        remove_file(&work.join(mark))?;
    }
    sync_directory(&work)?;
    FILLING.remove(store)
}

/// Forgets what an earlier attempt has noted of losses of the store itself: the database has none.
pub fn forget_loss(store: &Path) -> Result<(), StorageError> {
    remove_file(&FILLING.dir(store).join(LOSS_FILE))
}

fn remove_file(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StorageError::file(path)(error)),
        _ => Ok(()),
    }
}
