//! Backups of a store, made while it is in use.
//!
//! Several are kept in one directory, and share the files that they have in common. RocksDB's
//! backup engine copies them; what it does not say about a backup is in a seal, and what the
//! directory is, in a mark. No private key is among them.

mod checksum;
mod contents;
mod engine;
mod error;
mod place;
mod restore;
mod seal;

use std::fmt;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use quipu_merge::{AuthorKey, EventId, Micros};

use self::contents::{Contents, LISTS, Seen};
use self::engine::{Engine, watch};
use self::place::Place;
use self::seal::Seal;
use crate::error::StorageError;
use crate::ledger::{DATABASE, Ledger, now};
use crate::merge::Progress;
use crate::status::size_of;

pub use self::error::BackupError;
pub use self::restore::Restore;

/// The number of a backup in its directory. Later ones have greater numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(pub u32);

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A finished backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// Its number.
    pub id: BackupId,
    /// The ledger.
    pub ledger: EventId,
    /// The public key of the replica that was backed up.
    pub author: AuthorKey,
    /// When it was started, by the clock of the machine.
    pub started: Micros,
    /// How many events the store held then, all of which are in the backup. It may hold some that
    /// were written meanwhile.
    pub events: u64,
    /// How many files it consists of.
    pub files: u64,
    /// What they take up, in bytes, those that are shared with other backups too.
    pub bytes: u64,
}

/// What is in a directory of backups.
#[derive(Debug)]
pub struct BackupList {
    /// The ledger whose backups they are.
    pub ledger: EventId,
    /// Those that can be restored, the earliest first.
    pub whole: Vec<BackupInfo>,
    /// Those that cannot, and why, the earliest first.
    pub damaged: Vec<(BackupId, BackupError)>,
}

/// A backup that has just been made.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// The backup.
    pub backup: BackupInfo,
    /// How many bytes it has added to the directory: less than its size where it shares files.
    pub added_bytes: u64,
}

impl Ledger {
    /// Adds a backup of this store to a directory, which is made where it is new or empty. Others
    /// may read and write meanwhile: the backup holds everything that was acknowledged before, and
    /// for what is written meanwhile, everything up to some commit.
    ///
    /// It does not hold the private key. See [`Options::restore`](crate::Options::restore).
    ///
    /// `progress` is told of bytes; what is shared with earlier backups need not be copied.
    ///
    /// # Errors
    /// [`BackupError::NotBackups`], [`BackupError::OtherLedger`], [`BackupError::InUse`],
    /// [`BackupError::Damaged`] where an earlier backup is in the way, and errors of the disk. What was copied is no backup then, and goes with the next one; the
    /// store and the earlier backups are as before.
    pub fn backup(
        &self,
        dir: impl AsRef<Path>,
        progress: Progress<'_>,
    ) -> Result<BackupReport, BackupError> {
        let dir = dir.as_ref();
        if place::resolved(dir)?.starts_with(place::resolved(&self.dir)?) {
            return Err(BackupError::InStore(dir.to_owned()));
        }
        let place = Place::for_ledger(dir, self.id())?;
        let before = size_of(dir)?;
        let (started, author) = (now(), self.author());
        let events = self.snapshot()?.len()?;
        let total = size_of(&self.dir.join(DATABASE))?;
        let id = watch(dir, total, progress, || Engine::open(dir)?.create(&self.db))
            .map_err(|error| named(error, &place))?;
        fail::fail_point!("after-backup-copied");
        let contents = Contents::read(dir, id)?;
        let (files, bytes) = (contents.count(), contents.size()?);
        let ledger = place.ledger();
        let backup = BackupInfo { id, ledger, author, started, events, files, bytes };
        Seal::new(backup.clone(), &contents).write(dir)?;
        let added_bytes = size_of(dir)?.saturating_sub(before);
        Ok(BackupReport { backup, added_bytes })
    }
}

