//! Which author this replica is, recorded in the database: reading needs no private key.
//!
//! While a key is being replaced, every key that the key file may hold is recorded, the one in use
//! first. If that is cut short, the file decides which one it has become.

use std::path::Path;

use quipu_merge::AuthorKey;
use rocksdb::WriteBatch;

use crate::db::{Db, Reader};
use crate::error::StorageError;
use crate::identity::FRESH_KEY_FILE;
use crate::schema::{Family, meta};

/// The authors that are recorded, of which there is at least one.
pub fn recorded(reader: Reader<'_>) -> Result<Vec<AuthorKey>, StorageError> {
    let bytes = reader.get(Family::Meta, meta::AUTHOR)?;
    let damaged = || StorageError::damaged("the record of this replica's key");
    bytes.as_deref().and_then(decode).ok_or_else(damaged)
}

/// Reads a record of authors, of which there is at least one.
pub fn decode(bytes: &[u8]) -> Option<Vec<AuthorKey>> {
    let (authors, rest) = bytes.as_chunks::<32>();
    let whole = rest.is_empty() && !authors.is_empty();
    whole.then(|| authors.iter().copied().map(AuthorKey).collect())
}

/// Records the author.
pub fn record(db: &Db, author: AuthorKey) -> Result<(), StorageError> {
    write(db, &[author])
}

/// Records that the key file is about to hold the key of another author.
pub fn record_next(db: &Db, next: AuthorKey) -> Result<(), StorageError> {
    let mut authors = recorded(db.latest())?;
    authors.retain(|author| *author != next);
    authors.push(next);
    write(db, &authors)
}

/// The author that the store in `dir` most likely is, where the key file cannot be read: a key
/// that is still beside it has not replaced it.
pub fn most_likely(dir: &Path, recorded: &[AuthorKey]) -> Option<AuthorKey> {
    let replaced = !dir.join(FRESH_KEY_FILE).exists();
    if replaced { recorded.last().copied() } else { recorded.first().copied() }
}

/// Records the authors whose key the key file may hold.
pub fn write(db: &Db, authors: &[AuthorKey]) -> Result<(), StorageError> {
    let bytes: Vec<u8> = authors.iter().flat_map(|author| author.0).collect();
    let mut batch = WriteBatch::default();
    db.put(&mut batch, Family::Meta, meta::AUTHOR, &bytes)?;
    db.write(batch, true)
}
