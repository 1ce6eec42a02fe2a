//! Where a repair works, and how the store becomes what it has made.
//!
//! The new database is made in a directory of its own. When it is whole, a note in that directory says
//! so, and from then on it is the store's: whoever comes next, after a crash as well, finishes the
//! exchange. Without the note the directory is what an unfinished repair has left, and is removed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};

use super::error::RepairError;
use crate::error::{OpenError, StorageError};
use crate::ledger::DATABASE;
use crate::mark::{LOSS_FILE, MARK_FILE, sync_directory, write_durably};
use crate::room;

/// The directory that a repair works in, in the store's directory.
const WORK: &str = "repair";
/// The note that its database is whole: it holds the number under which the damaged one is kept.
const READY: &str = "ready";
/// What the names of damaged databases begin with, in the store's directory.
const DAMAGED: &str = "db.damaged-";

/// The right to repair a store, which nobody else opens meanwhile.
pub struct Place {
    dir: PathBuf,
    /// The lock of the store, and that of its database, if it has one.
    _locks: (File, Option<File>),
}

impl Place {
    /// Takes the store in `dir`.
    pub fn take(dir: &Path) -> Result<Self, RepairError> {
        let store = lock(dir)?;
        let path = dir.join(DATABASE).join("LOCK");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let database = match options.open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(StorageError::file(path)(error).into()),
        };
        // RocksDB locks its databases in this way.
        let locked = database.as_ref().map(|file| {
            fcntl_lock(file, FlockOperation::NonBlockingLockExclusive)
                .map_err(|error| std::io::Error::from(error).kind())
        });
        if let Some(Err(ErrorKind::WouldBlock | ErrorKind::PermissionDenied)) = locked {
            return Err(OpenError::Locked(dir.to_owned()).into());
        }
        Ok(Self { dir: dir.to_owned(), _locks: (store, database) })
    }

    /// The damaged database.
    pub fn database(&self) -> PathBuf {
        self.dir.join(DATABASE)
    }

    /// The directory to work in, in which the new database is made as that of a store.
    pub fn work(&self) -> PathBuf {
        self.dir.join(WORK)
    }

    /// Refuses where there is no room for another database like the damaged one.
    pub fn check_room(&self, min_free: Option<u64>) -> Result<(), RepairError> {
        let length = length(&self.database()).map_err(StorageError::file(self.database()))?;
        match room::free(&self.dir, min_free) {
            Some((free, kept)) if free < length + kept => {
                Err(RepairError::NoRoom { dir: self.dir.clone(), free, needed: length + kept })
            }
            _ => Ok(()),
        }
    }

    /// Runs `make` with an empty directory to work in. An error removes it again.
    pub fn working<T>(
        &self,
        make: impl FnOnce(&Path) -> Result<T, RepairError>,
    ) -> Result<T, RepairError> {
        let work = self.work();
        fs::create_dir(&work).map_err(StorageError::file(&work))?;
        let made = make(&work);
        if made.is_err() {
            let _ = fs::remove_dir_all(&work);
        }
        made
    }

    /// Puts the new database in the place of the damaged one, which is kept. Tells where, if there
    /// was one.
    pub fn exchange(self) -> Result<Option<PathBuf>, RepairError> {
        let number = next_number(&self.dir).map_err(StorageError::file(&self.dir))?;
        let damaged = self.database().is_dir().then(|| kept(&self.dir, number));
        fail::fail_point!("before-repair-ready");
        let work = self.work();
        let unfinished = format!("{READY}.new");
        write_durably(&work, &unfinished, number.to_string().as_bytes())?;
        fs::rename(work.join(unfinished), work.join(READY)).map_err(StorageError::file(&work))?;
        sync_directory(&work)?;
        sync_directory(&self.dir)?;
        fail::fail_point!("after-repair-ready");
        finish(&self.dir)?;
        Ok(damaged)
    }
}

/// Whether a repaired database waits to be put in its place.
pub fn is_ready(dir: &Path) -> bool {
    dir.join(WORK).join(READY).is_file()
}

/// Finishes a repair that was cut short after its database was whole, or removes what it has left.
pub fn settle(dir: &Path) -> Result<(), OpenError> {
    let work = dir.join(WORK);
    if !work.is_dir() {
        return Ok(());
    }
    let _lock = lock(dir)?;
    if is_ready(dir) { Ok(finish(dir)?) } else { Ok(remove(&work)?) }
}

/// Takes the lock of the store in `dir`, which only repairs have.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let lock = File::open(dir).map_err(StorageError::file(dir))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(StorageError::file(dir)(error).into()),
    }
}

/// Exchanges the databases. Whatever of it has been done is not done again, and the new database
/// comes last: who looks for one meanwhile finds the files beside it as they will be.
fn finish(dir: &Path) -> Result<(), StorageError> {
    let (work, database) = (dir.join(WORK), dir.join(DATABASE));
    let new = work.join(DATABASE);
    if new.is_dir() {
        let failed = |error| StorageError::file(dir)(error);
        let note = fs::read_to_string(work.join(READY)).map_err(failed)?;
        let number = || StorageError::damaged(format!("the note {}", work.join(READY).display()));
        let damaged = kept(dir, note.parse().map_err(|_| number())?);
        if database.is_dir() {
            fs::rename(&database, &damaged).map_err(failed)?;
        }
        fail::fail_point!("after-database-set-aside");
        for name in [MARK_FILE, LOSS_FILE] {
            replace(&work, dir, name)?;
        }
        sync_directory(dir)?;
        fs::rename(&new, &database).map_err(failed)?;
        sync_directory(dir)?;
        fail::fail_point!("after-database-replaced");
    }
    remove(&work)
}

/// Makes a file of the store what it is in the directory of the repair, or removes it if there is
/// none.
fn replace(work: &Path, dir: &Path, name: &str) -> Result<(), StorageError> {
    let path = dir.join(name);
    match fs::read(work.join(name)) {
        Ok(bytes) => write_durably(dir, name, &bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StorageError::file(path)(error))
            }
            _ => Ok(()),
        },
        Err(error) => Err(StorageError::file(path)(error)),
    }
}

fn remove(work: &Path) -> Result<(), StorageError> {
    fs::remove_dir_all(work).map_err(StorageError::file(work))
}

fn kept(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{DAMAGED}{number}"))
}

/// The first number that no damaged database has.
fn next_number(dir: &Path) -> std::io::Result<u64> {
    let mut next = 1;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(DAMAGED)?.parse().ok());
        next = next.max(number.map_or(0, |number: u64| number.saturating_add(1)));
    }
    Ok(next)
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
