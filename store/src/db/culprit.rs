//! Which file of the database an error is about.

use std::path::{Path, PathBuf};

use rocksdb::{Error, ErrorKind};

use crate::error::StorageError;

/// An error of an open database in `path`. A damaged file is named where RocksDB tells it, and
/// otherwise the directory.
pub fn failure(path: &Path, source: Error) -> StorageError {
    if source.kind() != ErrorKind::Corruption {
        return StorageError::Database(source);
    }
    StorageError::Corrupt { path: named(path, &source).unwrap_or_else(|| path.to_owned()), source }
}

/// An error of opening the database in `path`: RocksDB names the damaged file, except where it is
/// a log.
pub fn open_failure(path: &Path, source: Error) -> StorageError {
    if source.kind() == ErrorKind::Corruption
        && named(path, &source).is_none()
        && let Some(path) = only_log(path)
    {
        return StorageError::Corrupt { path, source };
    }
    failure(path, source)
}

fn named(path: &Path, error: &Error) -> Option<PathBuf> {
    let text = error.to_string();
    let mut named: Vec<_> = files(path).filter(|(_, name)| text.contains(name.as_str())).collect();
    // It may blame the manifest for a table that the manifest names.
    named.sort_by_key(|(_, name)| !name.ends_with(".sst"));
    named.into_iter().next().map(|(file, _)| file)
}

fn only_log(path: &Path) -> Option<PathBuf> {
    let mut logs = files(path).filter(|(_, name)| name.ends_with(".log"));
    logs.next().filter(|_| logs.next().is_none()).map(|(log, _)| log)
}

/// The files in a directory, with their names.
pub fn files(dir: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
}
