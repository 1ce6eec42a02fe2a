//! Proof of what other validators have signed and must not, as this replica keeps it.

use rocksdb::WriteBatch;

use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::schema::{Family, meta};

/// So many pieces are kept; of more nothing new is learned.
pub const MAX_KEPT_EVIDENCE: usize = 1024;
/// Length of a piece, in bytes.
pub const MAX_KEPT_EVIDENCE_LEN: usize = 4096;
/// Length of what it is found by, in bytes.
pub const MAX_EVIDENCE_NAME: usize = 64;

impl Ledger {
    /// Keeps a piece of evidence by a name. One of the same name stays, and so do all where there are
    /// [`MAX_KEPT_EVIDENCE`]. Tells whether it is kept now and was not before.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn keep_evidence(&self, name: &[u8], evidence: &[u8]) -> Result<bool, StorageError> {
        let key = meta::evidence(name);
        let long = name.len() > MAX_EVIDENCE_NAME || evidence.len() > MAX_KEPT_EVIDENCE_LEN;
        if long
            || self.latest().has(Family::Meta, &key)?
            || self.latest().count(Family::Meta, meta::EVIDENCE)? >= MAX_KEPT_EVIDENCE as u64
        {
            return Ok(false);
        }
        let mut batch = WriteBatch::default();
        self.db.put(&mut batch, Family::Meta, &key, evidence)?;
        self.db.write(batch, true)?;
        Ok(true)
    }

    /// The evidence that is kept, by name, ascending.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn evidence(&self) -> Result<Vec<Vec<u8>>, StorageError> {
        let mut all = Vec::new();
        let mut walk = self.latest().walk(Family::Meta, meta::EVIDENCE)?;
        walk.first()?;
        while let Some((_, evidence)) = walk.item() {
            all.push(evidence.to_vec());
            walk.next()?;
        }
        Ok(all)
    }
}
