//! Where the records go that a checkpoint changes, while it is derived.

use rocksdb::WriteBatch;

use crate::db::Db;
use crate::error::StorageError;
use crate::schema::Family;

/// What one event changes, in bytes: its entry in the log, its key, and nodes of the tree.
const EVENT_LEN: usize = 640;
/// Room that is made for a batch beforehand, in bytes.
const MAX_RESERVED: usize = 64 << 20;

/// Takes records that are to be written or deleted, in the order in which they come.
pub trait Sink {
    /// Takes one to be written.
    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), StorageError>;

    /// Takes one to be deleted.
    fn delete(&mut self, family: Family, key: &[u8]) -> Result<(), StorageError>;
}

/// Encodes records into a batch of the database, which then only has to be written.
pub struct Encoded<'d> {
    pub db: &'d Db,
    pub batch: WriteBatch,
}

impl<'d> Encoded<'d> {
    /// A batch for what so many new events change.
    pub fn for_events(db: &'d Db, count: u64) -> Self {
        let likely = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(EVENT_LEN);
        Self { db, batch: WriteBatch::with_capacity_bytes(likely.min(MAX_RESERVED)) }
    }
}

impl Sink for Encoded<'_> {
    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.db.put(&mut self.batch, family, key, value)
    }

    fn delete(&mut self, family: Family, key: &[u8]) -> Result<(), StorageError> {
        self.db.delete(&mut self.batch, family, key)
    }
}

/// A record to be written or deleted.
#[derive(Debug)]
pub struct Op {
    pub family: Family,
    pub key: Vec<u8>,
    /// None to delete it.
    pub value: Option<Vec<u8>>,
}

/// Keeps records to look at them.
impl Sink for Vec<Op> {
    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.push(Op { family, key: key.to_vec(), value: Some(value.to_vec()) });
        Ok(())
    }

    fn delete(&mut self, family: Family, key: &[u8]) -> Result<(), StorageError> {
        self.push(Op { family, key: key.to_vec(), value: None });
        Ok(())
    }
}
