//! Proof of what other validators have signed and must not, as this replica keeps it.

use quipu_merge::AuthorKey;
use rocksdb::WriteBatch;

use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::schema::{Family, meta};

/// So many pieces are kept against one key, whatever others have done.
pub const MAX_EVIDENCE_AGAINST: usize = 32;
/// Against so many keys pieces are kept: as many as a height has validators at most.
pub const MAX_ACCUSED: usize = 1024;
/// Length of a piece, in bytes.
pub const MAX_KEPT_EVIDENCE_LEN: usize = 4096;
/// Length of what it is found by beside the key, in bytes.
pub const MAX_EVIDENCE_NAME: usize = 32;

/// What has become of a piece of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptEvidence {
    /// It is kept now, and was not before.
    New,
    /// One of this name was kept before, and stays.
    Known,
    /// There is no room for it: its key has [`MAX_EVIDENCE_AGAINST`] pieces, or none where
    /// [`MAX_ACCUSED`] others have some, or it is longer than what is kept.
    NoRoom,
}

impl Ledger {
    /// Keeps a piece of evidence against a validator by a name. Whoever calls has checked it, and that
    /// the key is one of a validator: others have no room here.
    ///
    /// # Errors
    /// The disk, the database or its content; nothing is kept.
    pub fn keep_evidence(
        &self,
        against: AuthorKey,
        name: &[u8],
        evidence: &[u8],
    ) -> Result<KeptEvidence, StorageError> {
        if name.len() > MAX_EVIDENCE_NAME || evidence.len() > MAX_KEPT_EVIDENCE_LEN {
            return Ok(KeptEvidence::NoRoom);
        }
        let key = meta::evidence(against.0, name);
        if self.latest().has(Family::Meta, &key)? {
            return Ok(KeptEvidence::Known);
        }
        let has_room = match self.latest().count(Family::Meta, &meta::evidence(against.0, b""))? {
            0 => self.accused()? < MAX_ACCUSED,
            count => count < MAX_EVIDENCE_AGAINST as u64,
        };
        if !has_room {
            return Ok(KeptEvidence::NoRoom);
        }
        let mut batch = WriteBatch::default();
        self.db.put(&mut batch, Family::Meta, &key, evidence)?;
        self.db.write(batch, true)?;
        Ok(KeptEvidence::New)
    }

    /// Against how many keys there is something.
    fn accused(&self) -> Result<usize, StorageError> {
        let mut walk = self.latest().walk(Family::Meta, meta::EVIDENCE)?;
        walk.first()?;
        let (mut count, mut last) = (0, None);
        while let Some((key, _)) = walk.item() {
            let author = meta::parse_accused(key);
            count += usize::from(author != last);
            last = author;
            walk.next()?;
        }
        Ok(count)
    }

    /// The evidence that is kept, by key and name, ascending.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::NewLedger;

    /// A store may have more against one key than is taken in: it stays, and takes no other's room.
    #[test]
    fn a_key_with_too_much_against_it_takes_no_room_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(dir.path().join("l"), &NewLedger::default()).unwrap();
        let (liar, other) = (AuthorKey([1; 32]), AuthorKey([2; 32]));
        let mut batch = WriteBatch::default();
        for number in 0..1024_u16 {
            let key = meta::evidence(liar.0, &number.to_be_bytes());
            ledger.db.put(&mut batch, Family::Meta, &key, b"old").unwrap();
        }
        ledger.db.write(batch, true).unwrap();
        assert_eq!(ledger.keep_evidence(liar, b"new", b"p").unwrap(), KeptEvidence::NoRoom);
        assert_eq!(ledger.keep_evidence(other, b"new", b"p").unwrap(), KeptEvidence::New);
        assert_eq!(ledger.evidence().unwrap().len(), 1025);
        assert_eq!(ledger.accused().unwrap(), 2);
    }
}
