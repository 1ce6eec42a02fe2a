//! The record that says whose votes the log holds, and whether it holds all of them.

use quipu_merge::AuthorKey;
use rocksdb::WriteBatch;

use crate::db::{Db, Reader};
use crate::error::StorageError;
use crate::schema::{Family, meta};

const LOST: u8 = 0;
const KEPT: u8 = 1;

/// What is known of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// It holds all votes of this author since the store has had its key, but for those of heights that
    /// are certified.
    Kept {
        author: AuthorKey,
        /// The number of the first entry.
        first: u64,
    },
    /// Some may be missing.
    Lost,
}

impl Head {
    pub fn read(reader: Reader<'_>) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = reader.get(Family::Meta, meta::VOTES)? else { return Ok(None) };
        let damaged = || StorageError::damaged("the record of the log of votes");
        Self::decode(&bytes).map(Some).ok_or_else(damaged)
    }

    pub fn put(self, db: &Db, batch: &mut WriteBatch) -> Result<(), StorageError> {
        db.put(batch, Family::Meta, meta::VOTES, &self.encode())
    }

    fn encode(self) -> Vec<u8> {
        match self {
            Self::Lost => vec![LOST],
            Self::Kept { author, first } => {
                [&[KEPT], author.0.as_slice(), &first.to_be_bytes()].concat()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&LOST, []) => Some(Self::Lost),
            (&KEPT, rest) => {
                let (author, first) = rest.split_first_chunk::<32>()?;
                let first = u64::from_be_bytes(first.try_into().ok()?);
                Some(Self::Kept { author: AuthorKey(*author), first })
            }
            _ => None,
        }
    }
}

/// Notes that votes may have been signed with this store's key that its log does not hold.
pub fn lose(db: &Db) -> Result<(), StorageError> {
    let mut batch = WriteBatch::default();
    Head::Lost.put(db, &mut batch)?;
    db.write(batch, true)
}

/// Whether a record of the log is one.
pub fn is_sound(key: &[u8], value: &[u8]) -> bool {
    match key.strip_prefix(meta::VOTES) {
        Some([]) => Head::decode(value).is_some(),
        Some(number) => number.len() == 8 && value.len() >= 8,
        None => false,
    }
}
