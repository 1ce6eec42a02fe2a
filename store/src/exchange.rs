//! How a database that was made beside that of a store takes its place: one that a repair has made,
//! or one with the history that a shallow store lacks.
//!
//! The new database is made in a directory of its own. When it is whole, a note in that directory says
//! so, and from then on it is the store's: whoever comes next, after a crash as well, finishes the
//! exchange. Without the note the directory is none of the store's.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};

use crate::error::{OpenError, StorageError};
use crate::ledger::DATABASE;
use crate::mark::{LOSS_FILE, MARK_FILE, sync_directory, write_durably};

/// The note that the database is whole: it holds the number under which the one before is kept, or
/// nothing where that goes.
const READY: &str = "ready";
/// What the names of the databases begin with that are kept, in the store's directory.
const KEPT: &str = "db.damaged-";
/// Where a database goes that is not kept, in the directory of the new one.
const BEFORE: &str = "before";

/// A directory in that of a store, where a database is made that is to take the place of the store's.
#[derive(Clone, Copy, Debug)]
pub struct Workshop {
    name: &'static str,
    /// Whether the database that was there before is kept.
    keeps: bool,
}

/// Where repairs work.
pub const REPAIR: Workshop = Workshop { name: "repair", keeps: true };
/// Where the history below a shallow store comes in.
pub const FILLING: Workshop = Workshop { name: "filling", keeps: false };

impl Workshop {
    /// Its directory, in that of a store.
    pub fn dir(self, store: &Path) -> PathBuf {
        store.join(self.name)
    }

    /// The right to use it; `None` where it is not there. The lock is one of the directory itself: a daemon
    /// that is about to open the store has that of the store's.
    pub fn lock(self, store: &Path) -> Result<Option<Lock>, OpenError> {
        let work = self.dir(store);
        let failed = |error| OpenError::from(StorageError::file(&work)(error));
        let locked = || OpenError::Locked(store.to_owned());
        let Some(file) = found(File::open(&work)).map_err(failed)? else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked()),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Whoever had the lock before may have removed the directory, and somebody else made it anew.
        match found(fs::metadata(&work)).map_err(failed)? {
            None => Ok(None),
            Some(there) if there.ino() == file.metadata().map_err(failed)?.ino() => {
                Ok(Some(Lock { _file: file }))
            }
            Some(_) => Err(locked()),
        }
    }

    /// Whether its database waits to be put in its place.
    pub fn is_ready(self, store: &Path) -> bool {
        self.dir(store).join(READY).is_file()
    }

    /// Puts its database in the place of the store's. Tells where that is kept, if it is and there was
    /// one.
    pub fn exchange(self, place: Place, lock: Lock) -> Result<Option<PathBuf>, StorageError> {
        let store = place.dir();
        let number = if self.keeps {
            Some(next_number(store).map_err(StorageError::file(store))?)
        } else {
            None
        };
        let kept = number.filter(|_| place.database().is_dir()).map(|number| kept(store, number));
        fail::fail_point!("before-exchange-noted");
        let work = self.dir(store);
        let note = number.map(|number| number.to_string()).unwrap_or_default();
        write_whole(&work, READY, note.as_bytes())?;
        sync_directory(store)?;
        fail::fail_point!("after-exchange-noted");
        self.finish(&place, &lock)?;
        Ok(kept)
    }

    /// Finishes an exchange that was cut short. Whatever of it has been done is not done again, and the
    /// new database comes last: who looks for one meanwhile finds the files beside it as they will be.
    pub fn finish(self, place: &Place, _lock: &Lock) -> Result<(), StorageError> {
        let store = place.dir();
        let (work, database) = (self.dir(store), store.join(DATABASE));
        let new = work.join(DATABASE);
        if new.is_dir() {
            let failed = |error| StorageError::file(store)(error);
            let before = self.place_of_the_one_before(store)?;
            if database.is_dir() {
                fs::rename(&database, &before).map_err(failed)?;
            }
            fail::fail_point!("after-database-set-aside");
            for name in [MARK_FILE, LOSS_FILE] {
                replace(&work, store, name)?;
            }
            sync_directory(store)?;
            fs::rename(&new, &database).map_err(failed)?;
            sync_directory(store)?;
            fail::fail_point!("after-database-replaced");
        }
        self.remove(store)
    }

    /// Where the database goes whose place is taken.
    fn place_of_the_one_before(self, store: &Path) -> Result<PathBuf, StorageError> {
        let work = self.dir(store);
        if !self.keeps {
            return Ok(work.join(BEFORE));
        }
        let path = work.join(READY);
        let note = fs::read_to_string(&path).map_err(StorageError::file(&path))?;
        let damaged = |_| StorageError::damaged(format!("the note {}", path.display()));
        Ok(kept(store, note.parse().map_err(damaged)?))
    }

    /// Removes its directory. The note goes last: who is cut short leaves nothing that says that its
    /// database is still to be put in its place, and is not.
    pub fn remove(self, store: &Path) -> Result<(), StorageError> {
        let work = self.dir(store);
        let remove = || {
            for entry in fs::read_dir(&work)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else if entry.file_name() != READY {
                    fs::remove_file(entry.path())?;
                }
            }
            fs::remove_dir_all(&work)
        };
        remove().map_err(StorageError::file(&work))
    }
}

/// Writes a small file, which is on the disk as a whole or not at all.
pub fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let unfinished = format!("{name}.new");
    write_durably(dir, &unfinished, bytes)?;
    fs::rename(dir.join(unfinished), dir.join(name)).map_err(StorageError::file(dir))?;
    sync_directory(dir)
}

/// The right to use a workshop, which one process has at a time.
pub struct Lock {
    _file: File,
}

/// The right to exchange the database of a store, which nobody else opens meanwhile.
pub struct Place {
    dir: PathBuf,
    /// The lock of the database, if there is one.
    _database: Option<File>,
}

impl Place {
    /// Takes the database of the store in `dir`.
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(DATABASE).join("LOCK");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let database = found(options.open(&path)).map_err(StorageError::file(path))?;
        // RocksDB locks its databases in this way.
        let locked = database.as_ref().map(|file| {
            fcntl_lock(file, FlockOperation::NonBlockingLockExclusive)
                .map_err(|error| std::io::Error::from(error).kind())
        });
        if let Some(Err(ErrorKind::WouldBlock | ErrorKind::PermissionDenied)) = locked {
            return Err(OpenError::Locked(dir.to_owned()));
        }
        Ok(Self { dir: dir.to_owned(), _database: database })
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The store's database.
    pub fn database(&self) -> PathBuf {
        self.dir.join(DATABASE)
    }
}

/// What there is; `None` where nothing is.
fn found<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Makes a file of the store what it is in the directory of the new database, or removes it if there
/// is none.
fn replace(work: &Path, dir: &Path, name: &str) -> Result<(), StorageError> {
    let path = dir.join(name);
    let failed = StorageError::file(&path);
    match found(fs::read(work.join(name))) {
        Ok(Some(bytes)) => write_durably(dir, name, &bytes),
        Ok(None) => found(fs::remove_file(&path)).map(drop).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn kept(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{KEPT}{number}"))
}

/// The first number that no database has that is kept.
fn next_number(dir: &Path) -> std::io::Result<u64> {
    let mut next = 1;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(KEPT)?.parse().ok());
        next = next.max(number.map_or(0, |number: u64| number.saturating_add(1)));
    }
    Ok(next)
}
