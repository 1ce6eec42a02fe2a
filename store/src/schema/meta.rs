//! Keys of the family `meta`.

use quipu_merge::{BlockId, Dot, Lane};

use super::{digest_key, dot_key, parse_dot};

/// The layout's version.
pub const FORMAT: &[u8] = b"format";
/// The ledger's id, as a digest.
pub const LEDGER: &[u8] = b"ledger";
/// The number of the last commit, and the heads.
pub const HEADS: &[u8] = b"heads";
/// The author that the replica is: see [`crate::author`].
pub const AUTHOR: &[u8] = b"author";
/// Where the store was when it was last used.
pub const PLACE: &[u8] = b"place";

/// Where a shallow store starts: see [`crate::shallow`].
pub const SHALLOW: &[u8] = b"shallow";

/// Block numbers below this may be in use.
pub const NUMBERS: &[u8] = b"numbers";
/// What the marks of table files begin with that have been taken over, but whose blocks may
/// not be known.
pub const UNFINISHED: &[u8] = b"U";
/// What the marks of garbage begin with.
pub const GARBAGE: &[u8] = b"G";

/// What the marks begin with of events whose erased values may still be in files, and of the
/// blocks of such values.
pub const ERASURE: &[u8] = b"X";

/// An event whose erased values may still be in files.
pub fn erasure(dot: Dot) -> Vec<u8> {
    [ERASURE, dot_key(dot).as_slice()].concat()
}

/// A deleted block of an erased value that may still be in files.
pub fn erased_block(number: u64) -> Vec<u8> {
    [ERASURE, number.to_be_bytes().as_slice()].concat()
}

/// Stands for the number of deleted blocks of an erased value of which nothing tells any more
/// which they were.
pub const UNKNOWN_BLOCKS: u64 = u64::MAX;

/// Table files with blocks from this number on.
pub fn unfinished(first: u64) -> Vec<u8> {
    [UNFINISHED, first.to_be_bytes().as_slice()].concat()
}

/// A block that may be garbage.
pub fn garbage(number: u64) -> Vec<u8> {
    [GARBAGE, number.to_be_bytes().as_slice()].concat()
}

/// A lane: its author and where it leaves another.
pub fn lane(lane: Lane) -> Vec<u8> {
    [b"L", lane.0.to_be_bytes().as_slice()].concat()
}

/// The n-th control event.
pub fn control(number: u64) -> Vec<u8> {
    [b"C", number.to_be_bytes().as_slice()].concat()
}

/// A void event.
pub fn void(dot: Dot) -> Vec<u8> {
    [b"V", dot_key(dot).as_slice()].concat()
}

/// A value that has been erased, by where it stands.
pub fn erased(dot: Dot, slot: u16) -> Vec<u8> {
    [b"E", dot_key(dot).as_slice(), &slot.to_be_bytes()].concat()
}

/// What the marks of missing values begin with.
pub const MISSING: &[u8] = b"M";

/// A value that is not whole here, by where it stands.
pub fn missing(dot: Dot, slot: u16) -> Vec<u8> {
    [MISSING, dot_key(dot).as_slice(), &slot.to_be_bytes()].concat()
}

/// Reads where a missing value stands.
pub fn parse_missing(key: &[u8]) -> Option<(Dot, u16)> {
    let (dot, slot) = key.strip_prefix(MISSING)?.split_last_chunk::<2>()?;
    Some((parse_dot(dot)?, u16::from_be_bytes(*slot)))
}

/// Up to which checkpoint bodies may be gone: see [`crate::bodies`].
pub const BODIES: &[u8] = b"bodies";

/// There where the tree over the certified state was derived while bodies were gone: other
/// heights may have brought its nodes in.
pub const REGROWN: &[u8] = b"regrown";

/// What the records of pruned values begin with.
pub const PRUNED: &[u8] = b"P";

/// Which values of an event have been pruned: see [`crate::pruned`].
pub fn pruned(dot: Dot) -> Vec<u8> {
    [PRUNED, dot_key(dot).as_slice()].concat()
}

/// What the marks of pinned blocks begin with.
pub const PINNED_BLOCK: &[u8] = b"Ib";
/// What the marks of pinned events begin with.
pub const PINNED_EVENT: &[u8] = b"Ie";

/// A pinned block.
pub fn pinned_block(id: BlockId) -> Vec<u8> {
    [PINNED_BLOCK, digest_key(id).as_slice()].concat()
}

/// A pinned event.
pub fn pinned_event(dot: Dot) -> Vec<u8> {
    [PINNED_EVENT, dot_key(dot).as_slice()].concat()
}

/// What receipts begin with.
pub const RECEIPT: &[u8] = b"R";

/// A receipt, by its name.
pub fn receipt(name: &[u8]) -> Vec<u8> {
    [RECEIPT, name].concat()
}

/// What the log of votes begins with: alone, whose votes they are; otherwise an entry.
pub const VOTES: &[u8] = b"J";

/// An entry of the log of votes.
pub fn vote(number: u64) -> Vec<u8> {
    [VOTES, number.to_be_bytes().as_slice()].concat()
}

/// Reads the number of an entry back.
pub fn parse_vote(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.strip_prefix(VOTES)?.try_into().ok()?))
}

/// What evidence against validators begins with.
pub const EVIDENCE: &[u8] = b"Y";

/// A piece of evidence, by whom it is against and its name.
pub fn evidence(against: [u8; 32], name: &[u8]) -> Vec<u8> {
    [EVIDENCE, against.as_slice(), name].concat()
}

/// Reads whom a piece of evidence is against.
pub fn parse_accused(key: &[u8]) -> Option<[u8; 32]> {
    key.strip_prefix(EVIDENCE)?.first_chunk().copied()
}

/// A register with more than one value.
pub fn conflict(state_key: &[u8]) -> Vec<u8> {
    [b"K", state_key].concat()
}

/// What local names begin with.
pub const NAMES: &[u8] = b"N";

/// A local name.
pub fn name(author: [u8; 32]) -> Vec<u8> {
    [NAMES, author.as_slice()].concat()
}

/// A waiting event.
pub fn waiting(event: [u8; 32]) -> Vec<u8> {
    [b"W", event.as_slice()].concat()
}
