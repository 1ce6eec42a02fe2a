//! Comparing frontiers.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::frontier::{FrontierDigest, LaneTips};
use crate::wire;

/// How frontiers are to be compared.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Compare {
    /// The number of the comparison: both sides of one use the same.
    #[n(0)]
    pub round: u64,
    /// The frontier.
    #[n(1)]
    pub frontier: FrontierDigest,
    /// How many authors it has.
    #[n(2)]
    pub lanes: u64,
    /// Frontiers at which both were equal before, latest first.
    #[cbor(n(3), with = "wire::digests")]
    pub known: Vec<[u8; 32]>,
}

/// Entries of a frontier.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Lanes {
    /// The comparison.
    #[n(0)]
    pub round: u64,
    /// The entries.
    #[n(1)]
    pub lanes: Vec<LaneTips>,
    /// Whether these are the last.
    #[n(2)]
    pub last: bool,
}

/// A step of set reconciliation over the entries of frontiers (negentropy).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reconcile {
    /// The comparison.
    #[n(0)]
    pub round: u64,
    /// What negentropy says.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// Asks for entries by their digests.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AskLanes {
    /// The comparison.
    #[n(0)]
    pub round: u64,
    /// The digests of the entries.
    #[cbor(n(1), with = "wire::digests")]
    pub entries: Vec<[u8; 32]>,
}

/// What tells the entries of a frontier from others, bucket by bucket.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sums {
    /// The comparison.
    #[n(0)]
    pub round: u64,
    /// Eight bytes for each bucket.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sums: Vec<u8>,
}

/// The entries in those buckets that differ.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Marks {
    /// The comparison.
    #[n(0)]
    pub round: u64,
    /// A bit for each bucket, from the lowest of the first byte: whether it differs.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub differ: Vec<u8>,
    /// For each of these, eight bytes for each entry.
    #[n(2)]
    pub marks: Vec<ByteVec>,
}

/// Asks for entries that have been marked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AskMarked {
    /// The comparison.
    #[n(0)]
    pub round: u64,
    /// Where they are among the marks, from 0.
    #[n(1)]
    pub places: Vec<u16>,
}
