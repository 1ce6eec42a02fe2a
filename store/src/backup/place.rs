//! A directory of backups: what tells it from other directories, and who works with it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use quipu_merge::EventId;

use super::BackupError;
use super::seal::{FRESH, SEALS, read_text, write_whole};
use crate::error::StorageError;
use crate::private;

/// The file that says what the directory is, to people and to programs.
pub const MARK: &str = "quipu-backups.txt";
/// Held by whoever changes the backups alone, and by those who read them together.
const LOCK: &str = ".quipu-lock";
const LEDGER: &str = "The ledger: ";

/// A directory of backups that nobody changes meanwhile.
pub struct Place {
    dir: PathBuf,
    ledger: EventId,
    _lock: Lock,
}

impl Place {
    /// Takes a directory to change what is in it: one with backups of this ledger, or one that is
    /// new or empty, which becomes one.
    pub fn for_ledger(dir: &Path, own: EventId) -> Result<Self, BackupError> {
        let failed = |error| StorageError::file(dir)(error);
        private::create_dir(dir).map_err(failed)?;
        let mark = dir.join(MARK);
        // What an attempt that ended early may have left.
        let fresh = mark.with_extension(FRESH);
        if !mark.exists() && !holds_only(dir, &[&dir.join(LOCK), &fresh]).map_err(failed)? {
            return Err(BackupError::NotBackups(dir.to_owned()));
        }
        let lock = lock(dir, true)?;
        if !mark.exists() {
            write_whole(&mark, &text(own))?;
        }
        fs::create_dir_all(dir.join(SEALS)).map_err(failed)?;
        let place = Self::marked(dir, lock)?;
        if place.ledger != own {
            let (dir, found) = (place.dir, place.ledger);
            return Err(BackupError::OtherLedger { dir, found, own });
        }
        Ok(place)
    }

    /// Takes a directory of backups to change what is in it.
    pub fn to_change(dir: &Path) -> Result<Self, BackupError> {
        Self::is_there(dir)?;
        Self::marked(dir, lock(dir, true)?)
    }

    /// Takes a directory of backups to read what is in it.
    pub fn to_read(dir: &Path) -> Result<Self, BackupError> {
        Self::is_there(dir)?;
        Self::marked(dir, lock(dir, false)?)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The ledger whose backups they are.
    pub const fn ledger(&self) -> EventId {
        self.ledger
    }

    fn is_there(dir: &Path) -> Result<(), BackupError> {
        let there = dir.join(MARK).is_file();
        if there { Ok(()) } else { Err(BackupError::NotFound(dir.to_owned())) }
    }

    fn marked(dir: &Path, lock: Lock) -> Result<Self, BackupError> {
        let mark = dir.join(MARK);
        let text = read_text(&mark).map_err(StorageError::file(&mark))?;
        let ledger = text.lines().find_map(|line| line.strip_prefix(LEDGER)?.parse().ok());
        let ledger = ledger.ok_or_else(|| {
            BackupError::damaged(&mark, "it does not say whose backups these are")
        })?;
        Ok(Self { dir: dir.to_owned(), ledger, _lock: lock })
    }
}

/// Given back at once: a process that is being started by another thread has the file as well for
/// a moment, and the lock would last as long.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // It is given back with the file at the latest.
        let _ = self.0.unlock();
    }
}

fn lock(dir: &Path, alone: bool) -> Result<Lock, BackupError> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    // Backups can be read from where nothing can be written.
    let options = if alone { options.write(true).create(true) } else { options.read(true) };
    let file = match options.open(&path) {
        // Nobody changes backups that were copied without it: whoever does, makes it.
        Err(error) if !alone && error.kind() == ErrorKind::NotFound => File::open(dir.join(MARK)),
        opened => opened,
    };
    let file = file.map_err(StorageError::file(&path))?;
    match if alone { file.try_lock() } else { file.try_lock_shared() } {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(StorageError::file(path)(error).into()),
    }
}

/// Where a path leads once what is missing of it has been made: links and `..` may lead into a
/// directory that the path does not name, and out of one that it does.
pub fn resolved(path: &Path) -> Result<PathBuf, StorageError> {
    let failed = || StorageError::file(path);
    let absolute = std::path::absolute(path).map_err(failed())?;
    for there in absolute.ancestors() {
        let mut real = match there.canonicalize() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            found => found.map_err(failed())?,
        };
        let missing = absolute.strip_prefix(there).unwrap_or(Path::new(""));
        for part in missing.components() {
            match part {
                Component::ParentDir => drop(real.pop()),
                part => real.push(part),
            }
            // A `..` may have led back to what is there.
            if let Ok(found) = real.canonicalize() {
                real = found;
            }
        }
        return Ok(real);
    }
    Ok(absolute)
}

fn holds_only(dir: &Path, paths: &[&PathBuf]) -> io::Result<bool> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if !paths.contains(&&path) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn text(ledger: EventId) -> String {
    format!(
        "This directory holds backups of a Quipu ledger, each of which can be restored:

    quipu backup --list DIR
    quipu restore DIR NEWDIR

They share files: nothing here is to be changed, moved or removed by hand. The private key
of the store is not among them. What the ledger holds is, and anybody who can read this
directory can read that.

{LEDGER}{ledger}
"
    )
}
