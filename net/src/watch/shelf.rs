//! Lists of branches that are too long for a cursor, kept in files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use quipu_merge::EventId;
use quipu_store::Ledger;
use tempfile::NamedTempFile;

use super::WatchError;

/// The directory in the store's directory.
const DIR: &str = "cursors";
/// So many lists are kept, those that were used last.
const MAX_LISTS: usize = 256;
/// So many bytes of lists are kept.
const MAX_BYTES: u64 = 256 << 20;

/// Names a list by its content.
pub type ShelfId = [u8; 16];

/// Lists of branches in a directory.
pub struct Shelf(PathBuf);

impl Shelf {
    /// Those of a ledger.
    pub fn of(ledger: &Ledger) -> Self {
        Self(ledger.dir().join(DIR))
    }

    /// Puts a list there. It is on the disk when this returns.
    pub fn save(&self, events: &BTreeSet<EventId>) -> Result<ShelfId, WatchError> {
        let bytes: Vec<u8> = events.iter().flat_map(|event| event.0).collect();
        let id = id_of(&bytes);
        let path = self.path(id);
        if touch(&path).is_err() {
            self.write(&path, &bytes).map_err(|error| WatchError::File(path, error))?;
        }
        Ok(id)
    }

    /// Reads a list. It counts as used.
    pub fn load(&self, id: ShelfId) -> Result<BTreeSet<EventId>, WatchError> {
        let path = self.path(id);
        let bytes = match fs::read(&path) {
            Ok(bytes) if id_of(&bytes) == id => bytes,
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(WatchError::File(path, error));
            }
            _ => return Err(WatchError::Expired),
        };
        // It is kept for longer where that can be noted.
        let _ = touch(&path);
        let (events, _) = bytes.as_chunks::<32>();
        Ok(events.iter().copied().map(EventId).collect())
    }

    fn path(&self, id: ShelfId) -> PathBuf {
        self.0.join(HEXLOWER.encode(&id))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let mut file = NamedTempFile::new_in(&self.0)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(&self.0)?.sync_all()?;
        self.clear_up()
    }

    /// Removes what was used longest ago, where there is too much.
    fn clear_up(&self) -> io::Result<()> {
        let mut lists = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            // One that has gone meanwhile takes up no room.
            let Ok(data) = entry.metadata() else { continue };
            lists.push((data.modified()?, data.len(), entry.path()));
        }
        lists.sort_unstable_by(|a, b| b.cmp(a));
        let mut total = 0;
        for (place, (_, len, path)) in lists.into_iter().enumerate() {
            total += len;
            if place >= MAX_LISTS || (place > 0 && total > MAX_BYTES) {
                // Another watch may have removed it.
                fs::remove_file(path).or_else(unless_missing)?;
            }
        }
        Ok(())
    }
}

fn id_of(bytes: &[u8]) -> ShelfId {
    let hash = blake3::hash(bytes);
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn touch(path: &Path) -> io::Result<()> {
    File::options().append(true).open(path)?.set_modified(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(number: u16) -> BTreeSet<EventId> {
        let [a, b] = number.to_be_bytes();
        let mut id = [0; 32];
        (id[0], id[1]) = (a, b);
        BTreeSet::from([EventId(id)])
    }

    #[test]
    fn the_lists_used_last_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf(dir.path().join(DIR));
        let first = shelf.save(&list(0)).unwrap();
        let second = shelf.save(&list(1)).unwrap();
        for number in 2..=256 {
            shelf.load(first).unwrap();
            shelf.save(&list(number)).unwrap();
        }
        assert_eq!(shelf.load(first).unwrap(), list(0));
        assert!(matches!(shelf.load(second), Err(WatchError::Expired)));
    }

    #[test]
    fn a_damaged_list_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf(dir.path().join(DIR));
        let id = shelf.save(&list(7)).unwrap();
        fs::write(shelf.path(id), [1; 32]).unwrap();
        assert!(matches!(shelf.load(id), Err(WatchError::Expired)));
    }
}
