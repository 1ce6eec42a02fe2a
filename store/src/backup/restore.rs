//! Making a store of a backup.
//!
//! It gets a key of its own. The store that was backed up may still be there, or come back, and
//! has gone on since: another that writes with its key would give other events the places of
//! those that it has forgotten, and fork its author.

use std::path::{Path, PathBuf};

use super::contents::Seen;
use super::engine::{Engine, watch};
use super::place::Place;
use super::seal::Seal;
use super::{BackupError, BackupId, BackupInfo, choose};
use crate::author;
use crate::copied;
use crate::error::StorageError;
use crate::format;
use crate::identity::Identity;
use crate::ledger::{DATABASE, Ledger};
use crate::merge::Progress;
use crate::options::Options;
use crate::signer::Signer;

/// What is to be restored, and for whom.
#[derive(Clone, Debug, Default)]
pub struct Restore {
    /// Which backup; the latest unless given.
    pub backup: Option<BackupId>,
    /// The file with the private key of the store that was backed up, where that one is gone for
    /// good and this one is to take its place; a new key is made unless given.
    ///
    /// The restored store counts as a copy until [`Ledger::keep_place`] says otherwise. What the
    /// key has signed since the backup must be merged from other replicas before, or it is
    /// signed a second time: that forks the author, and cannot be undone.
    pub key: Option<PathBuf>,
}

impl Options {
    /// Makes a store in `dir` from one of the backups in `backups`, with a key of its own. It
    /// writes no event; what the store had written that was backed up is that of another author
    /// from now on.
    ///
    /// Every file is compared with its checksum while it is copied.
    ///
    /// # Errors
    /// [`BackupError::NotFound`], [`BackupError::NoSuchBackup`], [`BackupError::Damaged`] where a
    /// file of the backup is not as it was, and those of [`Options::create`]. What was made is
    /// removed again, and the backups are as before.
    pub fn restore(
        &self,
        backups: impl AsRef<Path>,
        what: &Restore,
        dir: impl AsRef<Path>,
        progress: Progress<'_>,
    ) -> Result<(Ledger, BackupInfo), BackupError> {
        let (place, dir) = (Place::to_read(backups.as_ref())?, dir.as_ref());
        let seal = Seal::read(place.dir(), choose(&place, what.backup)?)?;
        Self::make(dir, || {
            copy_files(&place, &seal, &dir.join(DATABASE), progress)?;
            fail::fail_point!("after-files-restored");
            let ledger = self.start_restored(dir, what.key.as_deref())?;
            if ledger.id() != seal.info.ledger || ledger.snapshot()?.len()? < seal.info.events {
                let what = "the files are not those of the ledger that was backed up";
                return Err(BackupError::damaged(place.dir(), what));
            }
            Ok((ledger, seal.info.clone()))
        })
    }

    /// Opens the restored database as that of this replica.
    fn start_restored(&self, dir: &Path, key: Option<&Path>) -> Result<Ledger, BackupError> {
        let db = format::open(&dir.join(DATABASE), self.tuning())?;
        let passphrase = self.passphrase.as_ref();
        let identity = match key {
            Some(file) => Identity::load_file(file, passphrase)?,
            None => Identity::generate()?,
        };
        identity.save(dir, passphrase)?;
        match key {
            Some(_) => copied::Place::record_nowhere(&db)?,
            None => copied::Place::of(dir)?.record(&db)?,
        }
        author::record(&db, identity.author())?;
        Ok(Ledger::start(self, dir, db, Signer::new(identity), key.is_some())?)
    }
}

fn copy_files(
    place: &Place,
    seal: &Seal,
    to: &Path,
    progress: Progress<'_>,
) -> Result<(), BackupError> {
    let contents = seal.contents(place.dir())?;
    std::fs::create_dir(to).map_err(StorageError::file(to))?;
    let copied = watch(to, seal.info.bytes, progress, || {
        Engine::open(place.dir())?.restore(seal.info.id, to)
    });
    copied.map_err(|error| {
        // RocksDB tells of a file in words; which one it is can be found out.
        match contents.check_files(&mut Seen::default(), &mut |_| {}) {
            Err(damage @ BackupError::Damaged { .. }) => damage,
            _ => error,
        }
    })
}
