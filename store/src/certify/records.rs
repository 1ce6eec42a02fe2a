//! The records of checkpoints: those that count, those that wait, and what contradicts them.

use quipu_merge::{
    AuthorKey, Certificate, Checkpoint, CheckpointId, CutBlock, Genesis, Height, Malformed,
    ValidatorsBlock,
};

use super::{CertifiedCheckpoint, Divergence};
use crate::db::Reader;
use crate::error::StorageError;
use crate::record::{self, put_number};
use crate::schema::{Family, checkpoints};

pub use crate::schema::checkpoints::Part;

/// The last height that counts.
pub fn last_height(reader: Reader<'_>) -> Result<Option<Height>, StorageError> {
    let mut walk = reader.walk(Family::Final, &[checkpoints::KEPT])?;
    walk.last()?;
    let damaged = || StorageError::damaged("the key of a checkpoint");
    walk.item().map(|(key, _)| checkpoints::parse_height(key).ok_or_else(damaged)).transpose()
}

/// The last height up to this one whose checkpoint counts and names other validators than those that
/// certified it.
pub fn last_turn(reader: Reader<'_>, up_to: Height) -> Result<Option<Height>, StorageError> {
    let end = checkpoints::turn(Height(up_to.0.saturating_add(1))).to_vec();
    let mut walk = reader.walk_between(Family::Final, &[checkpoints::TURN], Some(end))?;
    walk.last()?;
    let damaged = || StorageError::damaged("the mark of new validators");
    walk.item().map(|(key, _)| checkpoints::parse_height(key).ok_or_else(damaged)).transpose()
}

/// The keys that certify a height, if the one before counts. A shallow store starts from the checkpoint
/// of height `start`.
pub fn validators_of(
    reader: Reader<'_>,
    genesis: &Genesis,
    height: Height,
    start: Option<Height>,
) -> Result<Option<Vec<AuthorKey>>, StorageError> {
    let before = Height(height.0.saturating_sub(1));
    let named = match start.filter(|start| before < *start) {
        // The last ones that were named are those of all heights from there on.
        Some(_) => last_turn(reader, before)?,
        None => Some(before).filter(|before| *before >= Height::FIRST),
    };
    let Some(named) = named else { return Ok(Some(genesis.first_validators())) };
    let block = find(reader, named, Part::Validators, ValidatorsBlock::decode)?;
    Ok(block.map(|block| block.keys().to_vec()))
}

/// The checkpoint of a height that counts.
pub fn checkpoint(reader: Reader<'_>, height: Height) -> Result<Checkpoint, StorageError> {
    block(reader, height, Part::Header, Checkpoint::decode)
}

/// A part of a checkpoint that counts.
pub fn block<T>(
    reader: Reader<'_>,
    height: Height,
    part: Part,
    decode: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<T, StorageError> {
    find(reader, height, part, decode)?
        .ok_or_else(|| StorageError::damaged(format!("a part of checkpoint {height} is missing")))
}

/// A part of the checkpoint of a height, if that counts.
pub fn find<T>(
    reader: Reader<'_>,
    height: Height,
    part: Part,
    decode: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<Option<T>, StorageError> {
    let Some(bytes) = reader.get(Family::Final, &checkpoints::kept(height, part))? else {
        return Ok(None);
    };
    let damaged = |why| StorageError::damaged(format!("checkpoint {height}: {why}"));
    decode(&bytes).map(Some).map_err(damaged)
}

/// A part of a checkpoint that counts, as it is.
pub fn bytes(reader: Reader<'_>, height: Height, part: Part) -> Result<Vec<u8>, StorageError> {
    let found = reader.get(Family::Final, &checkpoints::kept(height, part))?;
    let missing = || StorageError::damaged(format!("a part of checkpoint {height} is missing"));
    Ok(found.ok_or_else(missing)?.to_vec())
}

/// The parts of a checkpoint, encoded. They were checked when they came in.
pub fn parts(certified: &CertifiedCheckpoint) -> Result<[(Part, Vec<u8>); 4], StorageError> {
    let malformed = |why| StorageError::damaged(format!("a checkpoint to be kept: {why}"));
    Ok([
        (Part::Header, certified.checkpoint.encode().map_err(malformed)?),
        (Part::Certificate, certified.certificate.encode().map_err(malformed)?),
        (Part::Cut, certified.cut.encode()),
        (Part::Validators, certified.validators.encode()),
    ])
}

/// All parts in one record.
pub fn pack(certified: &CertifiedCheckpoint) -> Result<Vec<u8>, StorageError> {
    let mut out = Vec::new();
    for (_, part) in parts(certified)? {
        put_number(&mut out, part.len() as u64);
        out.extend_from_slice(&part);
    }
    Ok(out)
}

/// Reads what [`pack`] has written.
pub fn unpack(bytes: &[u8]) -> Result<CertifiedCheckpoint, StorageError> {
    let mut r = record::Reader(bytes);
    read_packed(&mut r)
        .filter(|_| r.0.is_empty())
        .ok_or_else(|| StorageError::damaged("a checkpoint that is kept aside"))
}

fn read_packed(r: &mut record::Reader<'_>) -> Option<CertifiedCheckpoint> {
    let mut part = || {
        let len = usize::try_from(r.number()?).ok()?;
        r.take(len)
    };
    Some(CertifiedCheckpoint {
        checkpoint: Checkpoint::decode(part()?).ok()?,
        certificate: Certificate::decode(part()?).ok()?,
        cut: CutBlock::decode(part()?).ok()?,
        validators: ValidatorsBlock::decode(part()?).ok()?,
    })
}

const CERTIFICATES: u8 = 0;
const DERIVED: u8 = 1;

/// Writes what contradicts what is held: the certified checkpoint, and after it the other truth.
pub fn pack_divergence(divergence: &Divergence) -> Result<Vec<u8>, StorageError> {
    let malformed = |why| StorageError::damaged(format!("a derived checkpoint: {why}"));
    let (kind, certified, rest) = match divergence {
        Divergence::Certificates { kept, other } => (CERTIFICATES, other, kept.0.to_vec()),
        Divergence::Derived { certified, derived } => {
            let derived = derived.as_ref().map(|derived| derived.encode().map_err(malformed));
            (DERIVED, certified, derived.transpose()?.unwrap_or_default())
        }
    };
    Ok([&[kind], pack(certified)?.as_slice(), &rest].concat())
}

/// Reads what [`pack_divergence`] has written.
pub fn unpack_divergence(bytes: &[u8]) -> Result<Divergence, StorageError> {
    let read = || {
        let mut r = record::Reader(bytes);
        let &[kind] = r.take(1)? else { return None };
        let certified = Box::new(read_packed(&mut r)?);
        match (kind, r.0) {
            (CERTIFICATES, kept) => Some(Divergence::Certificates {
                kept: CheckpointId(kept.try_into().ok()?),
                other: certified,
            }),
            (DERIVED, []) => Some(Divergence::Derived { certified, derived: None }),
            (DERIVED, derived) => {
                let derived = Some(Box::new(Checkpoint::decode(derived).ok()?));
                Some(Divergence::Derived { certified, derived })
            }
            _ => None,
        }
    };
    read().ok_or_else(|| StorageError::damaged("the record of a divergence"))
}
