//! What is said about a finished backup, in a file of its own.
//!
//! RocksDB's list of a backup guards the files by checksums, and itself by none. The seal holds its
//! hash, and one of itself. It is written last: a backup without a seal was cut short.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use quipu_merge::Micros;

use super::contents::{Contents, Seen};
use super::{BackupError, BackupId, BackupInfo};
use crate::error::StorageError;

/// The directory of the seals, one for each backup.
pub const SEALS: &str = "sealed";
const TITLE: &str = "Quipu backup, layout 1";
const MAX_TEXT: u64 = 4096;
/// How the name of a file ends that is still being written.
pub const FRESH: &str = "new";

/// A finished backup, and the hash of its list of files.
pub struct Seal {
    pub info: BackupInfo,
    list: blake3::Hash,
}

impl Seal {
    /// Seals what `contents` lists.
    pub fn new(info: BackupInfo, contents: &Contents) -> Self {
        Self { info, list: contents.hash() }
    }

    /// Reads the seal of a backup.
    pub fn read(dir: &Path, id: BackupId) -> Result<Self, BackupError> {
        let path = path(dir, id);
        let text = read_text(&path).map_err(|e| BackupError::damaged(&path, e.to_string()))?;
        Self::parse(&text, id)
            .ok_or_else(|| BackupError::damaged(&path, "it is not as it was written"))
    }

    /// Writes the seal, as a whole or not at all.
    pub fn write(&self, dir: &Path) -> Result<(), StorageError> {
        write_whole(&path(dir, self.info.id), &self.text())
    }

    /// The list of the sealed backup. It is as it was, and so are the sizes of its files.
    pub fn contents(&self, dir: &Path) -> Result<Contents, BackupError> {
        let contents = Contents::read(dir, self.info.id)?;
        contents.check_list(self.list)?;
        if contents.size()? != self.info.bytes {
            // Reading everything tells which file it is.
            contents.check_files(&mut Seen::default(), &mut |_| {})?;
        }
        Ok(contents)
    }

    fn text(&self) -> String {
        let BackupInfo { ledger, author, started, events, files, bytes, .. } = &self.info;
        let said = format!(
            "{TITLE}\nledger {ledger}\nauthor {author}\nstarted {started}\nevents {events}\n\
             files {files}\nbytes {bytes}\nlist {}\n",
            self.list
        );
        format!("{said}seal {}\n", blake3::hash(said.as_bytes()))
    }

    fn parse(text: &str, id: BackupId) -> Option<Self> {
        let mut lines = text.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        field("Quipu")?;
        let info = BackupInfo {
            id,
            ledger: field("ledger")?.parse().ok()?,
            author: field("author")?.parse().ok()?,
            started: Micros(field("started")?.parse().ok()?),
            events: field("events")?.parse().ok()?,
            files: field("files")?.parse().ok()?,
            bytes: field("bytes")?.parse().ok()?,
        };
        let list = blake3::Hash::from_hex(field("list")?).ok()?;
        let seal = Self { info, list };
        // Whatever else it says, and its own hash, must be what would be written.
        (seal.text() == text).then_some(seal)
    }
}

/// The numbers of the backups that have a seal, in ascending order.
pub fn sealed(dir: &Path) -> Result<Vec<BackupId>, StorageError> {
    numbered(&dir.join(SEALS))
}

/// The files in a directory that are named by the number of a backup, in ascending order.
pub fn numbered(dir: &Path) -> Result<Vec<BackupId>, StorageError> {
    let failed = |error| StorageError::file(dir)(error);
    let mut ids = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ids),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        ids.extend(name.to_str().and_then(|name| name.parse().ok()).map(BackupId));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Takes the seals of some backups away.
pub fn remove(dir: &Path, ids: &[BackupId]) -> Result<(), StorageError> {
    for id in ids {
        let path = path(dir, *id);
        fs::remove_file(&path).map_err(StorageError::file(&path))?;
    }
    let seals = dir.join(SEALS);
    sync_directory(&seals).map_err(StorageError::file(&seals))
}

/// Reads a small text file.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_TEXT).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file so that it is there as a whole or not at all.
pub fn write_whole(path: &Path, text: &str) -> Result<(), StorageError> {
    let fresh = path.with_extension(FRESH);
    let write = || {
        let mut file = File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), sync_directory)
    };
    write().map_err(StorageError::file(path))
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn path(dir: &Path, id: BackupId) -> PathBuf {
    dir.join(SEALS).join(id.to_string())
}
