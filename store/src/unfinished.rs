//! Making the directory of a store: a crash meanwhile leaves nothing that stands in the way of
//! another attempt, and nothing that passes for a store.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::{OpenError, StorageError};
use crate::identity::{FRESH_KEY_FILE, KEY_FILE};
use crate::ledger::{DATABASE, STAGING};
use crate::mark::{LOSS_FILE, MARK_FILE};
use crate::private;

/// The file that is there until a new store is whole. Who makes the store holds its lock.
const MARK: &str = ".quipu-unfinished";
/// What an attempt that ended early may have left.
const LEFT: [&str; 7] = [MARK, DATABASE, STAGING, KEY_FILE, FRESH_KEY_FILE, MARK_FILE, LOSS_FILE];

/// The right to make a store in a directory.
pub struct Unfinished {
    dir: PathBuf,
    /// Whether the directory was there before.
    existed: bool,
    _lock: File,
}

impl Unfinished {
    /// Takes a directory that is new, empty, or left over from an attempt that ended early.
    pub fn start(dir: &Path) -> Result<Self, OpenError> {
        Self::resume(dir, &[])
    }

    /// Does what [`Self::start`] does, and keeps these files of an earlier attempt.
    pub fn resume(dir: &Path, kept: &[&str]) -> Result<Self, OpenError> {
        let failed = |error| OpenError::from(StorageError::file(dir)(error));
        let existed = dir.exists();
        if existed && !dir.is_dir() {
            return Err(OpenError::Exists(dir.to_owned()));
        }
        private::create_dir(dir).map_err(failed)?;
        let mark = dir.join(MARK);
        let again = is_unfinished(dir);
        if !holds_only(dir, if again { &LEFT } else { &[] }).map_err(failed)? {
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
            clear(dir, kept).map_err(failed)?;
        }
        Ok(Self { dir: dir.to_owned(), existed, _lock: lock })
    }

    /// Removes what has been made. What cannot be removed is in the way of the next attempt, which
    /// says so.
    pub fn abandon(self) {
        let cleared = clear(&self.dir, &[]).and_then(|()| fs::remove_file(self.dir.join(MARK)));
        if cleared.is_ok() && !self.existed {
            let _ = fs::remove_dir(&self.dir);
        }
    }

    /// Whether the directory was made for this.
    pub const fn has_made_dir(&self) -> bool {
        !self.existed
    }

    /// Removes what an attempt has left that is over, and the directory where `made_dir`: it was made for it.
    /// What is no such thing, or is being worked on, stays.
    pub fn undo(dir: &Path, made_dir: bool) -> Result<(), OpenError> {
        if is_unfinished(dir) {
            Self { existed: !made_dir, ..Self::start(dir)? }.abandon();
        }
        Ok(())
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

/// Whether there is nothing in `dir` but some of these: what anybody else put there stays.
fn holds_only(dir: &Path, names: &[&str]) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if !names.iter().any(|known| name == *known) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn clear(dir: &Path, kept: &[&str]) -> io::Result<()> {
    remove(fs::remove_dir_all(dir.join(DATABASE)))?;
    let files = [KEY_FILE, FRESH_KEY_FILE, MARK_FILE, LOSS_FILE].into_iter();
    let mut gone = files.filter(|file| !kept.contains(file));
    gone.try_for_each(|file| remove(fs::remove_file(dir.join(file))))
}

fn remove(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
