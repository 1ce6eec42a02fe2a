//! The mark of the last vote, beside the database: so that a database that was replaced by an older
//! one is noticed.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use quipu_merge::{AuthorKey, BlockId, Codec};

use crate::error::StorageError;
use crate::mark::sync_directory;

/// The file with the mark, in the store's directory.
const FILE: &str = "voted";
const MAGIC: &[u8; 8] = b"quipuvot";
/// It stays within a sector, which is written as a whole or not at all.
const SIZE: usize = 256;
const SUM: usize = 32;
/// Length of a mark, in bytes.
pub const MAX_VOTE_MARK: usize = 128;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marked {
    /// Nothing, or something about another author.
    Nothing,
    /// This was the last.
    Last(Vec<u8>),
    /// It cannot be read.
    Unreadable,
}

/// Reads the mark of an author.
pub fn read(dir: &Path, author: AuthorKey) -> Result<Marked, StorageError> {
    let path = dir.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => Ok(match decode(&bytes) {
            Some((by, mark)) if by == author => Marked::Last(mark),
            Some(_) => Marked::Nothing,
            None => Marked::Unreadable,
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Marked::Nothing),
        Err(error) => Err(StorageError::file(path)(error)),
    }
}

/// The file, open for marking.
pub struct MarkFile {
    path: PathBuf,
    file: File,
    author: AuthorKey,
}

impl MarkFile {
    /// Opens it, and makes it where it is not there.
    pub fn open(dir: &Path, author: AuthorKey) -> Result<Self, StorageError> {
        let path = dir.join(FILE);
        let open = || OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = open().map_err(StorageError::file(&path))?;
        sync_directory(dir)?;
        Ok(Self { path, file, author })
    }

    /// Marks the last vote. It is on the disk when this returns.
    pub fn write(&self, mark: &[u8]) -> Result<(), StorageError> {
        let bytes = encode(self.author, mark);
        let write = || self.file.write_all_at(&bytes, 0).and_then(|()| self.file.sync_data());
        write().map_err(StorageError::file(&self.path))
    }
}

fn encode(author: AuthorKey, mark: &[u8]) -> Vec<u8> {
    let mark = mark.get(..MAX_VOTE_MARK).unwrap_or(mark);
    let mut bytes = Vec::with_capacity(SIZE);
    bytes.extend(MAGIC);
    bytes.extend(author.0);
    bytes.push(u8::try_from(mark.len()).unwrap_or_default());
    bytes.extend(mark);
    bytes.resize(SIZE - SUM, 0);
    let sum = BlockId::of(Codec::Raw, &bytes).digest;
    bytes.extend(sum);
    bytes
}

fn decode(bytes: &[u8]) -> Option<(AuthorKey, Vec<u8>)> {
    let (content, sum) = bytes.first_chunk::<SIZE>()?.split_last_chunk::<SUM>()?;
    if BlockId::of(Codec::Raw, content).digest != *sum {
        return None;
    }
    let (author, rest) = content.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    let (len, rest) = rest.split_first()?;
    Some((AuthorKey(*author), rest.get(..usize::from(*len))?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_is_read_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let (me, other) = (AuthorKey([1; 32]), AuthorKey([2; 32]));
        assert_eq!(read(dir.path(), me).unwrap(), Marked::Nothing);
        let file = MarkFile::open(dir.path(), me).unwrap();
        assert_eq!(read(dir.path(), me).unwrap(), Marked::Unreadable);
        for mark in [&[][..], &[7; 3], &[9; MAX_VOTE_MARK]] {
            file.write(mark).unwrap();
            assert_eq!(read(dir.path(), me).unwrap(), Marked::Last(mark.to_vec()));
            assert_eq!(read(dir.path(), other).unwrap(), Marked::Nothing);
        }
        let bytes = encode(me, &[3; 5]);
        for place in 0..SIZE {
            let mut torn = bytes.clone();
            torn[place] ^= 1;
            assert_eq!((decode(&torn), decode(&bytes[..place])), (None, None));
        }
    }
}
