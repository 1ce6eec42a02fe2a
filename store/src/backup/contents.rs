//! Which files a backup consists of, as RocksDB's backup engine has written it down, and whether
//! they are there and as they were.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::checksum::Checksum;
use super::{BackupError, BackupId};

/// The directory of the engine's lists, one for each backup.
pub const LISTS: &str = "meta";
/// A list is no longer than that, in bytes: some 500,000 files.
const MAX_LIST: u64 = 64 << 20;
const BUFFER: usize = 1 << 20;

/// The files of one backup.
pub struct Contents {
    dir: PathBuf,
    list: PathBuf,
    text: String,
}

impl Contents {
    /// Reads the list of a backup.
    pub fn read(dir: &Path, id: BackupId) -> Result<Self, BackupError> {
        let list = dir.join(LISTS).join(id.to_string());
        let failed = |error: std::io::Error| BackupError::damaged(&list, error.to_string());
        let mut text = String::new();
        File::open(&list)
            .map_err(failed)?
            .take(MAX_LIST)
            .read_to_string(&mut text)
            .map_err(failed)?;
        Ok(Self { dir: dir.to_owned(), list, text })
    }

    /// A hash of the list, which carries no checksum of its own.
    pub fn hash(&self) -> blake3::Hash {
        blake3::hash(self.text.as_bytes())
    }

    /// Compares the list with its hash.
    pub fn check_list(&self, hash: blake3::Hash) -> Result<(), BackupError> {
        if self.hash() == hash {
            return Ok(());
        }
        Err(BackupError::damaged(&self.list, "it is not as it was written"))
    }

    /// What the files take up. Each must be there.
    pub fn size(&self) -> Result<u64, BackupError> {
        let mut total = 0;
        for (name, _) in self.files() {
            let path = self.dir.join(name);
            let data = path.metadata();
            total += data.map_err(|e| BackupError::damaged(&path, e.to_string()))?.len();
        }
        Ok(total)
    }

    /// How many files there are.
    pub fn count(&self) -> u64 {
        self.files().count() as u64
    }

    /// Reads every file that `seen` does not know yet, and compares it with its checksum. Tells
    /// how many bytes it has gone through.
    pub fn check_files(
        &self,
        seen: &mut Seen,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), BackupError> {
        for (name, expected) in self.files() {
            let path = self.dir.join(name);
            let found = match seen.0.get(&path) {
                Some(found) => *found,
                None => {
                    let read = checksum_of(&path, progress);
                    let found = read.map_err(|e| BackupError::damaged(&path, e.to_string()))?;
                    seen.0.insert(path.clone(), found);
                    found
                }
            };
            if found != expected {
                return Err(BackupError::damaged(&path, "it is not as it was written"));
            }
        }
        Ok(())
    }

    /// The files by their paths, and their checksums. Other lines of the list are not of files.
    fn files(&self) -> impl Iterator<Item = (&str, u32)> {
        self.text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some(name), Some("crc32"), Some(value)) => Some((name, value.parse().ok()?)),
                _ => None,
            }
        })
    }
}

/// Files that have been read, and their checksums: backups share most of theirs.
#[derive(Default)]
pub struct Seen(HashMap<PathBuf, u32>);

fn checksum_of(path: &Path, progress: &mut dyn FnMut(u64)) -> std::io::Result<u32> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BUFFER];
    let mut checksum = Checksum::new();
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        checksum.update(bytes);
        progress(bytes.len() as u64);
    }
    Ok(checksum.value())
}
