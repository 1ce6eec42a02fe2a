//! Validators' lines of the notes of checkpoints, beside the certificates.

use std::collections::BTreeMap;

use quipu_merge::{AuthorKey, CheckpointNote, CheckpointSignature, Height, MAX_VALIDATORS};
use rocksdb::WriteBatch;

use crate::db::Reader;
use crate::error::{ReadError, StorageError};
use crate::ledger::Ledger;
use crate::schema::{Family, checkpoints};
use crate::snapshot::Snapshot;

/// Length of the record of one validator, in bytes.
const LEN: usize = 32 + 8 + 64 + 64;

impl Ledger {
    /// Keeps the lines of the note of a checkpoint, up to [`MAX_VALIDATORS`] of them, in the place of
    /// those that were kept before. Nothing is checked; they can be had again, so they may be lost in a
    /// crash of the machine.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn keep_cosignatures(
        &self,
        height: Height,
        signatures: &[CheckpointSignature],
    ) -> Result<(), StorageError> {
        let record: Vec<u8> = signatures.iter().take(MAX_VALIDATORS).flat_map(encode).collect();
        let mut batch = WriteBatch::default();
        self.db.put(&mut batch, Family::Final, &checkpoints::cosigned(height), &record)?;
        self.db.write(batch, false)
    }

    /// Adds to the lines that are kept those of these that hold and are by validators who have none yet.
    /// The checkpoint must be held, but need not count.
    pub(crate) fn keep_sound_cosignatures(
        &self,
        height: Height,
        signatures: impl IntoIterator<Item = CheckpointSignature>,
    ) -> Result<(), StorageError> {
        let held = self.held_checkpoint(&self.certifying.lock(), height)?;
        let damaged = |_| StorageError::damaged(format!("checkpoint {height}"));
        let Some(checkpoint) = held else { return Ok(()) };
        let note = CheckpointNote::of(&checkpoint, checkpoint.seal().map_err(damaged)?.0);
        let validators = self.certifying(height)?;
        let kept = read(self.latest(), height)?.into_iter();
        let mut kept: BTreeMap<_, _> = kept.map(|line| (line.validator, line)).collect();
        for signature in signatures {
            let by = signature.validator;
            let is_new = !kept.contains_key(&by) && validators.contains(&by);
            if is_new && signature.verify(&note).is_ok() {
                kept.insert(by, signature);
            }
        }
        self.keep_cosignatures(height, &kept.into_values().collect::<Vec<_>>())
    }
}

impl Snapshot<'_> {
    /// The lines of the note of a checkpoint that are kept.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn cosignatures(&self, height: Height) -> Result<Vec<CheckpointSignature>, ReadError> {
        Ok(read(self.reader(), height)?)
    }
}

fn read(reader: Reader<'_>, height: Height) -> Result<Vec<CheckpointSignature>, StorageError> {
    let Some(record) = reader.get(Family::Final, &checkpoints::cosigned(height))? else {
        return Ok(Vec::new());
    };
    let damaged = || StorageError::damaged(format!("the lines of checkpoint {height}"));
    let (all, rest) = record.as_chunks::<LEN>();
    let decoded = all.iter().map(decode).collect::<Option<_>>();
    decoded.filter(|_| rest.is_empty()).ok_or_else(damaged)
}

/// Whether a record holds lines of a note.
pub fn is_cosigned(record: &[u8]) -> bool {
    let (all, rest) = record.as_chunks::<LEN>();
    rest.is_empty() && all.iter().all(|lines| decode(lines).is_some())
}

/// The lines that can be read of a damaged record.
pub fn readable_lines(record: &[u8]) -> impl Iterator<Item = CheckpointSignature> {
    let (all, _) = record.as_chunks::<LEN>();
    all.iter().take(MAX_VALIDATORS).filter_map(decode)
}

fn encode(signature: &CheckpointSignature) -> Vec<u8> {
    let CheckpointSignature { validator, seconds, log, cosignature } = signature;
    [validator.0.as_slice(), &seconds.to_be_bytes(), log, cosignature].concat()
}

fn decode(record: &[u8; LEN]) -> Option<CheckpointSignature> {
    let (validator, rest) = record.split_first_chunk::<32>()?;
    let (seconds, rest) = rest.split_first_chunk::<8>()?;
    let (log, rest) = rest.split_first_chunk::<64>()?;
    Some(CheckpointSignature {
        validator: AuthorKey(*validator),
        seconds: u64::from_be_bytes(*seconds),
        log: *log,
        cosignature: rest.try_into().ok()?,
    })
}
