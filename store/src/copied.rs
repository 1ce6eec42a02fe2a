//! Noticing that a store was copied or restored.
//!
//! Two stores with one key fork their author. A copy made by the file system gets files of its
//! own: the device and the inode of the key file are recorded, and another pair means that these
//! files are not the ones that were written. A store that was moved to another file system, or
//! restored from a backup, looks the same as a copy, and is as likely to fork: either the key is
//! rotated, or somebody who knows that the other is gone says so.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rocksdb::WriteBatch;

use crate::db::{Db, Reader};
use crate::error::StorageError;
use crate::identity::{FRESH_KEY_FILE, KEY_FILE};
use crate::schema::{Family, meta};

/// Whether the store in `dir` looks like a copy. One without its key file does: nobody can tell,
/// and copying a directory without the file that only its owner may read is easily done. Nothing
/// can be written until there is a key file again, and then it matters.
pub fn is_copied(dir: &Path, reader: Reader<'_>) -> Result<bool, StorageError> {
    match Place::of(dir) {
        Ok(place) => Ok(!place.is_recorded(reader)?),
        Err(_) => Ok(true),
    }
}

/// Which files a store consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    /// The place of the store in `dir`.
    pub fn of(dir: &Path) -> Result<Self, StorageError> {
        Self::of_file(dir.join(KEY_FILE))
    }

    fn of_file(path: PathBuf) -> Result<Self, StorageError> {
        let data = fs::metadata(&path).map_err(StorageError::file(&path))?;
        Ok(Self { device: data.dev(), inode: data.ino() })
    }

    /// Whether this place is the one that was recorded, or none was.
    fn is_recorded(self, reader: Reader<'_>) -> Result<bool, StorageError> {
        let recorded = reader.get(Family::Meta, meta::PLACE)?;
        let own = self.encode();
        Ok(recorded.is_none_or(|bytes| bytes.chunks(own.len()).any(|place| place == own)))
    }

    /// Records this place.
    pub fn record(self, db: &Db) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        db.put(&mut batch, Family::Meta, meta::PLACE, &self.encode())?;
        db.write(batch, true)
    }

    /// Records the place that the store in `dir` will have with the key that is written beside its
    /// own, too: a crash before or after the replacement must not look like a copy.
    pub fn record_next(dir: &Path, db: &Db) -> Result<(), StorageError> {
        let next = Self::of_file(dir.join(FRESH_KEY_FILE))?;
        let recorded = db.latest().get(Family::Meta, meta::PLACE)?;
        let mut places = recorded.map_or_else(Vec::new, |bytes| bytes.to_vec());
        places.extend(next.encode());
        let mut batch = WriteBatch::default();
        db.put(&mut batch, Family::Meta, meta::PLACE, &places)?;
        db.write(batch, true)
    }

    /// Records a place that no file is at: the store looks like a copy until somebody says that the
    /// other is gone.
    pub fn record_nowhere(db: &Db) -> Result<(), StorageError> {
        Self { device: 0, inode: 0 }.record(db)
    }

    fn encode(self) -> Vec<u8> {
        [self.device.to_be_bytes(), self.inode.to_be_bytes()].concat()
    }
}
