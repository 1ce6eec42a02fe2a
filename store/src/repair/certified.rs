//! The certified checkpoints of a damaged database: those that can be read are accepted again, and
//! derived anew. With them go the lines of their notes.

use quipu_merge::{Certificate, Checkpoint, CutBlock, Height, ValidatorsBlock};

use crate::certify::{AcceptError, CertifiedCheckpoint, Divergence, Part, readable_lines, records};
use crate::db::Salvage;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::schema::{Family, checkpoints};

/// Offers the checkpoints that can be read, the first one first, when the events are there.
pub fn offer(salvage: &Salvage, ledger: &Ledger) -> Result<(), StorageError> {
    let mut next = Some(Height::FIRST);
    while let Some(height) = next {
        let Some(certified) = read(salvage, height) else { break };
        accept(ledger, certified)?;
        next = height.next();
    }
    let mut aside = Vec::new();
    salvage.visit(Family::Final, &[checkpoints::PENDING], |_, record| {
        aside.extend(records::unpack(record));
        Ok::<_, StorageError>(())
    })?;
    salvage.visit(Family::Final, &[checkpoints::DIVERGED], |_, record| {
        aside.extend(records::unpack_divergence(record).map(|divergence| match divergence {
            Divergence::Certificates { other, .. } => *other,
            Divergence::Derived { certified, .. } => *certified,
        }));
        Ok::<_, StorageError>(())
    })?;
    aside.into_iter().try_for_each(|certified| accept(ledger, certified))
}

/// Keeps the lines of notes that can be read, of checkpoints that are held by now. Each is checked as if
/// it came from a peer.
pub fn take_over_lines(salvage: &Salvage, ledger: &Ledger) -> Result<(), StorageError> {
    let Some(last) = ledger.certifying.lock().chain.height() else { return Ok(()) };
    salvage.visit(Family::Final, &[checkpoints::COSIGNED], |key, record| {
        match checkpoints::parse_height(key) {
            Some(height) if (Height::FIRST..=last).contains(&height) => {
                ledger.keep_sound_cosignatures(height, readable_lines(record))
            }
            _ => Ok(()),
        }
    })
}

/// The last height of which something is there.
pub fn last_height(salvage: &Salvage) -> Result<Option<Height>, StorageError> {
    let mut last = None;
    salvage.visit(Family::Final, &[checkpoints::KEPT], |key, _| {
        last = last.max(checkpoints::parse_height(key));
        Ok::<_, StorageError>(())
    })?;
    Ok(last)
}

fn accept(ledger: &Ledger, certified: CertifiedCheckpoint) -> Result<(), StorageError> {
    match ledger.accept(certified) {
        Err(AcceptError::Storage(error)) => Err(error),
        // What does not continue those before comes after one that is gone.
        _ => Ok(()),
    }
}

fn read(salvage: &Salvage, height: Height) -> Option<CertifiedCheckpoint> {
    let part = |part| salvage.get(Family::Final, &checkpoints::kept(height, part));
    Some(CertifiedCheckpoint {
        checkpoint: Checkpoint::decode(&part(Part::Header)?).ok()?,
        certificate: Certificate::decode(&part(Part::Certificate)?).ok()?,
        cut: CutBlock::decode(&part(Part::Cut)?).ok()?,
        validators: ValidatorsBlock::decode(&part(Part::Validators)?).ok()?,
    })
}
