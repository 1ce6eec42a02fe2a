//! What is certified and counts, as readers and the writer share it.

use quipu_merge::{
    Authority, CertifiedCuts, Chain, Checkpoint, CutNumber, Dot, Height, UNCERTIFIED,
};

use super::records::{self, Part};
use crate::db::Reader;
use crate::error::StorageError;
use crate::record;
use crate::schema::{Family, certified, parse_dot};

/// The certified cuts that count, and the chain of their checkpoints.
#[derive(Clone, Debug)]
pub struct Finality {
    /// The cuts.
    pub cuts: CertifiedCuts,
    /// The chain up to the last of them.
    pub chain: Chain,
}

impl Finality {
    /// Nothing is certified yet.
    pub fn none(authority: &Authority) -> Self {
        let chain = Chain::new(authority.ledger(), authority.genesis());
        Self { cuts: CertifiedCuts::new(), chain }
    }

    /// Reads it back. Memory and time are those of the boundaries of all cuts.
    pub fn load(reader: Reader<'_>, authority: &Authority) -> Result<Self, StorageError> {
        let Some(height) = records::last_height(reader)? else { return Ok(Self::none(authority)) };
        let (checkpoint, validators) = (
            records::checkpoint(reader, height)?,
            records::block(reader, height, Part::Validators, quipu_merge::ValidatorsBlock::decode)?,
        );
        let damaged = |_| StorageError::damaged(format!("checkpoint {height}"));
        let chain = Chain::trusting(&checkpoint, &validators).map_err(damaged)?;
        let mut boundaries = Vec::new();
        let mut walk = reader.walk(Family::Final, &[certified::BOUNDARY])?;
        walk.first()?;
        while let Some((key, value)) = walk.item() {
            boundaries.push(boundary(key, value)?);
            walk.next()?;
        }
        Ok(Self { cuts: CertifiedCuts::restore(count_of(&checkpoint), boundaries), chain })
    }
}

/// Reads the last event on a lane of a cut, and the cut's number.
pub fn boundary(key: &[u8], value: &[u8]) -> Result<(Dot, CutNumber), StorageError> {
    let damaged = || StorageError::damaged("how far a certified cut goes on a branch");
    let dot = key.split_first().and_then(|(_, dot)| parse_dot(dot)).ok_or_else(damaged)?;
    let height = record::Reader(value).number().map(Height).ok_or_else(damaged)?;
    Ok((dot, number_of(height)))
}

/// The number of the cut of a height.
pub fn number_of(height: Height) -> CutNumber {
    CutNumber::try_from(height.0.saturating_sub(1)).unwrap_or(UNCERTIFIED - 1)
}

/// The height whose cut has a number.
pub const fn height_of(number: CutNumber) -> Height {
    Height(number as u64 + 1)
}

fn count_of(checkpoint: &Checkpoint) -> CutNumber {
    number_of(checkpoint.height).saturating_add(1)
}
