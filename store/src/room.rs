//! Room on the disk: writing stops while there is still enough left to read, to clean up, and to
//! bring the database into order.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::StorageError;

/// What is kept free unless something else is asked for: this, or a part of a small file system.
const KEPT: u64 = 64 << 20;
const PART: u64 = 16;
/// So much may be written before the file system is asked again; others write there, too.
const MAX_STRIDE: u64 = 8 << 20;

/// The free room on the file system of a store.
pub struct Room {
    dir: PathBuf,
    min_free: Option<u64>,
    /// How many bytes may be written before the file system is asked again.
    left: AtomicU64,
}

impl Room {
    /// The room in `dir`, of which `min_free` bytes are kept.
    pub fn new(dir: &Path, min_free: Option<u64>) -> Self {
        Self { dir: dir.to_owned(), min_free, left: AtomicU64::new(0) }
    }

    /// Refuses where less is free than is to be kept.
    pub fn check(&self) -> Result<(), StorageError> {
        if self.left.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        self.check_now()
    }

    /// Does what [`Self::check`] does, and asks the file system in any case.
    pub fn check_now(&self) -> Result<(), StorageError> {
        // Where it cannot be told, writing tells.
        let Some((free, min_free)) = free(&self.dir, self.min_free) else { return Ok(()) };
        if free < min_free {
            return Err(StorageError::NoRoom { dir: self.dir.clone(), free, min_free });
        }
        // What is written once may be there twice while tables are being merged.
        let stride = (free - min_free) / 4;
        self.left.store(stride.min(MAX_STRIDE), Ordering::Relaxed);
        Ok(())
    }

    /// Counts what is written.
    pub fn wrote(&self, bytes: usize) {
        let bytes = bytes as u64;
        let less = |left: u64| Some(left.saturating_sub(bytes));
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// How many bytes are free on the file system of `dir`, and how many of them are kept; `None` where
/// it cannot be told.
pub fn free(dir: &Path, min_free: Option<u64>) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(dir).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let all = found.f_blocks.saturating_mul(found.f_frsize);
    Some((free, min_free.unwrap_or_else(|| KEPT.min(all / PART))))
}
