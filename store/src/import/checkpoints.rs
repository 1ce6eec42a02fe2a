//! The certified checkpoints that come along in a file.
//!
//! They are read one at a time, for a file may hold very many: once to check them before anything is
//! taken in, and once more when the events are there.

use quipu_merge::{
    BlockId, Certificate, ChainError, Checkpoint, CutBlock, Height, Malformed, ValidatorsBlock,
};

use super::FileSource;
use crate::certify::{AcceptError, CertifiedCheckpoint};
use crate::error::MergeError;
use crate::ledger::Ledger;

impl Ledger {
    /// Checks the checkpoints of a file as far as they continue those that are held; what comes
    /// after a gap cannot be checked, and will not be taken. Tells how many are new, and how many come
    /// after a gap.
    pub(super) fn rehearse_checkpoints(
        &self,
        source: &mut FileSource,
        certificates: &[(Height, BlockId)],
    ) -> Result<(u64, u64), MergeError> {
        let mut chain = self.held_chain();
        let (mut certifying, mut new) = (Vec::new(), 0);
        for (&(height, root), left) in certificates.iter().zip((0..certificates.len() as u64).rev())
        {
            let certified = source.certified(root)?;
            let CertifiedCheckpoint { checkpoint, certificate, validators, .. } = &certified;
            let (own, found) = (self.id(), checkpoint.ledger);
            if found != own {
                return Err(MergeError::OtherLedger { own, found });
            }
            let refused = |why: ChainError| MergeError::Certificate { height, why };
            if self.held_height() >= Some(height) {
                self.check_beside(&certified)?.map_err(refused)?;
            } else if chain.height() == Some(height) {
                // Two of one height: nobody may follow the second one, but it must be certified.
                let checked = certificate.check(checkpoint, own, &certifying);
                checked.map_err(|why| refused(why.into()))?;
            } else if chain.next_height() == Some(height) {
                certifying = chain.validators().to_vec();
                chain.accept(checkpoint, certificate, validators).map_err(refused)?;
                new += 1;
            } else {
                return Ok((new, left + 1));
            }
        }
        Ok((new, 0))
    }

    /// Takes the checkpoints of a file, the earliest first, as far as they can be taken now.
    pub(super) fn take_checkpoints(
        &self,
        source: &mut FileSource,
        certificates: &[(Height, BlockId)],
    ) -> Result<(), MergeError> {
        for &(_, root) in certificates {
            match self.accept(source.certified(root)?) {
                Ok(_) => {}
                Err(AcceptError::Storage(error)) => return Err(error.into()),
                // Those before have been taken. It can be offered again when their events have come.
                Err(_) => break,
            }
        }
        Ok(())
    }
}

impl FileSource {
    /// The certificates among the roots, by height.
    pub(super) fn certificates(&mut self) -> Result<Vec<(Height, BlockId)>, MergeError> {
        let mut certificates = Vec::new();
        for root in self.roots.clone() {
            let Some(bytes) = self.block(root)?.filter(|bytes| Certificate::is_one(bytes)) else {
                continue;
            };
            let certificate = Certificate::decode(&bytes).map_err(malformed(root))?;
            certificates.push((certificate.height, root));
        }
        certificates.sort_unstable();
        certificates.dedup();
        Ok(certificates)
    }

    /// The checkpoint that a certificate is about, with the blocks that it names.
    fn certified(&mut self, root: BlockId) -> Result<CertifiedCheckpoint, MergeError> {
        let certificate = self.part(root, Certificate::decode)?;
        let checkpoint = self.part(certificate.checkpoint.block(), Checkpoint::decode)?;
        let cut = self.part(checkpoint.cut, CutBlock::decode)?;
        let validators = self.part(checkpoint.validators, ValidatorsBlock::decode)?;
        Ok(CertifiedCheckpoint { checkpoint, certificate, cut, validators })
    }

    fn part<T>(
        &mut self,
        id: BlockId,
        decode: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, MergeError> {
        let missing = || MergeError::Corrupt(format!("block {id} of a checkpoint is missing"));
        decode(&self.block(id)?.ok_or_else(missing)?).map_err(malformed(id))
    }
}

fn malformed(id: BlockId) -> impl FnOnce(Malformed) -> MergeError {
    move |why| MergeError::Corrupt(format!("block {id} of a checkpoint: {why}"))
}
