//! What the certified state holds of a key, with the way to its root.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{
    Height, LeafKind, StateChange, StateNodes, StateProof, prove_state, update_state,
};

use super::derive::TreeNodes;
use super::source::FinalRecords;
use super::{KEPT_TREES, leaves, records};
use crate::error::{ReadError, StorageError};
use crate::snapshot::Snapshot;

/// What a certified state holds of a key, and that it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenState {
    /// The encoding of the leaf's value; none where the key does not exist.
    pub value: Option<Vec<u8>>,
    /// The way from the root of the state.
    pub proof: StateProof,
}

impl Snapshot<'_> {
    /// What the certified state of a height holds of a key, with the proof of it under the `state` of
    /// the checkpoint. `None` where the checkpoint does not count here.
    ///
    /// A look-up for the last height; for others the state is folded again, which takes time and
    /// memory in proportion to the ledger.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn prove_state(
        &self,
        height: Height,
        kind: LeafKind,
        key: &[u8],
    ) -> Result<Option<ProvenState>, ReadError> {
        let proven = self.prove_kinds(height, &[kind], key)?;
        Ok(proven.and_then(|proven| proven.into_iter().next()))
    }

    /// Does what [`Self::prove_state`] does for several kinds of things of one key.
    pub(crate) fn prove_kinds(
        &self,
        height: Height,
        kinds: &[LeafKind],
        key: &[u8],
    ) -> Result<Option<Vec<ProvenState>>, ReadError> {
        let (reader, last) = (self.reader(), self.certified_height());
        if last == Some(height) {
            let proven = kinds.iter().map(|kind| {
                let value = leaves::value(&reader, *kind, key)?;
                let proof = prove(&TreeNodes(reader), height, kind.key_hash(key))?;
                Ok(ProvenState { value, proof })
            });
            return proven.collect::<Result<_, ReadError>>().map(Some);
        }
        let Some(leaves) = self.state_leaves(height)? else { return Ok(None) };
        let values: Vec<_> = kinds
            .iter()
            .map(|kind| {
                let key_hash = kind.key_hash(key);
                let leaf = leaves.iter().find(|leaf| leaf.key_hash == key_hash);
                (key_hash, leaf.map(|leaf| leaf.value.clone()))
            })
            .collect();
        let mut anew = None;
        if last.is_none_or(|last| last.0 - height.0 >= KEPT_TREES) {
            let changes = leaves.into_iter().map(Into::into);
            let update = update_state(&BTreeMap::new(), None, height, changes);
            let update = update.map_err(|error| StorageError::damaged(error.to_string()))?;
            anew = Some(update.nodes.into_iter().collect::<BTreeMap<_, _>>());
        }
        let proven = values.into_iter().map(|(key_hash, value)| {
            let proof = match &anew {
                Some(nodes) => prove(nodes, height, key_hash)?,
                None => prove(&TreeNodes(reader), height, key_hash)?,
            };
            Ok(ProvenState { value, proof })
        });
        proven.collect::<Result<_, ReadError>>().map(Some)
    }

    /// How many of the keys of these records of a certified state its tree, which is that of the last
    /// checkpoint that counts, does not have as they are.
    pub(crate) fn leaves_not_in_tree<'k>(
        &self,
        height: Height,
        records: &dyn FinalRecords,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<u64, StorageError> {
        let root = records::checkpoint(self.reader(), height)?.state;
        let nodes = TreeNodes(self.reader());
        let names: BTreeSet<_> = keys.filter_map(leaves::name).collect();
        let mut wrong = 0;
        for (kind, name) in names {
            let key_hash = kind.key_hash(&name);
            let value = leaves::value(records, kind, &name)?;
            let shown = prove(&nodes, height, key_hash)
                .is_ok_and(|proof| proof.check(root, key_hash, value.as_deref()).is_ok());
            wrong += u64::from(!shown);
        }
        Ok(wrong)
    }

    /// The leaves of the certified state of a height, folded from its events.
    fn state_leaves(&self, height: Height) -> Result<Option<Vec<quipu_merge::Leaf>>, ReadError> {
        let Some(cut) = self.checkpoint_cut(height)? else { return Ok(None) };
        let clock = self.clock_of_heads(cut.heads())?;
        let verdicts = self.judge(&clock, &self.published().finality.cuts);
        let (state, _) = self.fold(&clock, &verdicts)?;
        Ok(Some(state.leaves(&verdicts.roles())))
    }
}

/// The leaves of a certified state whose records have these keys.
pub fn state_changes<'k>(
    records: &dyn FinalRecords,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<Vec<StateChange>, StorageError> {
    let names: BTreeSet<_> = keys.filter_map(leaves::name).collect();
    let change = |(kind, name): (LeafKind, Vec<u8>)| {
        let value = leaves::value(records, kind, &name)?;
        Ok(StateChange { key_hash: kind.key_hash(&name), value })
    };
    names.into_iter().map(change).collect()
}

fn prove<S: StateNodes>(
    nodes: &S,
    height: Height,
    key_hash: [u8; 32],
) -> Result<StateProof, StorageError>
where
    S::Error: std::fmt::Display,
{
    prove_state(nodes, height, key_hash).map_err(|error| StorageError::damaged(error.to_string()))
}