/// The backups in a directory: their files are there and have the sizes that they should have.
///
/// # Errors
/// [`BackupError::NotFound`], [`BackupError::InUse`], and errors of the disk. A damaged backup is
/// not one: it is listed.
pub fn backups(dir: impl AsRef<Path>) -> Result<BackupList, BackupError> {
    list(&Place::to_read(dir.as_ref())?, &mut |_, _| Ok(()))
}

/// The backups in a directory, every file of which is read and compared with its checksum.
/// Nothing changes.
///
/// # Errors
/// Those of [`backups`].
pub fn check_backups(
    dir: impl AsRef<Path>,
    progress: Progress<'_>,
) -> Result<BackupList, BackupError> {
    let place = Place::to_read(dir.as_ref())?;
    let (mut seen, mut done, total) = (Seen::default(), 0, size_of(place.dir())?);
    list(&place, &mut |contents, _| {
        contents.check_files(&mut seen, &mut |bytes| {
            done += bytes;
            progress(done.min(total), total);
        })
    })
}

/// Removes all backups before the last `keep` that can be restored, and what they alone consist
/// of. Where there are no more than that, none is removed. Tells which are gone.
///
/// # Errors
/// Those of [`backups`]. What could not be removed goes with the next attempt.
pub fn purge_backups(
    dir: impl AsRef<Path>,
    keep: NonZeroUsize,
) -> Result<Vec<BackupId>, BackupError> {
    let place = Place::to_change(dir.as_ref())?;
    let whole = list(&place, &mut |_, _| Ok(()))?.whole;
    let Some(first) = whole.iter().rev().nth(keep.get() - 1).map(|info| info.id) else {
        return Ok(Vec::new());
    };
    let dir = place.dir();
    let mut old = seal::sealed(dir)?;
    old.retain(|id| *id < first);
    // Without their seals they are no backups any more, however far the rest comes.
    seal::remove(dir, &old)?;
    fail::fail_point!("after-seals-removed");
    // The engine leaves the lists of those alone whose files are not all there.
    for id in seal::numbered(&dir.join(LISTS))?.into_iter().filter(|id| *id < first) {
        if Contents::read(dir, id).and_then(|contents| contents.size()).is_err() {
            let list = dir.join(LISTS).join(id.to_string());
            fs::remove_file(&list).map_err(StorageError::file(list))?;
        }
    }
    Engine::open(dir)?.remove_before(first)?;
    Ok(old)
}

type Check<'c> = &'c mut dyn FnMut(&Contents, &BackupInfo) -> Result<(), BackupError>;

fn list(place: &Place, check: Check<'_>) -> Result<BackupList, BackupError> {
    let dir = place.dir();
    let mut list = BackupList { ledger: place.ledger(), whole: Vec::new(), damaged: Vec::new() };
    for id in seal::sealed(dir)? {
        let checked = Seal::read(dir, id).and_then(|seal| {
            check(&seal.contents(dir)?, &seal.info)?;
            Ok(seal.info)
        });
        match checked {
            Ok(info) => list.whole.push(info),
            Err(damage) => list.damaged.push((id, damage)),
        }
    }
    Ok(list)
}

/// A new backup shares files with earlier ones, which may be damaged: the engine tells of that in
/// words.
fn named(error: BackupError, place: &Place) -> BackupError {
    if !matches!(&error, BackupError::Storage(StorageError::Corrupt { .. })) {
        return error;
    }
    let damaged = list(place, &mut |_, _| Ok(())).map(|list| list.damaged).unwrap_or_default();
    damaged.into_iter().next().map_or(error, |(_, damage)| damage)
}

/// The backup with this number, or the latest.
fn choose(place: &Place, id: Option<BackupId>) -> Result<BackupId, BackupError> {
    let dir = place.dir();
    let sealed = seal::sealed(dir)?;
    match id {
        Some(id) if !sealed.contains(&id) => {
            Err(BackupError::NoSuchBackup { dir: dir.to_owned(), id })
        }
        Some(id) => Ok(id),
        None => sealed.last().copied().ok_or_else(|| BackupError::NotFound(dir.to_owned())),
    }
}
