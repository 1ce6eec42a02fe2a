//! The certified log as an RFC 6962 tree over SHA-256: its root, and proofs about it.
//!
//! Leaves of the log are binary event CIDs; the same tree over other leaves commits to lists in
//! the state. Hashes of perfect subtrees are numbered and proofs are built as by crate
//! `tlog_tiles` (a port of Go's `sumdb/tlog`): the hashes that [`LogTree::append`] returns, kept
//! one after the other, are what every proof is made of.

use std::cell::RefCell;

use tlog_tiles::{EMPTY_HASH, Hash, HashReader};

use crate::id::EventId;

/// A hash in a log's tree: SHA-256.
pub type LogHash = [u8; 32];

/// Logs and lists have fewer leaves than this.
pub const LOG_SIZE_LIMIT: u64 = 1 << 53;
/// Most hashes that a proof about a log below [`LOG_SIZE_LIMIT`] has.
pub const MAX_PROOF_LEN: usize = 54;

/// The hash of a leaf.
pub fn leaf_hash(leaf: &[u8]) -> LogHash {
    tlog_tiles::record_hash(leaf).0
}

/// The hash of the leaf that stands for an event in the certified log.
pub fn event_leaf_hash(event: EventId) -> LogHash {
    leaf_hash(&event.block().to_bytes())
}

/// A tree that only grows. Holds the roots of its perfect subtrees: one hash per set bit of its
/// size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogTree {
    size: u64,
    /// Roots of the perfect subtrees, from the largest, leftmost one.
    peaks: Vec<LogHash>,
}

impl LogTree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of the first `size` leaves, by the stored hashes of that or a longer one.
    ///
    /// # Errors
    /// The size is out of range, or a hash is not at hand.
    pub fn resume<S: StoredHashes>(size: u64, stored: &S) -> Result<Self, LogProofError<S::Error>> {
        let too_long = || LogProofError::OutOfRange { leaf: size, size: LOG_SIZE_LIMIT };
        let size_in_range = Some(size).filter(|&size| size < LOG_SIZE_LIMIT);
        let size = size_in_range.ok_or_else(too_long)?;
        let mut peaks = Vec::new();
        let mut start = 0;
        for level in (0..64_u8).rev().filter(|level| size >> level & 1 == 1) {
            let index = tlog_tiles::stored_hash_index(level, start >> level);
            let hash = stored.read(index).map_err(LogProofError::Store)?;
            peaks.push(hash.ok_or(LogProofError::Missing(index))?);
            start += 1 << level;
        }
        Ok(Self { size, peaks })
    }

    /// Takes up a tree as it was kept: its size and its [`Self::peaks`]. `None` unless there is
    /// one hash for each set bit of the size.
    pub fn restore(size: u64, peaks: Vec<LogHash>) -> Option<Self> {
        let fits = size < LOG_SIZE_LIMIT && peaks.len() == size.count_ones() as usize;
        fits.then_some(Self { size, peaks })
    }

    /// The roots of its perfect subtrees, from the largest: all there is to it beside its size.
    pub fn peaks(&self) -> &[LogHash] {
        &self.peaks
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf by its hash and returns the hashes to store, in the order of their numbers:
    /// that of the leaf, and of every perfect subtree that it completes.
    pub fn append(&mut self, leaf: LogHash) -> Vec<LogHash> {
        let mut new = vec![leaf];
        let mut right = leaf;
        // Each trailing one in the size is a perfect subtree that the new one of equal height joins.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            right = node_hash(left, right);
            new.push(right);
        }
        self.peaks.push(right);
        self.size += 1;
        new
    }

    /// The Merkle root; SHA-256 of nothing for the empty tree.
    pub fn root(&self) -> LogHash {
        let mut peaks = self.peaks.iter().rev().copied();
        let Some(smallest) = peaks.next() else { return EMPTY_HASH.0 };
        peaks.fold(smallest, |right, left| node_hash(left, right))
    }
}

/// The hashes that [`LogTree::append`] has returned, by their place among all of them.
pub trait StoredHashes {
    /// Why reading fails.
    type Error;

    /// The hash at `index`, counted from 0; `None` where there is none.
    ///
    /// # Errors
    /// Whatever is under it fails.
    fn read(&self, index: u64) -> Result<Option<LogHash>, Self::Error>;
}

impl StoredHashes for Vec<LogHash> {
    type Error = std::convert::Infallible;

    fn read(&self, index: u64) -> Result<Option<LogHash>, Self::Error> {
        Ok(usize::try_from(index).ok().and_then(|index| self.get(index)).copied())
    }
}

/// A proof that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogProofError<E> {
    /// The leaf or the smaller size is not within the log.
    #[error("{leaf} is not within a log of {size} leaves")]
    OutOfRange {
        /// The leaf or the smaller size.
        leaf: u64,
        /// The size of the log.
        size: u64,
    },
    /// A hash that the proof needs is not stored.
    #[error("the log has no hash number {0}")]
    Missing(u64),
    /// Reading a hash fails.
    #[error("a hash of the log cannot be read")]
    Store(#[source] E),
}

