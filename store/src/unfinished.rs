//! Making the directory of a store: a crash meanwhile leaves nothing that stands in the way of
//! another attempt, and nothing that passes for a store.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::{OpenError, StorageError};
use crate::identity::{FRESH_KEY_FILE, KEY_FILE};
use crate::ledger::DATABASE;

/// The file that is there until a new store is whole. Who makes the store holds its lock.
const MARK: &str = "unfinished";

/// The right to make a store in a directory.
pub struct Unfinished {
    dir: PathBuf,
    _lock: File,
}

impl Unfinished {
    /// Takes a directory that is new, empty, or left over from an attempt that ended early.
    pub fn start(dir: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::from(StorageError::file(dir)(error));
        fs::create_dir_all(dir).map_err(failed)?;
        let mark = dir.join(MARK);
        let again = is_unfinished(dir);
        if !again && !is_empty(dir).map_err(failed)? {
            return Err(OpenError::Exists(dir.to_owned()));
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&mark)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if again {
            remove(fs::remove_dir_all(dir.join(DATABASE))).map_err(failed)?;
            remove(fs::remove_file(dir.join(KEY_FILE))).map_err(failed)?;
            remove(fs::remove_file(dir.join(FRESH_KEY_FILE))).map_err(failed)?;
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// Says that the store is whole.
    pub fn finish(self) -> Result<(), StorageError> {
        let removed = fs::remove_file(self.dir.join(MARK));
        removed
            .and_then(|()| File::open(&self.dir)?.sync_all())
            .map_err(StorageError::file(&self.dir))
    }
}

/// Whether making a store in `dir` has not come to its end.
pub fn is_unfinished(dir: &Path) -> bool {
    dir.join(MARK).is_file()
}

fn is_empty(dir: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(dir)?.next().is_none())
}

fn remove(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