/// Proves that leaf number `leaf` (from 0) is in the log of the first `size` leaves.
///
/// # Errors
/// The leaf is not within the log, or a hash is not at hand.
pub fn prove_inclusion<S: StoredHashes>(
    size: u64,
    leaf: u64,
    stored: &S,
) -> Result<Vec<LogHash>, LogProofError<S::Error>> {
    if size >= LOG_SIZE_LIMIT || leaf >= size {
        return Err(LogProofError::OutOfRange { leaf, size });
    }
    Adapter::prove(stored, |adapter| tlog_tiles::prove_record(size, leaf, adapter))
}

/// Proves that the log of the first `size` leaves continues that of the first `old_size` leaves
/// (at least 1: everything continues the empty log).
///
/// # Errors
/// The sizes are out of range, or a hash is not at hand.
pub fn prove_consistency<S: StoredHashes>(
    size: u64,
    old_size: u64,
    stored: &S,
) -> Result<Vec<LogHash>, LogProofError<S::Error>> {
    if size >= LOG_SIZE_LIMIT || old_size == 0 || old_size > size {
        return Err(LogProofError::OutOfRange { leaf: old_size, size });
    }
    Adapter::prove(stored, |adapter| tlog_tiles::prove_tree(size, old_size, adapter))
}

/// The proof does not show what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not hold")]
pub struct InvalidProof;

/// Checks that the leaf with hash `leaf_hash` is number `leaf` of the log with `size` and `root`.
///
/// # Errors
/// It does not show it, for whatever reason.
pub fn check_inclusion(
    proof: &[LogHash],
    (size, root): (u64, LogHash),
    (leaf, leaf_hash): (u64, LogHash),
) -> Result<(), InvalidProof> {
    let proof = bounded(proof, size)?;
    tlog_tiles::check_record(&proof, size, Hash(root), leaf, Hash(leaf_hash))
        .map_err(|_| InvalidProof)
}

/// Checks that the log with `size` and `root` continues that with `old_size` (at least 1) and
/// `old_root`.
///
/// # Errors
/// It does not show it, for whatever reason.
pub fn check_consistency(
    proof: &[LogHash],
    (size, root): (u64, LogHash),
    (old_size, old_root): (u64, LogHash),
) -> Result<(), InvalidProof> {
    let proof = bounded(proof, size)?;
    tlog_tiles::check_tree(&proof, size, Hash(root), old_size, Hash(old_root))
        .map_err(|_| InvalidProof)
}

fn node_hash(left: LogHash, right: LogHash) -> LogHash {
    tlog_tiles::node_hash(Hash(left), Hash(right)).0
}

/// Keeps sizes and lengths of others within what the crate's arithmetic is sound for.
fn bounded(proof: &[LogHash], size: u64) -> Result<Vec<Hash>, InvalidProof> {
    if size >= LOG_SIZE_LIMIT || proof.len() > MAX_PROOF_LEN {
        return Err(InvalidProof);
    }
    Ok(proof.iter().map(|&hash| Hash(hash)).collect())
}

/// Lets the crate read stored hashes, and keeps our own error, which its error has no room for.
struct Adapter<'a, S: StoredHashes> {
    stored: &'a S,
    failure: RefCell<Option<LogProofError<S::Error>>>,
}

impl<'a, S: StoredHashes> Adapter<'a, S> {
    fn prove(
        stored: &'a S,
        prove: impl FnOnce(&Self) -> Result<Vec<Hash>, tlog_tiles::tlog::Error>,
    ) -> Result<Vec<LogHash>, LogProofError<S::Error>> {
        let adapter = Self { stored, failure: RefCell::new(None) };
        match prove(&adapter) {
            Ok(proof) => Ok(proof.into_iter().map(|hash| hash.0).collect()),
            // Sizes have been checked, so only a read can have failed, and it has left its reason.
            Err(_) => Err(adapter.failure.into_inner().unwrap_or(LogProofError::Missing(u64::MAX))),
        }
    }

    fn read_one(&self, index: u64) -> Result<Hash, LogProofError<S::Error>> {
        let hash = self.stored.read(index).map_err(LogProofError::Store)?;
        hash.map(Hash).ok_or(LogProofError::Missing(index))
    }
}

impl<S: StoredHashes> HashReader for Adapter<'_, S> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::tlog::Error> {
        indexes.iter().map(|&index| self.read_one(index)).collect::<Result<_, _>>().map_err(
            |failure| {
                self.failure.replace(Some(failure));
                tlog_tiles::tlog::Error::IndexesNotInTree
            },
        )
    }
}

#[cfg(test)]
mod tests;
